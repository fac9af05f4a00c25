"""``mosha stomith`` and ``mosha check`` as an operator meets them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mosha import cli
from mosha.ownership import marker
from mosha.ownership.electorate import Electorate, first
from mosha.ownership.marker import FULL, Marker
from tests.unit.stomith.devices import Strip


class Node:
    """A node with a configuration file, a map of three nodes, and tables."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.root, self._capsys = root, capsys
        self.conf = root / "mosha.conf"
        self.var = root / "var/mosix-ha"
        self.var.mkdir(parents=True)
        for node in (1, 2, 3):
            (root / f"hpc/nodes/{node}").mkdir(parents=True)
        (self.var / "cltab").write_text("web:web-run:start:respawn:true\n")
        (self.var / "hactl").write_text("web start\n")
        self.configure()

    def configure(self, *lines: str) -> None:
        self.conf.write_text("\n".join([f"root={self.root}", f"hpcbase={self.root}/hpc", *lines, ""]))
        self.conf.chmod(0o600)

    def mosha(self, *arguments: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        try:
            code = cli.main(["--config", str(self.conf), *arguments])
        except SystemExit as error:                     # as argparse ends for a wrong call
            code = int(str(error.code))
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def check(self) -> dict[str, Any]:
        page: dict[str, Any] = json.loads(self.mosha("check", "--json")[1])
        return page


@pytest.fixture
def node(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Node:
    return Node(tmp_path / "node", capsys)


@pytest.fixture
def strip(tmp_path: Path) -> Strip:
    return Strip(tmp_path / "strip", 1, 2, 3)


def test_what_nodes_of_2003_do_not_know_is_said_when_it_is_asked_for(node: Node) -> None:
    (node.var / "hactl").write_text("web start sticky\n")
    warning = f"warning: {node.var}/hactl: line 1: sticky: 2003 knows no options after a level\n"
    files = f"{node.var}/cltab", f"{node.var}/hactl"
    assert node.mosha("check", *files)[2] == ""
    assert node.mosha("check", "--2003", *files)[::2] == (0, warning)


@pytest.mark.parametrize("elders", [[], [{"id": 2, "up": True, "differs": []}]])
def test_it_is_said_while_one_is_on_the_map(
    node: Node, elders: list[Any], monkeypatch: pytest.MonkeyPatch,
) -> None:
    (node.var / "hactl").write_text("web start sticky\n")
    monkeypatch.setattr("mosha.check.status.read", lambda *_: {"elders": elders})
    assert ("2003 knows no options" in node.mosha("check")[2]) == bool(elders)


def test_off_on_and_status(node: Node, strip: Strip) -> None:
    node.configure(f"stomith = {strip.agent}")
    assert node.mosha("stomith", "status", "3")[:2] == (
        0, "level 1 fence_strip: status 3: on: on\nnode 3: on\n")
    code, out, err = node.mosha("stomith", "off", "3")
    assert (code, out.splitlines()[-1], err) == (0, "node 3 is off", "")
    assert not strip.is_on(3)
    assert node.mosha("stomith", "status", "3")[1].endswith("node 3: off\n")
    assert node.mosha("stomith", "on", "3")[1].endswith("node 3 is on\n")
    assert strip.is_on(3)


def test_what_failed_ends_with_1_and_says_why(node: Node, strip: Strip) -> None:
    node.configure(f"stomith = {strip.command}", "stomith_retries = 0")
    strip.set("fail-off", "1")
    code, out, err = node.mosha("stomith", "off", "3")
    assert code == 1
    assert out == "level 1 strip: off 3: failed: exit 1: strip: no answer\n"
    assert err == "node 3 is NOT off for certain\n"
    strip.set("fail-status", "9")
    assert node.mosha("stomith", "status", "3")[0] == 1
    strip.set("fail-on", "9")
    assert node.mosha("stomith", "on", "3")[0] == 1


def test_list_and_test(node: Node, strip: Strip) -> None:
    node.configure(f"stomith = {strip.command}")
    assert node.mosha("stomith", "list")[:2] == (0, "level 1 strip: list: ok: 1\n2\n3\n")
    code, out, _ = node.mosha("stomith", "test")
    assert code == 0
    assert out.splitlines()[-4:] == [
        "level 1 strip: status 1: on: on", "level 1 strip: status 2: on: on", "level 1 strip: status 3: on: on",
        "every device answers"]
    strip.set("fail-status", "1")
    code, out, err = node.mosha("stomith", "test", "2")
    assert (code, err) == (1, "not every device can be relied on\n")
    assert not any(call.startswith(("off", "on")) for call in strip.calls)


def test_a_device_of_one_node_lists_nothing_without_a_map(node: Node, strip: Strip) -> None:
    node.configure(f"stomith = fence:{strip.root}/fence_strip ip=10.0.0.%n")
    shutil.rmtree(node.root / "hpc")
    code, out, err = node.mosha("stomith", "list")
    assert (code, out) == (1, "")
    assert err.startswith("mosha: fence_strip can be asked for one node at a time only, and there is no map of nodes: ")


def test_history(node: Node, strip: Strip) -> None:
    node.configure(f"stomith = {strip.agent}", "stomith_retries = 0")
    assert node.mosha("stomith", "history") == (0, "", "")
    node.mosha("stomith", "off", "3")
    strip.set("talks")
    strip.set("fail-off", "1")
    node.mosha("stomith", "off", "2")
    lines = node.mosha("stomith", "history")[1].splitlines()
    assert len(lines) == 3
    assert "operator  level 1 fence_strip: off 3: ok in " in lines[0]
    assert "off 2: FAILED in " in lines[2]
    assert lines[2].endswith("exit 1: logging in with *** strip: no answer")
    (last,) = map(json.loads, node.mosha("stomith", "history", "--json", "--lines", "1")[1].splitlines())
    assert (last["node"], last["action"], last["ok"], last["code"]) == (2, "off", False, 1)
    (node.var / "stomith.log").write_text(json.dumps({**last, "seconds": "long"}) + "\n")
    assert node.mosha("stomith", "history")[1].startswith("not understood: ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("off", "3"), "no `stomith` is configured"), (("on", "3"), "no `stomith`"), (("status", "3"), "no `stomith`"),
        (("list",), "no `stomith`"), (("test",), "no `stomith`"), ((), "usage"), (("off",), "usage"),
        (("off", "0"), "is no number of a node: 1 to 65535"), (("melt", "3"), "invalid choice"),
    ],
)
def test_a_wrong_call_ends_with_2(node: Node, arguments: tuple[str, ...], reason: str) -> None:
    code, out, err = node.mosha("stomith", *arguments)
    assert (code, out) == (2, "")
    assert reason in err


def test_a_test_without_a_map_needs_a_node(node: Node, strip: Strip) -> None:
    node.conf.write_text(f"root={node.root}\nhpcbase=/nowhere\nstomith = {strip.command}\n")
    assert "name a NODE" in node.mosha("stomith", "test")[2]
    assert node.mosha("stomith", "test", "3")[0] == 0


def test_check_prints_the_times(node: Node, strip: Strip) -> None:
    node.configure(f"stomith = {strip.command}", "beat = 0.5", "lease = 2.5", "stomith_retries = 0")
    code, out, err = node.mosha("check")
    assert (code, err) == (0, "")
    for line in (
        f"{node.var}/cltab, {node.var}/hactl: ok",
        "STOMITH level 1: strip",
        "each device once, 10 s each, and its status is looked at",
    ):
        assert line in out.splitlines()
    times = {line[:22].strip(): line[24:].split() for line in out.splitlines() if " s  " in line}
    assert " ".join(times["detection"][:12]) == "H + max(S, 1.3 H + 3 P) + E 1.420 s"
    assert times["overlap"][:3] == ["0", "0.000", "s"]
    bounds = {bound["name"]: bound["s"] for bound in node.check()["bounds"]}
    assert set(bounds) == set(times)
    assert bounds["failover, STOMITH"] == 1.75
    assert bounds["failover, no STOMITH"] == pytest.approx(0.5 + 2.5 * 1.01 / 0.99 + 0.125 + 0.08, abs=0.001)
    assert bounds["shot"] > 10


def test_check_prints_how_soon_a_service_that_failed_is_found_and_begins_anew(node: Node, strip: Strip) -> None:
    node.configure(f"stomith = {strip.command}")
    (node.var / "cltab").write_text(
        ":::monitor_limit_s:5\n:::stop:TERM 0 KILL 8\n:::wait_limit_s:60\n:::stop_limit_s:30\n"
        "web:look:start:monitor=2:x\nweb:deep:start:monitor=20:x\nweb:else:3:monitor=90:x\nweb:pre:start:wait:x\n"
        "web:run:start:respawn:x\nweb:end:stop:wait:x\nkv:k:start:respawn:x\nold:o:start:respawn:x\n"
    )
    (node.var / "hactl").write_text("web start restarts=2\nkv start restarts=0\nold stop\n")
    code, out, err = node.mosha("check")
    assert (code, err) == (0, "")
    lines = [line.split(None, 2)[2] for line in out.splitlines() if line.startswith("service ")]
    assert lines == [
        "20 + 5 + 46                           71.000 s  what hangs is found after 25 s (deep), and stopped after "
        "46 s; its start here (restarts=2) takes 60 s at most",
        "no monitor                                      what ends is noticed at once, what hangs never; "
        "its start elsewhere (restarts=0) takes 0 s at most",
    ]
    assert node.check()["services"] == [
        {"group": "web", "level": "start", "monitor": "deep", "restarts": 2, "found_s": 25.0, "stop_s": 46.0,
         "start_s": 60.0},
        {"group": "kv", "level": "start", "monitor": None, "restarts": 0, "found_s": None, "stop_s": 8.0,
         "start_s": 0.0},
    ]
    (node.var / "cltab").write_text("web:look:start:monitor:x\nweb:pre:start:wait:x\nkv:k:start:once:x\n")
    assert [(one["found_s"], one["stop_s"], one["start_s"]) for one in node.check()["services"]] == [
        (30.0, 15.0, None), (None, 15.0, 0.0),
    ]
    assert "its start here (restarts=2) has no limit (wait_limit_s)" in node.mosha("check")[1]


def test_shorter_times_give_shorter_bounds_and_no_stomith_none(node: Node) -> None:
    node.configure("beat = 0.1", "lease = 0.5")
    page = node.check()
    bounds = {bound["name"]: bound["s"] for bound in page["bounds"]}
    assert bounds["failover, no STOMITH"] < 0.75
    assert "failover, STOMITH" not in bounds
    assert "shot" not in bounds
    assert page["ok"]
    assert any("no STOMITH" in warning for warning in page["warnings"])


def test_a_voter_that_may_boot_beside_a_dead_one_is_told_how_long_it_looks_for_that_first(node: Node) -> None:
    def names() -> list[str]:
        return [bound["name"] for bound in node.check()["bounds"]]

    alone = "cold start, one voter"
    assert alone not in names()
    node.configure("voters = 1 2", "stomith = /bin/true")
    assert alone in names()
    for absent in ((2,), ()):
        found = Marker(FULL, "7-0a0b0c0d", "a", "", "b", electorate=Electorate(7, 1, (1,)), absent=absent)
        (node.var / marker.NAME).write_bytes(marker.encode(found))
        assert (alone in names()) == bool(absent), "whether it goes on alone"


def test_check_finds_what_is_wrong_with_the_devices(node: Node, strip: Strip) -> None:
    node.configure(
        "stomith = /nowhere/device %a %n", f"stomith.2 = {strip.agent} plugs=1:1;3:3 && /bin/true",
    )
    node.conf.chmod(0o644)
    code, _, err = node.mosha("check")
    assert code == 1
    assert err.splitlines() == [
        "stomith level 1, device: /nowhere/device is not there, or cannot be executed",
        "stomith level 2, fence_strip: no plug is given for node 2",
        "warning: stomith level 2, true: can only switch off, so it cannot be tested (no %a in the command)",
        f"warning: {node.conf} contains a secret and can be read by others: chmod 600 {node.conf}",
    ]
    assert strip.calls == [], "nothing is asked"


def test_check_of_files_is_about_these_only(node: Node) -> None:
    code, out, err = node.mosha("check", str(node.var / "hactl"))
    assert (code, out, err) == (0, f"{node.var}/hactl: ok\n", "")
    (node.var / "cltab").write_text("web:web-run:start:respwan:true\n")
    code, out, err = node.mosha("check", str(node.var / "cltab"), str(node.root / "hactl"))
    assert code == 1
    assert err.startswith(f"{node.var}/cltab:1: ")
    assert f"{node.root}/hactl: No such file" in err


def test_check_says_what_the_tables_say_together_and_nobody_means(node: Node) -> None:
    files = node.root / "cltab.new", node.root / "my-hactl"
    files[0].write_text(
        ":::stop:TERM 0 KILL 60\n:::stop_limit_s:90\nweb:r:start:respawn:x\nweb:o:3:off\n"
        "kv:k:start,stop:respawn:x\nkv:p:plan:once:x\n"
    )
    files[1].write_text("web strat\nkv start\ndb start\nold stop\n")
    code, out, err = node.mosha("check", *map(str, files))
    assert (code, out) == (0, f"{files[0]}, {files[1]}: ok\n")
    assert err.splitlines() == [f"warning: {line}" for line in (
        "group web: hactl wants strat, and cltab has no entry at that level: nothing would run",
        "group db: hactl wants start, and cltab has no entry of it: nothing would run",
        "k: a respawn at level stop keeps group kv on its node until it is stopped after 90 s",
        "p: agents of today start nothing at level plan",
        "setting stop: KILL comes after 60 s, and an agent that ends kills what still lives after 40 s",
    )]
    files[1].write_text("web 3\n")
    assert "no entry at that level" in node.mosha("check", *map(str, files))[2], "one that is off"
    assert node.mosha("check", str(files[1]))[2] == ""


def test_a_bad_configuration_is_refused_with_its_line(node: Node) -> None:
    node.configure("stomith = fence:x ip=a plug=1 password=geheim")
    for command in ("check", "stomith"):
        code, out, err = node.mosha(command, *(["list"] if command == "stomith" else []))
        assert (code, out) == (2, "")
        assert err.startswith(f"{node.conf}:3: x would do the same for every node")
        assert "geheim" not in err


def test_check_says_which_groups_wait_for_a_stomith_that_is_not_there(node: Node, strip: Strip) -> None:
    (node.var / "hactl").write_text("web start fenced\nkv start\n")
    assert [line for line in node.check()["warnings"] if "fenced" in line] == [
        "group web is fenced and there is no STOMITH: after a death it waits until that node is back"
    ]
    node.configure(f"stomith = {strip.agent}")
    assert not [line for line in node.check()["warnings"] if "fenced" in line]


def test_check_says_what_the_voters_cannot_survive(node: Node) -> None:
    assert not any("voters" in line for line in node.check()["warnings"] + node.check()["problems"])
    node.configure("voters = 1 2")
    assert any("the death of either stops every group" in line for line in node.check()["warnings"])
    node.configure("voters = 2")
    assert any("one voter, 2: its death stops every group" in line for line in node.check()["warnings"])
    node.configure("voters = 1 2 9")
    assert any("voters [9] are not on the map [1, 2, 3]" in line for line in node.check()["problems"])
    assert node.mosha("check")[0] == 1


def test_check_judges_the_voters_in_force(node: Node) -> None:
    """Those of the configuration are the first ones only."""
    node.configure("voters = 1 2 3")
    assert "voters: 1, 2, 3 (as the configuration names them)" in node.mosha("check")[1]
    chosen = Electorate(7, 2, (1, 2))
    (node.var / marker.NAME).write_bytes(marker.encode(Marker(FULL, "7-00000007", "a", "c", "b", electorate=chosen)))
    shown = node.check()
    assert shown["voters"] == [1, 2]
    assert any(f"voters [1, 2] are in force here ({node.var / marker.NAME}), and not [1, 2, 3]" in line
               for line in shown["warnings"])
    assert any("two voters, 1 and 2: both are needed" in line for line in shown["warnings"])
    assert "voters: 1, 2 (as this node's disk has it)" in node.mosha("check")[1]
    node.configure("voters = 1 2")
    assert not any("in force" in line for line in node.check()["warnings"])
    guess = first([1])
    (node.var / marker.NAME).write_bytes(marker.encode(Marker(FULL, "", "a", "c", "b", electorate=guess)))
    assert node.check()["voters"] == [1, 2], "who has joined no era yet has guessed"


def test_voters_are_shown_and_told(node: Node) -> None:
    code, _, err = node.mosha("voters")
    assert (code, "no agent has run" in err) == (1, True)
    assert node.mosha("voters", "found")[0] == 1, "no agent runs"
    assert node.mosha("voters", "install", "7-00000007")[0] == 2, "which voters?"


@pytest.mark.parametrize("arguments", [["found", "--without", "3"], ["add", "4"]])
def test_an_order_is_for_an_agent_that_runs(node: Node, arguments: list[str]) -> None:
    code, out, err = node.mosha("voters", *arguments)
    assert (code, out, "no agent has run" in err) == (1, "", True)
    assert not (node.var / "order").exists()
