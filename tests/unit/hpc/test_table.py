from __future__ import annotations

import pytest

from emulator.table import (
    Record,
    TableError,
    addresses_of,
    nodes_of,
    parse_config,
    parse_map,
    render_config,
)

MAP = """\
# our cluster

1  10.0.0.1  3      # the first three
7  alpha     1
3  10.9.9.9  ALIAS
"""
RECORDS = [Record(1, "10.0.0.1", 3), Record(7, "10.0.0.77", 1), Record(3, "10.9.9.9", 0)]


def resolve(host: str) -> str:
    if host == "alpha":
        return "10.0.0.77"
    raise OSError(f"unknown {host}")


def test_map_has_ranges_hosts_aliases_and_comments() -> None:
    records = parse_map(MAP, "map", resolve)
    assert records == RECORDS
    assert nodes_of(records) == {1: "10.0.0.1", 2: "10.0.0.2", 3: "10.0.0.3", 7: "10.0.0.77"}
    assert addresses_of(records) == {
        "10.0.0.1": 1, "10.0.0.2": 2, "10.0.0.3": 3, "10.0.0.77": 7, "10.9.9.9": 3,
    }  # fmt: skip


def test_a_range_goes_on_in_the_next_network() -> None:
    assert list(Record(5, "10.0.0.255", 2).nodes()) == [(5, "10.0.0.255"), (6, "10.0.1.0")]


def test_config_bytes_are_those_of_the_genuine_setpe() -> None:
    observed = bytes.fromhex("01000000 0200 0000 0a000001 0000000000000000 03000000")
    assert render_config([Record(1, "10.0.0.1", 3)]) == observed
    assert parse_config(observed) == [Record(1, "10.0.0.1", 3)]
    assert parse_config(render_config(RECORDS)) == RECORDS


@pytest.mark.parametrize(
    ("text", "message", "genuine"),
    [
        ("1 10.0.0.1", "map:1: expected FIRST-ID ADDRESS COUNT", "Bad Table Input: <1 10.0.0.1>"),
        ("\nx 10.0.0.1 1", "map:2: node id 'x' is not a number", "Bad Table Input: <x 10.0.0.1 1>"),
        ("0 10.0.0.1 1", "map:1: node id '0' is not a number from 1 on", "Bad Table Input: <0 10.0.0.1 1>"),
        ("1 10.0.0.1 no", "map:1: count 'no' is neither", "Bad Table Input: <1 10.0.0.1 no>"),
        ("1 10.0.0.1 0", "map:1: count '0' is neither", "Bad Table Input: <1 10.0.0.1 0>"),
        ("1 nohost 1", "map:1: unknown host 'nohost'", "nohost: Unknown host"),
        ("1 10.0.0.256 1", "map:1: unknown host '10.0.0.256'", "10.0.0.256: Unknown host"),
        ("# none\n", "map: the table is empty", "setpe: the table is empty."),
        ("70003 10.0.0.1 1", "map:1: node 70003 is above 65534",
         "setpe: Table contains node-#70003 (max=65534)!"),
        ("65533 10.0.0.1 3", "map:1: node 65535 is above 65534",
         "setpe: Table contains node-#65535 (max=65534)!"),
        ("1 10.0.0.1 3\n3 10.0.0.9 1", "map:2: node 3 occurs twice",
         "setpe: Table contains conflicting OpenMosix addresses!"),
        ("1 10.0.0.1 3\n9 10.0.0.2 1", "map:2: address 10.0.0.2 is node 2's and node 9's",
         "setpe: Table contains conflicting IP addresses!"),
        ("1 10.0.0.1 1\n2 10.0.0.2 1\n2 10.0.0.1 ALIAS", "map:3: address 10.0.0.1 is node 1's and node 2's",
         "setpe: Table contains conflicting IP addresses!"),
        ("1 10.0.0.1 1\n2 10.0.0.9 ALIAS", "map:2: alias of node 2, which is not in the table",
         "setpe: alias of node 2, which is not in the table"),
        ("1 255.255.255.255 2", "map:1: 2 addresses from 255.255.255.255 on do not exist",
         "setpe: 2 addresses from 255.255.255.255 on do not exist"),
    ],
)  # fmt: skip
def test_a_bad_map_is_refused_with_file_line_and_reason(text: str, message: str, genuine: str) -> None:
    with pytest.raises(TableError) as refused:
        parse_map(text, "map", resolve)
    assert str(refused.value).startswith(message)
    assert refused.value.genuine == genuine


def test_a_map_has_at_most_256_entries() -> None:
    lines = [f"{number} 10.0.{number // 256}.{number % 256} 1" for number in range(1, 258)]
    assert len(parse_map("\n".join(lines[:256]), "map", resolve)) == 256
    with pytest.raises(TableError, match="map:257: more than 256 entries"):
        parse_map("\n".join(lines), "map", resolve)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "config: the table is empty"),
        (b"123", "3 bytes are not whole records of 24"),
        (render_config([Record(1, "10.0.0.1", 1)])[:-1], "23 bytes"),
        (bytes(24), "config record 1: family 0"),
        (render_config([Record(1, "10.0.0.1", 1)] * 2), "config record 2: node 1 occurs twice"),
    ],
)
def test_a_bad_config_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(TableError, match=message):
        parse_config(data)
