"""What nodes said, as the engine keeps it: nothing that was missed is passed over."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any, cast

import pytest

from moslab import logs
from moslab.faults import docker as faults
from moslab.logs import Logs, Removed

SINCE_S = 1000.0
TRACE = "Traceback (most recent call last):"


class Container:
    """What it said at which second after ``SINCE_S``."""

    def __init__(self, id_: str, *said: tuple[float, str]) -> None:
        self.id, self.name, self.said = id_, f"c-{id_}", said
        self.image, self.is_removed = SimpleNamespace(id="image"), False

    def logs(self, since: float = 0.0, timestamps: bool = False) -> bytes:
        assert not self.is_removed
        lines = [(at_s, text) for at_s, text in self.said if SINCE_S + at_s >= since]
        return "".join(f"{stamp(at_s) if timestamps else ''}{text}\n" for at_s, text in lines).encode()

    def remove(self, v: bool) -> None:
        self.is_removed = True


def stamp(at_s: float) -> str:
    moment = datetime.fromtimestamp(SINCE_S + at_s, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z "


def made(nodes: dict[int, Any], removed: dict[str, Removed]) -> Logs:
    return Logs(lambda: nodes, removed, datetime.fromtimestamp(SINCE_S, timezone.utc))


def test_a_crash_is_said_at_every_look_after_it() -> None:
    """A drill looks between its steps; the judgement comes at the end."""
    seen = made({1: Container("a", (-1.0, TRACE)), 2: Container("b", (1.0, "boots"), (2.0, TRACE))}, {})
    seen.look(5.0)
    seen.look(9.0)
    assert seen.crashes == [(5.0, 2, f"boots\n{TRACE}\n")]
    assert seen.missed == []


@pytest.mark.parametrize("ahead_s", [-3600.0, 0.0, 3600.0])
def test_an_engine_elsewhere_has_a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """A remote one: what it said from one look to the next is by its clock."""
    monkeypatch.setattr(time, "time", lambda: SINCE_S + 5.0)
    node = Container("a", (ahead_s - 1.0, TRACE), (ahead_s + 1.0, "boots"), (ahead_s + 4.5, TRACE))
    since = datetime.fromtimestamp(SINCE_S, timezone.utc)
    seen = Logs(lambda: cast(Any, {1: node}), {}, since, ahead_s)
    seen.look(5.0)
    assert [said for _, _, said in seen.crashes] == [f"boots\n{TRACE}\n"]
    node.said += ((ahead_s + 5.1, f"again {TRACE}"),)
    seen.look(6.0)
    assert [said for at_s, _, said in seen.crashes if at_s == 6.0] == [f"{TRACE}\nagain {TRACE}\n"]


def test_a_lost_disk_has_its_log_read_before(monkeypatch: pytest.MonkeyPatch) -> None:
    old, nodes = Container("a", (-1.0, TRACE), (1.0, "boots"), (2.0, TRACE)), {}
    nodes[1] = old
    broken = faults.Faults.__new__(faults.Faults)
    broken.removed = {}
    broken.cluster = cast(Any, SimpleNamespace(names=SimpleNamespace(node=lambda _: old.name), client=None))
    monkeypatch.setattr(faults, "create_node", lambda *_: None)
    seen = made(nodes, broken.removed)
    broken._create(1, cast(Any, old), [], [])
    assert old.is_removed
    nodes[1] = Container("new", (3.0, "boots again"))
    seen.look(5.0)
    seen.look(6.0)
    assert seen.crashes == [(5.0, 1, f"boots\n{TRACE}\n")]
    assert seen.missed == []
    assert [(line.time_s, line.text) for line in seen.lines(lambda wall_s: wall_s - SINCE_S)] == [
        (-1.0, TRACE), (1.0, "boots"), (2.0, TRACE), (3.0, "boots again"),
    ]


def test_a_log_that_went_with_its_container_was_missed() -> None:
    nodes = {1: Container("a"), 2: Container("b")}
    seen = made(nodes, {})
    nodes[2] = Container("c")
    nodes[3] = Container("joined")
    for at_s in (5.0, 6.0):
        seen.look(at_s)
        assert seen.missed == ["the container of node 2 was removed, and its log with it"]


def test_more_than_the_engine_keeps_was_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SURE_BYTES", 1000)
    seen = made({1: Container("a", (1.0, "x" * 890)), 2: Container("b", (1.0, "x" * 900))}, {})
    seen.look(5.0)
    assert seen.missed == ["node 2 said more than the engine keeps for certain"]
