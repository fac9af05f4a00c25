"""Versions of cltab and hactl: edits, validation, conflicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosha.platform.store import LocalStore
from mosha.replication import Replica
from mosha.tables import hactl


def _levels(text: str, file: str) -> dict[str, str]:
    return hactl.levels(hactl.parse(text, file))


class Disks:
    """Replicas of some nodes, and the talk between them."""

    def __init__(self, root: Path, count: int, content: str = "") -> None:
        self.directories = [root / str(node) for node in range(count)]
        for directory in self.directories:
            directory.mkdir()
            if content:
                (directory / "hactl").write_text(content)
        self.nodes = [self.replica(node) for node in range(count)]

    def replica(self, node: int) -> Replica[dict[str, str]]:
        return Replica(LocalStore(self.directories[node]), "hactl", _levels, {}, self.directories[node])

    def talk(self, rounds: int = 3) -> list[str]:
        lines = []
        for _ in range(rounds):
            for node, replica in enumerate(self.nodes):
                for other, peer in enumerate(self.nodes):
                    if other != node:
                        replica.heard(other, peer.said())
                source = replica.wanted_from()
                if source is not None:
                    lines += replica.take(source, (self.directories[source] / "hactl.good").read_text())
                lines += replica.look(may_number=True)
        return lines

    def edit(self, node: int, content: str) -> None:
        (self.directories[node] / "hactl").write_text(content)

    def contents(self) -> list[str]:
        return [(directory / "hactl").read_text() for directory in self.directories]


def test_equal_files_become_version_one_everywhere(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    assert [replica.version.number for replica in disks.nodes] == [1, 1, 1]
    assert all(replica.table == {"kv": "start"} for replica in disks.nodes)
    assert not list(tmp_path.glob("*/hactl.previous")), "equal contents are not copied over one another"


def test_an_edit_on_one_node_reaches_all_and_what_it_replaces_is_kept(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(1, "kv stop\n")
    disks.talk()
    assert disks.contents() == ["kv stop\n"] * 3
    assert all(replica.table == {"kv": "stop"} for replica in disks.nodes)
    assert (disks.directories[0] / "hactl.previous").read_text() == "kv start\n"


def test_a_bad_edit_changes_nothing_anywhere_and_is_reported_once(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(1, "kv start\nkv\n")
    lines = disks.talk()
    assert len([line for line in lines if "hactl:2: " in line]) == 1
    assert all(replica.table == {"kv": "start"} for replica in disks.nodes)
    assert disks.contents()[0] == "kv start\n"


@pytest.mark.parametrize("damage", ["kv start\nkv\n", None])
def test_the_last_good_table_outlives_the_agent(tmp_path: Path, damage: str | None) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    for node in (0, 1):
        if damage is None:
            (disks.directories[node] / "hactl").unlink()
        else:
            disks.edit(node, damage)
        disks.nodes[node] = disks.replica(node)
    lines = disks.talk()
    assert all(replica.table == {"kv": "start"} for replica in disks.nodes)
    assert len([line for line in lines if "stays in force" in line]) == 2
    disks.edit(0, "kv stop\n")
    disks.talk()
    assert all(replica.table == {"kv": "stop"} for replica in disks.nodes)


def test_a_good_copy_that_is_torn_is_not_taken(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 1, "kv start\n")
    disks.talk()
    (disks.directories[0] / "hactl").unlink()
    (disks.directories[0] / "hactl.good").write_text("kv st")
    again = disks.replica(0)
    again.look(may_number=True)
    assert not again.loaded


def test_a_missing_file_is_no_edit(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    (disks.directories[0] / "hactl").unlink()
    disks.talk()
    assert all(replica.table == {"kv": "start"} for replica in disks.nodes)


def test_two_edits_at_once_are_a_conflict_that_nobody_settles_but_a_new_edit(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(0, "kv one\n")
    disks.edit(1, "kv two\n")
    for node in (0, 1):
        disks.nodes[node].look(may_number=True)
    lines = disks.talk()
    assert any("different contents" in line for line in lines)
    assert disks.nodes[2].conflict()
    assert disks.contents() == ["kv one\n", "kv two\n", "kv start\n"]
    disks.edit(0, "kv three\n")
    disks.talk()
    assert disks.contents() == ["kv three\n"] * 3
    assert not any(replica.conflict() for replica in disks.nodes)


def test_a_node_that_missed_edits_takes_the_newest_and_keeps_its_own(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    away = disks.nodes.pop()
    disks.edit(0, "kv stop\n")
    disks.talk()
    disks.nodes.append(disks.replica(2))
    assert disks.nodes[2].version == away.version
    disks.talk()
    assert disks.contents() == ["kv stop\n"] * 3


def test_an_edit_before_anything_was_numbered_is_an_edit_and_no_conflict(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    for replica in disks.nodes:
        replica.look(may_number=False)
    disks.edit(1, "kv stop\n")
    disks.talk()
    assert disks.contents() == ["kv stop\n"] * 3
    assert not any(replica.conflict() for replica in disks.nodes)


def test_a_new_node_takes_the_clusters_table_and_not_the_reverse(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    new = disks.nodes.pop()
    disks.talk()
    disks.edit(2, "other start\n")
    disks.nodes.append(new)
    disks.talk()
    assert disks.contents() == ["kv start\n"] * 3


def test_no_number_is_given_before_a_majority_was_heard(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 1, "kv start\n")
    disks.nodes[0].look(may_number=False)
    assert disks.nodes[0].table == {"kv": "start"}
    assert disks.nodes[0].version.number == 0


def test_a_fetched_content_with_another_checksum_is_not_taken(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    disks.nodes[0].heard(1, [9, "0" * 64, ""])
    assert disks.nodes[0].wanted_from() == 1
    assert disks.nodes[0].take(1, "kv stop\n") == []
    assert disks.contents()[0] == "kv start\n"


def test_a_node_that_does_not_give_what_it_promised_is_not_asked_again_at_once(tmp_path: Path) -> None:
    """An operator has spoilt its file, or it is cut off: another has the same version."""
    lost = Disks(tmp_path, 1).nodes[0]
    lost.look(may_number=False)
    for node in (2, 3):
        lost.heard(node, [3, "0" * 64, ""])
    first = lost.wanted_from()
    assert first == 2
    assert lost.take(first, "spoilt: ::") == []
    assert lost.wanted_from() == 3
    lost.refused(3)
    assert lost.wanted_from() == 2, "all of them once more"


def test_what_is_in_force_is_written_back_when_the_disk_is_lost_under_the_agent(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    disks.edit(0, "kv stop\n")
    disks.talk()
    for directory in disks.directories:
        for file in directory.iterdir():
            file.unlink()
    assert any("were gone" in line for line in disks.talk())
    assert disks.contents() == ["kv stop\n", "kv stop\n"]
    again = disks.replica(0)
    assert again.look(may_number=False) == []
    assert (again.table, again.version) == ({"kv": "stop"}, disks.nodes[0].version)
    (disks.directories[0] / "hactl").unlink()
    assert "No such file" in disks.nodes[0].look(may_number=True)[0], "an operator removed it: that is no lost disk"


def test_a_torn_version_file_counts_as_none(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 1, "kv start\n")
    (disks.directories[0] / "hactl.version").write_text('[3, "ab')
    assert disks.replica(0).version.number == 0


@pytest.mark.parametrize("said", [None, [], "x", [1, 2], ["1", "a", "b"]])
def test_nonsense_from_another_node_is_ignored(tmp_path: Path, said: object) -> None:
    disks = Disks(tmp_path, 1, "kv start\n")
    disks.nodes[0].look(may_number=True)
    disks.nodes[0].heard(1, said)
    assert disks.nodes[0].wanted_from() is None
