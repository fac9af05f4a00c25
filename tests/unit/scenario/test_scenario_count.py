"""The laboratory's own scenarios are as many, and of as many sizes, as docs/laboratory.md says."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moslab.scenario.world import NODES

CHAOS = Path(__file__).parents[2] / "chaos"
SCENARIOS_MIN = 40
SIZES = {2, 3, 4, 5, 6, 8}


def sizes_of(scenario: Any) -> set[int]:
    """Of how many nodes its clusters are."""
    sizes = {NODES}
    for mark in getattr(scenario, "pytestmark", []):
        if mark.name == "parametrize" and mark.args[0] == "nodes":
            return set(mark.args[1])
        if mark.name == "cluster":
            sizes = {mark.kwargs.get("nodes", NODES)}
    return sizes


def scenarios() -> Iterator[tuple[str, set[int]]]:
    for path in CHAOS.glob("test_*.py"):
        module = importlib.import_module(f"tests.chaos.{path.stem}")
        yield from ((name, sizes_of(made)) for name, made in vars(module).items() if name.startswith("test_"))


def test_there_are_forty_scenarios_at_six_sizes() -> None:
    found = dict(scenarios())
    assert len(found) >= SCENARIOS_MIN
    assert set().union(*found.values()) >= SIZES
