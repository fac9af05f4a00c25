"""What lies on voters and in the agent's directory: a whole value, which can be written again, or nothing.

Never an error, and never a value of another shape, since the agent acts on it.
"""

from __future__ import annotations

import json
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mosha import status
from mosha.ownership import electorate as electorates
from mosha.ownership import identity as identities
from mosha.ownership import journal, marker, records, slot
from mosha.ownership.electorate import Electorate
from mosha.ownership.journal import Block, Commit, Dead, Entry, Released
from mosha.ownership.marker import FULL, Marker
from mosha.ownership.slot import Slot
from mosha.ownership.voter import Voter, installed
from mosha.platform import mountinfo, record, shared_directory
from mosha.replication import Replica, Version
from mosha.stomith import history
from mosha.tables import hactl
from mosha.timing import Timing
from tests.fuzz.memory import Memory
from tests.fuzz.target import Target, text_of

ERA, NONCE = "7-" + "e" * 8, "a" * 32
ONE, TWO = f"1.4.{NONCE}", f"2.9.{'b' * 32}"
WRONG = 0x80  # a first byte from here on: the checksum stays as it is


def summed(data: bytes) -> bytes:
    """A line with its checksum made right, so that what is behind it is reached."""
    return data[1:] if data[:1] >= bytes([WRONG]) else b"%08x %s" % (zlib.crc32(data[1:]), data[1:])


def check_slot(data: bytes) -> None:
    if data[:1] < bytes([WRONG]):
        size = slot._CRC_AT
        data = data[1 : 1 + size] + zlib.crc32(data[1 : 1 + size]).to_bytes(4, "big") + data[1 + size :]
    found = slot.decode(data)
    if found is not None:
        assert identities.well_formed(found.identity)
        assert slot.decode(slot.encode(found)) == found
    slot.only_beats(data[:64], data[64:128])


def sound(entry: Entry) -> None:
    """Of the types that the agent counts on."""
    if isinstance(entry, Dead):
        assert isinstance(entry.identity, str)
        return
    assert isinstance(entry.group, str)
    assert type(entry.epoch) is int
    if isinstance(entry, Block):
        for number, who in (entry.mbal, entry.bal):
            assert (type(number), type(who)) == (int, str)
        assert (type(entry.value), type(entry.seq)) == (str, int)
    else:
        assert isinstance(entry.identity, str)


def check_journal(data: bytes) -> None:
    """Also what is made of the entries: a register for each group."""
    lines = data.split(b"\n")
    content = b"\n".join([*map(summed, lines[:-1]), lines[-1]])
    entries, used = journal.decode(content)
    assert 0 <= used <= len(content)
    known = records.Records()
    seen: dict[tuple[str, int], str] = {}
    for entry in entries:
        sound(entry)
        assert journal.decode(journal.encode(entry)) == ([entry], len(journal.encode(entry)))
        if isinstance(entry, Commit) and seen.setdefault((entry.group, entry.epoch), entry.identity) != entry.identity:
            continue  # two owners of one epoch: what no fault of a disk can make
        known.merge(entry, ONE, 1.0)
    for group, register in known.registers.items():
        if register.owner and electorates.decided(group, register.owner) is None:
            identities.node_of(register.owner)
        register.highest_promise()
        register.accepted()
    name = text_of(data)
    parts = journal.parts_of(name, ERA)
    assert journal.writer_of(name, ERA) == (parts.writer if parts is not None else None)


def check_marker(data: bytes) -> None:
    content = summed(data)
    found = marker.decode(content)
    if found is None:
        return
    assert marker.decode(marker.encode(found)) == found
    assert all(isinstance(one, str) for one in (found.era, found.life, found.configuration, found.boot, found.met))
    assert all(isinstance(one, str) for one in found.invited)
    assert isinstance(found.settled, bool)
    marker.number_of(found.era)
    disk = Memory(voter=content)
    Voter(1, frozenset({1, 2, 3}), "c", Timing(), disk, "boot", 1, lambda: 0.0, lambda: NONCE, lambda: 1.0)


def check_voter(data: bytes) -> None:
    """Everything that a voter reads on its own disk, and an operator's order."""
    kind, content = data[:1], data[1:]
    name = {b"o": "order", b"f": "founded", b"c": "counted", b"v": "voter"}.get(kind, "order")
    disk = Memory(**{name: content})
    voter = Voter(1, frozenset({1, 2, 3}), "c", Timing(), disk, "boot", 1, lambda: 0.0, lambda: NONCE, lambda: 1.0)
    voter.obey(0.0)
    voter.look()
    voter.look_at_journals()
    voter.step(1.0, {})
    assert all(isinstance(line, str) for line in voter.take_log())
    assert voter.wish is None or all(type(one) is int for one in voter.wish.voters)
    try:
        era, voters = installed(content.decode("ascii", "replace"))
        assert marker.is_era(era)
        assert 1 <= len(voters) <= 7
    except ValueError as error:
        assert str(error)


def check_record(data: bytes) -> None:
    block = data[1:]
    if data[:1] < bytes([WRONG]):
        block = b"mosha1 %d %08x\n%s" % (len(block), zlib.crc32(block), block)
    found = record.decode(block)
    if found is None:
        return
    assert record.decode(record.encode(dict(found))) == found
    said_by(found)


def said_by(said: Mapping[str, Any]) -> None:
    """What the agent does with another's record, as far as it is no more than reading it."""
    assert isinstance(said.get("revision", 0), int)
    for name in ("arbitrator", "leaving"):
        assert isinstance(said.get(name, False), bool)
    assert all(isinstance(group, str) for group in said.get("unfit", ()))
    tables = said.get("tables") or {}
    replica: Replica[hactl.Hactl] = Replica(Memory(), "hactl", hactl.parse, {})
    for name in ("cltab", "hactl"):
        replica.heard(2, tables.get(name))
    replica.look(True)
    replica.wanted_from()
    for at in status._groups(said).values():
        assert isinstance(at.get("level", ""), str)


def check_version(data: bytes) -> None:
    """``hactl.version``, ``hactl.good`` and ``hactl`` itself, in three lines, and what another node says of its own."""
    version, _, rest = data.partition(b"\n")
    good, _, content = rest.partition(b"\n")
    disk = Memory(**{"hactl.version": version, "hactl.good": good, "hactl": content.replace(b";", b"\n")})
    replica: Replica[hactl.Hactl] = Replica(disk, "hactl", hactl.parse, {})
    assert isinstance(replica.version, Version)
    number, checksum, before = replica.version
    assert (type(number), type(checksum), type(before)) == (int, str, str)
    assert number >= 0
    try:
        replica.heard(2, json.loads(good))
    except (ValueError, RecursionError):
        pass
    for _ in range(2):
        for line in replica.look(may_number=True):
            assert line
        replica.wanted_from()
        replica.conflict()
    assert json.loads(json.dumps(replica.said())) == replica.said()


_directory = tempfile.TemporaryDirectory(prefix="mosha-fuzz-")


def check_page(data: bytes) -> None:
    """``hastat.json``, for `mosha status`."""
    directory = Path(_directory.name)
    (directory / status.TWIN).write_bytes(data)
    try:
        found = status.read(directory, 100.0, "boot")
    except status.NotRunning as error:
        assert str(error)
        return
    assert status.table(found)


def check_stomith_log(data: bytes) -> None:
    for line in data.splitlines():
        found = history._parse(line)
        assert found is None or set(found) == set(history.Attempt._fields)


def check_map_of_a_shared_directory(data: bytes) -> None:
    try:
        hosts = shared_directory.parse_map(data)
    except OSError as error:
        assert error.strerror
        assert error.strerror.startswith(shared_directory.MAP)
        return
    assert len(set(hosts.values())) == len(hosts)
    assert shared_directory.parse_map("".join(f"{node} {host}\n" for node, host in hosts.items()).encode()) == hosts


def check_mountinfo(data: bytes) -> None:
    for mount in mountinfo.parse(data):
        assert isinstance(mount.directory, str)


_MARKER = marker.encode(Marker(FULL, ERA, NONCE, "c", "boot", electorate=Electorate(7, 0, (1, 2, 3))))[9:-1]
_ENTRIES: list[Entry] = [
    Block("kv", 4, (2, ONE), (1, TWO), TWO, 9),
    Commit("kv", 4, TWO),
    Released("kv", 4, TWO, ONE),
    Dead(TWO),
    Commit("voters/3", 1, "1,2,3"),
]
_SAID = {
    "node": 2,
    "boot": "b",
    "identity": TWO,
    "era": ERA,
    "arbitrator": False,
    "leaving": False,
    "suspects": [3],
    "unfit": ["web"],
    "groups": {"kv": {"level": "start", "state": "DONE", "since": "x"}},
    "tables": {"cltab": [1, "c" * 64, ""], "hactl": [2, "d" * 64, ""]},
    "revision": 3,
}
_PAGE = {
    "node": 1,
    "identity": ONE,
    "era": ERA,
    "voters": [{"id": 1, "state": "full", "era": ERA}],
    "quorum": True,
    "beat": 0.5,
    "nodes": [{"id": 1, "state": "up"}],
    "groups": [
        {"name": "kv", "owner": 1, "level": "start", "state": "DONE", "since": None, "epoch": 1, "waits_for": None}
    ],
    "conflicts": [],
    "boottime": 100.0,
    "boot": "boot",
    "electorate": {},
}
_JSON = (b"[]", b"{}", b"null", b"true", b"1e999", b"NaN", b"-1", b"[" * 1500, b"9" * 40, b'""', b"\\ud800", b'"', b",")

TARGETS = (
    Target(
        "slot",
        check_slot,
        (b"\0" + slot.encode(Slot(ONE, 9, 100, 2, 3))[:-4], b"\xff" + slot.encode(Slot(TWO, 1, 0, 0, 0))),
    ),
    Target(
        "journal",
        check_journal,
        (
            b"\n".join(b"\0" + journal.encode(one)[9:-1] for one in _ENTRIES) + b"\n",
            b"".join(b"\xff" + journal.encode(one) for one in _ENTRIES),
        ),
        (b'["block",', b'["commit",', b'["released",', b'["dead",', *_JSON),
        share=2,
        bytes_max=2000,
    ),
    Target(
        "marker",
        check_marker,
        (b"\0" + _MARKER, b"\xff00000000 []"),
        (b'"full"', b'"none"', b'"closed"', *_JSON),
        bytes_max=2000,
    ),
    Target(
        "voter's files",
        check_voter,
        (
            b'o{"name": "n", "do": "forget"}',
            b'o{"name": "n", "do": "found", "without": [2]}',
            b'o{"name": "n", "do": "elect", "voters": [1, 2, 3, 4]}',
            f"f{ERA} 1 2 3".encode(),
            b"c" + slot.encode(Slot(ONE, 9, 0, 0, 0)),
        ),
        (b'"do"', b'"elect"', b'"voters"', b'"without"', *_JSON),
        bytes_max=2000,
    ),
    Target(
        "record",
        check_record,
        (b"\0" + json.dumps(_SAID).encode(), b"\xffmosha1 2 00000000\n{}"),
        _JSON,
        bytes_max=2000,
    ),
    Target(
        "versions of a table",
        check_version,
        (b'[3, "' + b"c" * 64 + b'", ""]\n[4, "x", "y"]\nweb start;kv stop;', b"[1e999, 1, 2]\n[-1, 2, 3]\n"),
        (b"web start;", *_JSON),
        share=0.5,
        bytes_max=2000,
    ),
    Target(
        "hastat.json",
        check_page,
        (json.dumps(_PAGE).encode(), b"[]"),
        (b'"waits"', b'"nodes"', b'"groups"', *_JSON),
        share=0.3,
        bytes_max=2000,
    ),
    Target(
        "stomith.log",
        check_stomith_log,
        (json.dumps(history.Attempt(1, "agent", 2, 1, "d", "off", True, 0, 1, "x")._asdict()).encode(),),
        _JSON,
        share=0.5,
    ),
    Target(
        "nodes of a shared directory",
        check_map_of_a_shared_directory,
        (b"1 alpha\n# two\n2 beta  # b\n\n65535 gamma\n", b"1 a\n1 b\n", b"1 a\n2 a\n", b"0 a\n", b"1\n"),
        (b"#", b"\n", b" ", b"\x85", b"\xff", b"65536"),
    ),
    Target(
        "mountinfo",
        check_mountinfo,
        (b"36 35 98:0 / /mnt\\040x rw - ext3 /dev/root rw\n", b"a b c d e f g - h i j\n"),
        (b" - ", b"\\040"),
        share=0.5,
    ),
)
