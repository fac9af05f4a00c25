"""The agent's end of a leash: the guardian process that holds all processes of one group.

Whatever becomes of the agent, the guardian kills the group when its deadline has passed, or at once when this end is
closed: see :mod:`mosha.clinit.guardian`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
from collections.abc import Iterable, Mapping
from typing import Callable, NamedTuple

from mosha.clinit import custody, door
from mosha.clinit.custody import Legacy, Order
from mosha.clinit.guardian import BROKEN, Bond, serve
from mosha.platform import linux, procscan
from mosha.platform.cgroups import Tree
from mosha.platform.procscan import Process
from mosha.resources import deadline
from mosha.tables.cltab import Entry
from mosha.tables.settings import DEFAULT_POLICY, Policy

ORDERS_UNREAD_BYTES_MAX = 1024 * 1024
READ_BYTES = 64 * 1024
GREETING_SHARE = 0.5             # of the time to its deadline, for a leash to say what it is; the rest is to extend it


class LeashReport(NamedTuple):
    """What a guardian says.

    ========  =======================================================================
    kind      fields
    ========  =======================================================================
    state     level, state, text: the group came to this state (text: why it FAILED)
    started   tag, pid: a process was started
    exited    tag, status: it ended (exit code, or minus the signal)
    empty     no process of the group lives any more
    left      nor will one, but an address or a mount is left that cannot be ended
    stuck     text: what lives on, though it was killed (``timing.STUCK_S``); empty if nothing does any more
    extended  deadline: it was told of this one in time, and has it now (``linux.boottime``)
    log       tag, text: a line that a process of the entry wrote, or about it
    ========  =======================================================================
    """

    kind: str
    time: float
    """Wall clock, seconds since 1970."""
    level: str = ""
    state: str = ""
    tag: str = ""
    pid: int = 0
    status: int = 0
    deadline: float = 0.0
    text: str = ""


def _to_stderr(line: str) -> None:
    os.write(2, (line + "\n").encode(errors="replace"))


class Leash:
    """One guardian. ``gone``: it has ended; ``status`` is then its exit status."""

    def __init__(self, group: str, pid: int, control: socket.socket, environment: Mapping[str, str]) -> None:
        self.group = group
        self.pid = pid
        self.gone = False
        self.status: int | None = None
        self._control = control
        self._environment = environment
        self._orders = bytearray()
        self._received = bytearray()
        self._asked_to_kill = False
        self.stranger: Process | None = None         # that process, where it is no child of this one

    @classmethod
    def start(
        cls,
        group: str,
        environment: Mapping[str, str],
        deadline: float,
        log: Callable[[str], None] = _to_stderr,
        close_fds: Iterable[int] = (),
        lock_path: str = "",
        policy: Policy = DEFAULT_POLICY,
        ahead: bool = False,
        tree: Tree | None = None,
    ) -> Leash:
        """Fork the guardian of ``group``, armed with ``deadline`` (seconds, absolute, of ``linux.boottime``;
        infinite for a group that needs no lease).

        ``environment`` is all that commands get, besides MOSHA_GROUP, MOSHA_LEVEL, MOSHA_TAG and MOSHA_DEADLINE.
        ``close_fds`` are descriptors of the agent that the guardian must not keep; ``log`` is called in the guardian
        when it has killed everything, with one line; 1 is written into the file ``lock_path``, if it exists, by each
        process before its command is executed. ``ahead``: it executes nothing but tests before :meth:`own`. It
        has its unit in ``tree``. Raises OSError.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        agent = os.getpid()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            pid = os.fork()
            if pid == 0:
                try:
                    ours.close()
                    bond = Bond(group, environment, deadline, lock_path, policy, agent, theirs, ahead, tree)
                    serve(bond, log, close_fds)
                finally:
                    os._exit(BROKEN)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        ours.setblocking(False)
        return cls(group, pid, ours, environment)

    @classmethod
    def take_over(cls, rundir: str, environment: Mapping[str, str]) -> list[tuple[Leash, Legacy]]:
        """The leashes of an agent that has died, which may go on, and now obey this process: see
        :mod:`mosha.clinit.door`. It waits for each up to ``GREETING_SHARE`` of the time to the deadline that it shows;
        those that say nothing kill everything, as soon as they hear of it."""
        guests = door.knock(rundir)
        now_s = linux.boottime()
        found = []
        for group, (control, pid) in guests.items():
            leash = cls(group, pid, control, environment)
            leash.stranger = procscan.process(pid)
            legacy = leash._greeting(now_s + GREETING_SHARE * (deadline.shown(rundir, group) - now_s))
            if legacy is not None and legacy.group == group and leash.stranger is not None:
                found.append((leash, legacy))
            else:
                leash.kill()
                leash.close()
        return found

    def _greeting(self, until_s: float) -> Legacy | None:
        """What the guardian says first; None if it ends, or says nothing by then (``linux.boottime``)."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        while b"\n" not in self._received:
            if not poll.poll(max(0.0, until_s - linux.boottime()) * 1000):
                return None
            try:
                data = self._control.recv(READ_BYTES)
            except OSError:
                return None
            if not data:
                return None
            self._received += data
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received[:] = rest
        try:
            return Legacy.of(json.loads(line))
        except (ValueError, KeyError, TypeError):
            return None

    def fileno(self) -> int:
        """Readable when :meth:`receive` has something to do."""
        return self._control.fileno()

    def receive(self) -> list[LeashReport]:
        """What the guardian has reported since; does not wait. Sets ``gone`` after its last report."""
        self._flush()
        ended = False
        try:
            data = self._control.recv(READ_BYTES)
            ended = not data
        except BlockingIOError:
            return []
        except ConnectionError:
            data, ended = b"", True
        *lines, rest = bytes(self._received + data).split(b"\n")
        self._received[:] = rest
        if ended:
            self._reap()
        return [LeashReport(**json.loads(line)) for line in lines]

    def tell(
        self, level: str, entries: Iterable[Entry], environment: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> None:
        """Have the group go to ``level``; ``entries`` are all of the group. ``environment`` and ``policy`` replace
        those before."""
        self._send(custody.tell(level, entries, environment, policy))

    def own(self, environment: Mapping[str, str]) -> None:
        """The group was won: from now on commands of every level may be executed, with these variables as well."""
        self._send(custody.own({**self._environment, **environment}))

    def extend(self, deadline: float) -> None:
        """Move the deadline forward (never back). Refused, in that everything is killed, once the old one has passed.

        Not sent while the guardian has older orders unread: the next beat says it anew. It reports ``extended``.
        """
        if not self._orders:
            self._send(custody.extend(deadline))

    def kill(self) -> None:
        """Have everything killed at once. A guardian that is frozen does not; see :meth:`kill_guardian`."""
        if not self._asked_to_kill:
            self._asked_to_kill = True
            self._send(custody.KILL)

    def kill_guardian(self) -> None:
        """SIGKILL, frozen or not. What it held is left to :meth:`mosha.platform.world.World.sweep`."""
        if not self.gone and (self.stranger is None or procscan.lives(self.stranger)):
            procscan.kill(self.pid, signal.SIGKILL)

    def finish(self) -> None:
        """Have the guardian end as soon as no process lives."""
        self._send(custody.FINISH)

    def hold(self) -> None:
        """Have the group left alone, as long as no level is told."""
        self._send(custody.HOLD)

    def halt(self) -> None:
        """Have everything stopped in order, whatever the level, and the guardian end when no process lives."""
        self._send(custody.HALT)

    def close(self) -> None:
        """Let go, and wait for its pid. A guardian that has not gone waits for the next life, or kills everything
        (:mod:`mosha.clinit.door`); after :meth:`kill` it does that."""
        self._control.close()

    def _send(self, order: Order) -> None:
        self._orders += json.dumps(order).encode() + b"\n"
        self._flush()
        if len(self._orders) > ORDERS_UNREAD_BYTES_MAX:
            self.kill_guardian()

    def _flush(self) -> None:
        try:
            while self._orders:
                del self._orders[: self._control.send(self._orders)]
        except BlockingIOError:
            pass
        except OSError:                  # the guardian has gone: receive() says so
            self._orders.clear()

    def _reap(self) -> None:
        if self.stranger is not None:
            self.gone = not procscan.lives(self.stranger)
            return
        try:
            pid, wait_status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            self.gone = True
            return
        if pid:
            self.gone = True
            self.status = os.waitstatus_to_exitcode(wait_status)
