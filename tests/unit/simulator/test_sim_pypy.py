"""What PyPy is told: here only that it changes nothing that a run could see."""

from __future__ import annotations

from collections import namedtuple

from moslab.simulator.pypy import shorten_fields


def _wrapped(place: int) -> property:
    def read(values: tuple[object, ...]) -> tuple[object, ...]:
        return (values[place],)

    return property(read)


def test_fields_that_are_read_in_another_way_have_the_same_values() -> None:
    kind = namedtuple("kind", "first second")
    for place, name in enumerate(kind._fields):
        setattr(kind, name, _wrapped(place))         # as under PyPy, a property
    assert kind(1, 2).second == (2,)
    shorten_fields(kind)
    assert (kind(1, 2).first, kind(1, 2).second) == (1, 2)
    assert kind(1, 2)._replace(second=3) == (1, 3)


def test_only_fields_that_are_properties_are_changed() -> None:
    kind = namedtuple("kind", "first")
    kind.first = 7
    shorten_fields(kind)
    assert kind(1).first == 7
    shorten_fields(tuple)
