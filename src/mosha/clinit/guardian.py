"""The process on the other end of a leash: the parent of all processes of one group.

What it does and when, :mod:`mosha.clinit.custody` decides. Rules of this process:

1. It kills everything (SIGKILL, until nothing lives) and ends when custody has a reason, and when anything goes wrong
   in itself. Killing waits for nobody. Custody is told when the control socket is closed or the agent has died.
2. Its clock is :func:`mosha.platform.linux.boottime`; custody is told the time before anything else in each turn, and
   a process that was started looks once more before it is executed. The group's commands can read the deadline:
   :mod:`mosha.resources.deadline`.
3. It never blocks: neither on the agent (:mod:`mosha.clinit.wire`), nor on what a process writes.
4. It is scheduled before all that is ordinary, where it may be: when a machine thaws everything on it wants to execute
   at once, the group that must be dead by now as well. The commands have the priority of the agent.
5. That no process lives is exact with a child subreaper, as then every descendant is a child and ``waitpid`` says
   ECHILD. Without, two looks at /proc must find nothing.
6. In a control group it listens in the run directory (:mod:`mosha.clinit.door`). Who comes when the agent is gone, and
   is the same user, is the next life: it is told what it takes over, and gives the orders from then on.
"""

from __future__ import annotations

import gc
import math
import os
import select
import selectors
import signal
import socket
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Callable, NamedTuple

from mosha.clinit.custody import Custody, Order, strange
from mosha.clinit.door import Door
from mosha.clinit.family import TAG, Families
from mosha.clinit.group import STRAYS, Action, Signal, Start, StateChanged, Stuck, ending
from mosha.clinit.lines import LineReader
from mosha.clinit.process import EXIT_CANNOT_EXECUTE, reset_signals, spawn
from mosha.clinit.wire import BACKLOG_BYTES_MAX, Wire
from mosha.config import Config
from mosha.platform import linux, plain, procscan
from mosha.platform.cgroups import Tree, Unit
from mosha.platform.procscan import Process
from mosha.resources import deadline, remove_left
from mosha.resources.records import RUN_VARIABLE
from mosha.tables.settings import Policy
from mosha.timing import STUCK_S

FINISHED, KILLED, BROKEN = 0, 1, 3
"""How a leash ends (exit status); nothing lives after the first two, and after the last as far as it could tell."""

TURN_S = 1.0                     # poll(2) does not count the time that the machine slept: look at the clock again
LONG_TURN_S = 30.0               # where there is no deadline to be seen
LOOK_S = 0.25                    # looking for strays while all of them are to end
LOOKS_MAX = 5                    # at /proc, while it does not show what must be there
POLL_S = 0.05                    # looking for processes that nobody tells of
DYING_S = 0.04                   # what lives at this pause while killing may wait for a mount
IN_ORDER_LIMIT_S = 60.0          # for unmounting in order, where no deadline comes earlier
MOUNTS_LIMIT_S = 1.0             # for ending mounts as a power cut would; the agent tries again
STUCK_CHARS_MAX = 160
KILL_POLL_S = 0.01               # first pause between two looks while killing; it doubles, up to TURN_S
READ_BYTES = 64 * 1024

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)


class Bond(NamedTuple):
    """What a guardian is given at its birth; times in seconds."""

    group: str
    environment: Mapping[str, str]
    deadline_s: float
    lock_path: str
    policy: Policy
    agent: int
    control: socket.socket
    ahead: bool
    tree: Tree | None


def serve(bond: Bond, log: Callable[[str], None], close_fds: Iterable[int]) -> None:
    """What a freshly forked child of the agent does for the rest of its life; does not return."""
    status = BROKEN
    try:
        gc.freeze()                      # what the agent left to collect may close descriptors that are ours by then
        reset_signals()
        for fd in close_fds:
            _close(fd)
        guardian = Guardian(bond, bond.tree.enter(bond.group) if bond.tree is not None else None)
        try:
            status = guardian.run()
        except Exception as error:       # noqa: BLE001  (whatever it is, nothing may live on)
            guardian.custody.kill(f"{type(error).__name__}: {error}")
        guardian.kill_everything()
        if guardian.custody.reason:
            log(f"{bond.group}: killed everything: {guardian.custody.reason}")
    finally:
        os._exit(status)


class Guardian:
    """See the rules of the module."""

    def __init__(self, bond: Bond, unit: Unit | None) -> None:
        self._bond = bond
        self._rundir = bond.environment.get(RUN_VARIABLE, Config.rundir)
        may_outlive = unit is not None and math.isfinite(bond.deadline_s)
        self._door = Door.open(self._rundir, bond.group) if may_outlive else None
        self.custody = Custody(
            bond.group, bond.environment, bond.deadline_s, bond.ahead, bond.policy, in_unit=self._door is not None
        )
        self._agent: int | None = bond.agent             # its parent; None when that is not who gives the orders
        self._deadline_file = deadline.place(self._rundir, bond.group)
        self._hidden = ""                                # why it is not shown
        self._mains: dict[int, str] = {}
        self._outputs: dict[int, tuple[str, LineReader]] = {}
        self._childless = True
        self._empty = True
        self._used = False
        self._looked_s = 0.0
        self._stuck: tuple[str, ...] = ()
        os.setsid()
        os.chdir("/")
        self._nice = linux.hurry()
        self._subreaper = linux.set_subreaper()
        self._families = Families(bond.group, self._rundir, self._subreaper, unit)
        self._wake_fd = _wake_at_signals()
        linux.set_pdeathsig(signal.SIGHUP)
        self._selector = selectors.DefaultSelector()
        self._wire = Wire(self._selector, bond.control, self._obey, self._lose_agent)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, lambda _mask: None)
        self._show_deadline()
        if bond.tree is not None and unit is None:
            self._wire.log("", "it has no control group: its processes are a session")

    def run(self) -> int:
        """Serve until the end; the exit status."""
        while True:
            events = self._selector.select(self._timeout_s())
            _drain(self._wake_fd)        # before any look at what it tells of, or a signal in between is lost
            self._watch()
            self._do(self.custody.look(linux.boottime()))
            if self._agent is not None and os.getppid() != self._agent:
                self._lose_agent()
            for key, mask in events:
                if not self.custody.reason:
                    key.data(mask)
            if not self.custody.reason:
                self._reap()
            if self._wire.is_choked:
                self.custody.kill(f"the agent left more than {BACKLOG_BYTES_MAX} bytes of reports unread")
            if self.custody.reason:
                self._do(self.custody.halt())
                return KILLED
            if self.custody.has_ended(self._empty):
                return FINISHED

    def kill_everything(self) -> None:
        """SIGKILL to every process of the group until none lives, then take its addresses and mounts away."""
        for pid in self._mains:
            procscan.kill(-pid, signal.SIGKILL)
        procscan.kill_descendants()      # at once: a look at all processes of a large machine takes its time
        pause_s = KILL_POLL_S
        while not self.custody.has_ended(self._is_empty()):
            for family in self._living().values():
                for process in family:
                    procscan.kill(process.pid, signal.SIGKILL)
            if pause_s >= DYING_S:
                remove_left(self._bond.group, self._rundir, DYING_S)     # by force: what waits for a dead server dies
            _wait(self._wake_fd, pause_s)
            pause_s = min(2 * pause_s, TURN_S)
            self._collect()
        if self._used and not self._remove_left():
            self._wire.log("", "an address or a mount is left that cannot be ended yet")
            self._wire.report("left")
        else:
            self._note_empty()

    def _remove_left(self) -> bool:
        """Addresses and mounts; in order, up to the deadline, if the group was stopped in order."""
        in_order_s = min(self.custody.deadline_s - linux.boottime(), IN_ORDER_LIMIT_S)
        if not self.custody.reason and remove_left(self._bond.group, self._rundir, in_order_s, cut=False):
            return True
        return remove_left(self._bond.group, self._rundir, MOUNTS_LIMIT_S)

    # ---- the loop ---------------------------------------------------------------------------------------------

    def _timeout_s(self) -> float:
        turn_s = TURN_S if math.isfinite(self.custody.deadline_s) else LONG_TURN_S
        if self.custody.ends_strays and not self._empty:
            turn_s = LOOK_S
        if not self._subreaper and not self._empty:
            turn_s = POLL_S
        return max(0.0, min(self.custody.next_due - linux.boottime(), turn_s))

    def _collect(self) -> list[tuple[int, int]]:
        """(pid, status) of each child that has ended."""
        ended = []
        self._childless = False
        try:
            while True:
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                ended.append((pid, os.waitstatus_to_exitcode(wait_status)))
        except ChildProcessError:
            self._childless = True
        return ended

    def _is_empty(self) -> bool:
        """Rule 5."""
        if not self._childless:
            return False
        return self._subreaper or not any(self._living() for _ in range(procscan.LOOKS_EMPTY))

    def _living(self) -> dict[str, list[Process]]:
        """All living processes by tag. Nothing is believed to live no more while a child is there; nobody looks where
        rule 5 is exact, and none is."""
        if self._subreaper and self._childless:
            self._families.forget()
            return {}
        for _ in range(LOOKS_MAX):
            families = self._families.living(self.custody.tags())
            if families or self._childless:
                break
        return families

    def _reap(self) -> None:
        """Collect what has ended, and tell custody."""
        ended = self._collect()
        exits = [(self._mains.pop(pid), status) for pid, status in ended if pid in self._mains]
        if exits or self._is_time_to_look():
            families = self._living()
            if STRAYS in families:
                self._do(self.custody.strayed(linux.boottime()))
            for tag, status in exits:
                self._say_exit(tag, status)
                self._do(self.custody.ended(linux.boottime(), tag, len(families.get(tag, ())), status))
        empty = not self._mains and self._is_empty()     # before what is told of it: no process lives, no entry has one
        if self.custody.remains() and (ended or empty or not self._subreaper):
            families = {} if empty else self._living()
            for tag in self.custody.remains():
                self._do(self.custody.ended(linux.boottime(), tag, len(families.get(tag, ()))))
        if empty and self._childless:                    # nothing was started since
            self._note_empty()

    def _is_time_to_look(self) -> bool:
        """Whether there may be strays of which nobody tells."""
        if not self.custody.ends_strays or self._empty or linux.boottime() < self._looked_s + LOOK_S:
            return False
        self._looked_s = linux.boottime()
        return True

    def _note_empty(self) -> None:
        if not self._empty:
            self._empty = True
            self._wire.report("empty")

    def _show_deadline(self) -> None:
        if not math.isfinite(self.custody.deadline_s):
            return
        try:
            deadline.put(self._deadline_file, self.custody.deadline_s)
            self._hidden = ""
        except OSError as error:
            if plain.words(error) != self._hidden:
                self._hidden = plain.words(error)
                self._wire.log("", f"the deadline is not shown to commands: {self._hidden}")

    # ---- actions ----------------------------------------------------------------------------------------------

    def _do(self, actions: Iterable[Action]) -> None:
        queue = deque(actions)
        while queue:
            action = queue.popleft()
            if isinstance(action, Start):
                queue.extend(self._start(action))
            elif isinstance(action, Signal):
                self._families.send(action.tag, action.signo)
            elif isinstance(action, Stuck):
                self._say_stuck(action)
            else:
                self._say_state(action)

    def _start(self, action: Start) -> list[Action]:
        entry = action.entry
        if not self.custody.may_start(linux.boottime(), action):
            return []
        environment = {
            procscan.MARK: self._bond.group,
            **self.custody.environment,
            "MOSHA_LEVEL": action.level,
            TAG: entry.tag,
        }
        if math.isfinite(self.custody.deadline_s):
            environment[deadline.VARIABLE] = self._deadline_file
        try:
            output_r, output_w = os.pipe()
            try:
                pid = spawn(
                    entry.command, environment, output_w, self.custody.deadline_s, self._bond.lock_path, self._nice,
                )
            except OSError:
                os.close(output_r)
                raise
            finally:
                os.close(output_w)
        except OSError as error:
            self._wire.log(entry.tag, f"cannot be started: {plain.words(error)}")
            return self.custody.ended(linux.boottime(), entry.tag, 0, EXIT_CANNOT_EXECUTE)
        self._mains[pid] = entry.tag
        self._empty = self._childless = False
        self._used = True
        self._families.started(pid, entry.tag)
        self._watch_output(output_r, entry.tag)
        self._wire.report("started", tag=entry.tag, pid=pid)
        return []

    def _watch_output(self, fd: int, tag: str) -> None:
        os.set_blocking(fd, False)
        self._outputs[fd] = tag, LineReader()
        self._selector.register(fd, selectors.EVENT_READ, lambda _mask: self._read_output(fd))

    def _read_output(self, fd: int) -> None:
        """Read once; a pipe holds no more than one read takes, unless it is written meanwhile."""
        tag, reader = self._outputs[fd]
        try:
            data = os.read(fd, READ_BYTES)
        except BlockingIOError:
            return
        if data and self._wire.is_behind:
            self._wire.lose(reader.skip(data))           # cheap: a flood must not occupy a processor by rule 4
        else:
            for line in reader.feed(data):
                self._wire.log(tag, line)
        if not data:
            self._selector.unregister(fd)
            os.close(fd)
            del self._outputs[fd]

    # ---- the agent --------------------------------------------------------------------------------------------

    def _obey(self, order: Order) -> None:
        for name in strange(order):
            self._wire.log("", f"setting {name}: not known to this leash, which is of an earlier version")
        self._do(self.custody.obey(linux.boottime(), order, self._has_strays))
        if "deadline" in order and not self.custody.reason:
            self._show_deadline()
            self._wire.report("extended", deadline=self.custody.deadline_s)

    def _watch(self) -> None:
        """What custody is to be told of the clocks, and where the next agent looks."""
        before_s, skew_s = linux.boottime(), linux.skew()
        is_found = not self.custody.is_left or (self._door is not None and self._door.is_there())
        self.custody.watch(before_s, skew_s, linux.boottime(), is_found)

    def _lose_agent(self) -> None:
        """Rule 6."""
        if self._wire.is_connected:
            self._wire.disconnect()
            self._agent = None
            if self.custody.agent_gone(linux.boottime()) and self._door is not None:
                self._selector.register(self._door, selectors.EVENT_READ, lambda _mask: self._let_in())

    def _let_in(self) -> None:
        assert self._door is not None
        control, legacy = self._door.let_in(), self.custody.legacy()
        if control is not None and legacy is not None:
            self._selector.unregister(self._door)
            self._wire.connect(control)
            self._wire.greet(legacy.said())
            self._wire.report("log", text="taken over by the next life of the agent")

    def _has_strays(self) -> bool:
        return not self._empty and STRAYS in self._living()

    def _say_state(self, change: StateChanged) -> None:
        self._wire.report("state", level=change.level, state=change.state, text=change.reason)

    def _say_stuck(self, stuck: Stuck) -> None:
        families = self._living() if stuck.tags else {}
        pids = {tag: [process.pid for process in families.get(tag, ())] for tag in stuck.tags}
        text = "; ".join(f"{tag or 'of no entry'}: {procscan.shown(pids[tag])}" for tag in stuck.tags)[:STUCK_CHARS_MAX]
        self._wire.report("stuck", text=text)
        if stuck.tags != self._stuck:
            self._stuck = stuck.tags
            lives = f"{text} lives on {STUCK_S:g} s after SIGKILL: nobody on this machine can end it"
            self._wire.log("", lives if text else "what could not be ended has ended")

    def _say_exit(self, tag: str, status: int) -> None:
        for fd in [fd for fd, (writer, _) in self._outputs.items() if writer == tag]:
            self._read_output(fd)        # its last words come before its end
        self._wire.report("exited", tag=tag, status=status)
        if status:
            self._wire.log(tag, ending(status))


def _wake_at_signals() -> int:
    """A descriptor that becomes readable when a child ends or the agent dies."""
    for signo in IGNORED:
        signal.signal(signo, signal.SIG_IGN)
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_r, False)
    os.set_blocking(wake_w, False)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    for signo in (signal.SIGCHLD, signal.SIGHUP):
        signal.signal(signo, lambda _signo, _frame: None)
    return wake_r


def _drain(fd: int) -> None:
    try:
        os.read(fd, READ_BYTES)
    except BlockingIOError:
        pass


def _wait(fd: int, limit_s: float) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    poll.poll(limit_s * 1000)
    _drain(fd)


def _close(fd: int) -> None:
    try:
        os.close(fd)
    except OSError:
        pass
