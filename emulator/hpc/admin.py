"""``hpc/admin``: the node's configuration and settings.

Rules:

1. ``config`` while off is kept until ``mospe`` names this node in it; while on it is taken at once, and refused
   (EINVAL) without this node. Read while off it fails with ENXIO.
2. ``mospe`` 0 switches off; another number than the own one while on is refused (EBUSY).
3. ``expel`` implies ``block`` and ``bring`` implies ``lstay``. Both last until nothing is to be moved any more: as a
   process that runs cannot be moved, until it has ended. A second one meanwhile is EBUSY, a signal ends it with EINTR.
4. So does switching off, for guests and those that are away. Meanwhile the node is half off: ``nodes/`` is empty, no
   probe is answered, nobody comes or goes, and its files are still served. A signal: it stays on.

Names, modes, order, defaults and log lines are those of the genuine kernel.
"""

from __future__ import annotations

import errno
import logging
from functools import partial

from emulator.fuse.tree import Directory
from emulator.hpc.files import Generated, Lasting, Refused, constant, folder, not_emulated, to_ints
from emulator.hpc.migration import Empty, Migration
from emulator.hpc.state import NUMBERS, TOGGLES, State
from emulator.membership import Membership
from emulator.probe import Prober
from emulator.table import NODE_MAX, Record, TableError, parse_config, render_config

log = logging.getLogger(__name__)

SPEED_MAX = 65535
COST_MAX = 10**9 - 1
VERSION = "openMosix Version 1.8.1\nDFSA is enabled\nSimple network topology\n"

TOGGLE_LOG = {
    ("block", False): "openMosix: guest-processes now accepted again.",
    ("nomfs", True): "openMosix: This node will stop providing MFS services.",
    ("nomfs", False): "openMosix: This node  may now provide oMFS services.",
}


class Admin:
    """Makes the files of ``admin/``; holds what only they need."""

    def __init__(self, membership: Membership, state: State, prober: Prober, migration: Migration) -> None:
        self._membership = membership
        self._state = state
        self._prober = prober
        self._migration = migration
        self._pending: list[Record] = []
        state.on_change(self._changed)

    def folder(self) -> Directory:
        """The directory."""
        return folder(
            [
                ("config", Generated(0o644, self._read_config, self._write_config)),
                *((name, self._toggle(name)) for name in TOGGLES),
                ("expel", Lasting(0o200, self._expel)),
                ("bring", Lasting(0o200, self._bring)),
                ("speed", self._numbers("speed", 1, SPEED_MAX)),
                ("sspeed", self._numbers("sspeed", 1, SPEED_MAX)),
                ("overheads", self._numbers("overheads", 0, COST_MAX)),
                ("slowdecay", self._numbers("slowdecay", 0, 1000)),
                ("fastdecay", self._numbers("fastdecay", 0, 1000)),
                ("decayinterval", self._numbers("decayinterval", 0, COST_MAX)),
                ("gateways", self._numbers("gateways", 0, 2)),
                ("mospe", Lasting(0o644, self._write_mospe, lambda: f"{self._membership.mospe}\n")),
                ("version", constant(0o444, VERSION)),
                ("dfsalinks", constant(0o644, "")),
                ("mfscosts", self._numbers("mfscosts", 0, COST_MAX)),
                ("mfskill", Generated(0o200, write=not_emulated)),
            ]
        )

    def _read_config(self) -> bytes:
        if not self._membership.mospe:
            raise Refused(errno.ENXIO)
        return render_config(self._membership.records)

    def _write_config(self, data: bytes) -> None:
        try:
            records = parse_config(data)
        except TableError as error:
            log.warning("openMosix: configuration refused: %s", error)
            raise Refused(errno.EINVAL) from None
        if self._membership.mospe:
            self._configure(self._membership.mospe, records)
        else:
            self._pending = records

    def _write_mospe(self, data: bytes) -> Empty | None:
        [mospe] = to_ints(data, 0, NODE_MAX)
        members = self._membership
        if mospe == 0:
            self._pending = []
            if members.mospe:
                members.leave(True)
                stay = partial(members.leave, False)
                return Empty(self._migration, guests=True, away=True, finish=members.disable, abandon=stay)
        elif not members.mospe:
            self._configure(mospe, self._pending)
        elif mospe != members.mospe:
            raise Refused(errno.EBUSY)
        return None

    def _configure(self, mospe: int, records: list[Record]) -> None:
        try:
            self._membership.configure(mospe, records)
        except ValueError as error:
            log.warning("openMosix: configuration refused: %s", error)
            raise Refused(errno.EINVAL) from None

    def _toggle(self, name: str) -> Generated:
        def write(data: bytes) -> None:
            [on] = to_ints(data, 0, COST_MAX)
            self._set(name, bool(on))

        return Generated(0o644, lambda: f"{int(name in self._state.toggles)}\n", write)

    def _set(self, name: str, on: bool) -> None:
        if on != (name in self._state.toggles):
            self._state.set_toggle(name, on)
            line = TOGGLE_LOG.get((name, on))
            if line:
                log.info(line)

    def _expel(self, data: bytes) -> Empty:
        to_ints(data, 0, COST_MAX)
        self._set("block", True)
        line = "openMosix: All guest processes evacuated and no further guests allowed in"
        return Empty(self._migration, guests=True, finish=lambda: log.info(line))

    def _bring(self, data: bytes) -> Empty:
        to_ints(data, 0, COST_MAX)
        self._set("lstay", True)
        return Empty(self._migration, away=True)

    def _numbers(self, name: str, low: int, high: int) -> Generated:
        """A file of numbers, TAB separated."""

        def write(data: bytes) -> None:
            self._state.set_numbers(name, to_ints(data, low, high, len(NUMBERS[name])))

        return Generated(0o644, lambda: "\t".join(map(str, self._state.numbers[name])) + "\n", write)

    def _changed(self) -> None:
        [self._prober.gateways] = self._state.numbers["gateways"]
