"""Faults of this node's files, as whoever comes through MFS meets them: data, set at run time.

A fault says who meets it (``reader``, a node; ``path``, a pattern of fnmatch(3) for the owner's path; ``on``,
operations; ``times``, at most so often; ``chance``, from 0 to 1), all if it does not say, and what then happens:

========  ================================================================  =========================================
do        what                                                              with
========  ================================================================  =========================================
delay     it is carried out, and the answer comes later                     seconds
error     it fails                                                          errno; done: it was carried out all the same
hang      no answer ever comes                                              done
short     a read or write is of fewer bytes                                 bytes
torn      a write stops after some bytes and fails                          bytes; errno (EIO)
unsynced  writes that were not synced are undone when the power is lost     (:mod:`emulator.mfs.unsynced`)
stale     the attributes are those of some time ago                         seconds
full      there is room for some more bytes only, and for no more files     bytes (0)
========  ================================================================  =========================================

Rules:

1. All faults that fit are met, in their order; the first that fails an operation ends it.
2. What an answer gave that the asker never hears of (a handle, a reference) is taken back.
3. The asker's bounds hold all the same: a delay beyond them is EAGAIN for an operation that was carried out.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
from collections.abc import Iterator
from fnmatch import translate
from functools import partial
from typing import Any, Callable, NamedTuple

from emulator.fuse import protocol as fuse
from emulator.fuse.protocol import Buffer, Request, Sink
from emulator.mfs.client import Client
from emulator.mfs.unsynced import Unsynced
from emulator.reactor import Reactor
from emulator.table import NODE_MAX

FAULTS_MAX = 64
SECONDS_MAX = 3600.0
NUMBER_MAX = 1 << 62
ATTRIBUTES_BYTES = 88  # struct fuse_attr, with which the answers to LOOKUP and GETATTR end
STALE_MAX = 4096

NAMES = frozenset(fuse.OPERATIONS.values()) - {"release"}
_MAKE = ("create", "mkdir", "mknod", "symlink", "link")


class Kind(NamedTuple):
    """What ``do`` may say: the parameters that it needs, those that it may have, and the operations that it is for."""

    needs: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    on: frozenset[str] = NAMES


KINDS = {
    "delay": Kind(needs=frozenset({"seconds"})),
    "error": Kind(needs=frozenset({"errno"}), may=frozenset({"done"})),
    "hang": Kind(may=frozenset({"done"})),
    "short": Kind(needs=frozenset({"bytes"}), on=frozenset({"read", "write"})),
    "torn": Kind(needs=frozenset({"bytes"}), may=frozenset({"errno"}), on=frozenset({"write"})),
    "unsynced": Kind(on=frozenset({"write", "setattr", "open", "create", "fsync", "rename", "unlink"})),
    "stale": Kind(needs=frozenset({"seconds"}), on=frozenset({"lookup", "getattr"})),
    "full": Kind(may=frozenset({"bytes"}), on=frozenset({"write", *_MAKE})),
}
COMMON = frozenset({"do", "reader", "path", "on", "times", "chance"})


class FaultError(ValueError):
    """A list of faults that is refused; the text says where and why."""


class Target(NamedTuple):
    """What an operation is about: a descriptor of the file or directory, and each path below ``root`` that it names."""

    fd: int
    root: bytes
    paths: tuple[bytes, ...]

    @property
    def file(self) -> bytes:
        """The path of the file, or of the first name."""
        return self.root + self.paths[0]


class Fault:
    """One fault, checked; ``given`` is what it was made of, ``met`` how often it was met."""

    def __init__(self, given: dict[str, Any], where: str) -> None:
        kind = _checked(given, where)
        self.given = given
        self.met = 0
        self.do: str = given["do"]
        self.reader: int | None = given.get("reader")
        self.path = re.compile(os.fsencode(translate(given["path"]))) if "path" in given else None
        self.on = frozenset(given.get("on", kind.on))
        self.times: int = given.get("times", NUMBER_MAX)
        self.chance: float = given.get("chance", 1.0)
        self.seconds: float = given.get("seconds", 0.0)
        self.bytes: int = given.get("bytes", 0)
        self.errno: int = getattr(errno, given.get("errno", "EIO"))
        self.done: bool = given.get("done", False)
        self.seen: dict[tuple[int, bytes], tuple[float, bytes]] = {}  # stale: when, and which attributes

    def meets(self, operation: str, reader: int, target: Target) -> bool:
        """Whether this operation meets it; that is counted."""
        if operation not in self.on or self.met >= self.times or self.reader not in (None, reader):
            return False
        if self.path is not None and not any(map(self.path.match, target.paths)):
            return False
        if self.chance < 1 and random.random() >= self.chance:
            return False
        self.met += 1
        return True


def parse(text: str) -> list[Fault]:
    """The faults of a JSON list; FaultError."""
    try:
        given = json.loads(text or "[]")
    except ValueError as error:
        raise FaultError(f"not JSON: {error}") from None
    if not isinstance(given, list) or len(given) > FAULTS_MAX:
        raise FaultError(f"faults are a list of at most {FAULTS_MAX}")
    return [Fault(one, f"fault {number}") for number, one in enumerate(given, 1)]


def render(faults: list[Fault]) -> str:
    """The list again, with how often each was met."""
    return json.dumps([{**fault.given, "met": fault.met} for fault in faults]) + "\n"


def _checked(given: Any, where: str) -> Kind:
    if not isinstance(given, dict) or given.get("do") not in list(KINDS):
        raise FaultError(f"{where}: do is one of {', '.join(KINDS)}")
    kind = KINDS[given["do"]]
    for key, value in given.items():
        if key not in COMMON | kind.needs | kind.may:
            raise FaultError(f"{where}: {given['do']} has no {key!r}")
        reason = _wrong(key, value, kind)
        if reason:
            raise FaultError(f"{where}: {key} is {reason}, not {value!r}")
    missing = kind.needs - given.keys()
    if missing:
        raise FaultError(f"{where}: {given['do']} needs {', '.join(sorted(missing))}")
    return kind


def _wrong(key: str, value: Any, kind: Kind) -> str:
    """What the value of a key should be, if it is not that."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if key == "reader":
        return "" if number and isinstance(value, int) and 0 < value <= NODE_MAX else "the id of a node"
    if key == "path":
        return "" if isinstance(value, str) and value.startswith(("/", "*")) else "an absolute pattern"
    if key == "on":
        fits = isinstance(value, list) and value and all(isinstance(one, str) and one in kind.on for one in value)
        return "" if fits else f"a list of {', '.join(sorted(kind.on))}"
    if key in ("times", "bytes"):
        return "" if isinstance(value, int) and number and 0 <= value <= NUMBER_MAX else "a number from 0 on"
    if key == "chance":
        return "" if number and 0 <= value <= 1 else "from 0 to 1"
    if key == "seconds":
        return "" if number and 0 < value <= SECONDS_MAX else f"above 0, {SECONDS_MAX:g} at most"
    if key == "errno":
        return "" if isinstance(value, str) and value in errno.errorcode.values() else "the name of an errno"
    if key == "done":
        return "" if isinstance(value, bool) else "true or false"
    return ""


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
            self._reactor.call_later(fault.seconds, partial(_answer, request, error, answer))

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
            _answer(request, error, answer)

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
            (_, offset, size, *_) = fuse.WRITE_IN.unpack_from(body)
            unsynced.note(target.file, offset, size)
        elif opcode == fuse.SETATTR:
            (valid, _, _, size, *_) = fuse.SETATTR_IN.unpack_from(body)
            if valid & fuse.FATTR_SIZE:
                unsynced.note_size(target.file, size)
        elif opcode in (fuse.OPEN, fuse.CREATE):
            (flags, _) = fuse.OPEN_IN.unpack_from(body)
            if flags & os.O_TRUNC:
                unsynced.note_size(target.file, 0)
        elif opcode in (fuse.FSYNC, fuse.FSYNCDIR, fuse.UNLINK):
            self._after(request, partial(unsynced.synced, target.file))
        else:
            old, new = (target.root + path for path in target.paths)
            self._after(request, partial(unsynced.renamed, old, new))

    @staticmethod
    def _after(request: Request, call: Callable[[], None]) -> None:
        """Call it when the operation has succeeded."""

        def then(request: Request, error: int, answer: bytes) -> None:
            if not error:
                call()
            _answer(request, error, answer)

        request.sink = _Catch(request.sink, then)


class _Catch:
    """Takes an answer on its way; ``then(request, error, answer)`` answers anew, now, later or never."""

    def __init__(self, sink: Sink, then: Callable[[Request, int, bytes], None]) -> None:
        self._sink = sink
        self._then = then

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        request.sink, request.answered = self._sink, False
        self._then(request, error, b"".join(buffers))


def _answer(request: Request, error: int, answer: bytes) -> None:
    if request.answered:  # given up meanwhile
        return
    if error:
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
