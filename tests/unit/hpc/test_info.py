from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator

import pytest

from emulator.hpc.info import render_array, render_infos
from emulator.probe import Report
from tests.unit.hpc.loopback import Node

UP = Report(3, 7, 2, 15000, 100, 3 << 30, 2 << 30, 4 << 30)
RECORD = struct.Struct("<IHHHHQQQ")
UP_RECORD = (7, 15000, 2, 100, 3, 3 << 30, 2 << 30, 4 << 30)


def test_ids_without_a_node_are_there() -> None:
    assert render_array("status", range(1, 4), {3: UP}) == struct.pack("<3q", 0, 0, 3)
    assert render_array("mem", range(1, 3), {2: UP}) == struct.pack("<2q", -6, 3 << 30)


def test_infos_of_a_dead_node_repeat_the_record_before() -> None:
    records = list(RECORD.iter_unpack(render_infos(range(1, 3), {1: UP, 2: None})))
    assert records == [UP_RECORD, (*UP_RECORD[:4], 1, *UP_RECORD[5:])]


@pytest.fixture
def sparse(node: Node) -> Iterator[int]:
    """``info/stata`` of nodes 1 (up), 4 and 6 (dead), open."""
    network = node.address.rpartition(".")[0]
    node.configure(f"1 {node.address} 1\n4 {network}.104 1\n6 {network}.106 1\n")
    fd = os.open(node.path("info/stata"), os.O_RDONLY)
    yield fd
    os.close(fd)


def numbers(data: bytes) -> list[int]:
    return [number for (number,) in struct.iter_unpack("<q", data)]


def test_an_offset_is_a_number_of_nodes(sparse: int) -> None:
    assert numbers(os.pread(sparse, 4096, 0)) == [3, 0, 0, 1, 0, 1]
    assert numbers(os.pread(sparse, 4096, 3)) == [1, 0, 1]
    assert numbers(os.pread(sparse, 8, 5)) == [1]
    assert os.pread(sparse, 4096, 6) == os.pread(sparse, 4096, 7) == b""


def test_seek_end_is_the_highest_id(sparse: int, node: Node) -> None:
    assert os.lseek(sparse, 0, os.SEEK_END) == 6
    assert os.read(sparse, 4096) == b""
    assert os.lseek(sparse, -1, os.SEEK_END) == 5
    assert numbers(os.read(sparse, 4096)) == [1]
    assert os.fstat(sparse).st_size == node.path("info/stata").stat().st_size == 0


def test_reading_goes_on_with_the_next_node(sparse: int) -> None:
    assert [numbers(os.read(sparse, 16)) for _ in range(4)] == [[3, 0], [0, 1], [0, 1], []]
    os.lseek(sparse, 0, os.SEEK_SET)
    assert numbers(os.read(sparse, 15)) == [3]
    assert os.read(sparse, 7) == b""  # less than one node


def test_only_the_nodes_that_are_read_are_probed(sparse: int) -> None:
    times = []
    for _ in range(9):
        start_s = time.perf_counter()
        assert numbers(os.pread(sparse, 24, 0)) == [3, 0, 0]  # this node, and two that are none
        times.append(time.perf_counter() - start_s)
    assert min(times) < 0.060  # what a dead node takes at least


def test_nodes_are_probed_together(nodes: list[Node]) -> None:
    """Twelve dead nodes cost two batches, not twelve probes."""
    first, second, _ = nodes
    table = f"1 {first.address} 2\n3 {first.address.rpartition('.')[0]}.100 12\n"
    first.configure(table)
    second.configure(table)
    assert first.comes_to_read("info/stata", struct.pack("<14q", 3, 3, *[1] * 12).decode("latin-1"))
    times = []
    for _ in range(5):
        start_s = time.perf_counter()
        first.read("info/stata")
        times.append(time.perf_counter() - start_s)
    assert min(times) < 12 * 0.060
