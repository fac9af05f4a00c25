"""A whole agent, whose group runs while somebody writes into its files: it goes on, whatever they write. And one that
begins on such a file.

In virtual time, alone on its map. Two things end a group rightly: a table that says so, and an operator's order.
"""

from __future__ import annotations

import json

from mosha.tables import cltab, hactl
from mosha.tables.errors import TableErrors
from tests.fuzz.target import Target, text_of
from tests.unit.agent.fake_world import FakeLeash, FakeWorld
from tests.unit.agent.test_rounds import CLTAB, running, world_of

NAMES = (
    "cltab", "hactl", "clstat", "hastat", "hastat.json", "beat", "order", "founded", "state", "counted",
    "cltab.version", "hactl.version", "cltab.good", "hactl.good", "cltab.previous", "a stray",
    "7-00000007.j.2.1.00.0", "stomith.log", "history",
)
GOOD = {"cltab": CLTAB, "hactl": b"web start\n"}
BEATS = 3
LIFE_S = 1000.0                  # then another agent begins: what it remembers does not hide anything for ever


class Scene:
    """One agent, kept for many inputs."""

    def __init__(self) -> None:
        self.world: FakeWorld = world_of([1])
        self.leash: FakeLeash = running(self.world)
        self.until = self.world.now() + LIFE_S


_scenes: list[Scene] = []


def check_agent(data: bytes) -> None:
    """The first byte is the file's number."""
    if not _scenes or _scenes[-1].world.now() > _scenes[-1].until:
        _scenes[:] = [Scene()]
    world, leash = _scenes[-1].world, _scenes[-1].leash
    name, content = _file(data)
    before = dict(GOOD)
    world.disk.files[name] = content
    world.pass_time(BEATS * world.agent.timing.beat_s)
    assert world.ended is None, f"{name} ended the agent"
    if leash.gone or leash.told[-1] != "start":
        _scenes.clear()
        assert _says_so(name, content), f"{name} stopped the group"
        return
    if name in before:
        world.disk.files[name] = before[name]
        world.pass_time(world.agent.timing.beat_s)
        assert not leash.gone
    assert leash.deadlines[-1] > world.now()


def check_next_life(data: bytes) -> None:
    """The same input is there when it begins."""
    name, content = _file(data)
    world = world_of([1], None, None, **{name: content})
    world.pass_time(BEATS * world.agent.timing.beat_s)
    assert world.ended is None, f"{name} ended the next life"


def _file(data: bytes) -> tuple[str, bytes]:
    return NAMES[data[0] % len(NAMES)] if data else "hactl", data[1:]


def _says_so(name: str, content: bytes) -> bool:
    """Whether that is another configuration, or an order."""
    try:
        if name == "hactl":
            table = hactl.parse(text_of(content))
            return "web" in table and table["web"].level != "start"
        if name == "cltab":
            return cltab.parse(text_of(content)).group("web") != cltab.parse(text_of(CLTAB)).group("web")
        return name == "order" and json.loads(content)["do"] in ("forget", "elect", "found")
    except (TableErrors, ValueError, TypeError, KeyError):
        return False


def _number(name: str) -> bytes:
    return bytes([NAMES.index(name)])


WORDS = (b"web", b" start\n", b" stop\n", b"[", b"1e999", b"\0", b"{}")
TARGETS = (
    Target("files of an agent", check_agent, (
        _number("hactl") + b"web start\ndb start\n", _number("hactl") + b"web stop\n", _number("cltab") + CLTAB,
        _number("order") + b'{"name": "n", "do": "found", "without": [2]}', _number("state") + b"1234567890",
        _number("hactl.version") + b'[3, "c", "d"]', _number("hastat.json") + b"{}",
        _number("founded") + b"8-00000008 1 2",
        _number("hactl.version") + b"[1e999, 1, 2]", _number("a stray") + b"x",
    ), WORDS, share=0.1, bytes_max=300),
    Target("files of a next life", check_next_life, (
        _number("history") + b'{"time": 1e999, "what": "x"}\n', _number("history") + b"[" * 2000,
        _number("state") + b"1234567890", _number("founded") + b"8-00000008 1 2", _number("cltab.version") + b"[1e999]",
        _number("counted") + b"x" * 64,
    ), WORDS, share=0.02, bytes_max=2100),
)
