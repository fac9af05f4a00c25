"""``/etc/mosha.conf``: one ``name = value`` a line, ``#`` begins a comment.

The names and defaults of the paths are those of OpenMosix::HA (mfsbase, hpcbase, mwhois, varpath, mynode).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mosha.tables.errors import TableError, TableErrors
from mosha.timing import Timing

DEFAULT_FILE = "/etc/mosha.conf"
FILE_BYTES_MAX = 65536


@dataclass(frozen=True)
class Config:
    """The settings of one agent."""

    mfsbase: str = "/mfs"
    hpcbase: str = "/proc/hpc"
    mwhois: str = "mosctl whois"
    varpath: str = "var/mosix-ha"
    mynode: int = 0                  # 0: ask `mwhois`
    stomith: str = ""                # command; %n is the node's number; empty: no STOMITH
    stomith_timeout_s: float = 10.0
    root: str = "/"                  # where varpath lies on this node
    rundir: str = "/run/mosha"       # locks of this boot; must be empty after a boot
    timing: Timing = field(default_factory=Timing)

    @property
    def var(self) -> Path:
        """This node's directory of the agent."""
        return Path(self.root, self.varpath.lstrip("/"))

    @property
    def procbase(self) -> str:
        """Where ``<pid>/lock`` is: beside the hpc tree."""
        return os.path.dirname(self.hpcbase.rstrip("/"))

    def peer_file(self, node: int, name: str) -> str:
        """The path of another node's file."""
        return f"{self.mfsbase}/{node}/{self.varpath.lstrip('/')}/{name}"


_SECONDS = {"stomith_timeout": "stomith_timeout_s", "beat": "beat_s", "lease": "lease_s"}
_STRINGS = {f.name for f in fields(Config) if f.type == "str"}


def load(file: str = DEFAULT_FILE) -> Config:
    """Read a configuration file; one that is missing gives the defaults.

    Raises TableErrors with everything that is wrong in it, OSError if it cannot be read.
    """
    try:
        with open(file, encoding="utf-8", errors="replace") as stream:
            text = stream.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        return Config()
    return parse(text, file)


def parse(text: str, file: str = "mosha.conf") -> Config:
    """Parse the text of a configuration file; raises TableErrors."""
    errors: list[TableError] = []
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.split("#", 1)[0].strip()
        if not stripped:
            continue
        name, equals, value = (part.strip() for part in stripped.partition("="))
        if not equals:
            errors.append(TableError(file, number, f"expected `name = value`, got {stripped!r}"))
        elif name in lines:
            errors.append(TableError(file, number, f"{name} was set before, in line {lines[name]}"))
        else:
            lines[name] = number
            try:
                values[_SECONDS.get(name, name)] = _value(name, value)
            except ValueError as error:
                errors.append(TableError(file, number, str(error)))
    times = {key: values.pop(key) for key in ("beat_s", "lease_s") if key in values}
    try:
        timing = Timing(**times)
    except ValueError as error:
        errors.append(TableError(file, max(lines.get("beat", 1), lines.get("lease", 1)), str(error)))
        timing = Timing()
    if errors:
        raise TableErrors(errors)
    return Config(timing=timing, **values)


def _value(name: str, value: str) -> Any:
    if name in _SECONDS:
        seconds = float(value) if value.replace(".", "", 1).isdigit() else 0.0
        if not 0 < seconds < 86400:
            raise ValueError(f"{name} must be a number of seconds, got {value!r}")
        return seconds
    if name == "mynode":
        if not value.isdigit() or not 1 <= int(value) <= 65535:
            raise ValueError(f"mynode must be a node number from 1 to 65535, got {value!r}")
        return int(value)
    if name not in _STRINGS:
        raise ValueError(f"unknown setting {name!r}")
    return value
