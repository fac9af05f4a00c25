"""cltab: which processes make up which resource group, at which levels, started how.

``group:tag:levels:mode:command``, as Cluster::Init 0.215 read it, and ``:::NAME:VALUE`` for settings. Rules:

1. Everything after the fourth colon is the command, as written. No field is trimmed.
2. A tag is unique over the whole table: it names one process for ever.
3. A level matches as :func:`matches` says. (In 2003 the level ``s`` also ran entries of the level ``start``.)
4. A table with any problem is refused as a whole, with all its problems: the last good one stays in use.
5. A table has at most ``GROUPS_MAX`` groups.
6. The mode ``monitor`` takes the seconds between two runs: ``monitor=30``; alone it means ``monitor=10``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from types import MappingProxyType
from typing import NamedTuple

from mosha.tables import settings as setting_lines
from mosha.tables.lines import GROUPS_MAX, NAME_RULE, Reader, is_name, shown
from mosha.tables.settings import Policy

WAIT = "wait"
ONCE = "once"
RESPAWN = "respawn"
TEST = "test"
OFF = "off"
MONITOR = "monitor"
MODES = (WAIT, ONCE, RESPAWN, TEST, OFF, MONITOR)
MONITOR_EVERY_S = 10.0
FIELDS = ("group", "tag", "levels", "mode", "command")


class Entry(NamedTuple):
    """One process of a group. Two entries are equal if they say the same, on whatever line."""

    group: str
    tag: str
    levels: str
    mode: str
    command: str
    line: int = 0
    every_s: float = 0.0
    """Between the end of one run of a ``monitor`` and the next."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Entry) and self[:5] == other[:5] and self.every_s == other.every_s

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self[:5])

    def at(self, level: str) -> bool:
        """Whether this entry belongs to ``level``."""
        return matches(self.levels, level)


class _Read(NamedTuple):
    entries: tuple[Entry, ...] = ()
    settings: Mapping[str, str] = MappingProxyType({})


class Cltab(_Read):
    """A whole valid table, entries in the order of the file."""

    @property
    def policy(self) -> Policy:
        """How processes are treated."""
        return setting_lines.read(self.settings).policy

    def group(self, name: str) -> tuple[Entry, ...]:
        """The entries of one group, in the order of the file; none for an unknown group."""
        return self._by_group.get(name, ())

    @cached_property
    def _by_group(self) -> dict[str, tuple[Entry, ...]]:
        found: dict[str, list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.group, []).append(entry)
        return {name: tuple(entries) for name, entries in found.items()}

    def groups(self) -> list[str]:
        """The names of all groups, in the order of their first entries."""
        return list(self._by_group)


def levels_of(entries: Iterable[Entry], always: str) -> list[str]:
    """The levels that there are: the one that there always is, then those that these entries belong to, sorted."""
    parts = {part for entry in entries for part in (entry.levels, *entry.levels.split(",")) if is_name(part)}
    found = {*parts, *(digit for part in parts if matches(part, part[0]) for digit in part)}
    return [always, *sorted(found - {always})]


def matches(levels: str, level: str) -> bool:
    """Whether a levels field holds ``level``: as a whole, as a comma part, or as a digit among digits.

    ``12`` holds 12, 1 and 2; ``long,3`` holds long and 3; ``long3,`` holds long3 only.
    """
    if not level:
        return False
    if levels == level:
        return True
    if "," in levels:
        return level in levels.split(",")
    return len(level) == 1 and level in levels and levels.isascii() and levels.isdigit()


def parse(text: str, file: str = "cltab") -> Cltab:
    """Read a table. Raises :class:`~mosha.tables.errors.TableErrors` with every problem, and nothing else."""
    reader = Reader(text, file)
    entries: list[Entry] = []
    settings: dict[str, str] = {}
    lines_of_tags: dict[str, int] = {}
    groups: set[str] = set()
    for line in reader:
        if line.startswith(":::"):
            _read_setting(line, settings, reader)
            continue
        entry = _read_entry(line, reader)
        if entry is None:
            continue
        if entry.tag in lines_of_tags:
            reader.problem(f"tag {entry.tag} is already used in line {lines_of_tags[entry.tag]}")
            continue
        lines_of_tags[entry.tag] = reader.line
        entries.append(entry)
        if entry.group not in groups and len(groups) == GROUPS_MAX:
            reader.problem(f"more than {GROUPS_MAX} groups")
        groups.add(entry.group)
    reader.check()
    return Cltab(tuple(entries), settings)


def taken_away(before: Cltab, after: Cltab) -> list[str]:
    """The tags of the entries that the one table has and the other has not."""
    tags = {entry.tag for entry in after.entries}
    return [entry.tag for entry in before.entries if entry.tag not in tags]


def settings_of(text: str) -> dict[str, str]:
    """The settings that are right, whatever else the text is: what a client, and a daemon without a table, go by."""
    reader = Reader(text, "cltab")
    settings: dict[str, str] = {}
    for line in reader:
        if line.startswith(":::"):
            _read_setting(line, settings, reader)
    return settings


def _read_setting(line: str, settings: dict[str, str], reader: Reader) -> None:
    name, colon, value = line[3:].partition(":")
    if not colon:
        reader.problem("a setting is written :::NAME:VALUE")
    elif not is_name(name):
        reader.problem(f"bad setting name {shown(name)}: {NAME_RULE}")
    elif name in settings:
        reader.problem(f"setting {name} is already set")
    elif setting_lines.problem_with(name, value):
        reader.problem(setting_lines.problem_with(name, value))
    else:
        settings[name] = value


def _read_entry(line: str, reader: Reader) -> Entry | None:
    fields = line.split(":", len(FIELDS) - 1)
    before = len(reader.errors)
    fields_needed = len(FIELDS) - 1
    if len(fields) < fields_needed:
        reader.problem(f"no {FIELDS[len(fields)]}: an entry is written {':'.join(FIELDS)}")
        return None
    group, tag, levels, mode = fields[:fields_needed]
    command = fields[fields_needed] if len(fields) > fields_needed else ""
    for what, name in (("group", group), ("tag", tag)):
        if not is_name(name):
            reader.problem(f"bad {what} {shown(name)}: {NAME_RULE}")
    _check_levels(levels, reader)
    mode, every_s = _read_mode(mode, reader)
    if mode not in MODES:
        reader.problem(f"unknown mode {shown(mode)}: one of {' '.join(MODES)}")
    elif mode != OFF and not command.strip():
        reader.problem(f"no command: only {OFF} entries may do without")
    if len(reader.errors) > before:
        return None
    return Entry(group, tag, levels, mode, command, reader.line, every_s)


def _read_mode(mode: str, reader: Reader) -> tuple[str, float]:
    """The mode, and the seconds of rule 6."""
    name, equals, value = mode.partition("=")
    if name != MONITOR:
        return mode, 0.0
    try:
        return name, setting_lines.seconds(value) if equals else MONITOR_EVERY_S
    except ValueError as error:
        reader.problem(f"mode {MONITOR}: {error}")
        return name, MONITOR_EVERY_S


def _check_levels(levels: str, reader: Reader) -> None:
    parts = [part for part in levels.split(",") if part]
    if not parts:
        reader.problem("no level")
    for part in parts:
        if not is_name(part):
            reader.problem(f"bad level {shown(part)}: {NAME_RULE}")
