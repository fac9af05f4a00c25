"""hactl: which level each resource group shall have, somewhere in the cluster, and how.

One ``group level [option ...]`` per line, split at blanks; ``#`` begins a comment. A group that is not named shall be
stopped, which ``stop`` says aloud. Options:

========  ==================================================================================
fenced    its storage needs confirmed STOMITH: that its owner's lease is over frees it never
========  ==================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mosha.tables.lines import NAME_RULE, Reader, is_name, shown

STOP = "stop"
FENCED = "fenced"
FLAGS = (FENCED,)                # options that are there or not


class Wanted(NamedTuple):
    """What is wanted of one group."""

    level: str
    fenced: bool = False


Hactl = Mapping[str, Wanted]


def parse(text: str, file: str = "hactl") -> Hactl:
    """By group. Raises :class:`~mosha.tables.errors.TableErrors` with every problem."""
    reader = Reader(text, file)
    found: dict[str, Wanted] = {}
    for line in reader:
        words = line.partition("#")[0].split()
        if len(words) == 1:
            reader.problem(f"no level for group {shown(words[0])}: write 'stop' to have it stopped")
            continue
        group, level, *options = words
        problem = _problem_with(options)
        if not is_name(group):
            reader.problem(f"bad group {shown(group)}: {NAME_RULE}")
        elif not is_name(level):
            reader.problem(f"bad level {shown(level)}: {NAME_RULE}")
        elif problem:
            reader.problem(problem)
        elif group in found:
            reader.problem(f"group {group} is already given level {found[group].level}")
        else:
            found[group] = Wanted(level, FENCED in options)
    reader.check()
    return found


def levels(table: Hactl) -> dict[str, str]:
    """The level of each group."""
    return {group: wanted.level for group, wanted in table.items()}


def fenced(table: Hactl) -> frozenset[str]:
    """The groups with that option."""
    return frozenset(group for group, wanted in table.items() if wanted.fenced)


def _problem_with(options: Sequence[str]) -> str:
    """What is wrong with the words after the level; empty if nothing is."""
    for number, option in enumerate(options):
        name, equals, _ = option.partition("=")
        if name not in FLAGS:
            return f"unknown option {shown(option)} after the level; there are: {', '.join(FLAGS)}"
        if equals:
            return f"option {name} has no value"
        if name in options[:number]:
            return f"option {name} is given twice"
    return ""
