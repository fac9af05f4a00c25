"""The process on the other end of a leash: the parent of all processes of one group.

Rules:

1. It kills everything (SIGKILL, until nothing lives) and ends when its deadline passes, when the agent closes the
   control socket or dies, when it is told to, and when anything goes wrong in itself. Killing waits for nobody.
2. The deadline is absolute, on the clock of :func:`mosha.platform.linux.boottime`. It is looked at before anything
   else in each turn, so an extension that comes after it is not even read. It only ever moves forward. The group's
   commands can read it: :mod:`mosha.resources.deadline`.
3. It never blocks: neither on the agent, whose reports wait in a bounded buffer, nor on what a process writes. Log
   lines are dropped, and counted, while the agent does not keep up.
4. One that was started ahead of its epoch executes nothing but tests, until it is told the token.
5. It ends by itself only when told to finish and no process lives: with a child subreaper that is exact, as then
   every descendant is a child and ``waitpid`` says ECHILD. Without, two looks at /proc must find nothing.
"""

from __future__ import annotations

import gc
import json
import os
import select
import selectors
import signal
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Callable

from mosha.clinit.family import TAG, Families
from mosha.clinit.group import STRAYS, Action, Group, Policy, Signal, Start, StateChanged, ending
from mosha.clinit.lines import LineReader
from mosha.clinit.process import EXIT_CANNOT_EXECUTE, reset_signals, spawn
from mosha.config import Config
from mosha.platform import linux, procscan
from mosha.resources import deadline, remove_left
from mosha.resources.records import RUN_VARIABLE
from mosha.tables.cltab import TEST, Entry

FINISHED, KILLED, BROKEN = 0, 1, 3
"""How a leash ends (exit status); nothing lives after the first two, and after the last as far as it could tell."""

TURN_S = 1.0                     # poll(2) does not count the time that the machine slept: look at the clock again
POLL_S = 0.05                    # looking for processes that nobody tells of
DYING_S = 0.04                   # what lives at this pause while killing may wait for a mount
MOUNTS_LIMIT_S = 1.0             # for ending mounts as a power cut would; the agent tries again
KILL_POLL_S = 0.01               # first pause between two looks while killing; it doubles, up to TURN_S
LOG_BACKLOG_BYTES_MAX = 64 * 1024
REPORT_BACKLOG_BYTES_MAX = 1024 * 1024
READ_BYTES = 64 * 1024

IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE)


@dataclass(frozen=True)
class Bond:
    """What a guardian is given at its birth; times in seconds."""

    group: str
    environment: Mapping[str, str]
    deadline_s: float
    lock_path: str
    policy: Policy
    agent: int
    control: socket.socket
    ahead: bool


def serve(bond: Bond, log: Callable[[str], None], close_fds: Iterable[int]) -> None:
    """What a freshly forked child of the agent does for the rest of its life; does not return."""
    status = BROKEN
    try:
        gc.freeze()                      # what the agent left to collect may close descriptors that are ours by then
        reset_signals()
        for fd in close_fds:
            _close(fd)
        guardian = Guardian(bond)
        try:
            status = guardian.run()
        except Exception as error:       # noqa: BLE001  (whatever it is, nothing may live on)
            guardian.reason = f"{type(error).__name__}: {error}"
        guardian.kill_everything()
        if guardian.reason:
            log(f"{bond.group}: {guardian.reason}: killed everything")
    finally:
        os._exit(status)


class Guardian:
    """See the rules of the module. ``reason`` says why everything was killed, if it was."""

    def __init__(self, bond: Bond) -> None:
        self.reason = ""
        self._bond = bond
        self._rundir = bond.environment.get(RUN_VARIABLE, Config.rundir)
        self._deadline_file = deadline.place(self._rundir, bond.group)
        self._control = bond.control
        self._deadline_s = bond.deadline_s
        self._environment = bond.environment
        self._is_ahead = bond.ahead
        self._group = Group(bond.group, bond.policy)
        self._mains: dict[int, str] = {}
        self._outputs: dict[int, tuple[str, LineReader]] = {}
        self._finishing = False
        self._childless = True
        self._empty = True
        self._used = False
        self._orders = bytearray()
        self._reports = bytearray()
        self._lost_lines = 0
        os.setsid()
        os.chdir("/")
        self._subreaper = linux.set_subreaper()
        self._families = Families(bond.group, self._subreaper)
        self._wake_fd = _wake_at_signals()
        linux.set_pdeathsig(signal.SIGHUP)
        self._control.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._control, selectors.EVENT_READ, self._on_control)
        self._selector.register(self._wake_fd, selectors.EVENT_READ, lambda _mask: None)
        self._show_deadline()

    def run(self) -> int:
        """Serve until the end; the exit status."""
        while True:
            events = self._selector.select(self._timeout_s())
            _drain(self._wake_fd)        # before any look at what it tells of, or a signal in between is lost
            if linux.boottime() >= self._deadline_s:
                self._kill("the deadline has passed")
            elif os.getppid() != self._bond.agent:
                self._kill("the agent has died")
            for key, mask in events:
                if not self.reason:
                    key.data(mask)
            if self.reason:
                self._do(self._group.halt())
                return KILLED
            self._reap()
            self._do(self._group.tick(linux.boottime()))
            if self._empty and self._finishing and self._group.rests:
                return FINISHED

    def kill_everything(self) -> None:
        """SIGKILL to every process of the group until none lives, then take its addresses and mounts away."""
        for pid in self._mains:
            procscan.kill(-pid, signal.SIGKILL)
        pause_s = KILL_POLL_S
        while not self._is_empty():
            for family in self._families.living().values():
                for process in family:
                    procscan.kill(process.pid, signal.SIGKILL)
            if pause_s >= DYING_S:
                remove_left(self._bond.group, self._rundir, DYING_S)     # by force: what waits for a dead server dies
            _wait(self._wake_fd, pause_s)
            pause_s = min(2 * pause_s, TURN_S)
            self._collect()
        if self._used and not self._remove_left():
            self._log("", "an address or a mount is left that cannot be ended yet")
            self._report("left")
        else:
            self._note_empty()

    def _remove_left(self) -> bool:
        """Addresses and mounts; in order, up to the deadline, if the group was stopped in order."""
        in_order_s = self._deadline_s - linux.boottime()
        if not self.reason and remove_left(self._bond.group, self._rundir, in_order_s, cut=False):
            return True
        return remove_left(self._bond.group, self._rundir, MOUNTS_LIMIT_S)

    # ---- the loop ---------------------------------------------------------------------------------------------

    def _timeout_s(self) -> float:
        dues = [self._deadline_s]
        if self._group.next_due is not None:
            dues.append(self._group.next_due)
        turn_s = TURN_S if self._subreaper or self._empty else POLL_S
        return max(0.0, min(min(dues) - linux.boottime(), turn_s))

    def _kill(self, reason: str) -> None:
        self.reason = self.reason or reason

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
        return self._subreaper or not any(self._families.living() for _ in range(procscan.LOOKS_EMPTY))

    def _reap(self) -> None:
        """Collect what has ended, and tell the group."""
        ended = self._collect()
        exits = [(self._mains.pop(pid), status) for pid, status in ended if pid in self._mains]
        if exits:
            families = self._families.living()
            for tag, status in exits:
                self._say_exit(tag, status)
                self._do(self._group.exited(linux.boottime(), tag, status, len(families.get(tag, ()))))
        if self._group.remains() and (ended or not self._subreaper):
            families = self._families.living()
            for tag in self._group.remains():
                if tag not in families:
                    self._do(self._group.emptied(linux.boottime(), tag))
        if self._childless and not self._mains and self._is_empty():
            self._note_empty()

    def _note_empty(self) -> None:
        if not self._empty:
            self._empty = True
            self._report("empty")

    def _show_deadline(self) -> None:
        try:
            deadline.put(self._deadline_file, self._deadline_s)
        except OSError as error:
            self._log("", f"the deadline is not shown to commands: {error}")

    # ---- actions ----------------------------------------------------------------------------------------------

    def _do(self, actions: Iterable[Action]) -> None:
        queue = deque(actions)
        while queue:
            action = queue.popleft()
            if isinstance(action, Start):
                queue.extend(self._start(action))
            elif isinstance(action, Signal):
                self._families.send(action.tag, action.signo)
            else:
                self._say_state(action)

    def _start(self, action: Start) -> list[Action]:
        entry = action.entry
        if self._is_ahead and action.level != TEST:
            self._kill(f"told to start {entry.tag} at {action.level} without a token")
            return []
        environment = {
            procscan.MARK: self._bond.group,
            **self._environment,
            "MOSHA_LEVEL": action.level,
            TAG: entry.tag,
            deadline.VARIABLE: self._deadline_file,
        }
        try:
            output_r, output_w = os.pipe()
            try:
                pid = spawn(entry.command, environment, output_w, self._deadline_s, self._bond.lock_path)
            except OSError:
                os.close(output_r)
                raise
            finally:
                os.close(output_w)
        except OSError as error:
            self._log(entry.tag, f"cannot be started: {error}")
            return self._group.exited(linux.boottime(), entry.tag, EXIT_CANNOT_EXECUTE)
        self._mains[pid] = entry.tag
        self._empty = self._childless = False
        self._used = True
        self._families.started(pid, entry.tag)
        self._watch_output(output_r, entry.tag)
        self._report("started", tag=entry.tag, pid=pid)
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
        for line in reader.feed(data):
            self._log(tag, line)
        if not data:
            self._selector.unregister(fd)
            os.close(fd)
            del self._outputs[fd]

    # ---- the agent --------------------------------------------------------------------------------------------

    def _on_control(self, mask: int) -> None:
        if mask & selectors.EVENT_WRITE:
            self._flush()
        if not mask & selectors.EVENT_READ:
            return
        try:
            data = self._control.recv(READ_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._kill("the agent has gone")
            return
        *lines, rest = bytes(self._orders + data).split(b"\n")
        self._orders[:] = rest
        for line in lines:
            self._obey(json.loads(line))

    def _obey(self, order: dict[str, Any]) -> None:
        if "own" in order:
            self._environment, self._is_ahead = order["own"], False
        elif "deadline" in order:
            self._deadline_s = max(self._deadline_s, order["deadline"])
            self._show_deadline()
        elif "kill" in order:
            self._kill("the agent wants it")
        elif "finish" in order:
            self._finishing = True
        else:
            self._environment = order["environment"] or self._environment
            entries = [Entry(*fields) for fields in order["entries"]]
            strays = not self._empty and STRAYS in self._families.living()
            self._do(self._group.tell(linux.boottime(), order["level"], entries, strays))

    def _say_state(self, change: StateChanged) -> None:
        self._report("state", level=change.level, state=change.state, text=change.reason)
        if change.reason:
            self._log("", f"{change.level} {change.state}: {change.reason}")

    def _say_exit(self, tag: str, status: int) -> None:
        for fd in [fd for fd, (writer, _) in self._outputs.items() if writer == tag]:
            self._read_output(fd)        # its last words come before its end
        self._report("exited", tag=tag, status=status)
        if status:
            self._log(tag, ending(status))

    def _log(self, tag: str, line: str) -> None:
        if len(self._reports) > LOG_BACKLOG_BYTES_MAX:
            self._lost_lines += 1
            return
        if self._lost_lines:
            self._report("log", text=f"{self._lost_lines} lines lost: the agent did not keep up")
            self._lost_lines = 0
        self._report("log", tag=tag, text=f"{tag}: {line}" if tag else line)

    def _report(self, kind: str, **fields: Any) -> None:
        self._reports += json.dumps({"kind": kind, "time": time.time(), **fields}).encode() + b"\n"
        self._flush()
        if len(self._reports) > REPORT_BACKLOG_BYTES_MAX:
            self._kill(f"the agent left more than {REPORT_BACKLOG_BYTES_MAX} bytes of reports unread")

    def _flush(self) -> None:
        try:
            sent = self._control.send(self._reports)
        except BlockingIOError:
            sent = 0
        except OSError:                  # the agent has gone: reading says so
            sent = len(self._reports)
        del self._reports[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._reports else 0)
        self._selector.modify(self._control, events, self._on_control)


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
