"""``/etc/inittab``: lines ``id:runlevels:action:process``, ``#`` comments (inittab(5)).

Actions: ``sysinit`` (before all others, waited for), ``wait`` (waited for), ``once``, ``respawn``, ``off``. Except
for ``sysinit``, an entry counts in the runlevels it names; in all of them if it names none. A process is run by
``/bin/sh -c "exec PROCESS"``.
"""

from __future__ import annotations

from typing import NamedTuple

ACTIONS = ("sysinit", "wait", "once", "respawn", "off")
RUNLEVELS = "0123456"
ID_MAX = 4


class InittabError(ValueError):
    """A bad line; the text names file, line and reason."""


class Entry(NamedTuple):
    """One line of the table."""

    id: str
    runlevels: str
    action: str
    process: str

    @property
    def name(self) -> str:
        """What the log calls the process: the last part of its first word."""
        return self.process.split(None, 1)[0].rpartition("/")[2]


def parse_inittab(text: str, path: str) -> list[Entry]:
    """The entries in their order; :class:`InittabError` for the first line that is none."""
    entries: dict[str, Entry] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line and not line.startswith("#"):
            try:
                entry = _parse_line(line)
                if entry.id in entries:
                    raise ValueError(f"id {entry.id!r} occurs twice")
            except ValueError as error:
                raise InittabError(f"{path}:{number}: {error}") from None
            entries[entry.id] = entry
    return list(entries.values())


def _parse_line(line: str) -> Entry:
    fields = line.split(":", 3)
    if len(fields) != 4:
        raise ValueError(f"expected id:runlevels:action:process, found {len(fields)} fields")
    entry = Entry(*fields)
    if not 1 <= len(entry.id) <= ID_MAX:
        raise ValueError(f"id {entry.id!r} does not have 1 to {ID_MAX} characters")
    unknown = set(entry.runlevels) - set(RUNLEVELS)
    if unknown:
        raise ValueError(f"unknown runlevel {min(unknown)!r}")
    if entry.action not in ACTIONS:
        raise ValueError(f"unknown action {entry.action!r}, known are {', '.join(ACTIONS)}")
    if not entry.process.strip():
        raise ValueError("no process")
    return entry


def in_runlevel(entries: list[Entry], runlevel: str) -> list[Entry]:
    """What is to be run, in order: ``sysinit`` first, then what counts in ``runlevel``."""
    first = [entry for entry in entries if entry.action == "sysinit"]
    then = [
        entry
        for entry in entries
        if entry.action not in ("sysinit", "off") and runlevel in (entry.runlevels or RUNLEVELS)
    ]
    return first + then
