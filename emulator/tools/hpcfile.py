"""How the tools read and write the tree: one open and one read, as the genuine ones do.

A read of ``nodes/N/*`` is a probe that takes 20 to 60 ms; buffered files might ask twice. Nothing but ``os``
is imported, because ``mosctl`` is started often (``signal`` would import ``enum``).
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys
from errno import EFBIG, EIO

from emulator import settings

BYTES_MAX = 1 << 16
DIGITS_MAX = 20
ALL_MAX = 4 << 20
"""More than the longest file has, which is ``info/infos`` of 65534 nodes."""


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
    """The whole content of ``hpc/<name>``, however often that is to be read; OSError, EFBIG beyond ``ALL_MAX``."""
    fd = os.open(path(name), os.O_RDONLY)
    content = b""
    try:
        while part := os.read(fd, BYTES_MAX):
            content += part
            if len(content) > ALL_MAX:
                raise OSError(EFBIG, os.strerror(EFBIG), path(name))
    finally:
        os.close(fd)
    return content


def read_int(name: str) -> int:
    """The number in ``hpc/<name>``; OSError, EIO if it holds none."""
    numbers = read_ints(name)
    if len(numbers) != 1:
        raise _garbage(name)
    return numbers[0]


def read_ints(name: str) -> list[int]:
    """The numbers in ``hpc/<name>``; OSError, EIO if something else is in it."""
    try:
        return [int(word) for word in read(name).rstrip(b"\0\n").split()]
    except ValueError:
        raise _garbage(name) from None


def _garbage(name: str) -> OSError:
    return OSError(EIO, os.strerror(EIO), path(name))


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
    """Have those signals as usual that Python ignores, or has words for: they end the genuine tools in silence."""
    heed_interrupt()
    for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
        _signal.signal(number, _signal.SIG_DFL)


def heed_interrupt() -> None:
    """The same of the interrupt key's signal, if it was not ignored from the start."""
    if _signal.getsignal(_signal.SIGINT) == _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def is_number(word: str) -> bool:
    """Whether a word of a command line is a number from 0 on: more digits than any has are none."""
    return word.isascii() and word.isdigit() and len(word) < DIGITS_MAX


def complain(text: str) -> None:
    """Print to stderr."""
    print(text, file=sys.stderr)
