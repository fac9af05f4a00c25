"""Who goes first for a group."""

from __future__ import annotations

from mosha.placement import first, preference, rank

NODES = range(1, 9)


def order(group: str, load: dict[int, int], nodes: range = NODES) -> list[int]:
    return sorted(nodes, key=lambda node: rank(group, node, [other for other in nodes if other != node], load))


def test_ranks_are_an_order() -> None:
    for group in ("kv", "tick", ""):
        ranks = [rank(group, node, [other for other in NODES if other != node], {}) for node in NODES]
        assert sorted(ranks) == list(range(len(NODES)))


def test_a_node_alone_is_first() -> None:
    assert rank("kv", 5, [], {5: 100}) == 0


def test_fewer_groups_come_first_then_the_preference() -> None:
    load = {1: 3, 2: 0, 3: 1, 4: 1, 5: 9, 6: 9, 7: 9, 8: 9}
    found = order("kv", load)
    assert [load[node] for node in found] == sorted(load.values())
    assert found[1:3] == sorted([3, 4], key=lambda node: preference("kv", node))


def test_who_is_not_told_of_has_no_groups() -> None:
    assert rank("kv", 1, [2], {2: 1}) == 0
    assert rank("kv", 2, [1], {2: 1}) == 1


def test_groups_prefer_different_nodes_and_always_the_same() -> None:
    chosen = [order(f"group{number}", {})[0] for number in range(200)]
    assert set(chosen) == set(NODES)
    assert max(map(chosen.count, NODES)) < 60
    assert chosen == [order(f"group{number}", {})[0] for number in range(200)]


def test_a_node_that_goes_changes_the_order_of_no_others() -> None:
    with_all = order("kv", {})
    gone = with_all[3]
    assert [node for node in with_all if node != gone] == sorted(
        (node for node in NODES if node != gone),
        key=lambda node: rank("kv", node, [other for other in NODES if other not in (node, gone)], {}),
    )


def test_preferred_nodes_come_first_in_their_order_whatever_they_run() -> None:
    load = {7: 9, 2: 5, 1: 1}
    found = sorted(NODES, key=lambda node: rank("kv", node, [one for one in NODES if one != node], load, (7, 2)))
    assert found[:2] == [7, 2]
    assert found[2:] == [node for node in order("kv", load) if node not in (7, 2)]
    assert first("kv", [1, 2, 3], load, (7, 2)) == 2
    assert first("kv", [1, 3], load, (7, 2)) == 3
