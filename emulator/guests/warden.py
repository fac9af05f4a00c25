"""The warden: the process on the other node whose child the body is. The host's daemon is its parent.

Rules:

1. The body and all that it starts live in a process namespace of their own and end with it: when the body ends, when
   the warden is killed, when the daemon ends. No process of a guest outlives its deputy.
2. The body has the pid that its deputy has at home, the home's host name, the caller's ids, words, environment, umask,
   ignored signals, limits and priority (as far as this node's daemon may give them), and its working directory if there
   is one; else ``/``. Files are those of the node where it runs.
3. Its stdin, stdout and stderr are pipes (:mod:`emulator.guests.pump`).
4. A signal goes to the body; those that a terminal sends to a group of processes (INT, QUIT, HUP, STOP, CONT) to its
   process group.
5. Nothing is said to have started before the command runs. The last that is said is how the body ended, after all that
   it wrote.
6. It is forked from the daemon, where all is loaded that it needs (an interpreter of its own took 34 ms of processor to
   start), and has nothing of the daemon's but its log.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
from struct import Struct

from emulator.guests import frames
from emulator.guests.frames import Caller, Job, Kind
from emulator.guests.pump import Pump
from emulator.mfs.link import Link
from emulator.reactor import Reactor

log = logging.getLogger(__name__)

SOCKET = 3
"""The descriptor at which the warden has its end of the socket pair with the daemon."""
NAME = b"warden"
START_S = 10.0

TO_GROUP = {signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGSTOP, signal.SIGCONT}

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_CLONE_NEWUTS, _CLONE_NEWPID = 0x04000000, 0x20000000
_SYS_CLONE3 = 435
_CLONE_ARGS = Struct("=11Q")  # clone(2): exit_signal is the fifth, set_tid and set_tid_size the ninth and tenth


class Warden:
    """Runs the body ``pid`` to its end. ``pipes`` are the warden's ends of its stdin, stdout and stderr."""

    def __init__(self, sock: socket.socket, init: int, pid: int, pipes: tuple[int, int, int]) -> None:
        self._reactor = Reactor()
        self._init = init
        self._pid = pid
        self._status: int | None = None
        self._is_held = False  # stopped by a signal that was passed on, so its home knows
        self._is_told = False
        self._link = Link(self._reactor, sock, self._frame, self._ended, frames.FRAME_MAX)
        self._link.send(frames.frame(Kind.STARTED, pid))
        stdin, stdout, stderr = pipes
        for fd in pipes:
            os.set_blocking(fd, False)
        self._pump = Pump(self._reactor, self._link, {1: stdout, 2: stderr}, {0: stdin}, self._idle)
        self._reactor.watch_signals((signal.SIGCHLD,), lambda _numbers: self._reap())
        self._reap()

    def run(self) -> None:
        """Return when the daemon has nothing more to say."""
        self._reactor.run()

    def _frame(self, data: memoryview) -> None:
        said = frames.parse(data)
        if said.kind == Kind.SIGNAL:
            self._pass_on(said.number)
        else:
            self._pump.take(said)

    def _ended(self, _failure: OSError) -> None:
        self._reactor.stop()

    def _pass_on(self, number: int) -> None:
        if self._status is None and number in signal.valid_signals():
            self._is_held = (self._is_held or number == signal.SIGSTOP) and number != signal.SIGCONT
            os.kill(-self._pid if number in TO_GROUP else self._pid, number)

    def _reap(self) -> None:
        if self._status is not None:
            return
        pid, status = os.waitpid(self._pid, os.WNOHANG | os.WUNTRACED)
        if not pid:
            return
        if os.WIFSTOPPED(status):
            if not self._is_held:
                self._link.send(frames.frame(Kind.STOPPED))
            return
        self._status = status
        os.kill(self._init, signal.SIGKILL)  # rule 1; then all pipes have ended
        self._pump.drop_sinks()
        self._idle()

    def _idle(self) -> None:
        if self._status is not None and self._pump.is_idle and not self._is_told:
            self._is_told = True
            self._link.send(frames.frame(Kind.EXIT, self._status))


def fork(sock: socket.socket) -> int:
    """A warden that speaks over ``sock``; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        _detach(sock)
        _be_warden()
        os._exit(0)
    except BaseException:  # nothing of the daemon may go on in this process
        log.exception("a guest's warden")
    finally:
        os._exit(1)


def _detach(sock: socket.socket) -> None:
    """Rule 6. What is garbage stays: it would close descriptors that are others by now."""
    gc.freeze()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(sock.fileno(), SOCKET)
    os.closerange(SOCKET + 1, os.sysconf("SC_OPEN_MAX"))
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nothing, standard)
    os.close(nothing)
    with open("/proc/self/comm", "wb", buffering=0) as file:
        file.write(NAME)


def _be_warden() -> None:
    _check(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL))
    sock = socket.socket(fileno=SOCKET)
    sock.set_inheritable(False)
    sock.settimeout(START_S)
    caller, job = _read_start(sock)
    try:
        init = _enter(caller.hostname)
        pid, pipes = _start(caller, job)
    except OSError as failure:
        kind = Kind.NO_PROGRAM if isinstance(failure, _NoProgramError) else Kind.REFUSED
        sock.sendall(b"".join(frames.frame(kind, failure.errno or errno.EIO)))
        return
    sock.setblocking(False)
    Warden(sock, init, pid, pipes).run()


class _NoProgramError(OSError):
    """The command cannot be started."""


def _read_start(sock: socket.socket) -> tuple[Caller, Job]:
    data = sock.recv(4, socket.MSG_WAITALL)
    rest = sock.recv(int.from_bytes(data, sys.byteorder) - 4, socket.MSG_WAITALL)
    return frames.parse_start(frames.parse(memoryview(data + rest)).payload)


def _enter(hostname: str) -> int:
    """Let all children be in new namespaces; the pid of the first, without which they cannot live."""
    _check(_libc.unshare(_CLONE_NEWPID | _CLONE_NEWUTS))
    socket.sethostname(hostname)
    alive, held = os.pipe()  # ``held`` stays open for as long as the warden lives
    init = os.fork()
    if not init:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # whoever ends here is reaped
        os.close(SOCKET)
        os.close(held)
        os.read(alive, 1)
        os._exit(0)
    os.close(alive)
    return init


def _start(caller: Caller, job: Job) -> tuple[int, tuple[int, int, int]]:
    """Start the body; its pid as this node knows it, and the other ends of its pipes. OSError."""
    stdin, stdout, stderr, failed = os.pipe(), os.pipe(), os.pipe(), os.pipe()
    pid = _fork_as(caller.pid)
    if not pid:
        try:
            _become(caller, job, (stdin[0], stdout[1], stderr[1]))
            os.execvpe(job.program, job.arguments, job.environment)
        except OSError as failure:
            os.write(failed[1], bytes([failure.errno or errno.EIO]))
        finally:
            os._exit(127)
    for fd in (stdin[0], stdout[1], stderr[1], failed[1]):
        os.close(fd)
    code = os.read(failed[0], 1)
    os.close(failed[0])
    if code:
        raise _NoProgramError(code[0], os.strerror(code[0]))
    return pid, (stdin[1], stdout[0], stderr[0])


def _become(caller: Caller, job: Job, standard: tuple[int, int, int]) -> None:
    os.setsid()
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
    _limit(caller)
    try:
        os.setgroups(caller.groups)
    except PermissionError:                                  # a user's namespace, where there is one user and no other
        if (caller.uid, caller.gid) != (os.getuid(), os.getgid()):
            raise
    os.setresgid(caller.gid, caller.gid, caller.gid)
    os.setresuid(caller.uid, caller.uid, caller.uid)
    os.umask(job.umask)
    try:
        os.chdir(job.directory)
    except OSError:
        os.chdir("/")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    for ignored in job.ignored:
        signal.signal(ignored, signal.SIG_IGN)


def _limit(caller: Caller) -> None:
    for number, (soft, hard) in enumerate(caller.limits):
        try:
            resource.setrlimit(number, (soft, hard))
        except ValueError:  # this node's daemon has less
            _, most = resource.getrlimit(number)
            resource.setrlimit(number, (soft if 0 <= soft <= most else most, most))
    try:
        os.setpriority(os.PRIO_PROCESS, 0, caller.nice)
    except PermissionError:
        pass


def _fork_as(pid: int) -> int:
    """Fork; the child has this pid in its namespace, or any other where the kernel does not let us choose."""
    wanted = ctypes.c_int32(pid)
    arguments = _CLONE_ARGS.pack(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
    child = int(_libc.syscall(_SYS_CLONE3, arguments, len(arguments)))
    return os.fork() if child < 0 else child


def _check(result: int) -> None:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
