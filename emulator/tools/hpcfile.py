"""How the tools read and write the tree: one open and one read, as the genuine ones do.

A read of ``nodes/N/*`` is a probe that takes 20 to 60 ms; buffered files might ask twice. Nothing but ``os``
is imported, because ``mosctl`` is started often.
"""

from __future__ import annotations

import os
import sys

from emulator import settings

BYTES_MAX = 1 << 16


def path(name: str) -> str:
    """The path of ``hpc/<name>``."""
    return f"{settings.proc_root()}/hpc/{name}"


def exists() -> bool:
    """Whether this is an openMosix system at all."""
    return os.path.isdir(path("admin"))


def read(name: str) -> bytes:
    """The whole content of ``hpc/<name>``, read at once; OSError."""
    return _read(path(name))


def read_all(name: str) -> bytes:
    """The whole content of ``hpc/<name>``, however long; OSError."""
    fd = os.open(path(name), os.O_RDONLY)
    try:
        parts = [os.read(fd, BYTES_MAX)]
        while parts[-1]:
            parts.append(os.read(fd, BYTES_MAX))
    finally:
        os.close(fd)
    return b"".join(parts)


def read_int(name: str) -> int:
    """The number in ``hpc/<name>``; OSError, and ValueError if it holds none."""
    return int(read(name).rstrip(b"\0\n"))


def write(name: str, data: bytes) -> None:
    """Make ``data`` the new value of ``hpc/<name>``; OSError."""
    _write(path(name), data)


def write_mfs(name: str, data: bytes) -> None:
    """Make ``data`` the new value of ``mfs/<name>``; OSError."""
    _write(f"{settings.proc_root()}/mfs/{name}", data)


def read_process(pid: int | str, name: str) -> bytes:
    """The content of ``<pid>/<name>``; OSError."""
    return _read(f"{settings.proc_root()}/{pid}/{name}")


def write_process(pid: int | str, name: str, value: int) -> None:
    """Make ``value`` the new value of ``<pid>/<name>``; OSError."""
    _write(f"{settings.proc_root()}/{pid}/{name}", b"%d\n" % value)


def _read(file: str) -> bytes:
    fd = os.open(file, os.O_RDONLY)
    try:
        return os.read(fd, BYTES_MAX)
    finally:
        os.close(fd)


def _write(file: str, data: bytes) -> None:
    fd = os.open(file, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def heed_signals() -> None:
    """Have those signals as usual that Python ignores: SIGPIPE ends the genuine tools (``mps | head``).

    ``signal`` would import ``enum``.
    """
    import _signal  # type: ignore[import-not-found]

    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)


def complain(text: str) -> None:
    """Print to stderr."""
    print(text, file=sys.stderr)
