"""Seeds until the time is spent, in the simulated world, and the store of those that fail."""

from __future__ import annotations

import json
import shlex
import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from mosha.ownership.lease import Lease
from moslab import pytest_chaos
from moslab.errors import CannotError, LabError
from moslab.history.checkers import INVALID, VALID
from moslab.history.stored import load
from moslab.scenario import artifacts, failing, pool, sim
from moslab.scenario.cluster import Cluster, Verdict
from moslab.scenario.failing import CASES_MAX, Case
from moslab.scenario.world import Spec

pytest_plugins = ["pytester"]

LOADED = [artifacts, pool]       # once, not in each pytest that a test begins
ASKING = """
import pytest

@pytest.mark.cluster(nodes=3)
def test_one(cluster): assert False, "this is not run"

@pytest.mark.cluster(nodes=4, stomith=False)
def test_other(cluster): assert False, "nor is this"
"""
CASE = Case("sim", 7, 30.0, Spec(3))


class Runs:
    """A pytest of its own, whose chaos does nothing but say what it shall say."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
        monkeypatch.setattr(pytest_chaos, "chaos", self._chaos)
        self._pytester, self.bad = pytester, True
        self.ran: list[int] = []
        self.store = pytester.path / "artifacts/failing-seeds.jsonl"
        pytester.makepyfile(test_it=ASKING)

    def __call__(self, *arguments: str) -> pytest.RunResult:
        self.ran.clear()
        return self._pytester.runpytest_inprocess("-p", "moslab.pytest_plugin", "--world=sim", *arguments)

    def _chaos(self, cluster: Cluster, for_s: float) -> Verdict:
        self.ran.append(len(cluster.nodes))
        return Verdict(*((INVALID, ["overlap: twice"]) if self.bad else (VALID, [])), None)


@pytest.fixture
def runs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(pytester, monkeypatch)


def test_a_seed_that_fails_is_stored_comes_first_the_next_time_and_is_struck_out(runs: Runs) -> None:
    result = runs("--chaos-budget=0.001s", "--seed=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["seed 7: sim, * nodes, *: invalid", "*overlap: twice*", "*stored: *.jsonl*"])
    (stored,) = failing.load(runs.store)
    assert (stored.seed, [stored.spec.nodes]) == (7, runs.ran)
    assert (runs.store.parent / "chaos-sim-7/report.html").exists()
    runs.bad = False
    result = runs("--chaos-budget=0.001s", "--seed=100")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["seed 7: *: valid, and was not before", "seed 100: *: valid"])
    assert failing.load(runs.store) == []


def test_the_line_that_does_it_again_finds_what_is_stored_and_junit_has_the_seeds(runs: Runs, tmp_path: Path) -> None:
    there = tmp_path / "else where"
    done = runs("--chaos-budget=0.001s", "--seed=7", f"--artifacts={there}", "--junitxml=x.xml")
    (line,) = {line for line in done.outlines if line.startswith("again: pytest ")}       # in CI the summary has it too
    assert load(there / "chaos-sim-7/history.json").again == line.removeprefix("again: ")
    (case,) = xml.parse("x.xml").getroot().iter("testcase")
    found = {one.attrib["name"]: one.attrib["value"] for one in case.iter("property")}
    assert found == {"moslab_world": "sim", "moslab_seed": "7", "moslab_failing_seed": "7"}
    runs.bad = False
    runs(*shlex.split(line)[2:]).stdout.fnmatch_lines(["seed 7: *: valid, and was not before"])


def test_a_scenario_that_goes_no_further_is_unknown_and_stored(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(cluster: Cluster, _for_s: float) -> Verdict:
        cluster.kill("one")
        raise LabError("too many events in a short time")

    monkeypatch.setattr(pytest_chaos, "chaos", stuck)
    result = runs("--chaos-budget=0.001s", "--seed=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["seed 7: sim, * nodes, *: unknown", "*too many events*", "*stored: *.jsonl*"])
    assert [case.seed for case in failing.load(runs.store)] == [7]
    left = load(runs.store.parent / "chaos-sim-7/history.json")
    assert (left.failure, [fault.kind for fault in left.faults]) == ("too many events in a short time", ["off"])


def test_what_a_scenario_leaves_fails_it(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.bad = False
    monkeypatch.setattr(sim.SimWorld, "left", lambda _: ["left: process: cat"])
    result = runs("--chaos-budget=0.001s", "--seed=7")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["seed 7: *: valid, but it left something", "*left: process: cat", "*stored: *.jsonl*"])
    assert [case.seed for case in failing.load(runs.store)] == [7]


def test_seeds_go_on_until_the_time_is_spent_on_the_clusters_that_tests_ask_for(runs: Runs) -> None:
    runs.bad = False
    runs("--chaos-budget=4s", "--seed=1").assert_outcomes(passed=1)
    assert {*runs.ran} <= {3, 4}
    assert len(runs.ran) > 1


def test_what_is_broken_in_that_time_is_real(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stands for chaos here; an agent that crashes whenever a lease of its node ends is found by it."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(test_it=ASKING)
    called = ["-p", "moslab.pytest_plugin", "--world=sim", "--chaos-budget=0.001s", "--seed=7"]
    pytester.runpytest_inprocess(*called).assert_outcomes(passed=1)
    is_void = Lease.is_void

    def crashes(self: Lease, now: float) -> bool:
        if is_void(self, now):
            raise RuntimeError("a bug")
        return False

    monkeypatch.setattr(Lease, "is_void", crashes)
    monkeypatch.setattr(artifacts, "SHRINK_CORE_S_MAX", 0.1)
    done = pytester.runpytest_inprocess(*called)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(["seed 7: sim, * nodes*: invalid", "*crash: the agent of node *: a bug*"])
    left = load(next(pytester.path.glob("artifacts/chaos-sim-7/history.json")))
    assert left.faults, "what was broken is in the report"
    done.stdout.fnmatch_lines(["*its faults: pytest --replay */chaos-sim-7/plan.json"])
    assert [case.seed for case in failing.load(pytester.path / "artifacts/failing-seeds.jsonl")] == [7]


@pytest.mark.parametrize(("arguments", "said"), [
    (["--chaos-budget=1s", "--seeds=1..2"], "--seeds and --chaos-budget exclude each other"),
    (["--chaos-budget=soon"], "'soon' is no time"),
    (["--chaos-budget=1s", "--keep=failed"], "--chaos-budget and --keep exclude each other"),
    (["--replay=x", "--keep=failed"], "--replay and --keep exclude each other"),
    (["--replay=x", "--chaos-budget=1s"], "--replay and --chaos-budget exclude each other"),
])  # fmt: skip
def test_what_cannot_be_is_refused(runs: Runs, arguments: list[str], said: str) -> None:
    assert said in "\n".join(runs(*arguments).errlines)


def test_a_case_is_the_same_when_it_is_read_and_once_there(tmp_path: Path) -> None:
    store = tmp_path / "new" / "store"
    other = Case("docker", 8, 30.0, Spec(4, stomith=False, cltab="a:b:start:wait:true\n"))
    for case in (CASE, other, CASE):
        failing.add(store, case)
    assert failing.load(store) == [other, CASE]
    failing.strike(store, other)
    assert failing.load(store) == [CASE]


def test_the_store_is_bounded(tmp_path: Path) -> None:
    for seed in range(CASES_MAX + 5):
        failing.add(tmp_path / "store", Case("sim", seed, 30.0, Spec(3)))
    assert [case.seed for case in failing.load(tmp_path / "store")] == [*range(5, CASES_MAX + 5)]


@pytest.mark.parametrize(("change", "said"), [
    (lambda case: case.update(seed="7"), "seed: int, not '7'"), (lambda case: case.pop("world"), "world"),
    (lambda case: case["spec"].update(nodes=True), "nodes: int, not True"),
    (lambda case: case["spec"].update(networks="2"), "networks: int, not '2'"),
    (lambda case: case.update(more=1), "more"),
    (lambda case: case.update(spec=3), "no failing seed"),
])  # fmt: skip
def test_what_is_no_case_is_refused_by_its_line(tmp_path: Path, change, said: str) -> None:  # type: ignore[no-untyped-def]
    store = tmp_path / "store"
    failing.add(store, CASE)
    case = json.loads(store.read_text())
    change(case)
    store.write_text(store.read_text() + json.dumps(case) + "\n")
    with pytest.raises(CannotError, match=rf"store:2: .*{said}"):
        failing.load(store)
