"""Orders of operators from node to node: obeyed once, answered, bounded."""

from __future__ import annotations

from typing import Any

import pytest

from mosha.orders import CLEAR, DRAIN, MOVE, ORDERS_MAX, Order, Orders, read

LIMIT_S = 10.0
MOVE_KV = Order("1.5", MOVE, "kv", 3, (2,))


def alive(_: int) -> bool:
    return True


def pass_on(source: Orders, node: int, target: Orders) -> None:
    """The record of a node is read by another."""
    target.heard(node, source.said())


def test_an_order_goes_to_whom_it_is_for_and_its_answer_comes_back() -> None:
    one, two, three = Orders(1), Orders(2), Orders(3)
    one.give(0.0, MOVE_KV, LIMIT_S)
    assert one.step(0.0, alive) == []
    pass_on(one, 1, two)
    pass_on(one, 1, three)
    assert two.step(0.1, alive) == [MOVE_KV]
    assert two.step(0.2, alive) == [], "once"
    assert three.step(0.2, alive) == []
    pass_on(two, 2, one)
    one.step(0.3, alive)
    assert one.page() == {}, "it goes on"
    two.answer("1.5", "kv has failed on node 3")
    pass_on(two, 2, one)
    one.step(0.4, alive)
    assert one.page() == {"1.5": {"2": "kv has failed on node 3"}}
    assert one.said() == {"orders": [], "answers": {}}
    pass_on(one, 1, two)
    two.step(0.5, alive)
    assert two.said() == {"orders": [], "answers": {}}, "nobody asks for the answer any more"


def test_an_order_for_all_waits_for_all_and_not_for_ever() -> None:
    one, two = Orders(1), Orders(2)
    one.give(0.0, Order("1.6", CLEAR, "", 0, (1, 2, 3)), LIMIT_S)
    assert [order.do for order in one.step(0.0, alive)] == [CLEAR]
    one.answer("1.6", "")
    pass_on(one, 1, two)
    two.step(0.0, alive)
    two.answer("1.6", "")
    pass_on(two, 2, one)
    one.step(LIMIT_S - 0.1, alive)
    assert one.page() == {}
    assert one.next_due() == LIMIT_S
    one.step(LIMIT_S, alive)
    assert one.page() == {"1.6": {"1": "", "2": "", "3": "no answer in time"}}


def test_the_record_of_a_dead_node_is_not_obeyed_and_not_obeyed_twice_when_it_is_back() -> None:
    one, two = Orders(1), Orders(2)
    one.give(0.0, MOVE_KV, LIMIT_S)
    pass_on(one, 1, two)
    assert two.step(0.0, lambda node: node != 1) == []
    assert two.step(0.1, alive) == [MOVE_KV]
    assert two.step(0.2, lambda node: node != 1) == []
    assert two.step(0.3, alive) == []


def test_too_many_orders_are_refused() -> None:
    one = Orders(1)
    for number in range(ORDERS_MAX + 1):
        one.give(0.0, MOVE_KV._replace(name=f"1.{number}"), LIMIT_S)
    assert len(one.said()["orders"]) == ORDERS_MAX
    (answers,) = one.page().values()
    assert "orders to see to already" in answers["1"]


def test_an_order_for_nobody_is_answered_at_once() -> None:
    one = Orders(1)
    one.give(0.0, Order("1.7", DRAIN, "", 9, ()), LIMIT_S)
    assert one.page() == {"1.7": {"1": "nobody is there whom it is for"}}


@pytest.mark.parametrize("found", [
    None, [], "move", {}, ["1.5", MOVE, "kv", 3], ["1.5", MOVE, "kv", 3, [2], 0], [5, MOVE, "kv", 3, [2]],
    ["", MOVE, "kv", 3, [2]], ["x" * 129, MOVE, "kv", 3, [2]], ["1.5", "dance", "kv", 3, [2]],
    ["1.5", ["move"], "kv", 3, [2]], ["1.5", MOVE, "k/v", 3, [2]], ["1.5", MOVE, None, 3, [2]],
    ["1.5", MOVE, "kv", "3", [2]], ["1.5", MOVE, "kv", True, [2]], ["1.5", MOVE, "kv", 3, 2],
    ["1.5", MOVE, "kv", 3, [0]], ["1.5", MOVE, "kv", 3, [65536]], ["1.5", MOVE, "kv", -1, [2]],
])
def test_what_is_not_an_order_in_a_record_is_none(found: Any) -> None:
    assert read(found) is None
    orders = Orders(2)
    orders.heard(1, {"orders": [found, list(MOVE_KV)], "answers": found})
    assert orders.step(0.0, alive) == [MOVE_KV]


def test_an_order_reads_as_it_was_shown() -> None:
    assert read(list(MOVE_KV)) == MOVE_KV
