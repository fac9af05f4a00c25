"""Where the files of a stand-alone daemon are: its cltab says so, else whoever calls, else it is the usual place."""

from __future__ import annotations

import os
from dataclasses import dataclass

from mosha.platform import plain
from mosha.tables import cltab, settings
from mosha.tables.errors import TableError, TableErrors
from mosha.tables.lines import TABLE_BYTES_MAX

DEFAULT_CLTAB = "/etc/cltab"
DEFAULT_SOCKET = "/var/run/clinit/clinit.s"
DEFAULT_CLSTAT = "/var/run/clinit/clstat"
HEARTBEAT_S = 10.0


@dataclass(frozen=True)
class Places:
    """Absolute paths; ``log`` may be another place, see :mod:`mosha.tables.settings`. ``rundir`` is a directory beside
    the socket. ``units``: how groups are held."""

    cltab: str
    socket: str
    clstat: str
    log: str
    heartbeat_s: float
    units: str

    @property
    def rundir(self) -> str:
        """For the locks of a life, and what groups hold besides processes."""
        return f"{self.socket}.run"


def find(table: str, socket: str | None = None, clstat: str | None = None, log: str | None = None) -> Places:
    """The settings lines that are right, in whatever a table, come before the arguments. Raises TableErrors where two
    are one file: clstat is written over whatever is there."""
    try:
        said = settings.read(cltab.settings_of(read(table)))
    except OSError:
        said = settings.Settings()
    log = said.log or log or settings.STDERR
    found = Places(
        os.path.abspath(table),
        os.path.abspath(said.socket or socket or DEFAULT_SOCKET),
        os.path.abspath(said.clstat or clstat or DEFAULT_CLSTAT),
        log if log in (settings.STDERR, settings.SYSLOG) else os.path.abspath(log),
        said.heartbeat_s or HEARTBEAT_S,
        said.units or settings.AUTO,
    )
    files = {"cltab": found.cltab, "socket": found.socket, "clstat": found.clstat, "log": found.log}
    names: dict[str, str] = {}
    for name, file in files.items():
        other = names.setdefault(os.path.realpath(file), name)
        if other != name:
            raise TableErrors([TableError(found.cltab, 0, f"{other} and {name} are one file, {file}")])
    return found


def read(path: str) -> str:
    """The text of a table, or of clstat; a little more than may be in a table, at most. Raises OSError, and waits for
    nobody."""
    return plain.read(path, TABLE_BYTES_MAX).decode("utf-8", "surrogateescape")
