"""A modelled guardian: :mod:`mosha.clinit.guardian` on modelled processes, with the real state machine of a group.

Rules (those of the original, whose numbers are meant):

1. It kills everything and ends when its deadline passes, when the agent dies, closes its end or wants it (1).
2. The deadline is looked at before anything else, with every order, and before every start (2).
3. It executes nothing but tests before it is told the token (4).
4. It ends by itself only when told to finish and no process lives (5).
5. When it is killed itself, the main processes die with it (their parent-death signal); what they left behind does not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Callable

from mosha.clinit.group import STRAYS, Action, Group, Signal, Start
from mosha.clinit.leash import LeashReport
from mosha.tables.cltab import TEST, Entry
from moslab.simulator.process import Member, Process

if TYPE_CHECKING:
    from moslab.simulator.node import Node

LATE_MAX_S = 0.002               # between the time at which it shall wake up and its first look
Order = Callable[[], None]


class Guardian(Process):
    """The process on the other end of a :class:`SimLeash`. ``told(report)`` passes a report on; None: it has ended."""

    __slots__ = ("_deadline", "_draw", "_environment", "_finishing", "_group", "_is_ahead", "_next_look", "_ordered",
                 "_orders", "_told", "group", "killing", "members")

    def __init__(
        self, node: Node, group: str, environment: Mapping[str, str], deadline: float,
        told: Callable[[LeashReport | None], None], ahead: bool = False,
    ) -> None:
        super().__init__(node)
        self.group = group
        self.members: dict[int, Member] = {}
        self.killing = False
        self._draw = node.process_draw
        self._environment, self._deadline, self._told = environment, deadline, told
        self._group = Group(group)
        self._is_ahead = ahead
        self._finishing = self._ordered = False
        self._orders: deque[Order] = deque()
        self._next_look = float("inf")
        node.guardians.append(self)
        self._look_by(deadline)

    # ---- what the agent orders --------------------------------------------------------------------------------

    def order(self, order: Order) -> None:
        """An order arrives, after a moment."""
        self._orders.append(order)
        if not self._ordered:
            self._ordered = True
            self.at(self.node.kernel.now + self.node.ipc_s(), self._obey)

    def _obey(self, _: None) -> None:
        self._ordered = False
        while self._orders and self.alive and not self.killing:
            order = self._orders.popleft()
            if not self._overdue():
                order()
        self._settle()

    def tell(self, level: str, entries: tuple[Entry, ...], environment: Mapping[str, str] | None) -> None:
        self._environment = environment or self._environment
        strays = any(member.tag == STRAYS for member in self.members.values())
        self._do(self._group.tell(self.node.clock(), level, entries, strays))

    def own(self, environment: Mapping[str, str]) -> None:
        self._environment, self._is_ahead = environment, False
        self.node.count("group was tested ahead")

    def extend(self, deadline: float) -> None:
        self._deadline = max(self._deadline, deadline)

    def finish(self) -> None:
        self._finishing = True

    def kill_everything(self, why: str) -> None:
        """Rule 1."""
        if self.killing or not self.alive:
            return
        self.killing = True
        self.node.count(f"leash kills: {why}")
        self.node.trace(f"leash {self.group} kills: {why}")
        self._do(self._group.halt())
        for member in list(self.members.values()):
            member.kill()
        self._settle()

    def agent_died(self, _: None) -> None:
        """SIGHUP, or the end of the control socket."""
        self.kill_everything("agent gone")

    # ---- time -------------------------------------------------------------------------------------------------

    def _look_by(self, clock_s: float) -> None:
        if clock_s < self._next_look:
            self._next_look = clock_s
            late_s = LATE_MAX_S * self._draw.random()
            self.at(self.node.true_time(clock_s) + late_s, self._look, clock_s)

    def _look(self, due: float) -> None:
        if due != self._next_look:
            return                                   # an earlier look was asked for meanwhile, and set this anew
        self._next_look = float("inf")
        if not self.killing and not self._overdue():
            self._do(self._group.tick(self.node.clock()))
        self._settle()

    def clock_changed(self, _: None) -> None:
        """The deadline may come at another time now."""
        self._next_look = float("inf")
        self._settle()

    def _overdue(self) -> bool:
        if self.node.clock() >= self._deadline:
            self.kill_everything("deadline")
            return True
        return False

    def _settle(self) -> None:
        """After everything: end if it is time to, else look again when something is due."""
        if not self.alive:
            return
        if not self.members and (self.killing or (self._finishing and self._group.rests)):
            self._end()
        elif not self.killing:
            due = self._group.next_due
            self._look_by(self._deadline if due is None else min(due, self._deadline))

    # ---- processes --------------------------------------------------------------------------------------------

    def _do(self, actions: Iterable[Action]) -> None:
        queue = deque(actions)
        while queue:
            action = queue.popleft()
            if isinstance(action, Start):
                queue.extend(self._start(action))
            elif isinstance(action, Signal):
                for member in [m for m in self.members.values() if m.tag == action.tag]:
                    member.signal(action.signo)
            else:
                self._report("state", level=action.level, state=action.state, text=action.reason)

    def _start(self, action: Start) -> list[Action]:
        if self._overdue():
            return []
        entry, node = action.entry, self.node
        if self._is_ahead and action.level != TEST:
            self.kill_everything("told to start without a token")
            return []
        epoch = ".".join(self._environment[name] for name in ("MOSHA_ERA", "MOSHA_EPOCH") if name in self._environment)
        member = Member(self, entry.tag, action.level, epoch, entry.command)
        self.members[member.pid] = member
        node.trace(f"{self.group}/{entry.tag} starts at {action.level}, epoch {epoch}")
        self._report("started", tag=entry.tag, pid=member.pid)
        return []

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
        if not self.killing and not self._overdue():
            now = self.node.clock()
            left = sum(1 for other in self.members.values() if other.tag == member.tag)
            if member.main:
                self._report("exited", tag=member.tag, status=status)
                self._do(self._group.exited(now, member.tag, status, left))
            elif not left and member.tag in self._group.remains():
                self._do(self._group.emptied(now, member.tag))
        if not self.members:
            self._report("empty")
        self._settle()

    # ---- the end ----------------------------------------------------------------------------------------------

    def _end(self) -> None:
        self.alive = False
        self.node.guardians.remove(self)
        self._told(None)

    def kill(self) -> None:
        """SIGKILL to the guardian itself: rule 4."""
        if self.alive:
            self.node.trace(f"leash {self.group} is killed")
            for member in list(self.members.values()):
                if member.main:
                    member.kill()
            self._end()

    def _report(self, kind: str, **fields: Any) -> None:
        self._told(LeashReport(kind, self.node.wall(), **fields))


class SimLeash:
    """The agent's end: see :class:`mosha.clinit.leash.Leash`."""

    def __init__(
        self, node: Node, group: str, environment: Mapping[str, str], deadline: float, ready: Callable[[str], None],
        ahead: bool = False,
    ) -> None:
        self.group = group
        self.gone = False
        self._ready = ready
        self._reports: list[LeashReport] = []
        self._ended = self._closed = False
        self._asked_to_kill = False
        self._environment = environment
        self._guardian = Guardian(node, group, environment, deadline, self._told, ahead)

    def tell(self, level: str, entries: Iterable[Entry], environment: Mapping[str, str] | None = None) -> None:
        """Have the group go to ``level``."""
        guardian, all_entries = self._guardian, tuple(entries)
        guardian.order(lambda: guardian.tell(level, all_entries, environment))

    def own(self, environment: Mapping[str, str]) -> None:
        """The group was won: commands of every level may be executed, with these variables as well."""
        guardian, whole = self._guardian, {**self._environment, **environment}
        guardian.order(lambda: guardian.own(whole))

    def extend(self, deadline: float) -> None:
        """Move the deadline forward."""
        guardian = self._guardian
        guardian.order(lambda: guardian.extend(deadline))

    def kill(self) -> None:
        """An order, once."""
        guardian = self._guardian
        if not self._asked_to_kill:
            self._asked_to_kill = True
            guardian.order(lambda: guardian.kill_everything("agent's order"))

    def kill_guardian(self) -> None:
        """SIGKILL to the guardian itself."""
        if self._guardian.alive:
            self._guardian.node.count("leash does not obey and is killed")
            self._guardian.kill()

    def finish(self) -> None:
        """Have the guardian end as soon as no process lives."""
        self._guardian.order(self._guardian.finish)

    def receive(self) -> list[LeashReport]:
        """What was reported since; sets ``gone`` after the last report."""
        reports, self._reports = self._reports, []
        self.gone = self._ended
        return reports

    def close(self) -> None:
        """Let go."""
        self._closed = True
        if self._guardian.alive:
            self._guardian.order(lambda: self._guardian.agent_died(None))

    def _told(self, report: LeashReport | None) -> None:
        if report is None:
            self._ended = True
        else:
            self._reports.append(report)
        if not self._closed:
            self._ready(self.group)
