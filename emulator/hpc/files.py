"""The kinds of files that the tree is made of: text from a function, numbers that can be set."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Callable, Protocol

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


class Lasting(Generated):
    """A file where a write may last until something has come about.

    ``start(data)`` gives what is waited for, or None if that is done already; it may raise :class:`Refused`. One write
    at a time, others get EBUSY meanwhile; a signal to the writer ends the waiting with EINTR. As the kernel lets nobody
    write to a file while somebody does, another is found in its place meanwhile.
    """

    def __init__(
        self, mode: int, start: Callable[[bytes], Wait | None], read: Callable[[], str | bytes] | None = None
    ) -> None:
        super().__init__(mode, read)
        self._start = start
        self._waiting: tuple[Wait, Reply] | None = None
        self._busy = Generated(mode, read, _busy)

    @property
    def now(self) -> Generated:
        """What is found under its name."""
        return self if self._waiting is None else self._busy

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        if self._waiting is not None:
            reply(errno.EBUSY)
            return
        try:
            wait = self._start(data)
        except Refused as refused:
            reply(refused.code)
            return
        if wait is None:
            reply(0)
            return
        self._waiting = wait, reply
        wait.begin(self._ended)

    def interrupted(self, reply: Reply) -> None:
        if self._waiting is not None and self._waiting[1] == reply:
            wait, _ = self._waiting
            self._waiting = None
            wait.give_up()

    def _ended(self) -> None:
        assert self._waiting is not None
        _, reply = self._waiting
        self._waiting = None
        reply(0)


class Wait(Protocol):
    """Something that is waited for."""

    def begin(self, then: Callable[[], None]) -> None:
        """Call ``then()`` once, when it has come about; now, perhaps."""

    def give_up(self) -> None:
        """Do not call it any more."""


def _busy(_data: bytes) -> None:
    raise Refused(errno.EBUSY)


class Folder(Directory):
    """A directory of fixed content."""

    def lookup(self, name: str, context: Context) -> Node | None:
        node = super().lookup(name, context)
        return node.now if isinstance(node, Lasting) else node


def folder(nodes: Iterable[tuple[str, Node]]) -> Directory:
    """A directory of fixed content, in the order given."""
    directory = Folder(0o555)
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
