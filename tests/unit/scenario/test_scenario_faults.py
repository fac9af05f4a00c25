"""The faults of a cluster beside power, cuts and processes, in the simulated world."""

from __future__ import annotations

import math
from typing import Callable

import pytest

from moslab import Breach, Cluster, LabError
from moslab.errors import CannotError, UnsupportedError
from moslab.faults.links import majorities_ring
from moslab.faults.plan import SHUT_DOWN_S, from_json
from moslab.faults.record import UNENDED
from moslab.faults.targets import RING
from moslab.history.checkers import VALID
from moslab.scenario.sim import SimWorld
from moslab.scenario.world import Spec

LEASES_S = 6.0


def made(nodes: int = 5, stomith: bool = True, toxiproxy: bool = False) -> Cluster:
    world = SimWorld(Spec(nodes, stomith, toxiproxy=toxiproxy), 7)
    world.settle()
    return Cluster(world, 7)


@pytest.mark.parametrize("nodes", range(4, 10))
def test_in_a_ring_each_hears_a_majority_and_no_two_the_same(nodes: int) -> None:
    cut = majorities_ring(range(1, nodes + 1))
    assert cut == {(b, a) for a, b in cut}
    heard = [frozenset(a for a in range(1, nodes + 1) if (a, b) not in cut) for b in range(1, nodes + 1)]
    assert all(len(one) > nodes / 2 for one in heard)
    assert len(set(heard)) == nodes


@pytest.mark.parametrize("nodes", [2, 3])
def test_few_nodes_make_no_ring(nodes: int) -> None:
    with pytest.raises(CannotError, match="at least 4"):
        made(nodes).ring()


def test_majorities_ring_is_a_target_of_what_is_of_links() -> None:
    cluster = made(toxiproxy=True)
    links = {f"{a}>{b}" for a, b in majorities_ring(cluster.nodes)}
    begins: list[Callable[[], Breach]] = [
        lambda: cluster.cut(RING), cluster.ring, lambda: cluster.lose(RING, 0.1), lambda: cluster.delay(RING, 0.05),
        lambda: cluster.cut(RING, power=True),
    ]
    for begin in begins:
        begin().heal()
        assert links <= {*cluster.faults[-1].detail.split()}
    cluster.flap(RING, every=0.2, times=1)
    assert {*cluster.faults[-1].detail.split()} == links
    with pytest.raises(CannotError, match="which links"):
        cluster.kill(RING)
    cluster.check()


def test_a_split_has_parts_and_bridges() -> None:
    cluster = made()
    with cluster.split([1, 2, 3], [3, 4, 5]):
        assert "3>" not in cluster.faults[-1].detail
        assert "1>4" in cluster.faults[-1].detail
    assert cluster.faults[-1].end_s < UNENDED
    with pytest.raises(CannotError, match="at least two parts"):
        cluster.split("all")
    cluster.check()


def test_who_reboots_gives_its_groups_up_first() -> None:
    """So no lease is waited for."""
    cluster = made(3, stomith=False)
    web = cluster.group("web")
    before = web.run()
    node = cluster.world._simulated.cluster.nodes[before.node]   # type: ignore[attr-defined]
    boot = node.boot
    cluster.reboot(web)
    assert (node.up, node.boot) == (True, boot + 1)
    assert web.wait_running(elsewhere=True, within=1.0)
    cluster.pause(1)
    for off_or_paused in (1, 2):
        with pytest.raises(LabError, match=f"node {off_or_paused} does not run: it is"):
            cluster.reboot(off_or_paused)
        cluster.kill(2)
    cluster.check()
    assert [fault.kind for fault in cluster.faults] == ["reboot", "pause", "off"]


def test_a_machine_whose_agent_stands_still_shuts_down_without_it() -> None:
    cluster = made(3)
    owner = cluster.group("web").owner
    with cluster.stop_process("agent", on=owner):
        began_s = cluster.world.now_s()
        cluster.reboot(owner)
        assert SHUT_DOWN_S <= cluster.world.now_s() - began_s < SHUT_DOWN_S + 1.0
    cluster.check()


def test_who_is_off_the_map_of_all_others_loses_its_group_and_joins_again() -> None:
    cluster = made(3, stomith=False)
    web = cluster.group("web")
    with cluster.unmap(web):
        web.wait_running(elsewhere=True)
    assert [(fault.kind, fault.end_s < UNENDED) for fault in cluster.faults] == [("map", True)] * 3
    cluster.check()


def test_maps_lack_all_that_was_taken_off_until_the_last_one_joins() -> None:
    cluster = made()
    node = cluster.world._simulated.cluster.nodes[5]         # type: ignore[attr-defined]
    one = cluster.unmap(1)
    with cluster.unmap([1, 2], on=5):
        assert node.map == [3, 4, 5]
        one.heal()
        assert node.map == [3, 4, 5]
    assert node.map == [1, 2, 3, 4, 5]
    for whom, on in ((5, 5), ("all", None)):
        with pytest.raises(CannotError, match="a node is on its own map"):
            cluster.unmap(whom, on)
    cluster.unmap(3, on=5)
    off = cluster.kill(5)
    cluster.heal()
    assert node.map == [1, 2, 3, 4, 5]
    off.heal()
    cluster.check()


def test_signals_are_said_by_name_and_what_a_world_cannot_send_is_named() -> None:
    cluster = made(3)
    web = cluster.group("web")
    for name in ("TERM", "sigint"):
        before = web.run()
        cluster.signal_process("group web", name)
        web.wait_again(before)
    before = web.run()
    cluster.signal_process("leash web", "TERM")
    assert web.goes_on(before, LEASES_S), "it is deaf to that"
    assert [fault.kind for fault in cluster.faults] == ["SIGTERM", "SIGINT", "SIGTERM"]
    for name, error, said in (
        ("STOP", CannotError, "stop_process"), ("CONT", CannotError, "stop_process"),
        ("PATIENCE", CannotError, "'PATIENCE' is no signal"), ("HUP", UnsupportedError, "send SIGHUP to group web"),
    ):
        with pytest.raises(error, match=said):
            cluster.signal_process("group web", name)
    cluster.check()


def test_flaps_are_cuts_of_the_same_nodes() -> None:
    cluster = made()
    cluster.flap("one", every=0.2, times=3)
    assert len(cluster.faults) == 3
    assert len({fault.detail for fault in cluster.faults}) == 1
    assert all(0.19 < fault.end_s - fault.begin_s < 0.3 for fault in cluster.faults)


LASTING: list[tuple[str, Callable[[Cluster], Breach]]] = [
    ("files", lambda cluster: cluster.disturb(1, error=0.5, hang=0.1)),
    ("files", lambda cluster: cluster.disturb(1, full=True)),
    ("outlet", lambda cluster: cluster.break_outlet(1, "fails")),
    ("clock", lambda cluster: cluster.slew_clock(1, 0.005)),
    ("wall clock", lambda cluster: cluster.jump_clock(1, 3600.0)),
    ("drained", lambda cluster: cluster.drain(1)),
]


@pytest.mark.parametrize(("kind", "begin"), LASTING, ids=[kind for kind, _ in LASTING])
def test_what_lasts_ends_with_its_block_and_with_the_heal(kind: str, begin: Callable[[Cluster], Breach]) -> None:
    cluster = made()
    with begin(cluster):
        assert [key[:2] for key in cluster.world.faults.record.lasting()] == [(kind, 1)]
    assert not cluster.world.faults.record.lasting()
    begin(cluster)
    cluster.check()
    assert not cluster.world.faults.record.lasting()
    assert [fault.kind for fault in cluster.faults] == [kind, kind]


@pytest.mark.parametrize(("begin", "said"), [
    (lambda cluster: cluster.lose(1, 0), "worsen: one of .* is needed"),
    (lambda cluster: cluster.lose(1, 1.5), "loss is a number from 0 to 1"),
    (lambda cluster: cluster.lose(1, math.nan), "loss is a number"),
    (lambda cluster: cluster.slew_clock(1, -2), "by is a number from -0.9"),
    (lambda cluster: cluster.jump_clock(1, math.inf), "by is a number from"),
    (lambda cluster: cluster.edit(1, "nosuch", ""), "table is one of cltab, hactl"),
])
def test_an_amount_that_makes_no_sense_is_refused_and_leaves_a_plan_that_can_be_replayed(
    begin: Callable[[Cluster], object], said: str,
) -> None:
    cluster = made()
    with pytest.raises(CannotError, match=said):
        begin(cluster)
    assert not cluster.faults
    assert from_json(cluster.plan().to_json()).nodes == len(cluster.nodes)


def test_what_is_no_part_of_a_node_outlives_its_power() -> None:
    cluster = made()
    record = cluster.world.faults.record
    for _, begin in LASTING:
        begin(cluster)
    cluster.kill(1)
    cluster.start(1)
    assert sorted(kind for kind, _, _ in record.lasting()) == ["clock", "drained", "outlet", "wall clock"]
    cluster.check()
    assert not record.lasting()


def test_jumps_of_a_wall_clock_add_up_and_it_is_right_again_at_the_end() -> None:
    cluster = made()
    node = cluster.world._simulated.cluster.nodes[1]         # type: ignore[attr-defined]
    right_s = node.wall()
    with cluster.jump_clock(1, 3600.0):
        with cluster.jump_clock(1, -600.0):
            assert node.wall() - right_s == pytest.approx(3000.0)
        assert node.wall() - right_s == pytest.approx(3600.0)
    assert node.wall() == pytest.approx(right_s)
    cluster.jump_clock(1, 60.0)
    cluster.world.faults.end()
    assert node.wall() == pytest.approx(right_s)
    jump = cluster.world._simulated.begin("jump", [1], by=60.0, **{"for": 9.0})     # type: ignore[attr-defined]
    assert node.wall() - right_s == pytest.approx(60.0)
    jump.end()
    assert node.wall() == pytest.approx(right_s)


def test_the_outlet_is_that_of_the_node_that_is_shot() -> None:
    """So whoever shoots at it, fails; and the others can be shot."""
    cluster = made()
    web = cluster.group("web")
    owner = web.owner
    with cluster.break_outlet(owner, "fails"), cluster.cut(owner, power=True):
        web.wait_running(elsewhere=True)
        assert cluster.world.off() == []
    cluster.heal()
    with cluster.cut(web, power=True):
        web.wait_running(elsewhere=True)
        cluster.eventually(cluster.world.off, bool, what="it is shot")
    cluster.check()


def test_bad_faults_are_refused() -> None:
    cluster = made()
    with pytest.raises(LabError, match="'melts' is none of fails, lies, slow, works"):
        cluster.break_outlet(1, "melts")
    for error, hang in ((0.0, 0.0), (0.9, 0.2), (-0.1, 0.5)):
        with pytest.raises(CannotError, match="parts of 1"):
            cluster.disturb(1, error=error, hang=hang)
    for call in (lambda: cluster.edit(1, "hactl", "web start\n"), lambda: cluster.drain(1)):
        cluster.kill(1)
        with pytest.raises(LabError, match="node 1 is off"):
            call()
        cluster.heal()


def test_an_edit_says_what_it_says_and_comes_to_all() -> None:
    cluster = made(3)
    cluster.edit(2, "hactl", "# by hand\nweb start\n")
    disks = [node.disk.files for node in cluster.world._simulated.cluster.nodes.values()]  # type: ignore[attr-defined]
    cluster.eventually(
        lambda: [files["hactl"].startswith(b"# by hand\nweb start\n") for files in disks], all, what="all have it",
    )
    cluster.edit(3, "hactl", "no table: at all\n")
    cluster.check()


def test_whom_an_operator_means_is_said_in_words_as_well() -> None:
    cluster = made()
    web = cluster.group("web")
    before = web.owner
    cluster.edit("all", "hactl", "# by words\nweb start\n")
    assert [fault.nodes for fault in cluster.faults] == [(node,) for node in cluster.nodes]
    target, *others = (node for node in cluster.nodes if node != before)
    cluster.move(web, f"not {','.join(map(str, [before, *others]))}")
    assert web.wait_running(elsewhere=before).node == target
    for wrong in ("majority", "not all", "another"):
        with pytest.raises(CannotError):
            cluster.move(web, wrong)
    cluster.check()


def test_what_was_done_is_a_plan_that_does_it_again() -> None:
    cluster = made()
    with cluster.drain("owner of web"), cluster.break_outlet("all", "slow"), cluster.disturb("one", hang=0.5):
        cluster.edit(1, "hactl", "web start\n# once\n")
        cluster.sleep(LEASES_S)
    faults = [fault for fault in from_json(cluster.plan().to_json()).faults if fault["at"]]
    assert [fault["do"] for fault in faults] == ["order", *["stomith"] * 5, "weather", "edit", "order"]
    assert all(fault["for"] >= LEASES_S for fault in faults if fault["do"] in ("stomith", "weather"))


AILS: dict[str, Callable[[Cluster], Breach]] = {
    "delay": lambda cluster: cluster.delay("all", 0.1, "all", jitter_s=0.05),
    "rate": lambda cluster: cluster.rate(1, 10),
    "reset": lambda cluster: cluster.reset(1, 2),
    "slow-close": lambda cluster: cluster.slow_close(1, 1.0, one_way=True),
}


@pytest.mark.parametrize("kind", AILS)
def test_connections_are_worse_only_where_mfs_goes_through_toxiproxy(kind: str) -> None:
    """As in containers; there it is a proxy's, here it is modelled."""
    cluster = made(3)
    with pytest.raises(CannotError, match="does not go through Toxiproxy"):
        AILS[kind](cluster)
    assert cluster.faults == []
    cluster = made(3, toxiproxy=True)
    with AILS[kind](cluster):
        assert [fault.kind for fault in cluster.faults] == [kind]
        assert cluster.faults[0].end_s == UNENDED
    assert cluster.faults[0].end_s < UNENDED
    assert cluster.check().word == VALID


def test_what_is_worse_is_a_plan_that_makes_it_worse_again() -> None:
    cluster = made(3, toxiproxy=True)
    with cluster.delay(1, 0.4, 2, jitter_s=0.1, one_way=True), cluster.lose(3, 0.1, 1):
        cluster.sleep(1.0)
    faults = [fault for fault in from_json(cluster.plan().to_json()).faults if fault["do"] == "worsen"]
    said = [tuple(one.get(name) for name in ("whom", "to", "delay", "jitter", "loss")) for one in faults]
    assert said == [
        ([1], [2], 0.4, 0.1, None), ([1], [3], None, None, 0.1), ([3], [1], None, None, 0.1),
    ]


def test_packets_that_are_lost_need_no_toxiproxy() -> None:
    """Neither do they elsewhere: a probe that is lost is not sent again."""
    cluster = made(3)
    with cluster.lose("all", 0.5, "all"):
        assert cluster.faults[0].kind == "loss"
        cluster.sleep(LEASES_S)
    assert cluster.world._simulated.cluster.counters["probe lost"] > 10  # type: ignore[attr-defined]
    cluster.check()


TWICE: dict[str, Callable[[Cluster], Breach]] = {
    "off": lambda cluster: cluster.kill(1),
    "pause": lambda cluster: cluster.pause(1),
    "stop": lambda cluster: cluster.stop_process("agent", on=1),
    **dict(LASTING),
}


@pytest.mark.parametrize("kind", TWICE)
@pytest.mark.parametrize("is_first_in_first_out", [True, False])
def test_of_two_at_one_node_the_last_one_that_ends_ends_it(kind: str, is_first_in_first_out: bool) -> None:
    cluster = made(3, stomith=False)
    last = [TWICE[kind](cluster), TWICE[kind](cluster)]
    one, other = last if is_first_in_first_out else reversed(last)
    lasting = cluster.world.faults.record.lasting
    one.heal()
    assert [key[:2] for key in lasting()] == [(kind, 1)]
    other.heal()
    assert lasting() == []
    assert all(fault.end_s < UNENDED for fault in cluster.faults)
    cluster.check()


def test_a_part_and_all_overlap() -> None:
    cluster = made(3, stomith=False)
    with cluster.kill(1), cluster.kill("all"):
        assert cluster.world.off() == [1, 2, 3]
    assert cluster.world.off() == []
    with cluster.kill("all"):
        with cluster.kill(1):
            pass
        assert cluster.world.off() == [1, 2, 3]
    assert [fault.nodes for fault in cluster.faults] == [(1,), (2,), (3,)] * 2
    cluster.check()


def test_what_ended_otherwise_is_over_for_all_who_held_it() -> None:
    cluster = made(3, stomith=False)
    with cluster.pause(2), cluster.kill(2):
        pass
    assert cluster.world.off() == []
    with cluster.pause(2):
        cluster.kill(2)
        cluster.start(2)
    first = cluster.kill(3)
    cluster.start(3)
    with cluster.kill(3):
        first.heal()
        assert cluster.world.off() == [3]
    second = cluster.kill(3)
    cluster.heal()
    second.heal()
    assert cluster.world.off() == []
    cluster.check()


def test_of_amounts_the_latest_that_lasts_holds_and_of_files_the_worst() -> None:
    cluster = made(3)

    def said(kind: str) -> list[str]:
        return [fault.detail for fault in cluster.faults if (fault.kind, fault.end_s) == (kind, UNENDED)]

    fails, slow = cluster.break_outlet(1, "fails"), cluster.break_outlet(1, "slow")
    assert said("outlet") == ["slow outlet"]
    slow.heal()
    assert said("outlet") == ["fails outlet"]
    fails.heal()
    errors, hangs = cluster.disturb(1, error=0.9, hang=0.1), cluster.disturb(1, hang=0.5)
    assert said("files") == ["0.5 0.5"]
    errors.heal()
    assert said("files") == ["0.0 0.5"]
    hangs.heal()
    assert said("outlet") + said("files") == []
    cluster.check()


def test_what_could_not_be_begun_is_held_by_nobody() -> None:
    cluster = made(3, stomith=False)
    cluster.world.faults.kill(2)
    with pytest.raises(LabError, match="node 2 is off already"):
        cluster.kill("all")
    with pytest.raises(LabError, match="node 1 is off already"):
        cluster.kill(1)
    cluster.check()


def test_a_full_disk_takes_nothing_more_and_a_plan_says_so() -> None:
    cluster = made(stomith=False)
    web = cluster.group("web")
    owner = web.owner
    with cluster.disturb([node for node in cluster.nodes if node != owner][:3], full=True):
        cluster.kill(owner)
        cluster.sleep(LEASES_S)
        assert not web.runs
        counted = cluster.world._simulated.cluster.counters  # type: ignore[attr-defined]
        assert counted["no room on the disk"]
    web.wait_running()
    faults = from_json(cluster.plan().to_json()).faults
    assert [fault["full"] for fault in faults if fault["do"] == "weather"] == [True] * 3
    cluster.check()


@pytest.mark.parametrize("what", ["memory", "descriptors"])
def test_nobody_is_exhausted_in_the_simulator(what: str) -> None:
    with pytest.raises(UnsupportedError, match=what):
        made().exhaust(1, what)
