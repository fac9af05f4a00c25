"""Two voters with STOMITH: R23. That the group never runs twice is checked by the cluster at every step."""

from __future__ import annotations

import json
import random

import pytest

from mosha.ownership import marker
from mosha.ownership.ballot import Ballot
from mosha.ownership.disk_paxos import DISPUTED
from mosha.ownership.electorate import value_of
from mosha.ownership.marker import CLOSED, FULL, NONE, REJOINING
from mosha.ownership.voter import ACCEPTED, ORDER
from mosha.timing import Timing
from tests.unit.ownership.cluster import Cluster, Node

W = Timing().recovery_s


def started(seed: int = 1, can_shoot: bool = True, nodes: int = 2) -> tuple[Cluster, Node, Node]:
    """The cluster, the owner, and the other."""
    cluster = Cluster(nodes, 2, seed=seed, can_shoot=can_shoot)
    cluster.boot(1, 2)
    owner, _ = cluster.until_runs(10)
    cluster.until(lambda: met(cluster.nodes[1]) and met(cluster.nodes[2]), 10)
    return cluster, owner, cluster.nodes[3 - owner.number]


def met(node: Node) -> bool:
    return bool(node.voter.marker.met)


def pair(cluster: Cluster) -> bool:
    """Whether both vote again, and have met."""
    return all(
        node.is_up and node.ownership.voters == {1, 2} and node.voter.marker.state == FULL and met(node)
        for node in cluster.nodes.values()
    )


def test_without_stomith_the_death_of_either_stops_all() -> None:
    cluster, owner, other = started(can_shoot=False)
    other.crash()
    cluster.pass_time(30)
    assert cluster.owners() == []
    assert owner.voter.marker.state == FULL


def test_the_owner_runs_on_when_the_other_dies() -> None:
    cluster, owner, other = started()
    identity = owner.ownership.identity
    other.crash()
    cluster.until(lambda: owner.ownership.voters == {owner.number}, 10)
    cluster.pass_time(20)
    assert len(cluster.runs) == 1
    assert owner.ownership.identity == identity
    assert owner.voter.marker.absent == (other.number,)


def test_the_other_takes_over_when_the_owner_dies() -> None:
    cluster, owner, _ = started()
    owner.crash()
    _, took = cluster.until_runs(15, besides=owner.number)
    assert took < 10
    assert [shot.node for _, _, shot in cluster.shots] == [owner.number]


def test_one_shot_frees_what_the_dead_owned_although_the_survivors_identity_lapsed_before_it() -> None:
    cluster, owner, other = started()
    cluster.delay_s = other.partner._delay_s = 5.0
    dead, before = owner.ownership.identity, other.ownership.identity
    owner.crash()
    cluster.until(lambda: bool(cluster.shots), 10)
    assert other.ownership.identity != before
    cluster.until(lambda: other.ownership.voters == {other.number}, 2)
    _, took = cluster.until_runs(5, besides=owner.number)
    assert took < 1.0
    assert [shot.identities for _, _, shot in cluster.shots] == [(dead,)]


def test_what_another_partner_was_known_as_is_not_shot() -> None:
    cluster, owner, other = started()
    other.crash()
    cluster.until(lambda: owner.ownership.voters == {owner.number}, 10)
    assert owner.partner._known == ()


def test_of_two_that_own_nothing_the_higher_waits_twice_as_long() -> None:
    for seed in range(5):
        cluster, owner, other = started(seed)
        for node in (owner, other):
            node.release("kv")
        cluster.pass_time(2)
        cut_at = cluster.now
        cluster.isolate(1)
        cluster.pass_time(20)
        assert [by for _, by, _ in cluster.shots] == [1]
        assert cluster.shots[0][0] - cut_at >= cluster.delay_s
        assert cluster.nodes[1].is_up


def test_the_higher_shoots_too_when_the_lower_is_dead_and_nobody_owns_anything() -> None:
    cluster, owner, other = started()
    for node in (owner, other):
        node.release("kv")
    cluster.pass_time(2)
    died_at = cluster.now
    cluster.nodes[1].crash()
    cluster.until(lambda: bool(cluster.shots), 10)
    assert 2 * cluster.delay_s <= cluster.now - died_at < 2 * cluster.delay_s + cluster.timing.detection_s


@pytest.mark.parametrize("who", ["owner", "other"])
def test_one_that_comes_back_gets_its_vote_back(who: str) -> None:
    cluster, owner, other = started()
    victim = owner if who == "owner" else other
    victim.crash()
    survivor = cluster.nodes[3 - victim.number]
    cluster.until(lambda: survivor.ownership.voters == {survivor.number} and cluster.owners() != [], 15)
    runs = len(cluster.runs)
    victim.boot()
    cluster.until(lambda: pair(cluster), 60)
    cluster.pass_time(10)
    assert len(cluster.runs) == runs
    survivor.crash()
    cluster.until_runs(15, besides=survivor.number)


def test_a_failed_shot_frees_nothing_and_opens_again() -> None:
    cluster, owner, other = started()
    cluster.shooting_works = False
    owner.crash()
    cluster.until(lambda: other.voter.marker.state == CLOSED, 10)
    cluster.until(lambda: other.voter.marker.state == FULL, 10)
    cluster.pass_time(30)
    assert cluster.owners() == []
    assert len(cluster.shots) > 1
    cluster.shooting_works = True
    cluster.until_runs(70, besides=owner.number)


def test_one_that_boots_alone_shoots_nobody() -> None:
    cluster, owner, other = started()
    owner.crash()
    other.crash()
    cluster.pass_time(1)
    other.boot()
    cluster.pass_time(60)
    assert cluster.owners() == []
    assert not cluster.shots
    owner.boot()
    cluster.until(lambda: pair(cluster) and bool(cluster.owners()), 30)


def confirm_off(node: Node, other: int) -> str:
    """An operator's word on that node; why it was refused."""
    order = {"do": "found", "without": [other], "are_off": True, "name": "mine"}
    node.disk.files[ORDER] = json.dumps(order).encode()
    node.voter.obey(node.now)
    return node.voter.answer[1]


def refused_without(node: Node, other: int) -> str:
    node.disk.files[ORDER] = json.dumps({"do": "found", "without": [other], "name": "mine"}).encode()
    node.voter.obey(node.now)
    assert node.voter.marker.state == REJOINING, "nothing has changed"
    return node.voter.answer[1]


def left(can_shoot: bool, is_alone: bool) -> tuple[Cluster, Node, Node]:
    """The cluster, who died for good, alone before if it ``is_alone``, and the other one, which has booted since."""
    cluster, owner, other = started(can_shoot=can_shoot)
    other.crash()
    if is_alone:
        cluster.until(lambda: owner.ownership.voters == {owner.number}, 10)
        cluster.pass_time(5)
    owner.crash()
    cluster.pass_time(1)
    other.boot()
    cluster.pass_time(60)
    assert cluster.owners() == []
    assert other.voter.marker.state == REJOINING
    return cluster, owner, other


@pytest.mark.parametrize(("can_shoot", "is_alone"), [(False, False), (True, False), (True, True)])
def test_an_operator_confirms_that_the_other_is_off_for_good(can_shoot: bool, is_alone: bool) -> None:
    """Without his word the one that booted waits for ever: it cannot know what the other did alone."""
    cluster, gone, left_over = left(can_shoot, is_alone)
    era, said_at, runs = gone.ownership.era, cluster.now, len(cluster.runs)
    assert "--confirm-off says it" in refused_without(left_over, gone.number)
    assert confirm_off(left_over, gone.number) == ""
    cluster.until_runs(30, besides=gone.number)
    assert cluster.now - said_at >= W
    first_run = cluster.runs[runs]
    assert marker.number_of(first_run.era) > marker.number_of(era), "its tokens are above all that were"
    assert left_over.ownership.voters == {left_over.number}
    del gone.disk.files[marker.NAME]                 # as the command says
    gone.boot()
    cluster.until(lambda: pair(cluster), 60)
    assert len(cluster.runs) == runs + 1
    assert not any("founds no era" in line for line in left_over.said), "his word was for that founding only"


@pytest.mark.parametrize("again", ["before", "after"])
def test_a_voter_that_answers_is_not_off(again: str) -> None:
    cluster, gone, left_over = left(can_shoot=True, is_alone=again == "after")
    if again == "before":
        gone.boot()
        cluster.pass_time(2)
        assert confirm_off(left_over, gone.number) == f"voter {gone.number} has answered: it is not off"
    else:
        assert confirm_off(left_over, gone.number) == ""
        cluster.pass_time(W / 2)
        gone.boot()
        cluster.pass_time(2 * W)
        assert any("founds no era alone" in line for line in left_over.said)
    cluster.until(lambda: pair(cluster) and bool(cluster.owners()), 60)


def told_wrongly() -> tuple[Cluster, Node, Node]:
    """The cluster, who runs the group alone, and the other one, which has booted, hears nothing of it, and was told
    that it is off: it has founded an era, and wants no group."""
    cluster, alone, told = started()
    told.crash()
    cluster.until(lambda: alone.ownership.voters == {alone.number}, 10)
    cluster.isolate(told.number)
    told.wants.clear()
    told.boot()
    cluster.pass_time(2 * W)
    assert confirm_off(told, alone.number) == ""
    cluster.until(lambda: told.ownership.voters == {told.number}, 30)
    cluster.pass_time(5)
    assert cluster.owners() == [alone.number]
    return cluster, alone, told


@pytest.mark.parametrize("boots", [False, True])
def test_of_two_eras_of_a_wrong_word_the_earlier_one_ends_when_its_voter_hears_of_the_other(boots: bool) -> None:
    """Or when that is switched on again with its old marker, for which the operator was to care."""
    cluster, alone, told = told_wrongly()
    if boots:
        alone.crash()
    era = told.ownership.era
    cluster.cuts.clear()
    if boots:
        alone.boot()
    cluster.until(lambda: pair(cluster), 60)
    assert alone.voter.overtaken.startswith(f"an operator said on node {told.number} that this node is off")
    assert alone.said.count(alone.voter.overtaken) == 1
    assert told.voter.overtaken == ""
    cluster.until(lambda: cluster.owners() == [alone.number], 30)
    assert (alone.ownership.era, told.ownership.era, cluster.runs[-1].era) == (era, era, era)


def test_who_goes_on_alone_follows_no_later_era_that_was_founded_without_that_word() -> None:
    cluster, alone, told = told_wrongly()
    told.voter.marker = told.voter.marker._replace(absent=())
    told.disk.files[marker.NAME] = marker.encode(told.voter.marker)
    cluster.cuts.clear()
    cluster.pass_time(60)
    assert cluster.owners() == [alone.number]
    assert alone.ownership.voters == {alone.number}


def test_two_that_go_on_alone_in_one_era_end_both_when_they_hear_of_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their switch says off, and does nothing."""
    cluster, owner, other = started()
    monkeypatch.setattr(cluster, "shoot", lambda _: True)
    other.wants.clear()
    cluster.isolate(other.number)
    cluster.until(lambda: all(node.ownership.voters == {node.number} for node in (owner, other)), 30)
    cluster.cuts.clear()
    cluster.until(lambda: DISPUTED in owner.voids and DISPUTED in other.voids, 20)
    assert cluster.owners() == []


def beside_a_third() -> tuple[Cluster, Node, Node]:
    """One of two goes on alone, one is off; a third node has no vote."""
    cluster, first, away = started(nodes=3)
    cluster.map = cluster.nodes
    away.crash()
    cluster.until(lambda: first.ownership.voters == {first.number}, 10)
    cluster.nodes[3].boot()
    return cluster, first, away


def third_follows(cluster: Cluster, first: Node) -> None:
    """The one that is alone gives node 3 a vote, then leaves it the only one, and dies; the group runs on there."""
    third = cluster.nodes[3]
    for voters in (frozenset({first.number, 3}), frozenset({3})):
        cluster.pass_time(3 * W)
        first.wish = voters
        cluster.until(lambda chosen=voters: third.voter.is_settled() and third.ownership.voters == chosen, 60)  # type: ignore[misc]
    cluster.pass_time(3 * W)
    first.crash()
    cluster.until_runs(30, besides=first.number)


def test_no_word_of_an_operator_overrules_voters_that_were_chosen_meanwhile() -> None:
    """While one of two was away the other one went on alone, a third node was given a vote, and runs on with it."""
    cluster, first, away = beside_a_third()
    third_follows(cluster, first)
    away.boot()
    cluster.pass_time(5)
    assert confirm_off(away, first.number) == "", "it has been told nothing of that"
    cluster.pass_time(3 * W)
    assert any("founds no era alone: the voters may be [3] by now" in line for line in away.said)
    assert cluster.owners() == [3]


def test_what_a_node_without_a_vote_said_before_the_word_is_not_what_it_would_say_now() -> None:
    """It was asked by a voter that had forgotten; then the other one had it vote, and died."""
    cluster, first, away = beside_a_third()
    cluster.pass_time(5)
    away.disk.files.clear()
    cluster.cuts |= {(first.number, away.number), (away.number, first.number)}
    away.boot()
    cluster.until(lambda: 3 in away.ownership._heard, 30)
    third_follows(cluster, first)
    confirm_off(away, first.number)
    cluster.pass_time(5 * W)
    assert any("the voters may be [3] by now" in line for line in away.said)
    assert cluster.owners() == [3]


def test_the_word_is_for_two_voters_that_no_others_may_have_followed() -> None:
    cluster = Cluster(3)
    cluster.boot(1, 2)
    cluster.until(lambda: bool(cluster.owners()), 30)
    assert confirm_off(cluster.nodes[1], 3) == "that is for the other one of two voters, and the voters are [1, 2, 3]"
    assert confirm_off(cluster.nodes[1], 2) == "that is for the other one of two voters, and the voters are [1, 2, 3]"


def test_one_that_was_shot_waits_for_the_one_that_shot_it() -> None:
    cluster, owner, other = started()
    other.crash()
    cluster.until(lambda: owner.ownership.voters == {owner.number}, 10)
    owner.crash()
    other.boot()
    shots = len(cluster.shots)
    cluster.pass_time(60)
    assert cluster.owners() == []
    assert len(cluster.shots) == shots
    owner.boot()
    cluster.until(lambda: pair(cluster) and bool(cluster.owners()), 60)


def test_a_mutual_cut_leaves_one_of_them_on() -> None:
    for seed in range(10):
        cluster, owner, other = started(seed)
        cluster.isolate(1)
        cluster.pass_time(20)
        assert [node.is_up for node in (owner, other)] == [True, False]
        assert cluster.owners() == [owner.number]
        assert len(cluster.runs) == 1


def test_an_answer_that_comes_after_the_agent_began_anew_is_void() -> None:
    cluster, owner, other = started()
    cluster.shot_s = 5.0
    owner.crash()
    cluster.until(lambda: other.voter.marker.state == CLOSED, 10)
    other.crash()
    other.boot()
    assert other.voter.marker.state != CLOSED
    cluster.pass_time(1)
    owner.boot()
    cluster.until(lambda: pair(cluster) and bool(cluster.owners()), 60)
    cluster.pass_time(20)
    assert all(node.ownership.voters == {1, 2} for node in cluster.nodes.values())


def test_other_voters_that_may_have_been_decided_are_not_overruled() -> None:
    cluster, owner, other = started()
    group, link = other.voter.electorate.group, other.ownership._links[other.number]
    number = (1, other.ownership.identity)
    accepted = Ballot(group, 1, number, value_of([1, 2, 3]), other.now, other.now + 2)
    accepted.phase, accepted.value = 2, accepted.proposal
    link.put(other.ownership.contests.due(accepted))
    cluster.pass_time(1)
    owner.crash()
    cluster.pass_time(20)
    assert cluster.owners() == []
    assert other.voter.marker.state == FULL
    assert other.ownership.voters == {1, 2}
    assert confirm_off(other, owner.number) == ACCEPTED, "nor by an operator's word"


@pytest.mark.parametrize("again_after_s", [0.0, 1.0])
def test_the_word_is_refused_within_w_of_an_answer_whichever_identity_had_it(again_after_s: float) -> None:
    cluster, owner, other = started(can_shoot=False)
    identity = other.ownership.identity
    owner.crash()
    cluster.until(lambda: other.ownership.identity != identity, 10)
    cluster.pass_time(again_after_s)
    assert confirm_off(other, owner.number) == f"voter {owner.number} has answered: it is not off"
    cluster.pass_time(W)
    assert confirm_off(other, owner.number) == ""


@pytest.mark.parametrize("seed", range(12))
def test_two_nodes_never_both_run_it(seed: int) -> None:
    draw = random.Random(seed)
    cluster = Cluster(2, 2, seed=seed, rates=[draw.uniform(0.99, 1.01), draw.uniform(0.99, 1.01)], can_shoot=True)
    cluster.shot_s, cluster.switch_s = draw.choice([0.1, 0.5, 3.0]), draw.choice([0.05, 0.5])
    cluster.boot()
    cluster.pass_time(4)
    for _ in range(40):
        node = cluster.nodes[draw.randint(1, 2)]
        what = draw.choice(["crash", "wipe", "cut", "half", "freeze", "boot", "boot", "heal", "heal", "fails", "works"])
        if what in ("crash", "wipe") and node.is_up:
            node.crash()
            if what == "wipe" and draw.random() < 0.4:
                node.disk.files.clear()
        elif what == "boot" and not node.is_up:
            node.boot()
        elif what == "cut":
            cluster.isolate(1)
        elif what == "half":
            cluster.cuts |= {(node.number, 3 - node.number)}
        elif what == "freeze" and node.is_up and not node.is_frozen:
            node.freeze()
            cluster.after(draw.uniform(0.5, 8), lambda node=node: node.is_frozen and node.thaw())  # type: ignore[misc]
        elif what == "heal":
            cluster.cuts.clear()
        elif what in ("fails", "works"):
            cluster.shooting_works = what == "works"
        cluster.pass_time(draw.choice([0.05, 0.3, 1.0, 3.0, 8.0, 20.0]))
    cluster.cuts.clear()
    cluster.shooting_works = True
    cluster.pass_time(80)
    for node in cluster.nodes.values():
        if node.is_up and node.is_frozen:
            node.thaw()
        if not node.is_up:
            node.boot()
    cluster.until(lambda: pair(cluster) and len(cluster.owners()) == 1, 120)
    assert not any(node.voter.marker.state == NONE for node in cluster.nodes.values())
