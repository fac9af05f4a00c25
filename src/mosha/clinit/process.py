"""Starting one process of a group.

Rules:

1. It gets its own process group, default signals, no signal blocked, an ordinary priority, ``/`` as directory,
   ``/dev/null`` as input, and one pipe for output and errors.
2. It dies with its parent, and it is not executed after the deadline of the leash.
3. A command that cannot be executed says so in its output and exits 127, as a shell has it.
4. A file that is executable and no program, a script without ``#!``, is one for the shell, as Perl's exec has it.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Mapping

from mosha.platform import linux

EXIT_CANNOT_EXECUTE = 127
EXIT_TOO_LATE = 126
UMASK = 0o022
SHELL = "/bin/sh"
SHELL_CHARACTERS = frozenset("$&*(){}[]'\";\\|?<>~`\n")
SHELL_WORDS = frozenset((".", "exec"))
"""What makes a command one for the shell, as Perl's exec decides it: such a character anywhere, such a first word."""


def arguments(command: str) -> list[str]:
    """The program and its arguments: the words of the command, or a shell that is given all of it."""
    words = command.split()
    if SHELL_CHARACTERS.isdisjoint(command) and "=" not in words[0] and words[0] not in SHELL_WORDS:
        return words
    return [SHELL, "-c", command]


def spawn(
    command: str, environment: Mapping[str, str], output_fd: int, deadline_s: float, lock_path: str, nice: int
) -> int:
    """Start ``command``; its pid, which is also its process group. Raises OSError when there can be no process.

    ``lock_path``: a file that pins the process to this node when 1 is written into it, if it exists. ``nice``: its
    priority, as nice(1) has it.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            _execute(command, environment, output_fd, deadline_s, lock_path, nice, parent)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    try:
        os.setpgid(pid, pid)             # both sides do it: whoever comes first, it is done before either goes on
    except OSError:
        pass
    return pid


def _execute(
    command: str, environment: Mapping[str, str], output_fd: int, deadline_s: float, lock_path: str, nice: int,
    parent: int,
) -> None:
    """The child; does not return."""
    status = EXIT_CANNOT_EXECUTE
    try:
        linux.set_pdeathsig(signal.SIGKILL)
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output_fd, 1)
        os.dup2(output_fd, 2)
        os.chdir("/")
        os.umask(UMASK)
        _pin(lock_path)
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        reset_signals()
        if os.getppid() != parent or linux.boottime() >= deadline_s:
            status = EXIT_TOO_LATE
        else:
            _become(command, dict(environment))
    except OSError as error:
        os.write(2, f"cannot execute {command}: {error.strerror}\n".encode(errors="replace"))
    finally:
        os._exit(status)


def _become(command: str, environment: dict[str, str]) -> None:
    """Rule 4. Raises OSError."""
    words = arguments(command)
    try:
        os.execvpe(words[0], words, environment)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        os.execve(SHELL, [SHELL, "-c", command], environment)


def _pin(path: str) -> None:
    if not path:
        return
    try:
        fd = os.open(path, os.O_WRONLY)
        os.write(fd, b"1")
        os.close(fd)
    except OSError:
        pass


def reset_signals() -> None:
    """Every signal as in a new login: what a parent ignored would be ignored for ever."""
    signal.set_wakeup_fd(-1)
    for signo in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        try:
            signal.signal(signo, signal.SIG_DFL)
        except (OSError, ValueError):
            pass                         # the C library keeps some to itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
