"""The kinds of files that the tree is made of: text from a function, numbers that can be set."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Callable

from emulator.fuse.tree import Context, Directory, File, Node, Reply


class Refused(Exception):
    """A write that fails with this errno."""

    def __init__(self, code: int) -> None:
        super().__init__(errno.errorcode[code])
        self.code = code


class Generated(File):
    """A file whose content is made when it is read, and whose values are taken when they are written.

    ``read()`` gives the content; ``write(data)`` takes a value. Both may raise :class:`Refused`; what is None
    fails with EINVAL, as a file of a genuine ``/proc`` that has no such operation.
    """

    def __init__(
        self,
        mode: int,
        read: Callable[[], str | bytes] | None = None,
        write: Callable[[bytes], None] | None = None,
    ) -> None:
        super().__init__(mode)
        self._read = read
        self._write = write

    def read(self, context: Context, reply: Reply) -> None:
        try:
            if self._read is None:
                raise Refused(errno.EINVAL)
            content = self._read()
        except Refused as refused:
            reply(refused.code)
        else:
            reply(content.encode() if isinstance(content, str) else content)

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        try:
            if self._write is None:
                raise Refused(errno.EINVAL)
            self._write(data)
        except Refused as refused:
            reply(refused.code)
        else:
            reply(0)


def folder(nodes: Iterable[tuple[str, Node]]) -> Directory:
    """A directory of fixed content, in the order given."""
    directory = Directory(0o555)
    for name, node in nodes:
        directory.add(name, node)
    return directory


def constant(mode: int, text: str) -> Generated:
    """A file that always reads the same; setting it is not emulated (EOPNOTSUPP)."""
    return Generated(mode, lambda: text, not_emulated if mode & 0o222 else None)


def not_emulated(_data: bytes) -> None:
    """What a write does to a setting that the emulation does not have."""
    raise Refused(errno.EOPNOTSUPP)


def to_ints(data: bytes, low: int, high: int, count: int = 1, base: int = 10) -> list[int]:
    """The ``count`` numbers in what was written, each from ``low`` to ``high``; Refused (EINVAL)."""
    words = data.replace(b"\0", b" ").split()
    if len(words) == count and all(_is_number(word, base) for word in words):
        numbers = [int(word, base) for word in words]
        if all(low <= number <= high for number in numbers):
            return numbers
    raise Refused(errno.EINVAL)


def _is_number(word: bytes, base: int) -> bool:
    digits = word.removeprefix(b"-")
    return 0 < len(digits) < 12 and not digits.translate(None, _DIGITS[base])


_DIGITS = {10: b"0123456789", 16: b"0123456789abcdefABCDEF"}
