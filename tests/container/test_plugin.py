"""The pytest plugin in all worlds: the same scenarios have the same outcome, and a failure leaves artifacts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from moslab.faults.plan import load as load_plan
from moslab.history.stored import load
from moslab.layout import CLUSTER
from moslab.namespaces.own import PREFIX
from moslab.removal import is_anything_left
from moslab.wait import eventually
from tests.container.conftest import Lab
from tests.engines import processes_of

pytestmark = [pytest.mark.container, pytest.mark.xdist_group("plugin")]

ROOT = Path(__file__).parents[2]
BOTH = "(test_owner_is_cut_off and 3) or (killed and group) or reboots or blind or (found_out and --0.08)"
LIMIT_S = 400.0
WORLDS = ("sim", "namespaces", "docker")
GONE_LIMIT_S = 90.0
COMMAND = [sys.executable, "-m", "pytest", "-p", "moslab.pytest_plugin", "-p", "no:cacheprovider"]
FAILS = """
import pytest

@pytest.mark.cluster(nodes=2)
def test_fails(cluster):
    print("named", cluster.world.cluster.names.cluster)
    cluster.kill_process("group web")
    assert cluster.run(1, "hostname").stdout == "another"
"""
ATTACHED = """
import pytest

def test_moves(cluster):
    group = cluster.group()
    with cluster.cut(group.owner):
        group.wait_running(elsewhere=True)
    cluster.check()

def test_leaves(cluster):
    cluster.run(1, ["sh", "-c", "sleep 12345 >/dev/null 2>&1 &"])
    cluster.edit(2, "hactl", "# mine\\nkv start\\ntick start\\n")

@pytest.mark.cluster(nodes=5)
def test_five(cluster): ...

@pytest.mark.cluster(stomith=False)
def test_without_stomith(cluster): ...

@pytest.mark.cluster(cltab="a:b:start:respawn:true\\n")
def test_tables(cluster): ...

def test_two(clusters):
    clusters(), clusters()
"""
WAITS = """
import pytest, time

@pytest.mark.cluster(nodes=2)
def test_waits(cluster):
    print("named", cluster.world.cluster.names.cluster, flush=True)
    time.sleep(300)
"""
ROUTED = """
import pytest

@pytest.mark.cluster(nodes=2, toxiproxy=True)
def test_routed(cluster):
    cluster.delay(1, 0.1)
"""
KEPT = re.compile(r"kept: (DOCKER_HOST=unix://(\S+)/\S+) moslab --cluster (\S+) status")


def environment() -> dict[str, str]:
    """With this plugin and no other."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    return {**clean, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run_pytest(folder: Path, *arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=LIMIT_S, check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.long
def test_the_same_scenarios_have_the_same_outcome_in_all_worlds(client: docker.DockerClient, tmp_path: Path) -> None:
    here = ["-c", os.devnull, f"--rootdir={ROOT}", f"--artifacts={tmp_path}"]      # not this repository's own settings
    code, said = run_pytest(ROOT, *here, "tests/chaos", f"--world={','.join(WORLDS)}", "-v", "-k", BOTH)
    assert code == 0, said
    passed = [(name, set(ids.split("-"))) for name, ids in re.findall(r"::(test_\w+)\[(.*)\] PASSED", said)]
    assert len(passed) == 5 * len(WORLDS), said
    by_world = {
        world: sorted((name, sorted(ids - {world})) for name, ids in passed if world in ids)
        for world in WORLDS
    }
    assert by_world["sim"] == by_world["docker"] == by_world["namespaces"]


@pytest.mark.long
def test_a_failure_leaves_artifacts_and_no_cluster(client: docker.DockerClient, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILS)
    code, said = run_pytest(tmp_path, "--world=docker", "--seed=5", "test_it.py")
    assert code == 1, said
    assert "again: pytest 'test_it.py::test_fails[docker]' --world=docker --seed=5" in said
    name = re.findall(r"^named (\S+)$", said, re.MULTILINE)[0]
    (folder,) = (tmp_path / "artifacts").iterdir()
    assert {path.name for path in folder.iterdir()} == {
        "report.html", "history.json", "plan.json", "not-shrunk.txt", "node1.log", "node2.log",
    }
    left = load(folder / "history.json")
    assert (left.verdict, left.world, [fault.kind for fault in left.faults]) == ("valid", "docker", ["SIGKILL"])
    assert "mosha" in (folder / "node1.log").read_text()
    (killed,) = left.faults
    assert 0.0 <= left.begin_s <= killed.begin_s <= killed.end_s < left.history.end_s
    first = min((one for one in left.history.intervals if one.group == "web"), key=lambda one: one.begin_s)
    assert killed.begin_s <= first.end_s <= killed.end_s + 1.0, "what was broken and what it did are on one clock"
    (again,) = re.findall(r"^its faults: pytest (--replay \S+ --world=docker)$", said, re.MULTILINE)
    assert [fault["do"] for fault in load_plan(folder / "plan.json").faults] == ["kill"]
    boots = [line.time_s for line in left.log if line.node == 1]
    assert -60.0 < min(boots) < max(boots) < left.history.end_s + 1.0, "so is what the nodes have said"
    assert not is_anything_left(client, name)
    code, said = run_pytest(tmp_path, *again.split())
    assert code == 0, said
    assert "moslab: world docker (plans are replayed)" in said
    assert re.search(r"plan.json: docker: valid; the latest fault was 0\.\d+ s late", said), said


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_session_leaves_no_cluster(client: docker.DockerClient, tmp_path: Path, signo: int) -> None:
    """By Ctrl-C it cleans up; when it is killed, its guard does."""
    (tmp_path / "test_it.py").write_text(WAITS)
    with subprocess.Popen(
        [*COMMAND, "--world=docker", "-s", "test_it.py"], cwd=tmp_path, env=environment(), stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "named " in line)
        name = line.split("named ")[1].strip()
        assert client.containers.list(filters={"label": f"{CLUSTER}={name}"})
        process.send_signal(signo)
        process.stdout.read()
    eventually(lambda: is_anything_left(client, name), lambda left: not left, within_s=GONE_LIMIT_S,
               what=f"cluster {name} is gone", every_s=0.5)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A directory with a short path, since there will be sockets in it."""
    with tempfile.TemporaryDirectory(prefix="t-") as directory:
        yield Path(directory)


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_session_leaves_no_namespaces(tmp_path: Path, temporary: Path, signo: int) -> None:
    (tmp_path / "test_it.py").write_text(WAITS)
    with subprocess.Popen(
        [*COMMAND, "--world=namespaces", "-s", "test_it.py"], cwd=tmp_path, stdout=subprocess.PIPE,
        env={**environment(), "TMPDIR": str(temporary)}, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as process:
        assert process.stdout is not None
        next(line for line in process.stdout if "named " in line)
        (directory,) = temporary.glob(f"{PREFIX}*")
        assert len(processes_of(directory)) > 3, "the engine's two, and the first of each node"
        process.send_signal(signo)
        process.stdout.read()
    eventually(lambda: [*processes_of(directory), *temporary.glob(f"{PREFIX}*")], lambda left: not left,
               within_s=GONE_LIMIT_S, what="the engine is gone, and all that was in it")


@pytest.mark.long
def test_a_cluster_that_is_up_is_attached_and_what_is_left_on_it_is_said(
    running: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOSLAB_CLUSTER", running.name)
    boots = {node: container.attrs["Created"] for node, container in running.cluster.nodes().items()}
    (tmp_path / "test_it.py").write_text(ATTACHED)
    code, said = run_pytest(tmp_path, "--attach", "--seed=3", "test_it.py")
    assert code == 1, said
    assert f"moslab: world docker (the cluster {running.name} is up), seed 3" in said
    assert "2 passed, 4 skipped, 1 error" in said, said
    left = set(re.findall(r"^E +(?:AssertionError: )?(left|gone): (.*?) *$", said, re.MULTILINE))
    assert ("left", "process: sleep 12345") in left, said
    assert {what.rpartition(": ")[0] for how, what in left if how == "gone"} == {f"node {n}: hactl" for n in (1, 2, 3)}
    for why in ("have nodes=5: the cluster that is attached has 3", "give the cluster that is attached another cltab",
                "have stomith=False: the cluster that is attached has True",
                "make two clusters of the one that is attached"):
        assert f"1 skipped: docker cannot {why}" in said
    assert {node: container.attrs["Created"] for node, container in running.cluster.nodes().items()} == boots
    running.moslab("status")


def test_what_namespaces_cannot_is_skipped_by_name(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(ROUTED)
    code, said = run_pytest(tmp_path, "--world=namespaces", "test_it.py")
    assert code == 0, said
    assert "1 skipped: namespaces cannot put Toxiproxy between nodes" in said


def test_a_failed_test_in_namespaces_can_be_kept_and_removed(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(FAILS)
    code, said = run_pytest(tmp_path, "--world=namespaces", "--keep=failed", "test_it.py")
    kept = KEPT.search(said)
    assert code == 1, said
    assert kept, said
    host, directory, name = kept.groups()
    moslab = [sys.executable, "-m", "moslab", "--cluster", name]
    there = {**os.environ, "DOCKER_HOST": host.partition("=")[2]}
    seen = subprocess.run([*moslab, "status"], env=there, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert "web" in seen.stdout
    subprocess.run([*moslab, "down"], env=there, timeout=LIMIT_S, check=True)
    eventually(lambda: [*processes_of(Path(directory)), *Path(directory).parent.glob(Path(directory).name)],
               lambda left: not left, within_s=GONE_LIMIT_S, what="the engine is gone")
