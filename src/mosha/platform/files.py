"""Carries plans (:mod:`mosha.platform.plans`) out with system calls, on directories of many nodes, in a worker.

Files are kept open: over MFS a path costs a request for each of its parts, a descriptor costs one. A held descriptor of
a file that was removed or replaced reads on as before, so a read is good only if the file then has a link still;
otherwise, and when the owner has rebooted (ESTALE), nothing of that node is held any more and the file is opened anew,
once. A plan that has written before fails then: what it wrote may be in a file that nobody can open.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from typing import Any, Callable

from mosha.platform.plans import Plan

HELD_MAX = 256


class Files:
    """``directory(node)`` is the path of that node's directory."""

    def __init__(self, directory: Callable[[int], str]) -> None:
        self._directory = directory
        self._held: OrderedDict[tuple[int, str], int] = OrderedDict()
        self._has_written = False                    # the plan that is carried out

    def carry_out(self, node: int, plan: Plan) -> Any:
        """The plan's result; raises the OSError that it does not bear. Then nothing of that node is held any more."""
        result: Any = None
        error: OSError | None = None
        self._has_written = False
        try:
            while True:
                step = plan.throw(error) if error is not None else plan.send(result)
                result = error = None
                try:
                    result = self._step(node, *step)
                except OSError as raised:
                    error = raised
        except StopIteration as end:
            return end.value
        except OSError:
            self._drop_all(node)
            raise

    def _step(self, node: int, kind: str, name: str = "", *arguments: Any) -> Any:
        if kind == "list":
            return sorted(os.listdir(self._directory(node)))
        if kind == "pread":
            return self._read(node, name, *arguments)
        fd = self._open(node, name, os.O_RDWR | os.O_CREAT)
        if kind == "sync":
            os.fsync(fd)
            return None
        offset, content = arguments
        self._has_written = True
        if os.pwrite(fd, content, offset) != len(content):
            raise OSError(errno.EIO, f"short write of {name}")
        return None

    def _read(self, node: int, name: str, offset: int, length: int) -> bytes:
        is_fresh = (node, name) not in self._held
        try:
            fd = self._open(node, name, os.O_RDWR)
            content = os.pread(fd, length, offset)
            if is_fresh or os.fstat(fd).st_nlink > 0:
                return content
        except OSError as error:
            if is_fresh or error.errno != errno.ESTALE:
                raise
        self._drop_all(node)
        if self._has_written:
            raise OSError(errno.ESTALE, f"{name} was replaced")
        return os.pread(self._open(node, name, os.O_RDWR), length, offset)

    def _open(self, node: int, name: str, flags: int) -> int:
        key = node, name
        fd = self._held.get(key)
        if fd is None:
            fd = self._held[key] = os.open(f"{self._directory(node)}/{name}", flags | os.O_CLOEXEC, 0o644)
            if len(self._held) > HELD_MAX:
                self._drop(*next(iter(self._held)))
        else:
            self._held.move_to_end(key)
        return fd

    def _drop_all(self, node: int) -> None:
        for key in [key for key in self._held if key[0] == node]:
            self._drop(*key)

    def _drop(self, node: int, name: str) -> None:
        try:
            os.close(self._held.pop((node, name)))
        except OSError:
            pass
