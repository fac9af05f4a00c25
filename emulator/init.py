"""PID 1 of a node: boots it, runs ``/etc/inittab``, prints what the entries print, and ends it in order.

Rules:

1. Entries start in their order; one with ``sysinit`` or ``wait`` holds up the next until it ends, at most
   ``WAIT_S``. Each runs in a session of its own. That of openMosix is another copy of this process: half of what it
   takes to start is loaded already.
2. A ``respawn`` entry is started again when it ends; ``RESPAWN_MAX`` starts within ``RESPAWN_WINDOW_S`` stop that
   for ``RESPAWN_PAUSE_S`` (sysvinit: 10 in 2 minutes, 5 minutes).
3. All zombies are reaped.
4. On SIGTERM or SIGINT the entries end in reverse order: each gets SIGTERM, to its process group, when those
   after it have ended, so that the agent has its file systems to the last; then all that is left gets SIGTERM.
   What lives ``STOP_S`` after the signal is killed. The exit code is 0.
5. On SIGPWR the node loses its power at once (:mod:`emulator.power`).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections import deque
from functools import partial

from emulator import power, settings
from emulator.boot import BootError, bind_boot_id, fix_neighbours, mount_control_groups, not_fresh
from emulator.child import detach
from emulator.inittab import Entry, InittabError, in_runlevel, parse_inittab
from emulator.output import Output
from emulator.reactor import Reactor, Timer
from emulator.table import TableError

RUNLEVEL = "2"
OPENMOSIX = "openmosixd"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

WAIT_S = 60.0
RESPAWN_MAX = 10
RESPAWN_WINDOW_S = 20.0
RESPAWN_PAUSE_S = 10.0
STOP_S = 8.0
KILL_S = 1.0
DRAIN_S = 1.0


class Init:
    """Starts the entries, keeps them, and ends them."""

    def __init__(self, reactor: Reactor, output: Output, entries: list[Entry]) -> None:
        self._reactor = reactor
        self._output = output
        self._todo = deque(entries)
        self._rank = {entry.id: rank for rank, entry in enumerate(entries)}
        self._running: dict[int, Entry] = {}
        self._starts: dict[str, deque[float]] = {}
        self._waited_pid = 0
        self._wait_timer: Timer | None = None
        self._stopping = False
        self._signalled: set[int] = set()

    def start_next(self) -> None:
        """Start entries up to the next one that is waited for."""
        while self._todo and not self._stopping:
            entry = self._todo.popleft()
            pid = self._start(entry)
            if pid and entry.action in ("sysinit", "wait"):
                self._waited_pid = pid
                self._wait_timer = self._reactor.call_later(WAIT_S, partial(self._go_on, entry))
                return

    def reap(self) -> None:
        """Take the exit codes of all processes that have ended, orphans too."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            entry = self._running.pop(pid, None)
            if entry is not None:
                self._ended(entry, pid, status)
        if self._stopping:
            self._stop_next()

    def stop(self) -> None:
        """End everything; the reactor stops when that is done (rule 4)."""
        if not self._stopping:
            self._stopping = True
            self._reactor.call_later(STOP_S, self._kill)
            self._stop_next()

    def _start(self, entry: Entry) -> int:
        """Start the process of an entry; its pid, or 0 if it could not be started."""
        self._starts.setdefault(entry.id, deque(maxlen=RESPAWN_MAX)).append(self._reactor.now())
        try:
            pid = self._spawn(entry)
        except OSError as error:
            self._output.say(f"{entry.id}: {entry.name} cannot be started: {error.strerror}")
            if entry.action == "respawn":
                self._reactor.call_later(RESPAWN_PAUSE_S, partial(self._respawn, entry))
            return 0
        self._running[pid] = entry
        return pid

    def _spawn(self, entry: Entry) -> int:
        pipe = self._output.pipe(entry.name)
        pid = 0
        try:
            pid = (_fork if entry.process == OPENMOSIX else _execute)(entry.process, pipe.writer)
        finally:
            pipe.started(pid)
        return pid

    def _ended(self, entry: Entry, pid: int, status: int) -> None:
        self._output.drain(pid)
        code = os.waitstatus_to_exitcode(status)
        if code or entry.action == "respawn":
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self._output.say(f"{entry.id}: {entry.name}[{pid}] ended, {how}")
        if pid == self._waited_pid:
            self._waited_pid = 0
            if self._wait_timer is not None:
                self._wait_timer.cancel()
            self.start_next()
        elif entry.action == "respawn":
            self._respawn(entry)

    def _respawn(self, entry: Entry) -> None:
        if self._stopping:
            return
        starts = self._starts[entry.id]
        if len(starts) == RESPAWN_MAX and self._reactor.now() - starts[0] < RESPAWN_WINDOW_S:
            self._output.say(
                f"{entry.id}: started {RESPAWN_MAX} times in {RESPAWN_WINDOW_S:g} s: "
                f"not again for {RESPAWN_PAUSE_S:g} s"
            )
            starts.clear()
            self._reactor.call_later(RESPAWN_PAUSE_S, partial(self._respawn, entry))
        else:
            self._start(entry)

    def _go_on(self, entry: Entry) -> None:
        self._output.say(f"{entry.id}: {entry.name} has not ended after {WAIT_S:g} s: going on without")
        self._waited_pid = 0
        self.start_next()

    def _stop_next(self) -> None:
        if self._running:
            last = max(self._running, key=lambda pid: self._rank[self._running[pid].id])
            self._terminate(last)
        elif os.getpid() == 1 and -1 not in self._signalled:
            self._terminate(-1)
        if not self._has_children():
            self._reactor.stop()

    def _terminate(self, pid: int) -> None:
        """SIGTERM, once, to the process group of an entry; -1: to all processes there are (kill(2))."""
        if pid not in self._signalled:
            self._signalled.add(pid)
            target = pid if pid == -1 else -pid
            _signal(target, signal.SIGTERM)
            _signal(target, signal.SIGCONT)

    def _kill(self) -> None:
        self._output.say(f"not all has ended within {STOP_S:g} s: killing what is left")
        for pid in [-1] if os.getpid() == 1 else [-pid for pid in self._running]:
            _signal(pid, signal.SIGKILL)
        self._reactor.call_later(KILL_S, self._reactor.stop)

    @staticmethod
    def _has_children() -> bool:
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True


def _execute(process: str, writer: int) -> int:
    """The pid of a process that says what it says to ``writer``; OSError."""
    files = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, writer, 1),
        (os.POSIX_SPAWN_DUP2, writer, 2),
    ]
    return os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", f"exec {process}"],
        {"PATH": PATH, **os.environ},
        file_actions=files,
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )


def _fork(name: str, writer: int) -> int:
    """The same of openMosix, as another copy of this process."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # init hears none of its
    try:
        pid = os.fork()
        if not pid:
            try:
                detach(os.open(os.devnull, os.O_RDONLY), writer, writer)
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
                os._exit(_be_openmosix(name))
            except BaseException:  # noqa: BLE001 - nothing of init may go on in this process
                sys.excepthook(*sys.exc_info())
                os._exit(1)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def _be_openmosix(name: str) -> int:
    """Its exit code."""
    gc.freeze()                      # what is of init is not copied only for having been looked at
    gc.disable()                     # nothing that is imported is garbage
    from emulator import daemon

    gc.enable()
    os.environ.setdefault("PATH", PATH)
    with open("/proc/self/comm", "w", encoding="ascii") as comm:     # what pidof and ps know it by
        comm.write(name)
    return daemon.main()


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def watch_signals(reactor: Reactor, init: Init) -> None:
    """Bring SIGCHLD, SIGTERM and SIGINT into the loop."""

    def arrived(numbers: set[int]) -> None:
        if numbers & {signal.SIGTERM, signal.SIGINT}:
            init.stop()
        init.reap()

    reactor.watch_signals((signal.SIGCHLD, signal.SIGTERM, signal.SIGINT), arrived)


def boot(output: Output) -> None:
    """Make this a boot; BootError, TableError."""
    bind_boot_id()
    problem = mount_control_groups()
    if problem:
        output.say(f"warning: {problem}")
    with open("/proc/self/mounts", encoding="utf-8") as file:
        for path in not_fresh(file.read()):
            output.say(f"warning: {path} is not a tmpfs: it keeps what the last boot left there")
    try:
        fix_neighbours()
    except FileNotFoundError as error:
        output.say(f"warning: no map at {error.filename}")


def main() -> int:
    """Be PID 1 until SIGTERM; the exit code."""
    if os.getpid() != 1:
        print("init: must be PID 1 of a node", file=sys.stderr)
        return 1
    signal.signal(power.SIGNAL, power.lose)
    reactor = Reactor()
    output = Output(reactor)
    path = settings.inittab_path()
    try:
        with open(path, encoding="utf-8") as file:
            entries = parse_inittab(file.read(), path)
        init = Init(reactor, output, in_runlevel(entries, RUNLEVEL))
        watch_signals(reactor, init)
        boot(output)
    except (BootError, InittabError, TableError, OSError) as error:
        output.say(str(error))
        output.finish(reactor.now() + DRAIN_S)
        return 1
    init.start_next()
    reactor.run()
    output.finish(reactor.now() + DRAIN_S)
    return 0


if __name__ == "__main__":
    sys.exit(main())
