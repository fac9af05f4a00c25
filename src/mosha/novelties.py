"""What agents of 2003 do not know, or read otherwise, of what is right here: for a cluster that has both kinds.

Rules:

1. They read the tables of nodes of today themselves (docs/upgrading.md). Nothing is refused for that: it is said, by
   ``mosha check`` and ``mosha status``, while a node of 2003 is on the map.
2. A table with a problem of its own has that said elsewhere; here its lines are looked at as far as they are lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mosha.config import Config
from mosha.tables.cltab import MONITOR
from mosha.tables.lines import is_name
from mosha.tables.settings import CLSTAT, LOG, SOCKET

KNOWN_SETTINGS = (SOCKET, CLSTAT, LOG)
LEASE_S_MAX, BEAT_S_MAX = 5.0, 1.0       # those of 2003 begin a group 10 s after its node is down, at the earliest
SHOWN_MAX = 10


def of_cltab(text: str, file: str = "cltab") -> list[str]:
    """What a clinit of 2003 makes something else of, or dies of."""
    return _few(_of_cltab(text, file))


def of_hactl(text: str, file: str = "hactl") -> list[str]:
    """What a monitor of 2003 knows nothing of, or takes for something else."""
    return _few(_of_hactl(text, file))


def of_settings(settings: Config) -> list[str]:
    """What does not go with nodes of 2003 of this node's own settings."""
    timing, found = settings.timing, []
    if timing.lease_s > LEASE_S_MAX or timing.beat_s > BEAT_S_MAX:
        found.append(
            f"beat {timing.beat_s:g} s, lease {timing.lease_s:g} s: with nodes of 2003 at most {BEAT_S_MAX:g} s and "
            f"{LEASE_S_MAX:g} s, as those begin 10 s after a node is down what it had"
        )
    if settings.stomith:
        found.append("stomith is for when the last node of 2003 is gone: none of these is shot, or knows of a shot")
    return found


def _of_hactl(text: str, file: str) -> Iterator[str]:
    lines = {number: line.partition("#")[0].split() for number, line in enumerate(text.split("\n"), 1)}
    groups = {words[0] for words in lines.values() if words}
    for number, words in lines.items():
        if words[2:]:
            yield f"{file}: line {number}: {' '.join(words[2:])}: 2003 knows no options after a level"
        group = words[0] if words and is_name(words[0]) else ""
        others = sorted(filter(re.compile(group).fullmatch, groups - {group})) if "." in group else []
        if others:
            yield f"{file}: line {number}: 2003 takes {group} for a pattern, and group {others[0]} for it as well"


def _of_cltab(text: str, file: str) -> Iterator[str]:
    tags: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), 1):
        where = f"{file}: line {number}"
        if line.startswith("#") or not line.strip():
            continue
        if line.endswith("\r"):
            yield f"{where}: 2003 leaves the carriage return at its end in the command"
        fields = line.split(":", 4)
        if line.startswith(":::"):
            name = line[3:].partition(":")[0]
            if name not in KNOWN_SETTINGS:
                yield f"{where}: 2003 knows no setting {name}: it does as without it"
            continue
        tag = fields[1] if len(fields) > 1 else ""
        if line.lstrip().startswith("#"):
            if tag in tags:
                yield (f"{where}: 2003 takes an indented comment for an entry: this one has the tag of line "
                       f"{tags[tag]}, so no tell works any more")
            tags.setdefault(tag, number)
            continue
        tags.setdefault(tag, number)
        mode = fields[3].partition("=")[0] if len(fields) > 3 else ""
        if mode == MONITOR:
            yield f"{where}: 2003 knows no mode {mode}: its clinit dies when it starts that entry"


def _few(lines: Iterator[str]) -> list[str]:
    found = list(lines)
    more = len(found) - SHOWN_MAX
    return found if more <= 0 else [*found[:SHOWN_MAX], f"and {more} more"]
