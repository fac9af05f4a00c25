"""When to shoot: agreement, turn, claims; and that nothing but success frees anything."""

from __future__ import annotations

from mosha.fencing import Fencing
from mosha.ownership.majority import Majority
from mosha.timing import Timing

TIMING = Timing(0.5, 2.5)
NODES = frozenset({1, 2, 3})


class Scene:
    """Node 2's view: node 1 owns kv, node 3 lives; then node 1 falls silent."""

    def __init__(self) -> None:
        self.now = 100.0
        self.ownership = Majority(2, "me", NODES, TIMING, self.now)
        self.fencing = Fencing(self.ownership, 10.0)
        self.beats = {1: 0, 3: 0}

    def hear(self, node: int, suspects: list[int] | None = None, claims: dict[str, int] | None = None) -> None:
        self.beats[node] += 1
        record = {
            "nonce": f"n{node}", "beat": self.beats[node], "configuration": self.ownership.configuration,
            "echo": {"2": ["me", self.ownership.beat(self.now)]}, "claims": claims or {}, "votes": {}, "last": {},
            "dead": [], "unfit": [],
        }  # fmt: skip
        self.fencing.looked(node, True)
        self.fencing.heard(node, suspects or [])
        self.ownership.saw(self.now, node, record)

    def silence(self, seconds: float, suspects: list[int] | None = None) -> None:
        """Node 1 does not answer; node 3 does."""
        for _ in range(int(seconds / 0.5)):
            self.now += 0.5
            self.fencing.looked(1, False)
            self.hear(3, suspects)


def owner_falls_silent() -> Scene:
    scene = Scene()
    scene.hear(1, claims={"kv": 1})
    scene.hear(3)
    return scene


def test_a_silent_owner_is_shot_when_a_majority_suspects_it() -> None:
    scene = owner_falls_silent()
    scene.silence(1.5, suspects=[1])
    shot = scene.fencing.due(scene.now)
    assert shot is not None
    assert (shot.node, shot.identities) == (1, ("n1",))
    assert scene.fencing.due(scene.now) is None, "one shot at a time"
    scene.fencing.answered(scene.now, success=True)
    assert "n1" in scene.ownership.dead
    scene.silence(30, suspects=[1])
    assert scene.fencing.due(scene.now) is None, "nothing is shot twice"


def test_one_blind_observer_shoots_nobody() -> None:
    scene = owner_falls_silent()
    scene.silence(2.0, suspects=[])
    assert scene.fencing.suspects(scene.now) == [1]
    assert scene.fencing.due(scene.now) is None


def test_one_failed_look_makes_nobody_suspect() -> None:
    scene = owner_falls_silent()
    scene.fencing.looked(1, False)
    scene.now += 1.2
    scene.fencing.looked(1, True)
    assert scene.fencing.suspects(scene.now) == []


def test_a_node_without_groups_is_not_shot() -> None:
    scene = Scene()
    scene.hear(1)
    scene.hear(3)
    scene.silence(2.0, suspects=[1])
    assert scene.fencing.suspects(scene.now) == [1]
    assert scene.fencing.due(scene.now) is None


def test_without_quorum_nobody_shoots() -> None:
    scene = owner_falls_silent()
    for _ in range(20):
        scene.now += 0.5
        scene.fencing.looked(1, False)
        scene.fencing.looked(3, False)
    assert scene.fencing.suspects(scene.now) == [1, 3]
    assert scene.fencing.due(scene.now) is None


def test_failure_frees_nothing_and_is_tried_again_later() -> None:
    scene = owner_falls_silent()
    scene.silence(1.5, suspects=[1])
    assert scene.fencing.due(scene.now) is not None
    scene.fencing.answered(scene.now, success=False)
    assert "n1" not in scene.ownership.dead
    assert scene.fencing.due(scene.now) is None
    scene.silence(6, suspects=[1])
    assert scene.fencing.due(scene.now) is not None


def test_a_hung_agent_becomes_suspect_after_the_expiry_although_its_node_answers() -> None:
    scene = owner_falls_silent()
    for _ in range(4):
        scene.now += 0.5
        scene.fencing.looked(1, True)
        scene.hear(3)
    assert scene.fencing.suspects(scene.now) == []
    scene.now += TIMING.expiry_s
    assert 1 in scene.fencing.suspects(scene.now)


def test_a_late_observer_suspects_nobody_for_a_while() -> None:
    scene = owner_falls_silent()
    scene.silence(2.0, suspects=[1])
    scene.fencing.late(scene.now)
    assert scene.fencing.suspects(scene.now) == []
    scene.silence(1.5, suspects=[1])
    assert scene.fencing.suspects(scene.now) == [1]


def test_the_lowest_living_node_shoots_first() -> None:
    nodes = frozenset({1, 2, 3})
    ownership = Majority(3, "me", nodes, TIMING, 100.0)
    fencing = Fencing(ownership, 10.0)
    scene = Scene()
    scene.ownership, scene.fencing, scene.beats = ownership, fencing, {1: 0, 2: 0}

    def hear(node: int, suspects: list[int], claims: dict[str, int]) -> None:
        scene.beats[node] += 1
        fencing.looked(node, True)
        fencing.heard(node, suspects)
        ownership.saw(scene.now, node, {
            "nonce": f"n{node}", "beat": scene.beats[node], "configuration": ownership.configuration,
            "echo": {"3": ["me", ownership.beat(scene.now)]}, "claims": claims, "votes": {}, "last": {},
            "dead": [], "unfit": [],
        })  # fmt: skip

    hear(1, [], {"kv": 1})
    shots = []
    for _ in range(40):
        scene.now += 0.5
        fencing.looked(1, False)
        hear(2, [1], {})
        shots.append(fencing.due(scene.now))
    assert shots[5] is None, "node 2 comes first"
    assert any(shots), "but it may fail, and then node 3 has its turn"
