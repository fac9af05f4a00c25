"""The pytest plugin in the simulated world, as somebody's repository would have it."""

from __future__ import annotations

import shlex
import shutil
import xml.etree.ElementTree as xml
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from mosha.ownership.lease import Lease
from moslab import drift, engine, pytest_plugin
from moslab.errors import CannotError, LabError
from moslab.faults.plan import from_json
from moslab.history.checkers import VALID
from moslab.history.stored import load
from moslab.namespaces import own
from moslab.scenario import artifacts, pool
from moslab.scenario.plans import plan_of
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import Spec, World
from moslab.simulator.run import run

pytest_plugins = ["pytester"]

LOADED = [artifacts, pool]       # once, not in each pytest that a test begins
EXAMPLE = """
def test_owner_is_cut_off(cluster):            # 5 nodes unless marked otherwise
    web = cluster.group("web")
    with cluster.cut(web.owner):               # both ways, from all others
        web.wait_running(elsewhere=True, within=10)
    cluster.check()                            # history: never twice, quorum, nothing leaked
"""
BROKEN = """
def test_breaks(cluster):
    with cluster.cut("owner of web"):
        cluster.group("web").wait_running(elsewhere=True)
    process = cluster.group("web").runs[0]
    other = next(node for node in cluster.nodes if node != process.node)
    cluster.world._simulated.cluster.result.intervals.append(process._replace(node=other, pid=1_000_000))
"""


class Pytest:
    """A pytest of its own in an empty folder, with this plugin and no other."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self.pytester = pytester

    def __call__(self, text: str, *arguments: str) -> pytest.RunResult:
        self.pytester.makepyfile(test_it=text)
        return self.again(*arguments)

    def again(self, *arguments: str) -> pytest.RunResult:
        return self.pytester.runpytest_inprocess("-p", "moslab.pytest_plugin", "--world=sim", *arguments)

    def left(self, name: str) -> Path:
        """The only artifact of that name."""
        (found,) = self.pytester.path.glob(f"artifacts/**/{name}")
        return found


@pytest.fixture
def pytest_(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Pytest:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    return Pytest(pytester)


def test_the_example(pytest_: Pytest) -> None:
    done = pytest_(EXAMPLE, "--seed=7")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["moslab: world sim (asked for), seed 7"])
    assert not list(pytest_.pytester.path.glob("artifacts"))


def test_a_broken_history_fails_the_check_and_leaves_what_shows_it(pytest_: Pytest) -> None:
    done = pytest_(BROKEN + "    cluster.check()\n", "--seed=7")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*the history is invalid:*", "*overlap: web: nodes*", "*nothing was seen of: *fenced*",
                               "*what was broken:*", "*: cut (*"])
    left = load(pytest_.left("history.json"))
    assert (left.verdict, left.problems[0][:8], left.seed, left.world) == ("invalid", "overlap:", 7, "sim")
    assert left.failure.startswith("AssertionError: the history is invalid:")
    assert {one.group for one in left.history.intervals} == {"web"}
    assert [one.pid for one in left.history.intervals if one.pid == 1_000_000]
    assert [fault.kind for fault in left.faults] == ["cut"]
    assert "boots" in pytest_.left("node3.log").read_text()
    assert "overlap: web: nodes" in pytest_.left("report.html").read_text()
    folder = pytest_.left("report.html").parent
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "history.json", "plan.json", "world.log", "not-shrunk.txt",
        *(f"node{node}.log" for node in range(1, 6)),
    }, "no shrunk plan: what was added to the history is no fault of the plan"
    assert pytest_.left("not-shrunk.txt").read_text() == "not shrunk: its faults alone, simulated, are valid\n"
    done.stdout.fnmatch_lines(["in small: not shrunk: its faults alone, simulated, are valid"])


def test_a_broken_history_fails_a_test_that_forgot_to_check(pytest_: Pytest) -> None:
    done = pytest_(BROKEN)
    done.assert_outcomes(passed=1, errors=1)
    done.stdout.fnmatch_lines(["*the history is invalid:*", "*overlap: web: nodes*", "*again: pytest*"])
    assert load(pytest_.left("history.json")).verdict == "invalid"


@pytest.mark.parametrize(("left", "fails"), [
    (["left: process: sleep 9999"], True), (["left: node 1: cltab: 1", "left: process: sleep 9999"], False),
])
def test_what_a_test_left_fails_it(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch, left: list[str], fails: bool
) -> None:
    monkeypatch.setattr(SimWorld, "left", lambda _: left)
    done = pytest_("def test_it(cluster):\n    cluster.check()\n", "--seed=7")
    done.assert_outcomes(passed=1, errors=int(fails))
    if fails:
        done.stdout.fnmatch_lines(["*left: process: sleep 9999", "*again: pytest *test_it* --world=sim --seed=7"])


def test_the_printed_line_does_it_again(pytest_: Pytest) -> None:
    text = EXAMPLE.replace("within=10", "within=0.2")
    done = pytest_(text + text.replace("is_cut_off", "is_cut_off_again"))
    done.assert_outcomes(failed=2)
    line = next(line for line in done.outlines if line.startswith("again: ") and "_again" in line)
    name, *arguments = shlex.split(line.removeprefix("again: "))
    logs = sorted(pytest_.pytester.path.glob("artifacts/*again*/*.log"))
    before = {path: path.read_text() for path in logs}
    assert name == "pytest"
    pytest_.again(*arguments).assert_outcomes(failed=1)
    assert before == {path: path.read_text() for path in logs}, "to the last line of every log"
    assert len(logs) == 6


def test_the_printed_lines_have_the_folder_of_artifacts(pytest_: Pytest, tmp_path: Path) -> None:
    there = shlex.quote(f"--artifacts={tmp_path / 'else where'}")
    said = pytest_("def test_it(cluster):\n    assert False\n", f"--artifacts={tmp_path / 'else where'}").outlines
    lines = [line for line in said if line.startswith(("its faults: ", "again: "))]
    assert len(lines) == 2
    assert all(f" {there}" in line for line in lines)


def test_the_printed_line_is_for_the_folder_where_pytest_was_begun(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest_.pytester.makeini("[pytest]")
    below = pytest_.pytester.mkdir("below")
    (below / "test_it.py").write_text("def test_it(cluster):\n    assert False\n")
    monkeypatch.chdir(below)
    line = next(line for line in pytest_.again("--seed=7").outlines if line.startswith("again: "))
    pytest_.again(*shlex.split(line)[2:]).assert_outcomes(failed=1)


def test_the_plan_that_is_left_is_run_by_the_simulator(pytest_: Pytest) -> None:
    pytest_(EXAMPLE + "    assert False\n", "--seed=3").assert_outcomes(failed=1)
    plan = from_json(pytest_.left("plan.json").read_text())
    result = run(plan)
    assert result.verdict == VALID
    assert len({interval.node for interval in result.history.intervals if interval.epoch}) >= 2, "it moved as it did"
    assert result.counters["fault cut"] == 2


@pytest.fixture
def bug() -> Iterator[pytest.MonkeyPatch]:
    """The agent crashes when a lease of its node ends, until it is mended by ``undo``."""
    is_void = Lease.is_void

    def crashes(self: Lease, now: float) -> bool:
        if is_void(self, now):
            raise RuntimeError("a bug")
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lease, "is_void", crashes)
        yield patch


BUG = """
import pytest

@pytest.mark.cluster(nodes=3, stomith=False)
def test_breaks(cluster):
    cluster.kill(next(node for node in cluster.nodes if node != cluster.group("web").owner)).heal()
    with cluster.cut("owner of web"):
        cluster.sleep(4.0)
    cluster.check()
"""


def test_a_failure_is_shrunk_and_replayed(pytest_: Pytest, bug: pytest.MonkeyPatch) -> None:
    done = pytest_(BUG, "--seed=7")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines([
        "the history is invalid; crash: the agent of node *", "report: *report.html", "in small: pytest --replay *",
    ])
    plan, shrunk = (from_json(pytest_.left(name).read_text()) for name in ("plan.json", "shrunk.json"))
    assert [fault["do"] for fault in plan.faults].count("crash") == 4, "three to begin with, and that of the test"
    assert {fault["do"] for fault in shrunk.faults} == {"cut"}
    line = next(line for line in done.outlines if line.startswith("in small: "))
    again = shlex.split(line.removeprefix("in small: "))[1:]
    failed = pytest_.again(*again)
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines([
        "moslab: world sim (plans are replayed)", "the history is invalid:", "crash: the agent of node *: a bug (*",
        "report: *", "in small: pytest --replay */shrunk.json", f"*again: pytest --replay {again[1]}",
    ])
    replayed = next(pytest_.pytester.path.glob("artifacts/replay-*/history.json"))
    assert [fault.kind for fault in load(replayed).faults] == ["cut"]
    plans = [from_json(replayed.with_name(name).read_text()) for name in ("plan.json", "shrunk.json")]
    assert plans == [shrunk, shrunk], "the plan as it was given, and nothing smaller"
    bug.undo()
    pytest_.again(*again, "--junitxml=x.xml").assert_outcomes(passed=1)
    assert properties(pytest_.pytester.path / "x.xml") == [{"moslab_world": "sim", "moslab_seed": str(shrunk.seed)}]


@pytest.mark.parametrize(("text", "said"), [
    (None, "*not found: *shrunk.json*"), ("{}", '*shrunk.json: a fault plan is an object with "format"*'),
])
def test_a_wrong_plan_says_what_is_wrong(pytest_: Pytest, text: str | None, said: str) -> None:
    if text is not None:
        (pytest_.pytester.path / "shrunk.json").write_text(text)
    done = pytest_(EXAMPLE, "--replay", "shrunk.json")
    assert done.ret not in (pytest.ExitCode.OK, pytest.ExitCode.INTERNAL_ERROR)
    (done.stdout if text is not None else done.stderr).fnmatch_lines([said])


def test_a_plan_and_the_folder_of_a_failed_test_are_replayed_in_the_worlds_that_are_named(pytest_: Pytest) -> None:
    done = pytest_(EXAMPLE + "    assert False\n", "--seed=3")
    line = next(line for line in done.outlines if line.startswith("its faults: pytest --replay "))
    plan = shlex.split(line)[-1]
    there = ["--replay", plan, "--replay", str(Path(plan).parent), "--collect-only", "-q"]
    alone = pytest_.pytester.runpytest_inprocess("-p", "moslab.pytest_plugin", *there)
    assert alone.outlines[0].endswith("plan.json::plan")
    done = pytest_.pytester.runpytest_inprocess("-p", "moslab.pytest_plugin", "--world=sim,docker", *there)
    assert [line.rpartition("::")[2] for line in done.outlines[:2]] == ["plan", "plan[docker]"]


@pytest.mark.parametrize("others", ["--world=namespaces", "--nodes=3", "--keep=failed", "--chaos-budget=1s"])
def test_a_cluster_that_is_attached_is_as_it_is(pytest_: Pytest, others: str) -> None:
    pytest_.pytester.makepyfile(test_it=EXAMPLE)
    done = pytest_.pytester.runpytest_inprocess("-p", "moslab.pytest_plugin", "--attach", others)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*--attach and {others.partition('=')[0]} exclude each other"])


def properties(file: Path) -> list[dict[str, str]]:
    """Of each test in a JUnit report."""
    cases = xml.parse(file).getroot().iter("testcase")
    return [{one.attrib["name"]: one.attrib["value"] for one in case.iter("property")} for case in cases]


def test_many_seeds(pytest_: Pytest) -> None:
    """Each does what it does alone, and says which it was."""
    text = "def test_it(cluster):\n    print('drawn', [cluster.whom('minority') for _ in range(9)])\n    assert False\n"
    done = pytest_(text, "--seeds=3..5", "--junitxml=x.xml")
    done.assert_outcomes(failed=3)
    done.stdout.fnmatch_lines(["moslab: world sim (asked for), seeds 3..5"])
    found = properties(pytest_.pytester.path / "x.xml")
    assert [one["moslab_seed"] for one in found] == ["3", "4", "5"]
    assert all("linear" in one["moslab_unseen"] and "quorum" not in one["moslab_unseen"] for one in found)
    drawn = [line for line in done.outlines if line.startswith("drawn")]
    assert len(set(drawn)) == 3
    lines = [line for line in done.outlines if line.startswith("again: ")]
    assert lines[1] == "again: pytest 'test_it.py::test_it[sim]' --world=sim --seed=4"
    alone = pytest_.again(*shlex.split(lines[1].removeprefix("again: "))[1:])
    assert [line for line in alone.outlines if line.startswith("drawn")] == drawn[1:2]
    assert len(list(pytest_.pytester.path.glob("artifacts/*/report.html"))) == 4, "one for each id"


def test_what_a_world_cannot_is_skipped_by_name_and_counted(pytest_: Pytest) -> None:
    done = pytest_(
        "def test_one(cluster):\n    cluster.run(1, 'true')\n"
        "def test_two(cluster):\n    cluster.run(2, 'true')\n"
        "def test_three(cluster):\n    cluster.kill_process('workers', on=1)\n"
    )
    done.assert_outcomes(skipped=3)
    done.stdout.fnmatch_lines([
        "*what worlds cannot do*", "2 skipped: sim cannot run commands on nodes",
        "1 skipped: sim cannot send signals to 'workers'",
    ])


def test_what_a_test_leaves_broken_is_healed_and_judged(pytest_: Pytest) -> None:
    pytest_("def test_it(cluster):\n    cluster.kill('minority')\n    cluster.cut('one')\n").assert_outcomes(passed=1)


def test_a_cluster_as_it_is_wanted(pytest_: Pytest) -> None:
    pytest_.pytester.makefile("", cltab="db:db-run:start:respawn:redis-server\nold:old-run:start:respawn:true\n")
    pytest_.pytester.makefile("", hactl="db start\n")
    done = pytest_("""
        import pytest

        def test_option(cluster):
            assert cluster.nodes == (1, 2, 3, 4)

        @pytest.mark.cluster(nodes=3, cltab="cltab", hactl="hactl", stomith=False)
        def test_marker(cluster):
            assert cluster.nodes == (1, 2, 3)
            assert cluster.group("db").owner in cluster.nodes
            assert cluster.world.groups == ("db",), "the other one is stopped"

        def test_factory(clusters):
            one, other = clusters(nodes=2), clusters(nodes=3)
            with one.kill("owner of web"):
                assert len(other.group("web").runs) == 1
            there_s = other.world.now_s()
            one.world.sleep(1.0)
            assert other.world.now_s() == there_s, "each has a time of its own"
    """, "--nodes=4")
    done.assert_outcomes(passed=3)


def test_an_audit_that_ends_in_an_error_takes_no_other_cluster_along(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch,
) -> None:
    give_back, back = pool.Pool.give_back, []

    def gives_back(these: pool.Pool, world: World, sound: bool) -> list[str]:
        back.append(sound)
        return give_back(these, world, sound)

    monkeypatch.setattr(pool.Pool, "give_back", gives_back)
    pytest_("""
        def test_factory(clusters):
            clusters(nodes=2).audit = lambda: 1 / 0
            clusters(nodes=2)
    """).assert_outcomes(passed=1, errors=1)
    assert back == [False, True]


def test_what_a_plan_leaves_in_another_world_fails_it(pytest_: Pytest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated world stands for one that can tell what is left."""
    lend = pool.Pool.lend
    monkeypatch.setattr(pool.Pool, "lend", lambda these, _, spec, seed: lend(these, "sim", spec, seed))
    monkeypatch.setattr(SimWorld, "left", lambda _: ["left: process: cat"])
    shutil.copy(Path(drift.__file__).with_name("plans") / "another-dies.json", pytest_.pytester.path / "plan.json")
    done = pytest_("", "--replay", "plan.json", "--world=namespaces")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["left: process: cat", "again: pytest --replay * --world=namespaces"])


def test_a_plan_that_fails_in_another_world_leaves_what_was_done_there(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch, bug: pytest.MonkeyPatch,
) -> None:
    lend = pool.Pool.lend
    monkeypatch.setattr(pool.Pool, "lend", lambda these, _, spec, seed: lend(these, "sim", spec, seed))
    monkeypatch.setattr(SimWorld, "name", "namespaces")
    monkeypatch.setattr(SimWorld, "plan", lambda _: None)    # as of worlds that have no plan of their own
    plan = plan_of(Spec(3, False), 7)
    plan.faults, plan.safety_s = [{"at": 9.0, "do": "cut", "whom": ["owner:web"], "to": [1, 2, 3], "both": True}], 14.0
    (pytest_.pytester.path / "plan.json").write_text(plan.to_json())
    done = pytest_("", "--replay", "plan.json", "--world=namespaces")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["in small: pytest --replay *-plan-namespaces/shrunk.json",
                               "its faults: pytest --replay *-plan-namespaces/plan.json --world=namespaces"])
    left = from_json(next(pytest_.pytester.path.glob("artifacts/replay-*/plan.json")).read_text())
    assert [fault["do"] for fault in left.faults] == ["cut"] * len(left.faults) != []
    assert {type(one) for fault in left.faults for one in fault["whom"]} == {int}, "the owner of that moment"
    small = next(pytest_.pytester.path.glob("artifacts/replay-*/shrunk.json"))
    failed = pytest_.pytester.runpytest_inprocess("-p", "moslab.pytest_plugin", "--replay", small)
    failed.assert_outcomes(failed=1)
    failed.stdout.fnmatch_lines(["moslab: world sim (plans are replayed)", "crash: the agent of node *: a bug (*"])


def test_a_plan_that_goes_no_further_in_another_world_leaves_what_was_done(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The observer is lost, and with it what the nodes have said."""
    lend = pool.Pool.lend
    monkeypatch.setattr(pool.Pool, "lend", lambda these, _, spec, seed: lend(these, "sim", spec, seed))

    def lost(*_: object) -> NoReturn:
        raise LabError("the engine is gone")

    for name in ("running", "log"):
        monkeypatch.setattr(SimWorld, name, lost)
    monkeypatch.setattr(SimWorld, "settle", lambda _: None)
    plan = plan_of(Spec(3), 7)
    plan.faults, plan.safety_s = [{"at": 9.0, "do": "crash", "whom": ["owner:web"]}], 14.0
    (pytest_.pytester.path / "plan.json").write_text(plan.to_json())
    done = pytest_("", "--replay", "plan.json", "--world=namespaces")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["the history is unknown:", "the engine is gone", "report: *report.html"])
    left = load(pytest_.left("history.json"))
    assert (left.failure, [line.text for line in left.log]) == (
        "the engine is gone", ["the logs cannot be read: the engine is gone"])
    for name in ("plan.json", "report.html", "not-shrunk.txt"):
        assert pytest_.left(name).stat().st_size


@pytest.mark.parametrize("what", ["test", "plan", "chaos"])
def test_a_cluster_that_does_not_come_up_leaves_what_its_nodes_have_said(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch, what: str,
) -> None:
    def stuck(world: SimWorld) -> NoReturn:
        world.sleep(5.0)
        raise LabError("no group runs")

    lend = pool.Pool.lend
    monkeypatch.setattr(pool.Pool, "lend", lambda these, _, spec, seed: lend(these, "sim", spec, seed))
    monkeypatch.setattr(SimWorld, "settle", stuck)
    plan = plan_of(Spec(3), 7)
    (pytest_.pytester.path / "plan.json").write_text(plan.to_json())
    options = {"test": [], "plan": ["--replay=plan.json"], "chaos": ["--chaos-budget=0.001s"]}[what]
    done = pytest_(EXAMPLE, "--world=namespaces", *options)
    done.assert_outcomes(**{"errors" if what == "test" else "failed": 1})
    done.stdout.fnmatch_lines(["*no group runs", "report: *.html", "its faults: pytest --replay *", "again: pytest *"])
    left = load(pytest_.left("history.json"))
    assert (left.failure, left.problems) == ("no group runs", ["the cluster did not come up"])
    assert {line.node for line in left.log} >= {1, 2, 3}
    for name in ("plan.json", "report.html", "node1.log"):
        assert pytest_.left(name).stat().st_size


def test_all_worlds_that_are_named_have_the_test(pytest_: Pytest) -> None:
    done = pytest_(EXAMPLE, "--world=sim,docker,sim", "--collect-only", "-q")
    assert done.outlines[:2] == [f"test_it.py::test_owner_is_cut_off[{world}]" for world in ("sim", "docker")]


def test_a_test_does_the_same_alone_and_among_others(pytest_: Pytest) -> None:
    """What words leave open is drawn from the seed and the test's name."""
    text = "def test_{0}(cluster):\n    print('drawn', [cluster.whom('minority') for _ in range(9)])\n"
    whole = pytest_("".join(text.format(name) for name in "ab"), "--seed=1", "-s").outlines
    drawn = [line[line.index("drawn"):].rstrip(".") for line in whole if "drawn" in line]
    alone = [line for line in pytest_.again("--seed=1", "-s", "-k", "test_b").outlines if drawn[1] in line]
    assert (len(set(drawn)), len(alone)) == (2, 1)
    assert not [line for line in pytest_.again("--seed=2", "-s").outlines if drawn[0] in line]


@pytest.mark.parametrize(("option", "said"), [
    ("--world=moon", "--world: 'moon' is none of docker, namespaces, hosts, sim"),
    ("--seed=x", "*x is not a whole number*"),
    ("--nodes=0", "*0 is not more than 0"), ("--nodes=-1", "*-1 is not a whole number*"),
    ("--seeds=7..3", "*is not A..B*"), ("--seeds=0..100000", "--seeds: more than 100000"),
])
def test_a_wrong_option(pytest_: Pytest, option: str, said: str) -> None:
    done = pytest_(EXAMPLE, option)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{said}*"])


@pytest.mark.parametrize(("options", "said"), [
    (("--world=hosts",), "--inventory FILE and --world=hosts: one needs the other"),
    (("--inventory=lab.toml",), "--inventory FILE and --world=hosts: one needs the other"),
    (("--world=hosts", "--inventory=lab.toml"), "lab.toml: No such file"),
])
def test_machines_and_their_world_go_together(pytest_: Pytest, options: tuple[str, ...], said: str) -> None:
    done = pytest_(EXAMPLE, *options)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines([f"*{said}*"])


def test_keep_says_what_is_kept(pytest_: Pytest) -> None:
    done = pytest_("def test_it(cluster):\n    assert not cluster.kill('one')\n", "--keep=failed")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["a simulated cluster ends with its test; plan.json does it again:*"])


@pytest.mark.parametrize("first", ["", "    clusters(nodes=2).audit = lambda: 1 / 0\n"])
def test_what_is_said_to_be_kept_is_kept(pytest_: Pytest, monkeypatch: pytest.MonkeyPatch, first: str) -> None:
    """A test that forgot to check fails when its clusters are given back already, or about to be."""
    closed: list[str] = []
    monkeypatch.setattr(SimWorld, "keep", lambda world: f"kept: {len(world.nodes)}")
    monkeypatch.setattr(SimWorld, "close", lambda world: closed.append(f"kept: {len(world.nodes)}"))
    forgets = BROKEN.replace("(cluster):\n", f"(clusters):\n{first}    cluster = clusters(nodes=3)\n")
    done = pytest_(forgets, "--keep=failed")
    done.assert_outcomes(passed=1, errors=1)
    said = {line.partition("E ")[2].strip() or line for line in done.outlines if "kept: " in line}
    assert said == {"kept: 3"} or not first, said
    assert not said & {*closed}
    assert said


@pytest.mark.parametrize("ends", ["raise KeyboardInterrupt", "assert False", "pass"])
def test_a_cluster_that_is_attached_is_healed_however_a_test_ends(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch, ends: str,
) -> None:
    """A simulated one stands for it."""
    lent: list[SimWorld] = []

    class One:
        def lend(self, _wanted: object) -> SimWorld:
            lent.append(SimWorld(Spec(3), 1))
            lent[0].settle()
            return lent[0]

        def left(self) -> list[str]:
            return [str(fault) for fault in lent[0].faults.record.lasting()]

    monkeypatch.setattr(pytest_plugin.Session, "attached", One())
    pytest_.pytester.makepyfile(test_it=f"def test_it(cluster):\n    cluster.kill(1), cluster.cut(2)\n    {ends}\n")
    done = pytest_.pytester.inline_run("-p", "moslab.pytest_plugin", "--world=sim", no_reraise_ctrlc=True)
    assert done.ret == {"pass": pytest.ExitCode.OK, "assert False": pytest.ExitCode.TESTS_FAILED}.get(
        ends, pytest.ExitCode.INTERRUPTED)
    assert not lent[0].faults.record.lasting()
    assert not lent[0].off()


def test_a_wrong_cltab_is_refused_with_its_line(pytest_: Pytest) -> None:
    done = pytest_("def test_it(clusters):\n    clusters(cltab='web:web-run:start:respwan:true\\n')\n")
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["*cltab:1: *respwan*"])


def test_nobody_who_wants_no_cluster_pays_for_one(pytest_: Pytest) -> None:
    pytest_("def test_it(cache):\n    assert cache\n", "--junitxml=x.xml").assert_outcomes(passed=1)


SETUP = """
import pytest

@pytest.fixture
def moved(cluster):
    with cluster.kill("owner of web"):
        cluster.group("web").wait_running(elsewhere=True, within=0.1)

def test_it(moved):
    pass
"""


def test_a_failure_in_setup_leaves_the_same(pytest_: Pytest) -> None:
    done = pytest_(SETUP, "--seed=7", "--keep=failed")
    done.assert_outcomes(errors=1)
    done.stdout.fnmatch_lines([
        "*runs elsewhere than on node *: not within 0.1 s*", "report: *", "a simulated cluster ends with its test;*",
        "again: pytest 'test_it.py::test_it[[]sim]' --world=sim --seed=7",
    ])
    assert load(pytest_.left("history.json")).failure.startswith("AssertionError: group web runs elsewhere")
    assert pytest_.left("plan.json").exists()


def test_without_a_world_it_is_the_best_and_the_header_says_why(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Answers:
        def close(self) -> None: ...

    def cannot(said: str) -> Callable[[], Answers]:
        def refuses() -> Answers:
            raise CannotError(said)

        return refuses

    pytest_.pytester.makepyfile(test_it=EXAMPLE)

    def header() -> tuple[str, str]:
        """And the id of the test."""
        called = ["-p", "moslab.pytest_plugin", "--seed=1", "--collect-only"]
        lines = pytest_.pytester.runpytest_inprocess(*called).outlines
        (test,) = (line for line in lines if "<Function" in line)
        return next(line for line in lines if line.startswith("moslab: ")), test.strip()

    monkeypatch.setattr(engine, "connect", Answers)
    assert header() == ("moslab: world docker (a container engine answers), seed 1",
                        "<Function test_owner_is_cut_off[docker]>")
    monkeypatch.setattr(engine, "connect", cannot("no engine answers\nstart one"))
    monkeypatch.setattr(own, "OwnEngine", Answers)
    assert header() == ("moslab: world namespaces (no engine answers), seed 1",
                        "<Function test_owner_is_cut_off[namespaces]>")
    monkeypatch.setattr(own, "OwnEngine", cannot("no namespaces for this user"))
    assert header() == ("moslab: world sim (no engine answers; no namespaces for this user), seed 1",
                        "<Function test_owner_is_cut_off[sim]>")


def test_workers_of_xdist_have_the_world_and_the_seed_of_the_session(
    pytest_: Pytest, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is the best world was found out once, here: a worker that looked itself would find another."""
    monkeypatch.setattr(pytest_plugin, "_best", lambda: ([pytest_plugin.SIM], "it is said so"))
    text = EXAMPLE + "    print('drawn', [cluster.whom('minority') for _ in range(9)])\n    assert False\n"
    pytest_.pytester.makepyfile(test_it=text, test_other=text)
    called = ["-p", "xdist.plugin", "-p", "moslab.pytest_plugin"]
    done = pytest_.pytester.runpytest_inprocess(*called, "-n2")
    done.assert_outcomes(failed=2)
    done.stdout.fnmatch_lines(["moslab: world sim (it is said so), seed *"])
    seed = next(line for line in done.outlines if line.startswith("moslab: ")).rpartition(" ")[2]
    again = {line for line in done.outlines if line.startswith("again: ")}
    assert again == {
        f"again: pytest '{name}.py::test_owner_is_cut_off[sim]' --world=sim --seed={seed}"
        for name in ("test_it", "test_other")
    }
    alone = pytest_.again(f"--seed={seed}")
    drawn = [sorted(line for line in one.outlines if line.startswith("drawn")) for one in (done, alone)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == 2
