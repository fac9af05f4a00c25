from __future__ import annotations

import logging

import pytest

from emulator.membership import Membership
from emulator.table import Record

RECORDS = [Record(1, "10.0.0.1", 4), Record(7, "10.0.0.77", 1), Record(3, "10.9.9.9", 0)]


def test_it_is_off_at_first() -> None:
    membership = Membership()
    assert (membership.mospe, membership.table, membership.serves_files) == (0, {}, True)
    assert membership.node_at("10.0.0.1") is None


def test_listeners_see_the_whole_change() -> None:
    membership = Membership()
    seen: list[tuple[int, int]] = []
    membership.on_change(lambda: seen.append((membership.mospe, len(membership.table))))
    membership.configure(3, RECORDS)
    membership.disable()
    membership.disable()
    membership.serve_files(False)
    membership.serve_files(False)
    assert seen == [(3, 5), (0, 0), (0, 0)]


def test_an_alias_is_its_nodes_address_but_no_node() -> None:
    membership = Membership()
    membership.configure(3, RECORDS)
    assert membership.node_at("10.9.9.9") == membership.node_at("10.0.0.3") == 3
    assert list(membership.table) == [1, 2, 3, 4, 7]


def test_a_table_without_this_node_is_refused() -> None:
    membership = Membership()
    membership.configure(3, RECORDS)
    with pytest.raises(ValueError, match="node 3 is not in the table"):
        membership.configure(3, [Record(1, "10.0.0.1", 2)])
    assert (membership.mospe, len(membership.table)) == (3, 5)


def test_the_log_is_the_genuine_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    membership = Membership()
    membership.configure(3, RECORDS[:2])
    membership.disable()
    assert caplog.messages == [
        "openMosix configuration changed: This is openMosix #3 (of 5 configured)",
        "openMosix range: 1-4 begins at 10.0.0.1",
        "openMosix #7 is at IP address 10.0.0.77",
        "openMosix configuration disabled",
    ]
