"""What openMosix knows until the next boot: a genuine kernel forgets neither its map nor a setting when a process dies.

The file lies where a boot empties it. It holds the node's id, the configuration as ``admin/config`` shows it, what
is set in ``admin/``, the time that was written to ``mfs/time``, and what is set of each process; no file means off, and
all as at boot. One that cannot be read whole is as good as none.
"""

from __future__ import annotations

import json
import logging
import os

from emulator.hpc.state import State
from emulator.hpc.tasks import Tasks
from emulator.membership import Membership
from emulator.table import parse_config, render_config

log = logging.getLogger(__name__)


def keep(membership: Membership, state: State, tasks: Tasks, path: str) -> None:
    """Configure ``membership`` and set the others as the file says, and have the file follow every later change."""
    try:
        _restore(membership, state, tasks, path)
    except FileNotFoundError:
        pass
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        log.warning("openMosix: %s: %s", path, error)
    for one in (membership, state, tasks):
        one.on_change(lambda: _write(membership, state, tasks, path))


def _restore(membership: Membership, state: State, tasks: Tasks, path: str) -> None:
    with open(path, "rb") as file:
        known = json.loads(file.read())
    mospe, config = known["mospe"], bytes.fromhex(known["config"])
    tasks.restore(known["tasks"])
    state.restore(known["toggles"], known["numbers"], known["time"])
    if mospe:
        membership.configure(mospe, parse_config(config))


def _write(membership: Membership, state: State, tasks: Tasks, path: str) -> None:
    known = {
        "mospe": membership.mospe, "config": render_config(membership.records).hex(), "toggles": sorted(state.toggles),
        "numbers": state.numbers, "time": state.time, "tasks": tasks.kept(),
    }  # fmt: skip
    temporary = f"{path}.new"
    try:
        with open(temporary, "w", encoding="ascii") as file:
            json.dump(known, file)
        os.replace(temporary, path)
    except OSError as error:  # what was asked for is done all the same
        log.warning("openMosix: %s: %s", path, error.strerror)
