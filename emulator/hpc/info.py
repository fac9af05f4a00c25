"""``hpc/info``: one number of all nodes in one binary file, probed together.

Rules:

1. An array has 8 signed bytes for each id from 1 to the highest one; ids that are not in the map hold 0 in
   ``stata`` and -6 (-ENXIO) elsewhere.
2. ``infos`` has 36 bytes for each id; the record of a dead node repeats the values of the one before, with status
   1. ``loads`` of a dead node is -101 in 32 bits. Both are quirks of the genuine kernel.
3. Nodes are probed in batches of 10.
4. Offsets count nodes: a read at offset n begins with node n + 1, SEEK_END is the highest id. Only the nodes that a
   read covers are probed. Off, the files are empty.
"""

from __future__ import annotations

import errno
import functools
import struct
from typing import Callable, Optional

from emulator.fuse.tree import Directory, RecordFile, Reply
from emulator.hpc.files import folder
from emulator.hpc.nodes import value_of
from emulator.membership import Membership
from emulator.probe import Prober, Report

BATCH = 10
ARRAYS = {
    "loads": "load",
    "speeds": "speed",
    "cpus": "cpus",
    "mems": "mem",
    "rmems": "rmem",
    "tmems": "tmem",
    "utils": "util",
    "stata": "status",
}

_INFO = struct.Struct("<IHHHHQQQ")
_NUMBER = struct.Struct("<q")

Reports = dict[int, Optional[Report]]


class Info(RecordFile):
    """One file of ``info/``; ``render(nodes, reports)`` makes the records of these ids from the nodes' answers."""

    def __init__(
        self, membership: Membership, prober: Prober, record: struct.Struct, render: Callable[[range, Reports], bytes]
    ) -> None:
        super().__init__(0o444, record.size)
        self._membership = membership
        self._prober = prober
        self._render = render

    def end(self) -> int:
        return max(self._membership.table, default=0)

    def read(self, first: int, count: int, reply: Reply) -> None:
        ids = range(first + 1, min(first + count, self.end()) + 1)
        nodes = [node for node in self._membership.table if node in ids]
        reports: Reports = {}

        def next_batch() -> None:
            batch = nodes[len(reports) : len(reports) + BATCH]
            if not batch:
                reply(self._render(ids, reports))
            waiting = set(batch)
            for node in batch:
                self._prober.probe(node, functools.partial(answered, waiting, node))

        def answered(waiting: set[int], node: int, report: Report | None) -> None:
            waiting.discard(node)
            reports[node] = report
            if not waiting:
                next_batch()

        next_batch()


def render_array(name: str, ids: range, reports: Reports) -> bytes:
    """``name`` of these nodes as 8-byte numbers."""
    numbers = []
    for node in ids:
        if node not in reports:
            numbers.append(0 if name == "status" else -errno.ENXIO)
            continue
        number = value_of(reports[node], name)
        if name == "load":
            number &= 0xFFFFFFFF
        numbers.append(number)
    return b"".join(map(_NUMBER.pack, numbers))


def render_infos(ids: range, reports: Reports) -> bytes:
    """The reports of these nodes as 36-byte records."""
    records = []
    last = Report(0, 0, 0, 0, 0, 0, 0, 0)
    for node in ids:
        report = reports.get(node)
        status = report.status if report else int(node in reports)
        last = report or last
        records.append(
            _INFO.pack(
                last.load, last.speed, last.cpus, last.util, status, last.mem, last.rmem, last.tmem
            )
        )
    return b"".join(records)


def info_folder(membership: Membership, prober: Prober) -> Directory:
    """The directory ``info/``."""

    def array(name: str) -> Info:
        return Info(membership, prober, _NUMBER, functools.partial(render_array, name))

    arrays = [(file, array(name)) for file, name in ARRAYS.items()]
    return folder([*arrays, ("infos", Info(membership, prober, _INFO, render_infos))])
