"""Directories on a file server that outlives its nodes, and what a client of it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from moslab.faults.plan import FaultPlan
from moslab.history.checkers import INVALID, VALID
from moslab.simulator.cluster import Cluster
from moslab.simulator.draw import SHARED, draw_plan, shared
from moslab.simulator.run import run

CALLS_MAX = 100_000
CLTAB = "g1:fit:test:test:run 0.01\ng1:run:start:respawn:live\n"


def plan(cache_s: float = 0.0, **more: Any) -> FaultPlan:
    made = FaultPlan(seed=1, nodes=3, cltab=CLTAB, hactl="g1 start\n", conf={"beat": "0.1", "lease": "0.5"})
    for name, value in more.items():
        setattr(made, name, value)
    return shared(made, cache_s)


def test_a_directory_outlives_its_node_and_holds_nothing_of_it_back() -> None:
    cluster = Cluster(plan())
    node = cluster.nodes[2]
    node.power_on()
    handle = cluster.tasks.handles.open(2, "new", True, True)
    cluster.tasks.handles.pwrite(handle, b"not synced", 0)
    node.freeze()
    assert not node.holds_files()
    node.power_off()
    assert node.has_files()
    assert cluster.tasks.handles.pread(handle, 99, 0) == b"not synced"
    node.power_on()
    assert cluster.tasks.handles.pread(handle, 99, 0) == b"not synced", "no reboot of a node makes it stale"


def test_what_a_client_keeps_is_old_but_for_its_own_writes() -> None:
    cluster = Cluster(plan(cache_s=3.0))
    handles, disk = cluster.tasks.handles, cluster.nodes[2].disk
    disk.write("slots", 0, b"aa")
    mine, theirs = handles.open(2, "slots", True, False), handles.open(2, "slots", True, False)
    assert handles.pread(mine, 2, 0) == b"aa"
    handles.pwrite(theirs, b"b", 0)
    handles.pwrite(mine, b"c", 1)
    assert (handles.pread(mine, 2, 0), handles.pread(theirs, 2, 0)) == (b"ac", b"bc")
    disk.replace("slots", b"new", durable=True)
    assert handles.is_linked(mine)
    cluster.kernel.at(3.0, lambda _: None, None)
    cluster.kernel.run(3.5, CALLS_MAX)
    assert not handles.is_linked(mine)
    assert handles.pread(handles.open(2, "slots", True, False), 3, 0) == b"new"


def test_the_last_node_of_three_goes_on_alone() -> None:
    """On openMosix two deaths of three stop the group."""
    deaths = [{"at": 6.0, "do": "crash", "whom": [1]}, {"at": 9.0, "do": "crash", "whom": [2]}]
    found = run(plan(faults=deaths, safety_s=20.0, heal=[3]))
    assert found.verdict == VALID
    assert found.counters["file of a node without power"] > 100
    runs = [one for one in found.history.intervals if one.node == 3 and one.end_s > 19.0]
    assert runs, "it runs on the last one, before anything was healed"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_reads_that_may_be_old_let_a_group_run_twice(seed: int) -> None:
    """Why a mount that keeps attributes is refused: nothing has to break. The same with nothing kept is valid."""
    quiet = {"seed": seed, "safety_s": 5.0, "bound_s": 10.0}
    assert run(plan(**quiet)).verdict == VALID
    found = run(plan(cache_s=3.0, **quiet))
    assert found.verdict == INVALID
    assert any(problem.startswith("overlap") for problem in found.problems)


def test_some_of_the_seeds_have_a_shared_directory_and_put_no_backup_back() -> None:
    plans = [one for one in map(draw_plan, range(300)) if not one.profile.startswith("directed")]
    on_a_server = [one for one in plans if one.files["shared"]]
    assert SHARED / 2 < len(on_a_server) / len(plans) < SHARED * 2
    assert not any("restore" in fault for one in on_a_server for fault in one.faults)
    assert not any(one.files["cache_s"] for one in plans)


@pytest.mark.parametrize("node", [1, 2])
def test_there_is_nobody_to_be_probed(node: int) -> None:
    cluster = Cluster(plan())
    cluster.kernel.run(3.0, CALLS_MAX)
    world = cluster.nodes[1].world
    answers: list[object] = []
    assert world is not None
    world.submit(-1, "probe", [node], 1.0, lambda up, _: answers.append(up))
    cluster.kernel.run(4.0, CALLS_MAX)
    assert answers == [False]


def test_a_full_disk_takes_what_is_there_already() -> None:
    cluster = Cluster(plan())
    handles, node = cluster.tasks.handles, cluster.nodes[2]
    node.disk.write("slots", 0, b"aaaa")
    old, new = handles.open(2, "slots", True, False), handles.open(2, "new", True, True)
    node.weather.full = True
    assert handles.pwrite(old, b"bb", 1) == 2
    assert handles.pwrite(old, b"cccc", 2) == 2, "the rest has no room"
    for handle, offset in ((old, 4), (old, 9), (new, 0)):
        with pytest.raises(OSError, match="No space"):
            handles.pwrite(handle, b"d", offset)
    assert (node.disk.files["slots"], "new" in node.disk.files) == (b"abcc", False)
    node.weather.clear()
    assert handles.pwrite(new, b"d", 0) == 1
