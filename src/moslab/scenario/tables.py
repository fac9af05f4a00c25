"""Anybody's cltab in each world: with a witness where processes are real, with modelled commands where they are not.

Rules:

1. A witness is a ticker (``src/moslab/demo``) that is the first process of its group, at each level at which the group
   has any but tests: so it lives as long as anything of the group does, under the same leash. A group whose own
   processes write that journal needs none.
2. A modelled command stands for what its mode says: ``respawn`` lives, all else ends soon and well. A command that the
   simulator understands is left as it is (:mod:`moslab.simulator.process`).
3. Where processes are real a modelled command is one of a shell: it sleeps as long, and ends so. What else it does (it
   crashes, fails or dies late by chance, is unfit on some nodes) has no such command: ``real`` refuses it.
"""

from __future__ import annotations

from typing import Callable

from mosha.tables import cltab, hactl
from mosha.tables.cltab import OFF, RESPAWN, TEST, Entry
from mosha.tables.errors import TableErrors
from moslab.errors import CannotError, UnsupportedError
from moslab.faults.plan import is_modelled

TICK = "/usr/lib/mosha/demo/tick"
WITNESS = TICK + " /san/{}"
LEVEL = "start"
CLTAB = "cltab"
LIVES, ENDS, TESTS = "live", "run 0.02", "run 0.005"
FIELDS = 4                       # before the command


def groups_of(text: str) -> tuple[str, ...]:
    """The groups of a cltab, in order; CannotError with what is wrong with it."""
    return tuple(_entries(text))


def hactl_of(text: str, given: str) -> str:
    """The hactl that was given, checked; else one by which all groups of the cltab run."""
    try:
        hactl.parse(given)
    except TableErrors as errors:
        raise CannotError(str(errors)) from None
    return given or "".join(f"{group} {LEVEL}\n" for group in groups_of(text))


def is_sound(table: str, text: str) -> bool:
    """Whether an agent takes that text for this table."""
    try:
        (cltab if table == CLTAB else hactl).parse(text)
    except TableErrors:
        return False
    return True


def as_in(world: Callable[[str], str], table: str, text: str) -> str:
    """An edit as somebody means it, for a world that has cltabs in this way; what is no cltab stays as it is."""
    return world(text) if table == CLTAB and is_sound(table, text) else text


def wanted(levels: str) -> tuple[str, ...]:
    """The groups that shall run, by a hactl."""
    return tuple(group for group, level in hactl.levels(hactl.parse(levels)).items() if level != hactl.STOP)


def witnessed(text: str, witness: str = WITNESS) -> str:
    """Rule 1; with that command, in which ``{}`` is the group."""
    first = []
    for group, entries in _entries(text).items():
        journal = witness.format(group)
        levels = _levels(entries)
        if levels and not any(journal in entry.command for entry in entries):
            first.append(f"{group}:moslab-{group}:{levels}:{RESPAWN}:{journal}\n")
    return "".join(first) + text


def modelled(text: str) -> str:
    """Rule 2."""
    lines = text.splitlines()
    for entries in _entries(text).values():
        for entry in entries:
            if entry.command and not is_modelled(entry.command):
                head = lines[entry.line - 1].split(":", FIELDS)[:FIELDS]
                lines[entry.line - 1] = ":".join([*head, {RESPAWN: LIVES, TEST: TESTS}.get(entry.mode, ENDS)])
    return "\n".join(lines) + "\n"


def real(text: str) -> str:
    """Rule 3; UnsupportedError for a command that is none of a shell."""
    lines = text.splitlines()
    for entries in _entries(text).values():
        for entry in entries:
            if entry.command and is_modelled(entry.command):
                head = lines[entry.line - 1].split(":", FIELDS)[:FIELDS]
                lines[entry.line - 1] = ":".join([*head, _in_shell(entry.command)])
    return "\n".join(lines) + "\n"


def _in_shell(command: str) -> str:
    words = command.split()
    sleep = ["sleep", words.pop(1) if words[0] == "run" else "infinity"]
    traps, ends = [], ""
    for option in words[1:]:
        name, _, value = option.partition("=")
        if name in ("int", "term") and value == "ignore":
            traps.append(name.upper())
        elif name == "exit":
            ends = f"; exit {value}"
        else:
            raise UnsupportedError(f"have processes with {option!r}")
    return "".join([f"trap '' {' '.join(traps)}; " if traps else "", " ".join(sleep), ends])


def _entries(text: str) -> dict[str, tuple[Entry, ...]]:
    try:
        table = cltab.parse(text)
    except TableErrors as errors:
        raise CannotError(str(errors)) from None
    return {group: table.group(group) for group in table.groups()}


def _levels(entries: tuple[Entry, ...]) -> str:
    """All levels at which any of them but tests is, as a field that holds each of them."""
    found: dict[str, None] = {}
    for entry in entries:
        if entry.mode not in (TEST, OFF):
            digits = entry.levels if entry.levels.isascii() and entry.levels.isdigit() else ""
            found.update(dict.fromkeys(level for level in [*entry.levels.split(","), *digits] if level))
    return ",".join(found)
