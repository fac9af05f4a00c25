"""What a process does that is to run elsewhere: it asks its daemon, then becomes the deputy.

Rules:

1. It asks as soon as it can, with little imported. What the deputy needs is imported while the other node starts the
   body: so a process that moves takes little longer than its two nodes do.
2. Whatever it waits for before the body runs has a bound.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import errno
import os

from emulator import settings
from emulator.guests import job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ANSWER_S = 30.0
JOB_MAX = 1 << 20
"""How long the words and the environment of a command may be, as they are sent; E2BIG beyond."""

_STOPS = {_signal.SIGSTOP, _signal.SIGTSTP, _signal.SIGTTIN, _signal.SIGTTOU, _signal.SIGCONT}
_PYTHON_IGNORES = {_signal.SIGPIPE, _signal.SIGXFSZ}
FORWARDED: list[int] = sorted(_signal.valid_signals() - _STOPS - _PYTHON_IGNORES - {_signal.SIGKILL, _signal.SIGCHLD})


class NoProgramError(OSError):
    """The command cannot be started on the other node."""


def run_at(node: int, program: str, arguments: list[str]) -> None:
    """Run the command on ``node`` and end as it ends; return only if this process is there already.

    OSError if it cannot go there, NoProgramError if there is no such command there.
    """
    _open_standard()
    sock = _ask(node, program, arguments)
    from emulator.guests import deputy  # rule 1

    deputy.run(sock.detach(), program, arguments)


def _ask(node: int, program: str, arguments: list[str]) -> Any:
    packed = job.packed(program, arguments, os.environ, *_place(), _ignored())
    if len(packed) > JOB_MAX:
        raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    sock.settimeout(ANSWER_S)
    sock.connect(settings.deputies_path())
    try:
        sock.sendall(job.HEADER.pack(job.HEADER.size + len(packed), job.START, node) + packed)
    except ConnectionError:  # the daemon has hung up, as it does on who takes too long: so says the answer
        pass
    return sock


def _place() -> tuple[str, int]:
    """Working directory and umask."""
    try:
        directory = os.getcwd()
    except OSError:
        directory = "/"
    umask = os.umask(0)
    os.umask(umask)
    return directory, umask


def _ignored() -> list[int]:
    return [int(number) for number in FORWARDED if _signal.getsignal(number) == _signal.SIG_IGN]


def _open_standard() -> None:
    """Have something at the standard descriptors, so that nothing else comes to be there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest that is free
