"""Faults that last, and by whom they are held.

Rule: of faults of one kind at the same node (and role) the last one that ends, ends it: a second ``kill``, ``pause``,
``stop_process`` or ``drain`` changes nothing until then. Of outlets and slewed clocks the latest one that lasts holds,
jumps add up; of files the worst error and the worst hang. What ended otherwise, by a heal or with its node's power, is
over for all.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any, Callable

from moslab.errors import LabError
from moslab.faults.record import DRAINED, OF_POWER, OFF, PAUSE, Record

ONCE = frozenset({OFF, PAUSE, DRAINED})
"""Of these a second one is not begun while the first one lasts."""


class Breach:
    """A fault that lasts. As a context manager it ends with the block."""

    def __init__(self, what: str, end: Callable[[], None]) -> None:
        self.what = what
        self._end: Callable[[], None] | None = end

    def heal(self) -> None:
        """End it, unless it has ended."""
        end, self._end = self._end, None
        if end is not None:
            end()

    def __enter__(self) -> Breach:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.heal()
        except LabError:
            if error is None:                                # else that is what the test has to say
                raise

    def __repr__(self) -> str:
        return f"<{self.what}>"


class Held:
    """What lasts on the nodes of one cluster; ``off`` tells which of them have no power."""

    def __init__(self, record: Record, off: Callable[[], list[int]]) -> None:
        self._record, self._off = record, off
        self._held: dict[tuple[str, int, str], dict[object, Any]] = {}     # fault -> whose it is, and how much

    def begin(
        self, what: str, kind: str, nodes: Iterable[int], begin: Callable[[int, list[Any]], object],
        end: Callable[[int], object], role: str = "", amount: Any = None,
    ) -> Breach:
        """One more fault of that kind at each of the nodes. ``begin`` gets the amounts of all that last."""
        nodes, mine = tuple(nodes), object()
        begun: list[int] = []
        try:
            for node in nodes:
                held = self._now(kind, node, role)
                if not held or kind not in ONCE:
                    begin(node, [*held.values(), amount])
                held[mine] = amount
                begun.append(node)
        except BaseException:
            for node in begun:                               # it lasts until the heal, and nobody can end it before
                del self._held[kind, node, role][mine]
            raise

        def ends() -> None:
            for node in nodes:
                held = self._now(kind, node, role)
                if mine in held:
                    del held[mine]
                    if not held:
                        end(node)
                    elif amount is not None:
                        begin(node, [*held.values()])

        return Breach(f"{what}: {', '.join(map(str, nodes))}", ends)

    def _now(self, kind: str, node: int, role: str) -> dict[object, Any]:
        """By whom that fault is held; by nobody if it has ended."""
        held = self._held.setdefault((kind, node, role), {})
        lasts = (kind, node, role) in self._record.lasting(kind)
        if not lasts or (kind in OF_POWER and (node in self._off()) != (kind == OFF)):
            held.clear()
        return held
