"""Files that somebody else has put there: what is none is refused at once, and nobody is waited for."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager

READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC       # it waits for nobody: a FIFO may lie there


def checked(fd: int, path: str | os.PathLike[str]) -> int:
    """The same one; that of a directory, FIFO or device is closed. Raises OSError, EISDIR or EINVAL for these."""
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISREG(mode):
            return fd
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    except OSError:
        os.close(fd)
        raise


def read(path: str | os.PathLike[str], bytes_max: int) -> bytes:
    """The content of a file, at most ``bytes_max`` + 1 bytes of it. Raises OSError."""
    with named(path), open(checked(os.open(path, READING), path), "rb") as stream:
        return stream.read(bytes_max + 1)


@contextmanager
def named(path: str | os.PathLike[str]) -> Iterator[None]:
    """An error within that is one of a descriptor names the file that this is."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def words(error: Exception) -> str:
    """What is wrong, and with which file, as people are told."""
    if not isinstance(error, OSError):
        return str(error)
    reason = error.strerror or str(error)
    return reason if error.filename is None else f"{error.filename}: {reason}"


def fill_standard() -> None:
    """Where somebody has closed standard input, output or error, the next file, or socket, would be taken for it."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)     # the lowest number that is free: this one


def flush_output() -> None:
    """What was printed is out, or nobody tries it again; nothing, where standard output is closed. Raises OSError."""
    try:
        with named("standard output"):
            print(end="", flush=True)
    except OSError:
        drop_output()
        raise


def drop_output() -> None:
    """Whoever reads standard output has enough (`… | head`), or can take no more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_output() -> None:
    """What the terminal's code has no character for is written as an escape, as standard error has it."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
