"""``bench-lab``: what a test of the laboratory takes, and what a second worker gains.

Rules:

1. Tests are run by a pytest of its own, with this plugin, xdist and no other, on one or two workers. One that fails is
   no measurement.
2. *Kill and recover* is a whole test, with set-up, judgement and audit: the owner of its group loses power, the group
   runs elsewhere, all is healed, and the history is valid. Each is on the cluster that the one before gave back, so
   the first is not counted.
3. *Scenarios* are those of a folder, simulated by one worker. They are counted against the processor time of that whole
   pytest, its start too, so what else the machine does is no part of it. Those that a simulator cannot do are skipped,
   and are none.
4. Two workers are compared with one by the time of the whole command, in turns: on an idle machine, or it says nothing.
5. *Nodes up* begins with the first request to an engine of namespaces that is there and has the image, as in a session.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from moslab import bench, engine
from moslab.cluster import Cluster
from moslab.errors import CannotError, LabError
from moslab.image import ensure_image
from moslab.layout import Options
from moslab.namespaces.own import OwnEngine
from moslab.progress import Progress

ROUNDS = 3
RECOVERIES = 12
NODES = 8
SCENARIOS = Path("tests/chaos")
RECOVERY_S_MAX, UP_S_MAX, RUNS_A_MINUTE, GAIN = 6.0, 1.0, 100.0, 1.6
CLUSTER = "bench-lab"
SESSION_LIMIT_S = 900.0
SAID_CHARS_MAX = 2000
RECOVERS = """\
import pytest

@pytest.mark.parametrize("number", range({count}))
def test_kill_and_recover(cluster, number):
    web = cluster.group("web")
    with cluster.kill(web.owner):
        web.wait_running(elsewhere=True)
    cluster.check()
"""
Row = dict[str, Any]


class Session(NamedTuple):
    """One pytest: how long it took, the processor's time for it, and each of its tests that passed, in their order."""

    took_s: float
    busy_s: float
    tests_s: list[float]


def bench_lab(rounds: int, scenarios: Path, progress: Progress) -> int:
    """Measure, print a table, write ``out/bench/lab.json``; 0 if all targets are met, else 1."""
    if rounds < 1:
        raise CannotError(f"bench-lab: at least one round, not {rounds}")
    lacking = [name for name in ("pytest", "xdist") if find_spec(name) is None]
    if lacking:
        raise CannotError(f"bench-lab needs {' and '.join(lacking)}: pip install pytest pytest-xdist")
    if not any(scenarios.glob("test_*.py")):
        raise CannotError(f"bench-lab: there are no scenarios in {scenarios}: --scenarios FOLDER")
    ensure_image(engine.ensure(progress), progress)
    simulated: dict[int, list[Session]] = {1: [], 2: []}
    for number in range(1, rounds + 1):
        for workers, found in simulated.items():
            with progress.stage(f"{scenarios}, simulated, {workers} at a time: round {number} of {rounds}"):
                found.append(session(scenarios, "sim", workers))
    rows = scenario_rows(simulated)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "test_recovers.py")
        file.write_text(RECOVERS.format(count=RECOVERIES + 1), encoding="utf-8")
        for world, count in (("docker", 2), ("namespaces", 1)):
            sessions = []
            for workers in range(1, count + 1):
                with progress.stage(f"kill and recover, {world}, {workers} at a time: {RECOVERIES + 1} tests"):
                    sessions.append(session(file, world, workers))
            rows += recovery_rows(world, *sessions)
    return bench.conclude("lab", rows + [up_row(agents, _ups(rounds, agents, progress)) for agents in (False, True)])


def session(what: Path, world: str, workers: int) -> Session:
    """Rule 1. LabError with the last words of a pytest that was not content."""
    with tempfile.TemporaryDirectory() as left:
        report = Path(left, "junit.xml")
        called = [
            sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", "-p", "moslab.pytest_plugin",
            "-p", "no:cacheprovider", "-c", os.devnull, f"--rootdir={Path.cwd()}", f"--artifacts={left}",
            f"--junitxml={report}", f"-n{workers}", f"--world={world}", "--seed=1", str(what),
        ]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        began_s, before_s = time.monotonic(), _busy_s()
        try:
            done = subprocess.run(
                called, env={**clean, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=SESSION_LIMIT_S, check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{what}, {world}: pytest took more than {SESSION_LIMIT_S:g} s") from None
        took_s, busy_s = time.monotonic() - began_s, _busy_s() - before_s
        if done.returncode:
            raise LabError(f"{what}, {world}: pytest ended with {done.returncode}:\n{done.stdout[-SAID_CHARS_MAX:]}")
        cases = list(xml.parse(report).getroot().iter("testcase"))
    passed_s = [float(case.attrib["time"]) for case in cases if case.find("skipped") is None]
    if not passed_s:
        raise LabError(f"{what}: the world {world} can do none of it")
    return Session(took_s, busy_s, passed_s)


def _busy_s() -> float:
    """Of all that this process has begun and that has ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def scenario_rows(simulated: dict[int, list[Session]]) -> list[Row]:
    """Rules 3 and 4; by the number of workers."""
    speeds = [60.0 * len(one.tests_s) / one.busy_s for one in simulated[1]]
    return [
        bench.row("scenarios simulated, each core", "/min", len(speeds), median(speeds), RUNS_A_MINUTE, at_least=True),
        _gain("scenarios simulated", simulated[1], simulated[2]),
    ]


def recovery_rows(world: str, alone: Session, *both: Session) -> list[Row]:
    """Rules 2 and 4: the first session was one worker's, the other one, where there is one, is that of two."""
    later_s = alone.tests_s[1:]
    rows = [bench.row(f"kill and recover, {world}", "s", len(later_s), median(later_s), RECOVERY_S_MAX)]
    return rows + [_gain(f"kill and recover, {world}", [alone], [one]) for one in both]


def _gain(what: str, alone: list[Session], both: list[Session]) -> Row:
    gains = [one.took_s / two.took_s for one, two in zip(alone, both)]
    return bench.row(f"{what}: 2 workers", "x", len(gains), median(gains), GAIN, at_least=True,
                     peer=1.0, peer_name=f"1 worker, {median(one.took_s for one in alone):.1f} s")


def up_row(agents: bool, took_s: list[float]) -> Row:
    """Rule 5; what was asked for is nodes of openMosix, so with agents there is no target."""
    what = f"{NODES} nodes with agents" if agents else f"{NODES} nodes of openMosix"
    return bench.row(f"{what} up, namespaces", "s", len(took_s), median(took_s), None if agents else UP_S_MAX)


def _ups(rounds: int, agents: bool, progress: Progress) -> list[float]:
    begun = OwnEngine()
    try:
        client = begun.client()
        ensure_image(client, progress)
        cluster, took_s = Cluster(client, CLUSTER), []
        for _ in range(rounds):
            began_s = time.monotonic()
            cluster.up(NODES, progress, groups=False, options=Options(agents=agents))
            took_s.append(time.monotonic() - began_s)
            cluster.down()
        client.close()
        return took_s
    finally:
        begun.close()
