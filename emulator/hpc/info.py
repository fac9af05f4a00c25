"""``hpc/info``: one number of all nodes in one binary file, probed together.

Rules:

1. An array has 8 signed bytes for each id from 1 to the highest one; ids that are not in the map hold 0 in
   ``stata`` and -6 (-ENXIO) elsewhere.
2. ``infos`` has 36 bytes for each id; the record of a dead node repeats the values of the one before, with status
   1. ``loads`` of a dead node is -101 in 32 bits. Both are quirks of the genuine kernel.
3. Nodes are probed in batches of 10.
4. Offsets count bytes. The genuine kernel's count nodes, which FUSE cannot express: read from the start, at once.
"""

from __future__ import annotations

import errno
import functools
import struct
from typing import Callable, Optional

from emulator.fuse.tree import Context, Directory, File, Reply
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


class Info(File):
    """One file of ``info/``; ``render(reports)`` makes its content from the answers of all nodes in the map."""

    def __init__(self, membership: Membership, prober: Prober, render: Callable[[Reports], bytes]) -> None:
        super().__init__(0o444)
        self._membership = membership
        self._prober = prober
        self._render = render

    def read(self, context: Context, reply: Reply) -> None:
        nodes = list(self._membership.table)
        reports: Reports = {}

        def next_batch() -> None:
            batch = nodes[len(reports) : len(reports) + BATCH]
            if not batch:
                reply(self._render(reports))
            waiting = set(batch)
            for node in batch:
                self._prober.probe(node, functools.partial(answered, waiting, node))

        def answered(waiting: set[int], node: int, report: Report | None) -> None:
            waiting.discard(node)
            reports[node] = report
            if not waiting:
                next_batch()

        next_batch()


def render_array(name: str, reports: Reports) -> bytes:
    """All nodes' ``name`` as 8-byte numbers."""
    numbers = []
    for node in range(1, max(reports, default=0) + 1):
        if node not in reports:
            numbers.append(0 if name == "status" else -errno.ENXIO)
            continue
        number = value_of(reports[node], name)
        if name == "load":
            number &= 0xFFFFFFFF
        numbers.append(number)
    return b"".join(map(_NUMBER.pack, numbers))


def render_infos(reports: Reports) -> bytes:
    """All nodes' reports as 36-byte records."""
    records = []
    last = Report(0, 0, 0, 0, 0, 0, 0, 0)
    for node in range(1, max(reports, default=0) + 1):
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
        return Info(membership, prober, lambda reports: render_array(name, reports))

    arrays = [(file, array(name)) for file, name in ARRAYS.items()]
    return folder([*arrays, ("infos", Info(membership, prober, render_infos))])
