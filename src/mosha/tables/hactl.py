"""hactl: which level each resource group shall have, somewhere in the cluster, and how.

One ``group level [option ...]`` per line, split at blanks; ``#`` begins a comment. A group that is not named shall be
stopped, which ``stop`` says aloud. Options:

===============  ===========================================================================
fenced           its storage needs confirmed STOMITH: that its owner's lease is over frees it never
prefer=N[,N...]  these nodes go first, in this order; the others may have it as well
failback         it moves to an earlier node of ``prefer`` when that is fit again
sticky           it stays where it runs: so it is without ``failback``, and this says it aloud
exclusive-test   only a node that owns it tests it: one at a time
maintenance      it is left alone: where it runs it runs on, unwatched; where it does not it is not started
restarts=N       when it fails it is started again where it is, N times (1), before it goes elsewhere
requires=G[,G…]  it is started only while each of these groups is up; where one shall be stopped, so shall it
===============  ===========================================================================

A table in which a group requires itself, be it by way of others, or one that the table does not name, is refused. So is
one with more than ``GROUPS_MAX`` groups, or whose groups and levels have more than ``NAMED_CHARACTERS_MAX`` characters:
what a node says of all of them has to fit into its record (:mod:`mosha.platform.record`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Callable, NamedTuple

from mosha.tables.lines import GROUPS_MAX, NAME_RULE, Reader, is_name, is_node, is_whole, shown

NAME = "hactl"
STOP = "stop"
FENCED, PREFER, FAILBACK, STICKY, EXCLUSIVE = "fenced", "prefer", "failback", "sticky", "exclusive-test"
MAINTENANCE, RESTARTS, REQUIRES = "maintenance", "restarts", "requires"
RESTARTS_MAX = 9
PREFERRED_MAX = 64
REQUIRED_MAX = 64
NAMED_CHARACTERS_MAX = 9600


class Wanted(NamedTuple):
    """What is wanted of one group."""

    level: str
    fenced: bool = False
    prefer: tuple[int, ...] = ()
    failback: bool = False
    exclusive_test: bool = False
    maintenance: bool = False
    restarts: int = 1
    requires: tuple[str, ...] = ()


Hactl = Mapping[str, Wanted]


def parse(text: str, file: str = "hactl") -> Hactl:
    """By group. Raises :class:`~mosha.tables.errors.TableErrors` with every problem."""
    reader = Reader(text, file)
    found: dict[str, Wanted] = {}
    lines: dict[str, int] = {}                       # where each group is named, be it in a line with a problem
    room = NAMED_CHARACTERS_MAX                      # for names of groups and levels
    for line in reader:
        words = line.partition("#")[0].split()
        lines.setdefault(words[0], reader.line)
        if len(words) == 1:
            reader.problem(f"no level for group {shown(words[0])}: write 'stop' to have it stopped")
            continue
        group, level, *options = words
        values, problem = _read(options)
        if not is_name(group):
            reader.problem(f"bad group {shown(group)}: {NAME_RULE}")
        elif not is_name(level):
            reader.problem(f"bad level {shown(level)}: {NAME_RULE}")
        elif problem:
            reader.problem(problem)
        elif group in found:
            reader.problem(f"group {group} is already given level {found[group].level}")
        else:
            found[group] = Wanted(level, **values)
            had_room, room = room >= 0, room - len(group) - len(level)
            if len(found) == GROUPS_MAX + 1:
                reader.problem(f"more than {GROUPS_MAX} groups")
            if had_room and room < 0:
                reader.problem(f"the names of groups and levels have more than {NAMED_CHARACTERS_MAX} characters")
    _check_required(reader, found, lines)
    reader.check()
    return found


def levels(table: Hactl) -> dict[str, str]:
    """The level that each group shall have: one that requires a group that shall be stopped shall be stopped too."""
    found = {group: wanted.level for group, wanted in table.items()}
    dependants = required_by(table)
    stopped = [group for group in dependants if found[group] == STOP]
    while stopped:
        for group in dependants.get(stopped.pop(), ()):
            if found[group] != STOP:
                found[group] = STOP
                stopped.append(group)
    return found


def required_by(table: Hactl) -> dict[str, list[str]]:
    """The groups that require it, of each group that any does."""
    found: dict[str, list[str]] = {}
    for group, wanted in table.items():
        for other in wanted.requires:
            found.setdefault(other, []).append(group)
    return found


def with_flag(table: Hactl, field: str) -> frozenset[str]:
    """The groups with that option, by its name in :class:`Wanted`."""
    return frozenset(group for group, wanted in table.items() if getattr(wanted, field))


def taken_away(before: Hactl, after: Hactl) -> list[str]:
    """The groups that shall run by the one table and that the other does not even name."""
    return [group for group, wanted in before.items() if wanted.level != STOP and group not in after]


def with_level(text: str, group: str, level: str) -> str:
    """The text of a valid table, with that level of the group; all else, its options and comments too, stays as it is.
    A group that is not named gets a line of its own."""
    lines = text.split("\n")
    for number, line in enumerate(lines):
        if line.partition("#")[0].split()[:1] == [group]:
            lines[number] = re.sub(r"^(\s*\S+\s+)[^\s#]+", rf"\g<1>{level}", line)
            return "\n".join(lines)
    return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{group} {level}\n"


def edited(text: str, groups: Collection[str], flag: str, wanted: bool) -> str:
    """The text of a valid table, with the flag at these groups or without; all else, comments too, stays as it is."""
    return "\n".join(_edited(line, groups, flag, wanted) for line in text.split("\n"))


def _edited(line: str, groups: Collection[str], flag: str, wanted: bool) -> str:
    said, mark, comment = line.partition("#")
    words = said.split()
    if not words or words[0] not in groups or (flag in words[2:]) == wanted:
        return line
    if wanted:
        space = said[len(said.rstrip()):]
        return f"{said.rstrip()} {flag}{space}{mark}{comment}"
    return re.sub(rf"^(\s*\S+\s+\S+.*?)\s+{re.escape(flag)}(?=\s|$)", r"\1", said) + mark + comment


def _nodes(text: str) -> tuple[int, ...]:
    """The value of ``prefer``; ValueError says what is wrong with it."""
    words = text.split(",")
    wrong = next((word for word in words if not is_node(word)), None)
    if wrong is not None:
        raise ValueError(f"prefer={shown(text)[1:-1]}: {shown(wrong)} is no number of a node")
    if len(set(map(int, words))) < len(words):
        raise ValueError(f"prefer={shown(text)[1:-1]} names a node twice")
    if len(words) > PREFERRED_MAX:
        raise ValueError(f"prefer names more than {PREFERRED_MAX} nodes")
    return tuple(map(int, words))


def _groups(text: str) -> tuple[str, ...]:
    """The value of ``requires``; ValueError says what is wrong with it."""
    words = tuple(text.split(","))
    wrong = next((word for word in words if not is_name(word)), None)
    if wrong is not None:
        raise ValueError(f"requires={shown(text)[1:-1]}: {shown(wrong)} is no group: {NAME_RULE}")
    if len(set(words)) < len(words):
        raise ValueError(f"requires={shown(text)[1:-1]} names a group twice")
    if len(words) > REQUIRED_MAX:
        raise ValueError(f"requires names more than {REQUIRED_MAX} groups")
    return words


def _check_required(reader: Reader, table: Hactl, lines: Mapping[str, int]) -> None:
    """That there are those that are required, and that none requires itself."""
    for group, wanted in table.items():
        reader.line = lines[group]
        for other in wanted.requires:
            if other not in lines:
                reader.problem(f"group {group} requires {other}, which this table does not name")
    circle = _circle(table)
    if circle:
        reader.line = lines[circle[0]]
        reader.problem(f"group {circle[0]} requires itself: {' -> '.join(circle)}")


def _circle(table: Hactl) -> list[str]:
    """The first that is found, its first group at its end again; depth first, each group once."""
    done: set[str] = set()
    for start in table:
        way = {} if start in done else {start: iter(table[start].requires)}
        while way:
            group = next(reversed(way))
            other = next(way[group], None)
            if other is None:
                done.add(group)
                del way[group]
            elif other in way:
                names = list(way)
                return [*names[names.index(other):], other]
            elif other in table and other not in done:
                way[other] = iter(table[other].requires)
    return []


def _count(text: str) -> int:
    """The value of ``restarts``; ValueError says what is wrong with it."""
    if not is_whole(text, 0, RESTARTS_MAX):
        raise ValueError(f"restarts={shown(text)[1:-1]}: it must be a number from 0 to {RESTARTS_MAX}")
    return int(text)


FLAGS: dict[str, dict[str, Any]] = {             # options that are there or not, and what they say
    FENCED: {"fenced": True}, FAILBACK: {"failback": True}, STICKY: {}, EXCLUSIVE: {"exclusive_test": True},
    MAINTENANCE: {"maintenance": True},
}
VALUED: dict[str, Callable[[str], Any]] = {PREFER: _nodes, RESTARTS: _count, REQUIRES: _groups}


def _read(options: Sequence[str]) -> tuple[dict[str, Any], str]:
    """What the words after the level say, and what is wrong with them; that is empty if nothing is."""
    values: dict[str, Any] = {}
    seen: set[str] = set()
    for option in options:
        name, equals, value = option.partition("=")
        if name not in FLAGS and name not in VALUED:
            names = [*FLAGS, *(f"{one}=…" for one in VALUED)]
            return {}, f"unknown option {shown(option)} after the level; there are: {', '.join(names)}"
        if name in FLAGS and equals:
            return {}, f"option {name} has no value"
        if name in VALUED and not value:
            return {}, f"option {name} needs a value: {name}=…"
        if name in seen:
            return {}, f"option {name} is given twice"
        seen.add(name)
        try:
            values.update(FLAGS[name] if name in FLAGS else {name: VALUED[name](value)})
        except ValueError as error:
            return {}, str(error)
    if {FAILBACK, STICKY} <= seen:
        return {}, f"{FAILBACK} and {STICKY} exclude each other"
    if FAILBACK in seen and PREFER not in seen:
        return {}, f"{FAILBACK} needs {PREFER}: where to?"
    return values, ""
