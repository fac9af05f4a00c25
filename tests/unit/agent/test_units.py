"""Control groups as units: which are taken, what is found in them, what they end; with real and with feigned trees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mosha.platform import cgroups, mountinfo, procscan, warden
from mosha.platform.cgroups import RECORD, Tree
from mosha.platform.mountinfo import Window
from mosha.platform.units import Units
from mosha.platform.warden import Warden
from mosha.tables.settings import AUTO, CGROUP, SESSION
from tests.unit.agent.pidspace import MACHINE
from tests.unit.clinit.leashed import lives, wait_until

SCRIPT = Path(__file__).with_name("lone_machine.py")
OFFERED = ("cgroup2", pytest.param("pids", marks=pytest.mark.long), "freezer")


def offered(hierarchy: str) -> None:
    """Skip where this machine does not let us change such a hierarchy; in CI, if it is no hierarchy at all."""
    with open(cgroups.OWN, encoding="ascii") as stream:
        own = stream.read()
    windows = [w for w in mountinfo.windows() if hierarchy in (w.kind, *w.system_options)]
    if os.geteuid() == 0 and cgroups.candidates(windows, own):
        return
    reason = f"{hierarchy} cannot be changed here"
    if os.environ.get("CI") == "true" and not cgroups.candidates(mountinfo.windows(), own):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("hierarchy", OFFERED)
@pytest.mark.parametrize("scenario", [
    "killed", "several", "frozen", "old_kernel_with_units", "new_warden", "both_killed", "all_killed", "taken_over",
    "taken_over_late", "taken_over_while_it_forks", "taken_over_while_it_starts", "taken_over_without_room",
    "not_taken_over_from_elsewhere", "taken_over_and_dead", "taken_over_without_a_warden",
    "warden_after_warden", "asked_by_two", "left_alone", "left_frozen", "hidden", "failed", "stopped_and_left",
])
def test_what_a_leash_held_ends_in_a_control_group(hierarchy: str, scenario: str, tmp_path: Path) -> None:
    offered(hierarchy)
    done = subprocess.run(
        [*MACHINE, sys.executable, str(SCRIPT), scenario, tmp_path, hierarchy],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert cgroups.end_earlier(str(tmp_path / "run"), 10.0)
    assert done.returncode == 0, done.stderr


# ---- the warden's clocks ---------------------------------------------------------------------------------------


class Feigned:
    """A tree with one unit, whose guardian lives, and one process in it; the machine's clocks, one of them slewed."""

    path = "/none"

    def __init__(self, deadline_s: float, rate: float) -> None:
        self.deadline_s, self.rate = deadline_s, rate
        self.true_s, self.killed_s = 0.0, float("inf")

    def boottime(self) -> float:
        return 100.0 + self.true_s * self.rate

    def skew(self) -> float:
        return 5.0 + self.true_s - self.true_s * self.rate

    def sleep(self, seconds: float) -> None:
        self.true_s += seconds / self.rate + 0.001

    def kill(self, pid: int, _signo: int) -> None:
        assert pid == 7
        self.killed_s = self.true_s

    def places(self) -> list[Feigned]:
        return [self] if self.killed_s == float("inf") else []

    group = "kv"

    def is_guarded(self) -> bool:
        return True

    def inside(self, _place: Feigned) -> set[int]:
        return {7}

    def prune(self) -> bool:
        return not self.places()


@pytest.mark.parametrize(("rate", "left_s", "killed_by_s"), [
    (1.0, 2.5, 2.6), (0.995, 2.5, 2.6), (0.5, 2.5, 0.3), (0.9, 2.5, 0.3), (1.2, 2.5, 0.3), (0.5, float("inf"), None),
])
def test_the_warden_waits_for_no_deadline_on_a_clock_that_went_wrong(
    rate: float, left_s: float, killed_by_s: float | None, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The leash stands still, and so does not see it; there is no agent."""
    tree = Feigned(100.0 + left_s, rate)
    for name, feigned in (
        ("linux.boottime", tree.boottime), ("linux.skew", tree.skew), ("time", SimpleNamespace(sleep=tree.sleep)),
        ("procscan.kill", tree.kill), ("deadline.shown", lambda *_: tree.deadline_s),
    ):
        monkeypatch.setattr(f"mosha.platform.warden.{name}", feigned)
    warden.end_all(tree, "/none", 0.0, lambda: tree.true_s > 20.0)  # type: ignore[arg-type]
    if killed_by_s is None:
        assert tree.killed_s == float("inf"), "a group without a lease has nothing to do with clocks"
    else:
        assert tree.killed_s <= killed_by_s
        assert tree.killed_s >= min(2.5, killed_by_s - 0.3)


# ---- which one is taken ---------------------------------------------------------------------------------------

NEW = "0::/system.slice/mosha.service\n"
OLD = "9:name=systemd:/\n8:pids:/\n7:net_cls,net_prio:/\n6:freezer:/\n1:name=mine:/\n"


def window(directory: str, kind: str, *system: str, root: str = "/", options: str = "rw") -> Window:
    return Window(directory, kind, root, frozenset({options}), frozenset({"rw", *system}))


@pytest.mark.parametrize(("windows", "own", "found"), [
    ([], "", []),
    ([window("/", "ext4")], NEW, []),
    ([window("/sys/fs/cgroup", "cgroup2")], NEW, ["/sys/fs/cgroup/system.slice/mosha.service"]),
    ([window("/sys/fs/cgroup", "cgroup2")], "0::/\n", ["/sys/fs/cgroup"]),
    ([window("/sys/fs/cgroup", "cgroup2", options="ro")], NEW, []),
    ([window("/c", "cgroup2", root="/system.slice")], NEW, ["/c/mosha.service"]),
    ([window("/c", "cgroup2", root="/system.slice/mosha.service")], NEW, ["/c"]),
    ([window("/c", "cgroup2", root="/system.sl")], NEW, []),
    ([window("/c", "cgroup2")], "0::/../other\n", []),
    ([window("/c", "cgroup2")], OLD, []),
    ([window("/f", "cgroup", "freezer"), window("/n", "cgroup", "net_cls", "net_prio"), window("/p", "cgroup", "pids"),
      window("/s", "cgroup", "name=systemd"), window("/m", "cgroup", "name=mine")], OLD, ["/m", "/p", "/f", "/s"]),
    ([window("/p", "cgroup", "pids"), window("/u", "cgroup2")], OLD + "0::/\n", ["/u", "/p"]),
    ([window("/p", "cgroup", "pids")], "no such line\npids\n::\n", []),
])
def test_the_best_hierarchy_that_can_be_changed(windows: list[Window], own: str, found: list[str]) -> None:
    assert cgroups.candidates(windows, own) == found


MOUNTINFO = rb"""30 24 0:26 /../.. /sys/fs/cg\040a rw,nosuid shared:4 master:1 - cgroup2 cgroup2 rw,nsdelegate
31 24 0:27 /docker/1 /old ro - cgroup cgroup rw,pids
not a line
"""


def test_windows_are_understood() -> None:
    assert mountinfo.parse_windows(MOUNTINFO) == [
        Window("/sys/fs/cg a", "cgroup2", "/../..", frozenset({"rw", "nosuid"}), frozenset({"rw", "nsdelegate"})),
        Window("/old", "cgroup", "/docker/1", frozenset({"ro"}), frozenset({"rw", "pids"})),
    ]


@pytest.mark.parametrize("how", [AUTO, CGROUP, SESSION])
def test_without_control_groups_groups_are_sessions(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None mounted; one that refuses; one that is no hierarchy but a plain directory; and no /proc at all."""
    said: list[str] = []
    (tmp_path / "plain").mkdir()
    for places in ([], ["/proc/none"], ["/proc/self"], [str(tmp_path / "plain")]):
        monkeypatch.setattr(cgroups, "candidates", lambda windows, own, places=places: places)
        units = made(how, tmp_path, said)
        assert (units.tree, units.own(), units.pids("kv")) == (None, set(), set())
        units.tick()
        units.close()
    monkeypatch.setattr(mountinfo, "FILE", "/none/mountinfo")
    assert made(how, tmp_path, said).tree is None
    assert list((tmp_path / "plain").iterdir()) == []
    assert len(said) == (5 if how == CGROUP else 0)
    assert cgroups.end_earlier(str(tmp_path), 1.0)


def made(how: str, rundir: Path, said: list[str]) -> Units:
    import selectors

    return Units(how, str(rundir), selectors.DefaultSelector(), said.append)


# ---- feigned trees --------------------------------------------------------------------------------------------


def unit(tree: Path, name: str, *pids: int) -> Path:
    (tree / name).mkdir(parents=True)
    (tree / name / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
    return tree / name


def test_a_guardian_that_lives_is_spared_and_one_that_took_its_number_is_not(tmp_path: Path) -> None:
    me = procscan.process(os.getpid())
    assert me is not None
    unit(tmp_path, f"kv.{me.pid}.{me.born}", me.pid, 4194301, 4194302)
    unit(tmp_path, f"web.{me.pid}.{me.born - 1}", me.pid)
    unit(tmp_path, f"web.1.{me.pid}.{me.born}", me.pid, 4194305)
    below = unit(tmp_path, "db.1.0", 0, 4194303)       # 0: what this PID namespace does not show
    unit(below, "its own", 4194304)
    unit(tmp_path, "strange")
    tree = Tree(str(tmp_path))
    assert tree.pids("kv") == {4194301, 4194302}
    assert tree.pids("web") == {me.pid}
    assert tree.pids("web.1") == {4194305}, "a name may have points"
    assert tree.pids("db") == {4194303, 4194304}
    assert tree.pids("none") == set()
    assert tree.pids() == {me.pid, *range(4194301, 4194306)}


def test_what_is_spared_is_told_by_more_than_its_number(tmp_path: Path) -> None:
    """A unit of a dead guardian whose pid a spared one has now is ended like all others."""
    me = procscan.process(os.getpid())
    assert me is not None
    tree = Tree(str(tmp_path))
    with subprocess.Popen(["sleep", "600"]) as left:
        unit(tmp_path, f"mine.{me.pid}.{me.born}", me.pid, 4194301)
        unit(tmp_path, f"other.{me.pid}.{me.born - 1}", left.pid)
        assert tree.held_by([me]) == {4194301}
        assert not tree.end_others([me], 0.0), "a plain file names it for ever"
        wait_until(lambda: not lives(left.pid))


def test_a_fifo_in_the_place_of_the_record_holds_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / RECORD)
    with pytest.raises(OSError, match=f"not a regular file: '{tmp_path}/{RECORD}'"):
        Warden(Tree(str(tmp_path)), str(tmp_path))


def test_version_2_is_told_to_kill_by_its_own_means(tmp_path: Path) -> None:
    """cgroup.kill; what it leaves, as an old kernel does that has no such file, is killed one by one."""
    tree = tmp_path / "mosha.12345678"
    with subprocess.Popen(["sleep", "600"]) as left:
        unit(tree, "kv.1.0", left.pid)
        (tree / "cgroup.kill").write_text("")
        assert not Tree(str(tree)).uproot(0.0), "a plain directory with files in it is not removed"
        assert (tree / "cgroup.kill").read_text() == "1"
        wait_until(lambda: not lives(left.pid))


@pytest.mark.parametrize("text", [b"", b"/\n", b"/sys/fs/cgroup\n", b"\xff\xfe", b"/nowhere/mosha.1\n"])
def test_a_record_that_is_none_of_ours_ends_nothing(text: bytes, tmp_path: Path) -> None:
    (tmp_path / "units").write_bytes(text)
    assert cgroups.end_earlier(str(tmp_path), 0.0)
    assert os.path.isdir("/sys/fs/cgroup")
