"""In what order groups start and stop on one node, by what it sees of the others."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from mosha.requirements import Requirements
from mosha.tables import hactl
from mosha.timing import STOP_LIMIT_S

HACTL = "web start requires=db,ip\ndb start\nip start\nother start\n"
LEVELS = dict.fromkeys(("web", "db", "ip", "other"), "start")
UP = {"up": ["db", "ip"]}


class Node:
    """What runs here, and what is seen of others."""

    def __init__(self, table: str = HACTL, **levels: str) -> None:
        self.levels = levels
        self.maintained: Collection[str] = ()
        self.owners: dict[str, int] = {"db": 2, "ip": 2}
        self.records: dict[int, dict[str, Any]] = {}
        self.requirements = Requirements(self, self.owners.get, lambda node: self.records.get(node, {}))
        self.take(table)

    def take(self, table: str) -> None:
        self.requirements.take(hactl.parse(table))

    def owns(self, name: str) -> bool:
        return name in self.levels

    def is_done(self, name: str, level: str) -> bool:
        return self.levels.get(name) == level

    def runs_at(self, name: str) -> str | None:
        return self.levels.get(name)

    def order(
        self, now: float = 0.0, wanted: dict[str, str] = LEVELS, gives_up: Collection[str] = (),
    ) -> dict[str, str]:
        return dict(self.requirements.order(now, wanted, lambda group: group in gives_up))


WITHOUT_WEB = {name: level for name, level in LEVELS.items() if name != "web"}


@pytest.mark.parametrize(("records", "wanted"), [
    ({}, WITHOUT_WEB), ({2: {}}, WITHOUT_WEB), ({2: {"up": ["db"]}}, WITHOUT_WEB), ({3: UP}, WITHOUT_WEB),
    ({2: UP}, LEVELS),
])
def test_a_group_waits_until_all_that_it_requires_are_up_where_they_are(
    records: dict[int, dict[str, Any]], wanted: dict[str, str]
) -> None:
    node = Node()
    node.records.update(records)
    assert node.order() == wanted


def test_nobody_has_what_it_requires() -> None:
    node = Node()
    node.records[2] = UP
    node.owners.clear()
    assert node.order() == WITHOUT_WEB


def test_what_is_missing_is_named() -> None:
    node = Node(web="start")
    assert node.requirements.missing("web") == "web requires db and ip, which are not up"
    node.records[2] = {"up": ["db"]}
    assert node.requirements.missing("web") == "web requires ip, which is not up"
    node.records[2] = UP
    assert [node.requirements.missing(group) for group in ("web", "db")] == ["", ""]


def test_what_is_up_here_counts_at_once_and_is_said_to_others() -> None:
    node = Node(db="start", ip="start", other="start")
    assert node.order() == LEVELS
    assert node.requirements.up == ["db", "ip"], "nobody requires the other one"
    node.levels["db"] = "old"
    assert node.order() == WITHOUT_WEB
    assert node.requirements.up == ["ip"]


def test_a_node_that_gives_all_up_says_of_nothing_that_it_is_up() -> None:
    node = Node(db="start", ip="start")
    assert node.order(gives_up=LEVELS) == WITHOUT_WEB
    assert node.requirements.up == []
    assert node.order(gives_up={"web", "ip"}) == WITHOUT_WEB
    assert node.requirements.up == ["db"], "in maintenance on a drained node, say"


def test_what_this_node_has_is_not_stopped_for_what_it_requires() -> None:
    assert Node(web="start").order() == LEVELS


STOPPED = HACTL.replace("db start", "db stop")


def test_what_is_required_stops_last_or_after_a_while() -> None:
    node = Node(STOPPED, db="start")
    node.owners["web"] = 3
    wanted = hactl.levels(hactl.parse(STOPPED))
    assert wanted["web"] == "stop"
    assert node.order(10.0, wanted) == {**wanted, "db": "start"}
    assert node.order(10.0 + STOP_LIMIT_S - 0.1, wanted) == {**wanted, "db": "start"}
    assert node.order(10.0 + STOP_LIMIT_S, wanted) == wanted
    node.take(HACTL)
    assert node.order(60.0) == WITHOUT_WEB
    node.take(STOPPED)
    assert node.order(70.0, wanted)["db"] == "start", "its time begins anew"
    del node.owners["web"]
    assert node.order(71.0, wanted) == wanted


def test_what_is_in_maintenance_is_not_waited_for() -> None:
    node = Node(STOPPED, db="start", web="start")
    wanted = hactl.levels(hactl.parse(STOPPED))
    assert node.order(10.0, wanted)["db"] == "start"
    node.maintained = {"web"}
    assert node.order(10.0, wanted) == wanted


def test_a_node_that_gives_all_up_waits_for_its_own_groups_alone() -> None:
    node = Node(db="start", ip="start", web="start")
    assert node.order(10.0, {}, gives_up=LEVELS) == {"db": "start", "ip": "start"}
    del node.levels["web"]
    node.owners["web"] = 3
    assert node.order(11.0, {}, gives_up=LEVELS) == {}


def test_a_group_that_moves_leaves_alone_what_requires_it() -> None:
    node = Node(db="start", ip="start", web="start")
    moving = {name: level for name, level in LEVELS.items() if name != "db"}
    assert node.order(10.0, moving) == moving
    assert node.requirements.up == ["ip"]
