"""Versions of cltab and hactl: edits, validation, conflicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosha.aside import KEPT_MAX
from mosha.platform.store import LocalStore
from mosha.replication import BEFORE_MAX, NUMBER_MAX, Replica, Version
from mosha.tables import hactl


def _levels(text: str, file: str) -> dict[str, str]:
    return hactl.levels(hactl.parse(text, file))


class Disks:
    """Replicas of some nodes, and the talk between them."""

    def __init__(self, root: Path, count: int, content: str = "") -> None:
        self.gone: set[int] = set()
        self.directories = [root / str(node) for node in range(count)]
        for directory in self.directories:
            directory.mkdir()
            if content:
                (directory / "hactl").write_text(content)
        self.nodes = [self.replica(node) for node in range(count)]

    def replica(self, node: int) -> Replica[dict[str, str]]:
        return Replica(
            LocalStore(self.directories[node]), "hactl", _levels, {}, self.directories[node],
            is_here=lambda other: other not in self.gone,
        )

    def hear(self, node: int) -> Replica[dict[str, str]]:
        """It knows what all others say, and has done nothing about it."""
        for other, peer in enumerate(self.nodes):
            if other not in {node, *self.gone}:
                self.nodes[node].heard(other, peer.said())
        return self.nodes[node]

    def good(self, node: int) -> str:
        return (self.directories[node] / "hactl.good").read_text()

    def kept(self, node: int) -> list[str]:
        return [file.read_text() for file in sorted(self.directories[node].glob("hactl.kept-*"))]

    def talk(self, rounds: int = 3) -> list[str]:
        lines = []
        for _ in range(rounds):
            for node in range(len(self.nodes)):
                if node in self.gone:
                    continue
                replica = self.hear(node)
                source = replica.wanted_from()
                if source is not None:
                    lines += replica.take(source, self.good(source))
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


def test_what_is_fetched_is_not_taken_when_it_is_not_newer_any_more(tmp_path: Path) -> None:
    """Node 0 died after node 1 had asked for its edit, and node 1 was edited; the answer comes after all."""
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(0, "kv zero\n")
    disks.nodes[0].look(may_number=True)
    assert disks.hear(1).wanted_from() == 0
    disks.gone.add(0)
    disks.edit(1, "kv one\n")
    assert disks.nodes[1].look(may_number=True) == ["hactl is now version 3, edited here"]
    assert disks.nodes[1].take(0, disks.good(0)) == []
    disks.talk()
    assert disks.contents() == ["kv zero\n", "kv one\n", "kv one\n"]
    disks.gone.clear()
    lines = disks.talk()
    assert disks.contents() == ["kv one\n"] * 3
    assert disks.kept(0) == ["kv zero\n"]
    assert [line.partition(" as ")[0] for line in lines if "conflict" in line] == [
        "conflict: version 3 of hactl was not made of what was edited here; that is kept",
    ]


def test_an_answer_that_comes_in_a_conflict_is_not_taken(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(0, "kv zero\n")
    disks.nodes[0].look(may_number=True)
    assert disks.hear(2).wanted_from() == 0
    disks.edit(1, "kv one\n")
    disks.nodes[1].look(may_number=True)
    assert disks.hear(2).take(0, disks.good(0)) == []
    assert disks.contents()[2] == "kv start\n"


@pytest.mark.parametrize("is_seen", [False, True])
@pytest.mark.parametrize("edit", ["kv two\n", "kv two\nkv\n"])
def test_an_edit_of_an_older_version_yields_and_is_kept(tmp_path: Path, edit: str, is_seen: bool) -> None:
    """Whether the node has looked at it or not, and whenever it was made; a bad one too."""
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(2, edit)
    if is_seen:
        disks.nodes[2].look(may_number=False)
    disks.edit(0, "kv zero\n")
    for node in (0, 1):
        disks.nodes[node].look(may_number=True)
    replica = disks.hear(2)
    assert replica.wanted_from() == 0
    if is_seen:
        assert not any("edited here" in line for line in replica.look(may_number=True)), "it gets no number"
    replica.take(0, disks.good(0))
    disks.talk()
    assert disks.contents() == ["kv zero\n"] * 3
    assert disks.kept(2) == [edit]
    assert [len(one.kept) for one in disks.nodes] == [0, 0, 1]
    assert disks.replica(2).kept == [], "before it has looked"
    again = disks.replica(2)
    again.look(may_number=True)
    assert again.kept == disks.nodes[2].kept
    (disks.directories[2] / again.kept[0]).unlink()
    again.look(may_number=True)
    assert again.kept == []


def test_an_edit_gets_no_number_if_that_may_not_be_when_it_has_been_written(tmp_path: Path) -> None:
    """The disk hangs while the edit is taken up, for longer than the lease."""
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(2, "kv two\n")
    assert disks.hear(2).look(may_number=True, still=lambda: False) == []
    assert (disks.nodes[2].version.number, disks.nodes[2].waits) == (1, True)
    disks.edit(0, "kv zero\n")
    disks.talk()
    assert (disks.contents(), disks.kept(2)) == (["kv zero\n"] * 3, ["kv two\n"])


def test_an_edit_whose_number_was_held_back_gets_it_when_that_may_be(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(2, "kv two\n")
    disks.hear(2).look(may_number=True, still=lambda: False)
    disks.talk()
    assert disks.contents() == ["kv two\n"] * 3
    assert [replica.version.number for replica in disks.nodes] == [2, 2, 2]
    assert not any(disks.kept(node) for node in range(3))


def test_a_version_that_others_knew_nothing_of_is_kept(tmp_path: Path) -> None:
    """Two got the same number, and one was edited again before anybody had heard of both."""
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(0, "kv zero\n")
    disks.edit(1, "kv one\n")
    for node in (0, 1):
        disks.nodes[node].look(may_number=True)
    for turn in range(BEFORE_MAX - 1):
        disks.edit(0, f"kv {turn}\n")
        disks.nodes[0].look(may_number=True)
    disks.talk()
    assert disks.contents() == [f"kv {turn}\n"] * 3
    assert [disks.kept(node) for node in range(3)] == [[], ["kv one\n"], []]


def test_versions_that_were_missed_are_no_conflict(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    for turn in range(BEFORE_MAX):
        disks.edit(0, f"kv {turn}\n")
        disks.nodes[0].look(may_number=True)
    assert not [line for line in disks.talk() if "conflict" in line]
    assert (disks.kept(1), disks.contents()[1]) == ([], f"kv {BEFORE_MAX - 1}\n")
    assert len(disks.nodes[0].version.before.split(",")) == BEFORE_MAX


def test_an_edit_back_to_an_older_content_is_an_edit(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    disks.edit(0, "kv stop\n")
    disks.talk()
    disks.edit(1, "kv start\n")
    disks.edit(0, "kv zero\n")
    disks.talk()
    assert disks.kept(1) == ["kv start\n"]


def test_one_edit_on_all_nodes_at_once_is_one_version(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    for node in range(3):
        disks.edit(node, "kv stop\n")
    lines = disks.talk()
    assert [replica.version.number for replica in disks.nodes] == [2, 2, 2]
    assert not [line for line in lines if "conflict" in line]
    assert [disks.kept(node) for node in range(3)] == [[], [], []]


def test_a_version_that_only_the_dead_have_stops_no_edit(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 3, "kv start\n")
    disks.talk()
    disks.edit(0, "kv zero\n")
    disks.nodes[0].look(may_number=True)
    disks.hear(1)
    disks.edit(1, "kv one\n")
    assert disks.nodes[1].look(may_number=True) == [], "it yields as long as the other is there"
    disks.gone.add(0)
    disks.talk()
    assert disks.contents()[1:] == ["kv one\n", "kv one\n"]
    assert disks.nodes[1].version.number == 3


def test_nothing_more_is_taken_than_can_be_kept(tmp_path: Path) -> None:
    disks = Disks(tmp_path, 2, "kv start\n")
    disks.talk()
    for turn in range(KEPT_MAX):
        disks.edit(1, f"kv one{turn}\n")
        disks.edit(0, f"kv zero{turn}\n")
        disks.talk()
    assert len(disks.kept(1)) == KEPT_MAX
    disks.edit(1, "kv one\n")
    disks.edit(0, "kv zero\n")
    with pytest.raises(OSError, match="wait for somebody to remove"):
        disks.talk()
    assert disks.contents()[1] == "kv one\n"
    next(disks.directories[1].glob("hactl.kept-*")).unlink()
    disks.nodes[1].look(may_number=True)
    disks.talk()
    assert disks.contents()[1] == "kv zero\n"


def test_what_a_version_was_made_of() -> None:
    first, second = "1" * 64, "2" * 64
    made = Version(1, first).next(2, second)
    assert made == Version(2, second, "1" * 12)
    assert [made.has(one * 64) for one in "123"] == [True, True, False]
    assert Version(2, second, first).has(first), "the whole checksum, of an earlier release"
    assert not Version(0, "").has(first)


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


@pytest.mark.parametrize("said", [
    None, [], "x", [1, 2], ["1", "a", "b"], [1, "a", "b" * 4096], [NUMBER_MAX + 1, "a", ""], [10 ** 4300 - 1, "a", ""],
])
def test_nonsense_from_another_node_is_ignored(tmp_path: Path, said: object) -> None:
    disks = Disks(tmp_path, 1, "kv start\n")
    disks.nodes[0].look(may_number=True)
    disks.nodes[0].heard(1, said)
    assert disks.nodes[0].wanted_from() is None


def test_a_table_that_was_never_numbered_stays_in_force_over_a_bad_edit_also_after_a_boot(tmp_path: Path) -> None:
    """Of two nodes that never had a quorum both were spoilt while they booted: nobody had a table then."""
    disks = Disks(tmp_path, 1, "kv start\n")
    disks.nodes[0].look(may_number=False)
    disks.edit(0, "kv\n")
    disks.nodes[0] = disks.replica(0)
    (line,) = disks.nodes[0].look(may_number=True)
    assert "the last good hactl stays in force" in line
    assert disks.nodes[0].table == {"kv": "start"}
    disks.edit(0, "kv stop\n")
    disks.talk()
    assert (disks.nodes[0].table, disks.nodes[0].version.number) == ({"kv": "stop"}, 2), "others may number the first"


def test_it_is_not_said_that_a_good_one_stays_where_there_is_none(tmp_path: Path) -> None:
    (line,) = Disks(tmp_path, 1, "kv\n").nodes[0].look(may_number=True)
    assert "(nothing is in force)" in line
