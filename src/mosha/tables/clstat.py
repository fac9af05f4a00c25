"""clstat: what each resource group does on one node, as Cluster::Init wrote it.

One ``Cluster::Init::Group NAME LEVEL STATE`` per line.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from mosha.tables.lines import NAME_RULE, Reader, is_name, shown

CLASS = "Cluster::Init::Group"

CONFIGURED = "CONFIGURED"
STOPPING = "STOPPING"
DUMPING = "DUMPING"
STARTING = "STARTING"
CHECKING = "CHECKING"
DONE = "DONE"
PASSED = "PASSED"
FAILED = "FAILED"
HALTING = "HALTING"
STATES = (CONFIGURED, STOPPING, DUMPING, STARTING, CHECKING, DONE, PASSED, FAILED, HALTING)


class GroupStat(NamedTuple):
    """One group on one node."""

    name: str
    level: str
    state: str


def render(stats: Iterable[GroupStat]) -> str:
    """The text for ``stats``, in their order."""
    return "".join(f"{CLASS} {stat.name} {stat.level} {stat.state}\n" for stat in stats)


def parse(text: str, file: str = "clstat") -> list[GroupStat]:
    """Read a table. Raises :class:`~mosha.tables.errors.TableErrors` with every problem.

    A last line without its line end is a problem too: the text was cut short.
    """
    reader = Reader(text, file)
    stats: dict[str, GroupStat] = {}
    for line in reader:
        words = line.split()
        if len(words) != 4 or words[0] != CLASS:
            reader.problem(f"not '{CLASS} NAME LEVEL STATE': {shown(line)}")
            continue
        stat = GroupStat(*words[1:])
        if not (is_name(stat.name) and is_name(stat.level)):
            reader.problem(f"bad group or level in {shown(line)}: {NAME_RULE}")
        elif stat.state not in STATES:
            reader.problem(f"unknown state {shown(stat.state)}")
        elif stat.name in stats:
            reader.problem(f"group {stat.name} is there twice")
        else:
            stats[stat.name] = stat
    if text and not text.endswith("\n"):
        reader.problem("last line is cut short: no line end")
    reader.check()
    return list(stats.values())
