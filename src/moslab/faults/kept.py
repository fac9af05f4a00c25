"""What commands and tests have broken of a cluster that is up, kept from one to the next in its power switch.

Rules:

1. A line of JSON is an event of a record (:class:`moslab.faults.record.Event`), by the engine's monotonic clock, in the
   order in which they were told. Who breaks or heals something reads them first: it ends what another has begun.
2. There are at most two files of ``FILE_BYTES_MAX`` and a line; the older one goes first.
3. What breaks a cluster does not depend on it: where the power switch has died nothing is kept, and nothing known.
"""

from __future__ import annotations

import json
from typing import Any

from docker.errors import NotFound

from moslab.cluster import Cluster
from moslab.errors import LabError
from moslab.faults.record import UNENDED, Event
from moslab.node import Result, run

FILE = "/run/faults"
FILE_BYTES_MAX = 1 << 20
SHOWN_MAX = 32768                # characters; all links of 64 nodes are fewer
LOCK = 'mkdir -p "${1%/*}"; exec 9>>"$1.lock"; flock 9\n'
ADD = LOCK + """[ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -lt "$2" ] || mv "$1" "$1.old"
printf '%s\\n' "$3" >>"$1"
"""
READ = LOCK + 'cat "$1.old" "$1" 2>/dev/null || :'
TYPES: tuple[Any, ...] = (str, int, str, (float, type(None)), (float, type(None)), str)


class Kept:
    """Of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def read(self) -> list[Event]:
        """All of it; a line that was not written to its end is none."""
        done = self._run(READ)
        found = [_event(line) for line in done.stdout.splitlines()] if done is not None else []
        return [event for event in found if event is not None]

    def add(self, event: Event) -> None:
        """One more."""
        end_s = None if event.end_s == UNENDED else event.end_s
        line = [event.kind, event.node, event.detail, event.begin_s, end_s, event.shown[:SHOWN_MAX]]
        self._run(ADD, str(FILE_BYTES_MAX), json.dumps(line))

    def _run(self, script: str, *words: str) -> Result | None:
        """Rule 3."""
        try:
            switch = self._cluster.client.containers.get(self._cluster.names.power)
            return run(switch, ["sh", "-ec", script, "faults", FILE, *words])
        except (NotFound, LabError):
            return None


def _event(line: str) -> Event | None:
    try:
        words = json.loads(line)
    except ValueError:
        return None
    if type(words) is not list or len(words) != len(TYPES) or not all(isinstance(*one) for one in zip(words, TYPES)):
        return None
    kind, node, detail, begin_s, end_s, shown = words
    return Event(kind, node, detail, begin_s, UNENDED if end_s is None else end_s, shown)
