"""A cluster as a test sees it, in the simulated world."""

from __future__ import annotations

import pytest

from moslab import Cluster, LabError, UnsupportedError
from moslab.errors import CannotError
from moslab.faults.record import UNENDED
from moslab.history.checkers import INVALID, UNKNOWN, VALID
from moslab.history.record import History, Line
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import Spec

LEASES_S = 6.0


def made(nodes: int = 3, stomith: bool = True, cltab: str = Spec.cltab) -> Cluster:
    world = SimWorld(Spec(nodes, stomith, cltab), 5)
    world.settle()
    return Cluster(world, 5)


def test_the_same_seed_does_the_same() -> None:
    def story() -> list[Line]:
        cluster = made()
        with cluster.kill("owner of web"):
            cluster.group("web").wait_running(elsewhere=True)
        cluster.check()
        return cluster.world.log()

    assert story() == story()


def test_targets() -> None:
    cluster = made(5)
    web = cluster.group("web")
    assert cluster.whom(3) == cluster.whom("3") == (3,)
    assert cluster.whom([2, 1]) == (1, 2)
    assert cluster.whom(web) == cluster.whom("owner of web") == (web.owner,)
    assert set(cluster.whom("not owner of web")) == set(cluster.nodes) - {web.owner}
    assert len({cluster.whom("minority") for _ in range(50)}) > 3, "it is drawn"
    with pytest.raises(CannotError, match="no group 'kv'"):
        cluster.whom("owner of kv")
    with pytest.raises(CannotError, match="no node 9"):
        cluster.cut(9)


def test_faults_are_recorded_with_begin_and_end() -> None:
    cluster = made()
    cut = cluster.cut(1, one_way=True)
    cluster.sleep(1.0)
    cut.heal()
    cluster.cut([1, 2])
    first, second = cluster.faults
    assert (first.kind, first.detail, round(first.end_s - first.begin_s, 3)) == ("cut", "1>2 1>3", 1.0)
    assert second.end_s == UNENDED
    cluster.heal()
    assert [fault.end_s < UNENDED for fault in cluster.faults] == [True, True]
    assert cluster.judge().word == VALID


def test_a_cut_has_two_sides() -> None:
    cluster = made()
    for whom, from_ in (("all", None), (1, [1, 2])):
        with pytest.raises(CannotError, match="a cut is between some nodes and others"):
            cluster.cut(whom, from_)


def test_waits_say_what_was_seen_and_what_was_broken() -> None:
    cluster = made()
    web = cluster.group("web")
    began_s, owner = cluster.world.now_s(), web.owner
    cluster.cut(next(node for node in cluster.nodes if node != owner), one_way=True)
    said = rf"(?s)runs nowhere: not within 2 s; last seen: .*node={owner}.*what was broken:.*cut"
    with pytest.raises(AssertionError, match=said):
        web.wait_stopped(within=2)
    assert 2.0 <= cluster.world.now_s() - began_s < 2.2, "of virtual time"


def test_elsewhere_than_it_was_seen() -> None:
    cluster = made()
    web = cluster.group("web")
    with pytest.raises(CannotError, match="elsewhere than where"):
        web.wait_running(elsewhere=True)
    owner = web.owner
    with cluster.kill(owner):
        assert web.wait_running(elsewhere=True).node != owner
    assert web.wait_running(elsewhere=owner).node != owner


def test_a_frozen_node_that_was_shot_stays_off_until_the_heal() -> None:
    cluster = made()
    web = cluster.group("web")
    owner = web.owner
    with cluster.pause(owner):
        web.wait_running(elsewhere=True)
        cluster.eventually(cluster.world.off, bool, what="it is shot")
        with pytest.raises(LabError, match="is not paused"):
            cluster.resume(owner)
    cluster.sleep(LEASES_S)
    assert cluster.world.off() == [owner]
    cluster.check()
    assert cluster.world.off() == []


def test_of_two_guardians_one_runs() -> None:
    cluster = made(stomith=False)
    owner = cluster.group("web").owner
    with cluster.stop_process("leash web"), pytest.raises(CannotError, match="nothing is promised"):
        cluster.stop_process("agent", on=owner)
    cluster.stop_process("agent", on=owner)
    cluster.check()


def test_processes_of_one_group_only() -> None:
    two = "".join(f"{group}:{group}-run:start:respawn:sleep infinity\n" for group in ("web", "db"))
    cluster = made(2, cltab=two)
    web, db = cluster.group("web"), cluster.group("db")
    cluster.kill(2)
    for group in (web, db):
        cluster.eventually(lambda group=group: group.owner, lambda node: node == 1, what="both on node 1")  # type: ignore[misc]
    before = web.run(), db.run()
    cluster.kill_process("group web")
    web.wait_again(before[0])
    assert db.goes_on(before[1], 0.0)
    with pytest.raises(CannotError, match="on which node"):
        cluster.kill_process("agent")
    with pytest.raises(UnsupportedError):
        cluster.kill_process("shot", on=1)
    cluster.check()


def test_a_group_that_never_comes_back_is_no_valid_history(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = made()
    monkeypatch.setattr("moslab.scenario.sim.SETTLE_LIMIT_S", 5.0)
    monkeypatch.setattr(cluster.world.faults, "end", lambda: None)
    cluster.cut(1)
    cluster.sleep(LEASES_S)
    verdict = cluster.judge()
    assert (bool(verdict), verdict.word) == (False, INVALID)
    assert verdict.problems[0].startswith("liveness: after the heal: all agents are up and all groups run: not within")
    with pytest.raises(AssertionError, match="the history is invalid"):
        cluster.check()


def test_an_observer_that_missed_something_says_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = made()

    def blind() -> History:
        raise LabError("no node reads the journals")

    monkeypatch.setattr(cluster.world, "history", blind)
    assert cluster.judge()[:2] == (UNKNOWN, ["no node reads the journals"])
    with pytest.raises(AssertionError, match="the history is unknown:\nno node reads"):
        cluster.check()
