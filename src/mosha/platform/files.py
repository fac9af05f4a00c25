"""Carries plans (:mod:`mosha.platform.plans`) out on directories of many nodes, in a worker.

Files are kept open: over MFS a path costs a request for each of its parts, a descriptor costs one. A held descriptor of
a file that was removed or replaced reads on as before, so a read is good only if the file then has a link still;
otherwise, and when the owner has rebooted (ESTALE), nothing of that node is held any more and the file is opened anew,
once. A plan that has written before fails then: what it wrote may be in a file that nobody can open. Journals are not
asked for their link: what one said stays true, and where all files of a node have gone the marker, which is read after
them, has no link either. The marker is only ever replaced, so what it said is true for as long as it has a link: it is
read once, and then only asked for that. No more than ``HELD_MAX`` are held: then the one that was opened first goes.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Callable, Protocol

from mosha.platform import plain
from mosha.platform.plans import Plan, Step

HELD_MAX = 256


class System(Protocol):
    """The system calls that steps are made of; a handle is whatever ``open`` returns. All raise OSError."""

    def open(self, node: int, name: str, writes: bool, create: bool) -> Any:
        """A handle of a file in the node's directory, for reading, and ``writes`` for writing too; what is no file is
        refused, and not waited for."""

    def close(self, handle: Any) -> None:
        """The handle is not used again."""

    def pread(self, handle: Any, length: int, offset: int) -> bytes:
        """As pread(2)."""

    def pwrite(self, handle: Any, content: bytes, offset: int) -> int:
        """As pwrite(2)."""

    def sync(self, handle: Any) -> None:
        """As fsync(2)."""

    def is_linked(self, handle: Any) -> bool:
        """Whether its file has a name still."""

    def list(self, node: int) -> list[str]:
        """The names in the node's directory."""


class Posix:
    """The calls of this machine; ``directory(node)`` is the path of that node's directory, ``flags`` are those of
    open(2), besides."""

    def __init__(self, directory: Callable[[int], str], flags: int = 0) -> None:
        self._directory, self._flags = directory, os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags

    def open(self, node: int, name: str, writes: bool, create: bool) -> int:
        flags = self._flags | (os.O_RDWR if writes else os.O_RDONLY) | (os.O_CREAT if create else 0)
        path = f"{self._directory(node)}/{name}"
        return plain.checked(os.open(path, flags, 0o644), path)

    def close(self, handle: int) -> None:
        os.close(handle)

    def pread(self, handle: int, length: int, offset: int) -> bytes:
        return os.pread(handle, length, offset)

    def pwrite(self, handle: int, content: bytes, offset: int) -> int:
        return os.pwrite(handle, content, offset)

    def sync(self, handle: int) -> None:
        os.fsync(handle)

    def is_linked(self, handle: int) -> bool:
        return os.fstat(handle).st_nlink > 0

    def list(self, node: int) -> list[str]:
        return os.listdir(self._directory(node))


class _Held:
    """An open file; ``whole``: its content, if it is only ever replaced and was read."""

    __slots__ = ("handle", "is_writable", "whole")

    def __init__(self, handle: Any, is_writable: bool) -> None:
        self.handle, self.is_writable = handle, is_writable
        self.whole: bytes | None = None


class Files:
    """What one worker holds open. One plan after the other: :meth:`carry_out`, or :meth:`begin`, its steps by
    :meth:`step`, and :meth:`drop_all` if it ends with an error."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._held: dict[tuple[int, str], _Held] = {}        # the one that was opened first first
        self._has_written = False                    # the plan that is carried out

    def carry_out(self, node: int, plan: Plan) -> Any:
        """The plan's result; raises the OSError that it does not bear. Then nothing of that node is held any more."""
        result: Any = None
        error: OSError | None = None
        self.begin()
        try:
            while True:
                step = plan.throw(error) if error is not None else plan.send(result)
                result = error = None
                try:
                    result = self.step(node, step)
                except OSError as raised:
                    error = raised
        except StopIteration as end:
            return end.value
        except OSError:
            self.drop_all(node)
            raise

    def begin(self) -> None:
        """The steps of another plan follow."""
        self._has_written = False

    def step(self, node: int, step: Step) -> Any:
        """The result of one step; raises OSError, which the plan is to be told."""
        kind = step[0]
        if kind in ("pread", "tail", "whole"):
            return self._read(node, step)
        if kind == "list":
            return sorted(self._system.list(node))
        handle = self._open(node, step[1], writes=True, create=kind != "append" or step[2] == 0).handle
        if kind == "sync":
            self._system.sync(handle)
            return None
        offset, content = step[2:]
        self._has_written = True
        if self._system.pwrite(handle, content, offset) != len(content):
            raise OSError(errno.EIO, f"short write of {step[1]}")
        return None

    def drop_all(self, node: int) -> None:
        """Hold nothing of that node any more."""
        for key in [key for key in self._held if key[0] == node]:
            self._drop(*key)

    def _read(self, node: int, step: Step) -> bytes:
        kind, name = step[:2]
        held = self._held.get((node, name))
        if held is not None:
            try:
                content = self._pread(held, step)
                if kind == "tail" or self._system.is_linked(held.handle):
                    return content
            except OSError as error:
                if error.errno != errno.ESTALE:
                    raise
            self.drop_all(node)
            if self._has_written:
                raise OSError(errno.ESTALE, f"{name} was replaced")
        return self._pread(self._open(node, name), step)

    def _pread(self, held: _Held, step: Step) -> bytes:
        kind, _, offset, length = step
        if kind != "whole":
            return self._system.pread(held.handle, length, offset)
        if held.whole is None:
            held.whole = self._system.pread(held.handle, length, offset)
        return held.whole

    def _open(self, node: int, name: str, writes: bool = False, create: bool = False) -> _Held:
        """What is only read is open to read only: a table that an agent has open to write is taken for an edit."""
        key = node, name
        held = self._held.get(key)
        if held is not None and writes and not held.is_writable:
            self._drop(*key)
            held = None
        if held is None:
            held = self._held[key] = _Held(self._system.open(node, name, writes, create), writes)
            if len(self._held) > HELD_MAX:
                self._drop(*next(iter(self._held)))
        return held

    def _drop(self, node: int, name: str) -> None:
        try:
            self._system.close(self._held.pop((node, name)).handle)
        except OSError:
            pass
