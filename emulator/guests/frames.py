"""What deputy, home, host and warden say to each other.

Rules:

1. A frame is its length (4 bytes, the machine's order), its kind, a number, then its payload.
2. ``START`` goes from the deputy to the body's node, and home adds who the caller is; the answer is one of ``STARTED``
   (the body's pid there), ``REFUSED`` (an errno; 0: you are there already) and ``NO_PROGRAM`` (an errno).
3. ``DATA``, ``END`` (nothing more will come), ``ACK`` (so much was passed on) and ``GONE`` (nobody reads any more) are
   of one stream: 0 to the body, 1 and 2 from it.
4. ``SIGNAL`` goes to the body; ``STOPPED`` (it was, and not by such a signal) and ``EXIT`` (its wait status) come from
   it. ``EXIT`` is said after all data, and after one of ``LAST`` nothing more.
5. ``BEAT`` is said by both nodes to each other, all the time, with how many frames came.
6. Over another connection home begins with ``RESUME``: the number that it gave the guest in ``START``, and how many
   frames came; the node where the guest is answers ``RESUME`` with how many came there (:mod:`emulator.guests.line`).
7. What changes here, or in :mod:`emulator.guests.job`, is another version of ``hello.GUESTS``.
"""

from __future__ import annotations

import json
import os
from enum import IntEnum
from struct import Struct, error
from typing import Any, NamedTuple

from emulator.fuse.protocol import MAX_REQUEST, Buffer
from emulator.guests import job as jobs
from emulator.guests.job import HEADER

ANYWHERE = 0
"""The number in a deputy's ``START`` in place of a node: where it is best off."""

FRAME_MAX = MAX_REQUEST
NICE = range(-20, 20)
LIMITS_MAX = 16

_CAME = Struct("=Q")


class Kind(IntEnum):
    START = jobs.START
    STARTED = 2
    REFUSED = 3
    NO_PROGRAM = 4
    DATA = 5
    END = 6
    ACK = 7
    GONE = 8
    SIGNAL = 9
    STOPPED = 10
    EXIT = 11
    BEAT = 12
    RESUME = 13


FROM_DEPUTY = (Kind.DATA, Kind.END, Kind.ACK, Kind.GONE, Kind.SIGNAL)
FROM_WARDEN = (
    Kind.STARTED, Kind.REFUSED, Kind.NO_PROGRAM, Kind.DATA, Kind.END, Kind.ACK, Kind.GONE, Kind.STOPPED, Kind.EXIT
)  # fmt: skip
LAST = (Kind.REFUSED, Kind.NO_PROGRAM, Kind.EXIT)
"""After one of these the warden has nothing more to say."""


class Frame(NamedTuple):
    kind: int
    number: int
    payload: Buffer


class Job(NamedTuple):
    """What is to be run, as the deputy says it. ``ignored`` are the signals that it ignores."""

    program: str
    arguments: list[str]
    environment: dict[str, str]
    directory: str
    umask: int
    ignored: list[int]


class Caller(NamedTuple):
    """Who runs it, as its home knows it: nothing here is the deputy's own word."""

    node: int
    hostname: str
    pid: int
    pgrp: int
    session: int
    uid: int
    gid: int
    groups: list[int]
    nice: int
    limits: list[tuple[int, int]]
    settings: dict[str, int]


def frame(kind: Kind, number: int = 0, payload: Buffer = b"") -> list[Buffer]:
    """The buffers of a frame, for :meth:`emulator.mfs.link.Link.send`."""
    return [HEADER.pack(HEADER.size + len(payload), kind, number), payload]


def parse(data: memoryview) -> Frame:
    """The frame in ``data``; ValueError."""
    try:
        _, kind, number = HEADER.unpack_from(data)
    except error:
        raise ValueError("a frame without a whole header") from None
    return Frame(kind, number, data[HEADER.size :])


def pack_start(caller: Caller, job: bytes) -> bytes:
    """``job`` as :mod:`emulator.guests.job` has it."""
    return json.dumps(caller).encode() + jobs.SEPARATOR + job


def parse_job(payload: Buffer) -> Job:
    """ValueError if it is none."""
    return _job(bytes(payload).split(jobs.SEPARATOR))


def parse_start(payload: Buffer) -> tuple[Caller, Job]:
    """ValueError if it is none."""
    first, *words = bytes(payload).split(jobs.SEPARATOR)
    caller = _loaded(first)
    if not isinstance(caller, list) or len(caller) != len(Caller._fields):
        raise ValueError("not a caller")
    node, hostname, pid, pgrp, session, uid, gid, groups, nice, limits, settings = caller
    if not isinstance(groups, list) or not isinstance(limits, list) or not isinstance(settings, dict):
        raise ValueError("not a caller")
    if not all(_is_number(value) for value in (node, pid, pgrp, session, uid, gid, *groups, *settings.values())):
        raise ValueError("not a caller")
    pairs = all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_limit, pair)) for pair in limits)
    if not pairs or len(limits) > LIMITS_MAX or nice not in NICE:
        raise ValueError("not a caller")
    limits = [(soft, hard) for soft, hard in limits]
    return Caller(node, str(hostname), pid, pgrp, session, uid, gid, groups, nice, limits, settings), _job(words)


def resume(number: int, came: int) -> list[Buffer]:
    """What home says of a guest over another connection."""
    return frame(Kind.RESUME, number, _CAME.pack(came))


def parse_resume(payload: Buffer) -> int:
    """How many frames came; ValueError if it is none."""
    if len(payload) != _CAME.size:
        raise ValueError("not a number of frames")
    (came,) = _CAME.unpack(payload)
    return int(came)


def _loaded(text: bytes) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("not a caller") from None


def _job(words: list[bytes]) -> Job:
    if len(words) < jobs.FIELDS:
        raise ValueError("not a job")
    program, directory, umask, ignored, count, *rest = words
    if not all(number.isdigit() and len(number) < 8 for number in (umask, count, *ignored.split())):
        raise ValueError("not a job")
    arguments, variables = rest[: int(count)], list(map(os.fsdecode, rest[int(count) :]))
    if not arguments or len(arguments) < int(count) or len(variables) % 2:
        raise ValueError("not a job")
    return Job(
        os.fsdecode(program), list(map(os.fsdecode, arguments)), dict(zip(variables[::2], variables[1::2])),
        os.fsdecode(directory), int(umask), list(map(int, ignored.split())),
    )  # fmt: skip


def _is_limit(value: object) -> bool:
    return isinstance(value, int) and -1 <= value < 1 << 63


def _is_number(value: object) -> bool:
    return isinstance(value, int) and 0 <= value < 1 << 32
