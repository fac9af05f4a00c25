"""A modelled guardian: the real decisions (:mod:`mosha.clinit.custody`) about modelled processes.

Rules:

1. Custody is told the time with everything that comes, and when something is due, a moment late.
2. What it wants killed is killed at once.
3. When it is killed itself, the main processes die with it (their parent-death signal); what they left behind does not,
   unless there is no agent: then the warden ends that at once.
4. All that it starts is in a control group. So it outlives its agent where custody says so, and the next life takes it
   over; it stands still only while an agent is there to guard it, or the warden would end its group (A2).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable

from mosha.clinit import custody
from mosha.clinit.custody import Custody, Legacy, Order
from mosha.clinit.group import STRAYS, Action, Signal, Start, Stuck
from mosha.clinit.leash import LeashReport
from mosha.tables.cltab import TEST, Entry
from mosha.tables.settings import Policy
from moslab.simulator.process import Member, Process

if TYPE_CHECKING:
    from moslab.simulator.node import Node

LATE_MAX_S = 0.002               # between the time at which it shall wake up and its first look
WITHIN_K = "leash that stands still at its deadline is killed"


class Guardian(Process):
    """The process on the other end of a :class:`SimLeash`. ``told(report)`` passes a report on; None: it has ended."""

    __slots__ = (
        "_custody", "_draw", "_lives", "_next_look", "_ordered", "_orders", "_told", "group", "killing", "members",
        "number",
    )

    def __init__(
        self, node: Node, group: str, environment: Mapping[str, str], deadline: float,
        told: Callable[[LeashReport | None], None], ahead: bool = False,
    ) -> None:
        super().__init__(node)
        self.group, self.number = group, node.cluster.new_guardian()
        self.members: dict[int, Member] = {}
        self.killing = False
        self._custody = Custody(group, environment, deadline, ahead, in_unit=True)
        self._draw = node.process_draw
        self._told = told
        self._ordered = False
        self._lives = 0                              # that have taken it over
        self._orders: deque[Order] = deque()
        self._next_look = float("inf")
        node.guardians.append(self)
        self._settle()

    # ---- what comes -------------------------------------------------------------------------------------------

    def order(self, order: Order) -> None:
        """An order arrives, after a moment."""
        self._orders.append(order)
        if not self._ordered:
            self._ordered = True
            self.at(self.node.kernel.now + self.node.ipc_s(), self._obey)

    def _obey(self, _: None) -> None:
        self._ordered = False
        while self._orders and not self._custody.reason:
            order = self._orders.popleft()
            self._do(self._custody.obey(self.node.clock(), order, self._has_strays))
            if "deadline" in order and not self._custody.reason:
                self._report("extended", deadline=self._custody.deadline_s)
        self._settle()

    def _has_strays(self) -> bool:
        return any(member.tag == STRAYS for member in self.members.values())

    def agent_died(self, _: None) -> None:
        """SIGHUP, or the end of the control socket; what the agent said before is obeyed."""
        self._obey(None)
        if self._custody.agent_gone(self.node.clock()):
            self.node.count("leash outlives its agent")
        self._settle()

    def bequeath(self, told: Callable[[LeashReport | None], None]) -> Legacy | None:
        """The next life of the agent asks what it takes over; None if all ends with the life before."""
        self._obey(None)
        if self.frozen or not self.alive or not self._custody.agent_gone(self.node.clock()):
            return None
        self._told = told
        return self._custody.legacy()

    def adopted(self) -> None:
        """The group is the next life's."""
        self._lives += 1
        self.node.count("group was adopted" if self._lives == 1 else "group was adopted again")

    def clock_changed(self, _: None) -> None:
        """The deadline may come at another time now."""
        self._next_look = float("inf")
        self._settle()

    def _look(self, due: float) -> None:
        if due != self._next_look:
            return                                   # an earlier look was asked for meanwhile, and set this anew
        self._next_look = float("inf")
        now_s = self.node.clock()
        self._custody.watch(now_s, self.node.skew_s(), now_s, is_found=True)
        self._do(self._custody.look(now_s))
        self._settle()

    # ---- what follows -----------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """After everything: rule 2, end if it is time to, else look again when something is due."""
        if not self.alive:
            return
        if self._custody.reason and not self.killing:
            self._kill_everything(self._custody.reason)
        if self._custody.has_ended(not self.members):
            self._end()
        elif not self.killing:
            self._look_by(self._custody.next_due)

    def _look_by(self, clock_s: float) -> None:
        if clock_s < self._next_look:
            self._next_look = clock_s
            late_s = LATE_MAX_S * self._draw.random()
            self.at(self.node.true_time(clock_s) + late_s, self._look, clock_s)

    def _kill_everything(self, why: str) -> None:
        self.killing = True
        self.node.count(f"leash kills: {why}")
        self.node.trace(f"leash {self.group} kills: {why}")
        self._do(self._custody.halt())
        for member in list(self.members.values()):
            member.kill()

    # ---- processes --------------------------------------------------------------------------------------------

    def _do(self, actions: Iterable[Action]) -> None:
        for action in actions:
            if isinstance(action, Start):
                self._start(action)
            elif isinstance(action, Signal):
                for member in [m for m in self.members.values() if m.tag == action.tag]:
                    member.signal(action.signo)
            elif isinstance(action, Stuck):
                self._report("stuck", text=", ".join(action.tags))
            else:
                self._report("state", level=action.level, state=action.state, text=action.reason)

    def _start(self, action: Start) -> None:
        if not self._custody.may_start(self.node.clock(), action):
            return
        entry, node, environment = action.entry, self.node, self._custody.environment
        epoch = ".".join(environment[name] for name in ("MOSHA_ERA", "MOSHA_EPOCH") if name in environment)
        member = Member(self, entry.tag, action.level, epoch, entry.command, action.level == entry.mode == TEST)
        self.members[member.pid] = member
        node.trace(f"{self.group}/{entry.tag} starts at {action.level}, epoch {epoch}")
        self._report("started", tag=entry.tag, pid=member.pid)

    def ended(self, member: Member, status: int) -> None:
        """A process of the group is gone; this process learns of it when it can."""
        if self.alive:
            self.at(self.node.kernel.now, self._reap, (member, status))

    def adopt(self, member: Member) -> None:
        """A process that one of the group left behind."""
        self.members[member.pid] = member

    def _reap(self, end: tuple[Member, int]) -> None:
        member, status = end
        self.members.pop(member.pid, None)
        if not self.killing:
            if member.main:
                self._report("exited", tag=member.tag, status=status)
            left = sum(1 for other in self.members.values() if other.tag == member.tag)
            main = status if member.main else None
            self._do(self._custody.ended(self.node.clock(), member.tag, left, main))
        if not self.members:
            self._report("empty")
        self._settle()

    # ---- the end ----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self.alive = False
        self.node.guardians.remove(self)
        self._told(None)

    def is_overdue(self) -> bool:
        """Whether its deadline has passed and something that it holds still runs."""
        return bool(self.members) and self.node.clock() >= self._custody.deadline_s

    def kill(self) -> None:
        """SIGKILL to the guardian itself: rule 3."""
        if self.alive:
            self.node.trace(f"leash {self.group} is killed")
            for member in list(self.members.values()):
                if member.main or self.node.world is None:
                    member.kill()
            self._end()

    def _report(self, kind: str, **fields: Any) -> None:
        self._told(LeashReport(kind, self.node.wall(), **fields))


class SimLeash:
    """The agent's end: see :class:`mosha.clinit.leash.Leash`."""

    def __init__(self, group: str, environment: Mapping[str, str], ready: Callable[[str], None]) -> None:
        self.group = group
        self.gone = False
        self._ready = ready
        self._reports: list[LeashReport] = []
        self._ended = self._asked_to_kill = self._is_inherited = False
        self._environment = environment
        self._guardian: Guardian

    @classmethod
    def start(
        cls, node: Node, group: str, environment: Mapping[str, str], deadline: float, ready: Callable[[str], None],
        ahead: bool = False,
    ) -> SimLeash:
        """With a guardian of its own."""
        leash = cls(group, environment, ready)
        leash._guardian = Guardian(node, group, environment, deadline, leash._told, ahead)
        return leash

    @classmethod
    def take_over(cls, guardian: Guardian, ready: Callable[[str], None]) -> tuple[SimLeash, Legacy] | None:
        """With that of an earlier life, if it may be taken over."""
        leash = cls(guardian.group, {}, ready)
        leash._guardian, leash._is_inherited = guardian, True
        legacy = guardian.bequeath(leash._told)
        return None if legacy is None else (leash, legacy)

    def tell(
        self, level: str, entries: Iterable[Entry], environment: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Have the group go to ``level``."""
        self._guardian.order(custody.tell(level, entries, environment, policy))

    def own(self, environment: Mapping[str, str]) -> None:
        """The group was won: commands of every level may be executed, with these variables as well."""
        self._guardian.node.count("group was tested ahead")
        self._guardian.order(custody.own({**self._environment, **environment}))

    def extend(self, deadline: float) -> None:
        """Move the deadline forward."""
        if self._is_inherited:
            self._is_inherited = False
            self._guardian.adopted()
        self._guardian.order(custody.extend(deadline))

    def kill(self) -> None:
        """An order, once."""
        if not self._asked_to_kill:
            self._asked_to_kill = True
            self._guardian.order(custody.KILL)

    def kill_guardian(self) -> None:
        """SIGKILL to the guardian itself."""
        if self._guardian.alive:
            self._guardian.node.count("leash does not obey and is killed")
            if self._guardian.is_overdue():
                self._guardian.node.count(WITHIN_K)
            self._guardian.kill()

    def hold(self) -> None:
        """Have the group left alone."""
        self._guardian.node.count("group was in maintenance")
        self._guardian.order(custody.HOLD)

    def finish(self) -> None:
        """Have the guardian end as soon as no process lives."""
        self._guardian.order(custody.FINISH)

    def receive(self) -> list[LeashReport]:
        """What was reported since; sets ``gone`` after the last report."""
        reports, self._reports = self._reports, []
        self.gone = self._ended
        return reports

    def close(self) -> None:
        """Let go: it has ended."""
        assert self.gone, f"{self.group}: the leash was let go while it lives"

    def _told(self, report: LeashReport | None) -> None:
        if report is None:
            self._ended = True
        else:
            self._reports.append(report)
        self._ready(self.group)
