"""The tables of the state machines: sound in themselves, and what the documentation shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosha.clinit import states
from mosha.clinit.states import MACHINES, Machine
from mosha.tables import clstat

DOCS = Path(__file__).parents[3] / "docs/clinit.md"


def reached(machine: Machine, start: str) -> set[str]:
    found, new = {start}, [start]
    while new:
        new = [target for target in machine[new.pop()].values() if target not in found] + new
        found.update(new)
    return found


@pytest.mark.parametrize("name", MACHINES)
def test_every_state_is_known_and_reached(name: str) -> None:
    machine = MACHINES[name]
    assert {target for events in machine.values() for target in events.values()} <= machine.keys()
    assert reached(machine, next(iter(machine))) == machine.keys()


def test_the_states_of_a_group_are_those_of_clstat() -> None:
    assert states.GROUP.keys() == set(clstat.STATES)


def test_a_group_can_be_told_in_every_state_where_it_stays_and_never_after_halt() -> None:
    stays = states.GROUP.keys() - {clstat.CHECKING, clstat.HALTING}
    assert all({"tell", "halt"} <= states.GROUP[state].keys() for state in stays)
    assert reached(states.GROUP, clstat.HALTING) == {clstat.HALTING}


@pytest.mark.parametrize("state", states.FAMILY)
def test_every_family_can_be_gone(state: str) -> None:
    assert states.GONE in reached(states.FAMILY, state)


@pytest.mark.parametrize("state", states.UNIT)
def test_every_unit_can_be_idle_again(state: str) -> None:
    assert states.IDLE in reached(states.UNIT, state)


@pytest.mark.parametrize("name", MACHINES)
def test_the_documentation_shows_the_tables(name: str) -> None:
    """`python -m mosha.clinit.states` prints the diagrams."""
    assert f"```mermaid\n{states.diagram(MACHINES[name])}```" in DOCS.read_text(encoding="utf-8")
