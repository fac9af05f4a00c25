"""All targets."""

from __future__ import annotations

from tests.fuzz import agents, codecs, histories, inventories, nodes, tables, wire
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    one.name: one for one in (
        *tables.TARGETS, *codecs.TARGETS, *wire.TARGETS, *agents.TARGETS, *histories.TARGETS, *inventories.TARGETS,
        *nodes.TARGETS,
    )
}
