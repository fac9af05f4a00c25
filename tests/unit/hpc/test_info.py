from __future__ import annotations

import struct
import time

from emulator.hpc.info import render_array, render_infos
from emulator.probe import Report
from tests.unit.hpc.loopback import Node

UP = Report(3, 7, 2, 15000, 100, 3 << 30, 2 << 30, 4 << 30)
RECORD = struct.Struct("<IHHHHQQQ")
UP_RECORD = (7, 15000, 2, 100, 3, 3 << 30, 2 << 30, 4 << 30)


def test_a_dead_node_is_minus_101() -> None:
    assert render_array("status", {1: UP, 2: None}) == struct.pack("<2q", 3, 1)
    assert render_array("util", {1: UP, 2: None}) == struct.pack("<2q", 100, -101)


def test_the_load_of_a_dead_node_is_in_32_bits() -> None:
    assert render_array("load", {2: None})[8:] == bytes.fromhex("9bffffff00000000")


def test_ids_without_a_node_are_there() -> None:
    assert render_array("status", {3: UP}) == struct.pack("<3q", 0, 0, 3)
    assert render_array("mem", {2: UP}) == struct.pack("<2q", -6, 3 << 30)


def test_infos_of_a_dead_node_repeat_the_record_before() -> None:
    records = list(RECORD.iter_unpack(render_infos({1: UP, 2: None})))
    assert records == [UP_RECORD, (*UP_RECORD[:4], 1, *UP_RECORD[5:])]


def test_off_there_is_nothing(node: Node) -> None:
    assert node.read("info/infos") == node.read("info/stata") == ""


def test_nodes_are_probed_together(nodes: list[Node]) -> None:
    """Twelve dead nodes cost two batches, not twelve probes."""
    first, second, _ = nodes
    table = f"1 {first.address} 2\n3 {first.address.rpartition('.')[0]}.100 12\n"
    first.configure(table)
    second.configure(table)
    assert first.comes_to_read("info/stata", struct.pack("<14q", 3, 3, *[1] * 12).decode("latin-1"))
    start_s = time.perf_counter()
    first.read("info/stata")
    assert time.perf_counter() - start_s < 5 * 0.060
