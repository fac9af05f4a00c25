"""Edits that meet another version: what somebody wrote is in force, or kept."""

from __future__ import annotations

import json
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mosha import operate, ordering
from mosha.aside import KEPT_MAX
from mosha.config import Config
from mosha.platform.store import LocalStore
from mosha.replication import OPEN_S, SETTLE_S, Replica, made
from mosha.tables import hactl

OLD, STOPPED = "kv start\nweb start\n", "kv stop\nweb start\n"


class Nodes:
    """Replicas of three, each in its directory."""

    def __init__(self, root: Path, content: str = OLD) -> None:
        self.now = 0.0
        self.directories = [root / str(node) for node in (1, 2, 3)]
        for directory in self.directories:
            directory.mkdir()
            (directory / "hactl").write_text(content)
        self.nodes = [replica(directory) for directory in self.directories]
        self.talk()

    def talk(self, rounds: int = 12) -> list[str]:
        """Longer than an edit has to stand still."""
        lines = []
        for _ in range(rounds):
            self.now += 1.0
            for node in self.nodes:
                lines += node.look(True, self.now)
            for number, node in enumerate(self.nodes):
                for other, peer in enumerate(self.nodes):
                    if other != number:
                        node.heard(other, peer.said())
                source = node.wanted_from()
                if source is not None:
                    lines += node.take(source, (self.directories[source] / "hactl.good").read_text())
        return lines

    def edit(self, node: int, content: str) -> list[str]:
        (self.directories[node] / "hactl").write_text(content)
        return self.talk()

    def contents(self) -> set[str]:
        return {(directory / "hactl").read_text() for directory in self.directories}

    def kept(self) -> list[str]:
        return sorted(file.read_text() for directory in self.directories for file in directory.glob("hactl.kept-*"))


def replica(directory: Path) -> Replica[hactl.Hactl]:
    return Replica(LocalStore(directory), "hactl", hactl.parse, {}, directory, hactl.taken_away)


@pytest.fixture
def nodes(tmp_path: Path) -> Nodes:
    return Nodes(tmp_path)


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("taken", [STOPPED, f"{OLD}new start\n", f"{OLD}# a word\n"])
def test_what_was_opened_before_another_version_came_yields(nodes: Nodes, taken: str, is_restarted: bool) -> None:
    nodes.edit(1, taken)
    if is_restarted:
        nodes.nodes[0] = replica(nodes.directories[0])
    lines = nodes.edit(0, f"{OLD}db start\n")
    assert (nodes.contents(), nodes.kept()) == ({taken}, [f"{OLD}db start\n"])
    assert [line for line in lines if line.startswith("conflict: version 2 of hactl was not made of")]
    assert nodes.nodes[0].kept
    nodes.edit(0, f"{OLD}db start\n")
    assert nodes.contents() == {f"{OLD}db start\n"}, "made again it is meant"


def test_half_of_what_somebody_writes_is_no_edit(nodes: Nodes) -> None:
    """``cat >>`` whose pieces come with looks of the agent in between: each ends at the end of a line."""
    with open(nodes.directories[0] / "hactl", "a") as cat:
        lines = []
        for line in ("db start\n", "log busy\n", "mail start\n"):
            cat.write(line)
            cat.flush()
            lines += nodes.talk(2)
        nodes.talk(int(2 * SETTLE_S))
        assert (nodes.directories[1] / "hactl").read_text() == OLD
        assert (nodes.nodes[0].version.number, nodes.nodes[0].table) == (1, nodes.nodes[1].table)
    assert [line for line in lines if "somebody has it open to write: taken up when that is closed" in line], lines
    nodes.talk()
    assert nodes.contents() == {f"{OLD}db start\nlog busy\nmail start\n"}


def test_what_somebody_has_open_for_ever_is_taken_up_all_the_same(nodes: Nodes) -> None:
    with open(nodes.directories[0] / "hactl", "a") as cat:
        cat.write("db start\n")
        cat.flush()
        began = nodes.now
        while len(nodes.contents()) > 1:
            nodes.talk()
            assert nodes.now < began + OPEN_S + 20
    assert nodes.now > began + OPEN_S


def test_a_first_table_that_is_still_written_is_none(tmp_path: Path) -> None:
    node = replica(tmp_path)
    with open(tmp_path / "hactl", "w") as cat:
        cat.write("kv start\n")
        cat.flush()
        node.look(True, 1.0)
        assert not node.loaded
        cat.write("web start\n")
    node.look(True, 2.0)
    assert sorted(node.table) == ["kv", "web"]


def test_it_yields_to_the_second_version_that_came_too(nodes: Nodes) -> None:
    nodes.edit(1, STOPPED)
    nodes.edit(1, "kv busy\nweb start\n")
    nodes.edit(0, f"{OLD}db start\n")
    assert (nodes.contents(), nodes.kept()) == ({"kv busy\nweb start\n"}, [f"{OLD}db start\n"])


@pytest.mark.parametrize("edit", [OLD, "kv busy\nweb start\n"])
def test_what_an_edit_undoes_is_kept(nodes: Nodes, edit: str) -> None:
    """Its author may have known it, or not: what was there before, exactly, or another level."""
    nodes.edit(1, STOPPED)
    lines = nodes.edit(0, edit)
    assert (nodes.contents(), nodes.kept()) == ({edit}, [STOPPED])
    assert [line for line in lines if "version 2 of hactl was undone by what was edited here; that is kept as" in line]


@pytest.mark.parametrize(("taken", "edit"), [
    (STOPPED, f"{STOPPED}db start\n"),
    (STOPPED, "kv stop\nweb stop\n"),
    (f"{OLD}new start\n", f"{OLD}new stop\n"),
    (f"{STOPPED}db start\n", "kv start\nweb start\ndb start\n"),
])
def test_an_edit_that_has_something_of_the_other_version_is_one_of_it(nodes: Nodes, taken: str, edit: str) -> None:
    nodes.edit(1, taken)
    assert not [line for line in nodes.edit(0, edit) if "conflict" in line]
    assert (nodes.contents(), nodes.kept()) == ({edit}, [])


def test_an_edit_where_nothing_was_taken_is_an_edit(nodes: Nodes) -> None:
    for text in (STOPPED, OLD, f"{STOPPED}db start\n", f"{OLD}new start\n"):
        nodes.edit(1, text)
        assert (nodes.contents(), nodes.kept()) == ({text}, [])


@pytest.mark.parametrize(("made_of", "content", "kept"), [
    (STOPPED, "kv start\nweb stop\n", []), (OLD, "kv busy\nweb start\n", ["kv busy\nweb start\n"]),
])
def test_a_command_says_what_its_text_was_made_of(nodes: Nodes, made_of: str, content: str, kept: list[str]) -> None:
    nodes.edit(1, STOPPED)
    said = nodes.directories[0] / "hactl.edit"
    said.write_bytes(made(made_of.encode(), content.encode()))
    nodes.edit(0, content)
    assert (nodes.contents(), nodes.kept()) == ({STOPPED if kept else content}, kept)
    assert not said.exists(), "it is about this one edit"


@pytest.mark.parametrize("instant", ["written", "set aside"])
def test_what_is_saved_while_another_version_is_taken_is_kept(
    nodes: Nodes, instant: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As vi does it: a new file, renamed over the old one."""
    directory = nodes.directories[0]
    genuine, call = (os.fsync, "fsync") if instant == "written" else (os.link, "link")
    saves = [1]

    def saved(*arguments: Any) -> Any:
        if (directory / ".hactl.new").exists() and saves and saves.pop():
            (directory / "4913").write_text("mine start\n")
            (directory / "4913").rename(directory / "hactl")
        return genuine(*arguments)

    monkeypatch.setattr(os, call, saved)
    lines = nodes.edit(1, STOPPED)
    assert not saves
    assert (nodes.contents(), nodes.kept()) == ({STOPPED}, ["mine start\n"])
    assert any("was saved while version 2 was put there" in line for line in lines) is (instant == "set aside")
    assert not list(directory.glob(".*"))


# ---- commands -----------------------------------------------------------------------------------------------------


class Machine:
    """A node with a real directory, whose page is a file that processes read."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Config(root=str(root))
        self.var = self.settings.var
        self.var.mkdir(parents=True)
        (self.var / "hactl").write_text("kv start\nweb start\ndb start\n")
        self.replica = replica(self.var)
        self._page = root / "page"
        monkeypatch.setattr(operate, "page", self.page)
        monkeypatch.setattr(ordering, "page", self.page)
        self.beat()

    def page(self, _: object) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._page.read_text())
        return found

    def beat(self) -> None:
        self.replica.look(True, time.monotonic())
        new = self._page.with_suffix(".new")
        new.write_text(json.dumps({"node": 1, "beat": 0.05, "tables": {"hactl": self.replica.said()}}))
        new.rename(self._page)

    def run(self, *commands: Any) -> list[int]:
        """All at once, each in its process; their exit codes."""
        running = {}
        for command in commands:
            pid = os.fork()
            if not pid:
                try:
                    command()
                except BaseException as error:  # noqa: BLE001
                    os.write(2, f"{error!r}\n".encode())
                    os._exit(1)
                os._exit(0)
            running[pid] = command
        codes: dict[int, int] = {}
        while len(codes) < len(running):
            self.beat()
            time.sleep(0.02)
            pid, code = os.waitpid(-1, os.WNOHANG)
            codes.update({pid: code} if pid else {})
        return [codes[pid] for pid in running]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_of_commands_at_one_time_none_is_lost(machine: Machine) -> None:
    for level in ("stop", "start", "stop"):
        tells = [partial(operate.tell, machine.settings, group, level) for group in ("kv", "web", "db")]
        assert machine.run(*tells) == [0, 0, 0]
        assert hactl.levels(machine.replica.table) == dict.fromkeys(("kv", "web", "db"), level)
    assert machine.replica.kept == []
    assert not list(machine.var.glob(".*.new"))


def test_what_is_saved_while_a_command_writes_stays_and_the_command_says_so(
    machine: Machine, monkeypatch: pytest.MonkeyPatch,
) -> None:
    genuine = os.fsync

    def saved(fd: int) -> None:
        if (machine.var / ".hactl.command.new").exists():
            (machine.var / "hactl").write_text("mine start\n")
        genuine(fd)

    monkeypatch.setattr(os, "fsync", saved)
    with pytest.raises(ordering.Refused, match="at this instant, and nothing is done"):
        operate.tell(machine.settings, "kv", "stop")
    assert (machine.var / "hactl").read_text() == "mine start\n"


def test_a_command_waits_for_its_turn_and_not_for_ever(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ordering, "ORDER_LIMIT_S", 0.3)
    late = pytest.raises(ordering.Refused, match=r"another command on this node has not ended within 0\.3 s")
    with ordering.turn(machine.settings), late:
        operate.tell(machine.settings, "kv", "stop")
    assert (machine.var / "hactl").read_text() == "kv start\nweb start\ndb start\n"


def test_of_orders_at_one_time_each_is_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def ordered(group: str) -> None:
        ordering.give(machine.settings, lambda _, name: True if (machine.var / f"done-{name}").exists() else None,
                      group=group)

    taken, genuine = [], machine.beat

    def beat() -> None:
        genuine()
        file = machine.var / "order"
        if file.exists():
            order = json.loads(file.read_text())
            (machine.var / f"done-{order['name']}").touch()
            taken.append(order["group"])
            file.unlink()

    monkeypatch.setattr(machine, "beat", beat)
    groups = ["kv", "web", "db"]
    assert machine.run(*(partial(ordered, group) for group in groups)) == [0, 0, 0]
    assert sorted(taken) == sorted(groups)


@pytest.mark.parametrize("is_restarted", [False, True])
@pytest.mark.parametrize("versions", [1, 2])
def test_what_is_written_into_a_table_that_was_put_aside_is_kept(
    nodes: Nodes, versions: int, is_restarted: bool
) -> None:
    """``cat > hactl``: it is empty while other versions come, and then he writes, line by line."""
    with open(nodes.directories[0] / "hactl", "w", encoding="utf-8") as stream:
        nodes.talk()
        for version in range(versions):
            nodes.edit(1, "".join([OLD, *(f"# {one}\n" for one in range(version + 1))]))
        if is_restarted:
            nodes.nodes[0] = replica(nodes.directories[0])
        for line in ("kv start\n", "mine start\n"):
            stream.write(line)
            stream.flush()
            nodes.talk()
    last = "".join([OLD, *(f"# {one}\n" for one in range(versions + 1))])
    nodes.edit(2, last)
    assert nodes.kept() == ["kv start\nmine start\n"]
    assert nodes.nodes[0].kept
    assert nodes.contents() == {last}


@pytest.mark.parametrize("versions", [1, 2, 3])
def test_who_opened_a_table_to_write_at_its_end_loses_nothing(nodes: Nodes, versions: int) -> None:
    """``cat >>`` that has written nothing yet while other versions come."""
    with open(nodes.directories[0] / "hactl", "a", encoding="utf-8") as stream:
        for version in range(versions):
            nodes.edit(1, "".join([OLD, *(f"# {one}\n" for one in range(version + 1))]))
        stream.write("mine start\n")
    nodes.talk()
    assert nodes.kept() == [f"{OLD}mine start\n"]
    assert nodes.nodes[0].kept


def test_what_was_put_aside_and_stays_so_is_no_conflict(nodes: Nodes) -> None:
    for number in range(3):
        nodes.edit(1, f"{OLD}# {number}\n")
        nodes.nodes[0] = replica(nodes.directories[0])
    assert nodes.kept() == []


def test_with_as_many_kept_as_may_be_what_was_written_waits_where_it_lies(nodes: Nodes) -> None:
    with open(nodes.directories[0] / "hactl", "w", encoding="utf-8") as stream:
        nodes.edit(1, f"{OLD}# a word\n")
        for number in range(KEPT_MAX):
            (nodes.directories[0] / f"hactl.kept-{number}").write_text("")
        nodes.nodes[0] = replica(nodes.directories[0])
        stream.write("mine start\n")
    nodes.talk()
    (nodes.directories[0] / "hactl.kept-0").unlink()
    nodes.talk()
    assert "mine start\n" in nodes.kept()


def test_what_keeps_a_table_from_being_read_is_said_each_time_that_it_is_another_thing(nodes: Nodes) -> None:
    file = nodes.directories[0] / "hactl"
    file.unlink()
    assert f"{file}: No such file or directory (the last good one stays in force)" in nodes.talk()
    os.mkfifo(file)
    assert f"{file}: not a regular file (the last good one stays in force)" in nodes.talk()
    assert nodes.talk() == []


def test_a_version_is_taken_over_what_is_no_file(nodes: Nodes) -> None:
    file = nodes.directories[0] / "hactl"
    file.unlink()
    os.mkfifo(file)
    nodes.edit(1, STOPPED)
    assert nodes.contents() == {STOPPED}


def test_a_link_is_edited_and_replicated_through(nodes: Nodes, tmp_path: Path) -> None:
    target = tmp_path / "etc"
    (nodes.directories[0] / "hactl").rename(target)
    (nodes.directories[0] / "hactl").symlink_to(target)
    nodes.edit(1, STOPPED)
    assert target.read_text() == STOPPED
    target.write_text(f"{STOPPED}db start\n")
    nodes.talk()
    assert nodes.contents() == {f"{STOPPED}db start\n"}
    assert (nodes.directories[0] / "hactl").is_symlink()
    assert nodes.kept() == []
