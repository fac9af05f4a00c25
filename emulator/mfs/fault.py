"""Faults of a node's files as data: what there may be, and a list of them checked.

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
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
from fnmatch import translate
from typing import Any, NamedTuple

from emulator.fuse.protocol import OPERATIONS
from emulator.table import NODE_MAX

FAULTS_MAX = 64
SECONDS_MAX = 3600.0
NUMBER_MAX = 1 << 62

NAMES = frozenset(OPERATIONS.values()) - {"release"}
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
    except (ValueError, RecursionError) as error:
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
