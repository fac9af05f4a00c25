"""What operators want of the agents: orders, which any node takes and which the agents that they are for carry out.

Rules:

1. An order is given to the agent of one node. That shows it in its record until all whom it is for have answered, or
   its time is over, and tells the operator on its page. There is no other way from node to node.
2. Whom it is for obeys once, while the node that shows it is alive, and shows its answer as long as that shows the
   order. An answer is a problem, or empty: done.
3. At most ``ORDERS_MAX`` from one node at a time. What a record says of them is checked like any input.
4. An order never says who owns a group. What it may bring about: :mod:`mosha.moves`, a node that takes no groups, and
   failures that are forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Callable, NamedTuple

from mosha.tables.lines import NODE_MAX, is_name

MOVE, DRAIN, UNDRAIN, CLEAR = "move", "drain", "undrain", "clear"
KINDS = (MOVE, DRAIN, UNDRAIN, CLEAR)
ORDERS_MAX = 8
SHOWN_MAX = 8                    # orders that are over and still on the page
NAME_CHARACTERS_MAX = 128


class Order(NamedTuple):
    """``group`` may be empty: all. ``node``: to which it is to move. ``whom``: the nodes that it is for."""

    name: str
    do: str
    group: str
    node: int
    whom: tuple[int, ...]


class _Given(NamedTuple):
    order: Order
    until: float
    answers: dict[int, str]


class Orders:
    """Of the node ``me``."""

    def __init__(self, me: int) -> None:
        self._me = me
        self._given: dict[str, _Given] = {}          # by operators here
        self._over: dict[str, dict[int, str]] = {}   # name -> the answers
        self._shown: dict[int, dict[str, Order]] = {}        # what the other nodes' records show, of those that do
        self._heard: dict[int, Mapping[str, Any]] = {}       # what they answer
        self._answers: dict[str, str | None] = {}    # what this node was ordered; None: it goes on

    def give(self, now: float, order: Order, limit_s: float) -> None:
        """An operator here wants it."""
        problem = f"node {self._me} has {ORDERS_MAX} orders to see to already" if len(self._given) >= ORDERS_MAX else ""
        if problem or not order.whom:
            self._end(order.name, {self._me: problem or "nobody is there whom it is for"})
        elif order.name not in self._given:
            self._given[order.name] = _Given(order, now + limit_s, {})

    def refuse(self, name: str, problem: str) -> None:
        """An operator's order that cannot even be given."""
        self._end(name, {self._me: problem})

    def heard(self, node: int, said: Mapping[str, Any]) -> None:
        """Another node's record."""
        orders, answers = said.get("orders"), said.get("answers")
        shown = [order for order in map(read, orders if isinstance(orders, list) else ()) if order is not None]
        self._shown.pop(node, None)
        if shown:
            self._shown[node] = {order.name: order for order in shown[:ORDERS_MAX]}
        self._heard[node] = answers if isinstance(answers, dict) else {}

    def step(self, now: float, alive: Callable[[int], bool]) -> list[Order]:
        """The orders that this node is to carry out now, each once; those that were given go on."""
        shown = [given.order for given in self._given.values()]
        for node, orders in self._shown.items():
            shown += orders.values() if alive(node) else ()
        kept = {order.name for order in shown} | {name for orders in self._shown.values() for name in orders}
        self._answers = {name: answer for name, answer in self._answers.items() if name in kept}
        new = [order for order in shown if self._me in order.whom and order.name not in self._answers]
        self._answers.update(dict.fromkeys((order.name for order in new), None))
        self._collect(now)
        return new

    @property
    def rests(self) -> bool:
        """Whether no order is known, here or elsewhere."""
        return not (self._given or self._shown or self._answers)

    def answer(self, name: str, problem: str) -> None:
        """This node has carried it out, or cannot."""
        if name in self._answers:
            self._answers[name] = problem

    def said(self) -> dict[str, Any]:
        """What this node's record says."""
        return {
            "orders": [list(given.order) for given in self._given.values()],
            "answers": {name: answer for name, answer in sorted(self._answers.items()) if answer is not None},
        }

    def page(self) -> dict[str, dict[str, str]]:
        """Of the latest orders that are over: who answered what."""
        return {name: {str(node): text for node, text in answers.items()} for name, answers in self._over.items()}

    def next_due(self) -> float:
        return min((given.until for given in self._given.values()), default=float("inf"))

    def _collect(self, now: float) -> None:
        for name, given in list(self._given.items()):
            for node in given.order.whom:
                found = self._answers.get(name) if node == self._me else self._heard.get(node, {}).get(name)
                if isinstance(found, str):
                    given.answers.setdefault(node, found)
            missing = [node for node in given.order.whom if node not in given.answers]
            if not missing or now >= given.until:
                del self._given[name]
                self._end(name, {**given.answers, **dict.fromkeys(missing, "no answer in time")})

    def _end(self, name: str, answers: dict[int, str]) -> None:
        self._over[name] = answers
        while len(self._over) > SHOWN_MAX:
            del self._over[next(iter(self._over))]


def read(found: Any) -> Order | None:
    """An order as a record shows it; None if it is not one."""
    if not isinstance(found, (list, tuple)) or len(found) != len(Order._fields):
        return None
    name, do, group, node, whom = found
    is_named = isinstance(name, str) and 0 < len(name) <= NAME_CHARACTERS_MAX and do in KINDS
    if not is_named or not isinstance(group, str) or (group and not is_name(group)):
        return None
    if not isinstance(whom, (list, tuple)) or not _are_nodes([node, *whom], zero=1):
        return None
    return Order(name, do, group, node, tuple(whom))


def _are_nodes(numbers: Iterable[Any], zero: int) -> bool:
    """``zero``: so many of the first may be 0, which is no node."""
    return all(
        type(number) is int and (0 if place < zero else 1) <= number <= NODE_MAX
        for place, number in enumerate(numbers)
    )
