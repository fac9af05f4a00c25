"""Faults of this node's files (:mod:`emulator.mfs.fault`), as whoever comes through MFS meets them; set at run time.

Rules:

1. All faults that fit are met, in their order; the first that fails an operation ends it.
2. What an answer gave that the asker never hears of (a handle, a reference) is taken back.
3. The asker's bounds hold all the same: a delay beyond them is EAGAIN for an operation that was carried out.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from typing import Callable

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Buffer, Request, Sink
from emulator.mfs import identity
from emulator.mfs.client import Client
from emulator.mfs.fault import Fault, Target
from emulator.mfs.unsynced import Unsynced
from emulator.reactor import Reactor

ATTRIBUTES_BYTES = 88  # struct fuse_attr, with which the answers to LOOKUP and GETATTR end
STALE_MAX = 4096


class Faults:
    """The faults that this node's files have now."""

    def __init__(self, reactor: Reactor, unsynced: Unsynced) -> None:
        self.present: list[Fault] = []
        self._reactor = reactor
        self._unsynced = unsynced
        self._plays: dict[str, Callable[[Fault, Request, Client, Target], None]] = {
            "delay": self._delay,
            "error": self._error,
            "hang": self._hang,
            "short": self._short,
            "torn": self._torn,
            "unsynced": self._lose,
            "stale": self._stale,
            "full": self._full,
        }

    def set(self, faults: list[Fault]) -> None:
        """Have these faults and no others from now on."""
        self.present = faults
        if not any(fault.do == "unsynced" for fault in faults):
            self._unsynced.forget()

    def meet(self, request: Request, client: Client, target: Target, carry_out: Callable[[], None]) -> None:
        """Carry an operation out as the faults have it."""
        operation = fuse.OPERATIONS.get(request.opcode, "")
        for fault in self._met(operation, client.node, target):
            if fault.do in ("error", "hang") and not fault.done:
                if fault.do == "error":
                    raise OSError(fault.errno, "injected")
                return
            self._plays[fault.do](fault, request, client, target)
        carry_out()

    def _met(self, operation: str, reader: int, target: Target) -> Iterator[Fault]:
        return (fault for fault in self.present if fault.meets(operation, reader, target))

    def _delay(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        def later(request: Request, error: int, answer: bytes) -> None:
            self._reactor.call_later(fault.seconds, partial(_answer, client, request, error, answer))

        request.sink = _Catch(request.sink, later)

    def _error(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        def instead(request: Request, error: int, answer: bytes) -> None:
            _take_back(client, request, error, answer)
            request.fail(fault.errno)

        request.sink = _Catch(request.sink, instead)

    def _hang(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        request.sink = _Catch(request.sink, partial(_take_back, client))

    def _short(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        _cut(request, fault.bytes)

    def _torn(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        _cut(request, fault.bytes)
        self._error(fault, request, client, target)

    def _full(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        if request.opcode != fuse.WRITE:
            if fault.bytes <= 0:
                raise OSError(errno.ENOSPC, "injected")
            return
        (_, offset, size, *_) = fuse.WRITE_IN.unpack_from(request.frame, fuse.IN_HEADER.size)
        end = os.fstat(target.fd).st_size if target.fd >= 0 else 0
        new = max(0, offset + size - max(end, offset))
        if new > fault.bytes:
            if size - new + fault.bytes <= 0:
                raise OSError(errno.ENOSPC, "injected")
            _cut(request, size - new + fault.bytes)
            new = fault.bytes
        fault.bytes -= new

    def _stale(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        def old(request: Request, error: int, answer: bytes) -> None:
            if not error:
                answer = answer[:-ATTRIBUTES_BYTES] + self._remembered(fault, client.node, answer[-ATTRIBUTES_BYTES:])
            _answer(client, request, error, answer)

        request.sink = _Catch(request.sink, old)

    def _remembered(self, fault: Fault, reader: int, attributes: bytes) -> bytes:
        now_s, file = self._reactor.now(), (reader, attributes[:8])
        since_s, before = fault.seen.get(file, (0.0, b""))
        if before and now_s - since_s < fault.seconds:
            return before
        if len(fault.seen) >= STALE_MAX:
            fault.seen.clear()
        fault.seen[file] = (now_s, attributes)
        return attributes

    def _lose(self, fault: Fault, request: Request, client: Client, target: Target) -> None:
        if not target.paths:
            return
        opcode, body, unsynced = request.opcode, request.body, self._unsynced
        if opcode == fuse.WRITE:
            (number, offset, size, *_) = fuse.WRITE_IN.unpack_from(body)
            unsynced.note(target.file, offset, size)
            if client.handle(number).sync:
                self._after(client, request, partial(unsynced.synced, target.file))
        elif opcode == fuse.SETATTR:
            (valid, _, _, size, *_) = fuse.SETATTR_IN.unpack_from(body)
            if valid & fuse.FATTR_SIZE:
                unsynced.note_size(target.file, size)
        elif opcode in (fuse.OPEN, fuse.CREATE):
            (flags, _) = fuse.OPEN_IN.unpack_from(body)
            if flags & os.O_TRUNC:
                unsynced.note_size(target.file, 0)
        elif opcode in (fuse.FSYNC, fuse.FSYNCDIR, fuse.UNLINK):
            self._after(client, request, partial(unsynced.synced, target.file))
        else:
            old, new = (target.root + path for path in target.paths)
            self._after(client, request, partial(unsynced.renamed, old, new))

    @staticmethod
    def _after(client: Client, request: Request, call: Callable[[], None]) -> None:
        """Call it when the operation has succeeded."""

        def then(request: Request, error: int, answer: bytes) -> None:
            if not error:
                with identity.as_root():
                    call()
            _answer(client, request, error, answer)

        request.sink = _Catch(request.sink, then)


class _Catch:
    """Takes an answer on its way; ``then(request, error, answer)`` answers anew, now, later or never."""

    def __init__(self, sink: Sink, then: Callable[[Request, int, bytes], None]) -> None:
        self._sink = sink
        self._then = then

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        request.sink, request.answered = self._sink, False
        self._then(request, error, b"".join(buffers))


def _answer(client: Client, request: Request, error: int, answer: bytes) -> None:
    if request.answered:  # given up meanwhile
        _take_back(client, request, error, answer)
    elif error:
        request.fail(-error)
    else:
        request.reply(answer)


def _take_back(client: Client, request: Request, error: int, answer: bytes) -> None:
    if error:
        return
    nodeid, handle = fuse.node_in(request.opcode, answer), fuse.handle_in(request.opcode, answer)
    if handle is not None:
        client.release(handle)
    if nodeid is not None:
        client.forget(nodeid, 1)


def _cut(request: Request, size: int) -> None:
    """Have a READ or WRITE be of at most ``size`` bytes."""
    number, offset, whole, *rest = fuse.WRITE_IN.unpack_from(request.frame, fuse.IN_HEADER.size)
    if size < whole:
        frame = bytearray(request.frame)
        fuse.WRITE_IN.pack_into(frame, fuse.IN_HEADER.size, number, offset, size, *rest)
        request.frame = memoryview(frame)
