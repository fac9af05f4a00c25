"""``/etc/mosha.conf``: one ``name = value`` a line; ``#`` at its beginning or after a blank begins a comment.

Rules:

1. The names and defaults of the paths are those of OpenMosix::HA (mfsbase, hpcbase, mwhois, varpath, mynode). Its
   other parameters are taken as well: ``SAME`` are other names, ``UNUSED`` mean nothing here, as ``mosha check`` says.
2. Each of ``NAMES`` may be a variable of the environment too, ``MOSHA_`` and the name in capitals, or an option: an
   option comes before the environment, and that before the file. A ``stomith`` from there is the only level.
3. What ``stomith``, ``stomith.2`` … and ``plug.NODE`` mean: :mod:`mosha.stomith.devices`. No message contains a value
   of these.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from mosha.ownership import electorate
from mosha.ownership.marker import PROTOCOL
from mosha.platform import plain
from mosha.stomith import shooting
from mosha.stomith.devices import Level, parse_level
from mosha.tables import settings
from mosha.tables.errors import TableError, TableErrors
from mosha.tables.lines import is_node, is_whole, shown
from mosha.timing import SECONDS_MAX, STUCK_S, Timing

DEFAULT_FILE = "/etc/mosha.conf"
FILE_BYTES_MAX = 65536
LEVELS_MAX = 9
OPENMOSIX, SHARED_DIRECTORY = "openmosix", "shared-directory"
PLATFORMS = {OPENMOSIX: "openMosix", SHARED_DIRECTORY: "the shared directory"}
"""With what messages call them."""
RETRIES_MAX = 10
SHOT_MAX_S = 600.0
GRACE_S = 1.0
VARIABLE = "MOSHA_"              # and a name in capitals
FILE_VARIABLE = "MOSHA_CONFIG"   # names the file
SAME = {"timeout": "lease", "cycletime": "beat"}
UNUSED = {
    "balance": "the node with the fewest groups goes first",
    "clinit_s": "the agent has no socket, and is told what to do by a file (docs/operating.md)",
}


class _Settings(NamedTuple):
    platform: str = OPENMOSIX
    shared: str = ""                 # the directory that nodes share without openMosix; else it is empty
    mfsbase: str = "/mfs"
    hpcbase: str = "/proc/hpc"
    mwhois: str = "mosctl whois"
    varpath: str = "var/mosix-ha"
    mynode: int = 0                  # 0: ask `mwhois`
    stomith: tuple[Level, ...] = ()  # empty: no STOMITH
    stomith_timeout_s: float = 10.0  # of one device, once
    stomith_retries: int = 1
    stomith_delay_s: float = 5.0     # of two voters, the one that owns nothing waits so long before it shoots
    stomith_verify: bool = True      # a device that can tell its status must say off after it switched off
    stuck_s: float = 60.0            # a node that cannot end a group is shot so long after SIGKILL; 0: never
    voters: frozenset[int] = frozenset()     # empty: the seven nodes with the lowest numbers on the map
    arbitrator: bool = False         # this node votes, and never runs a group
    root: str = "/"                  # where varpath lies on this node
    rundir: str = "/run/mosha"       # locks of this boot; must be empty after a boot
    log: str = settings.STDERR        # or syslog, or a path
    units: str = settings.AUTO       # how the processes of a group are held together: mosha.platform.units
    timing: Timing = Timing()
    protocol: int = PROTOCOL         # not a setting: what this version of mosha writes
    unused: tuple[str, ...] = ()     # names of settings that were given and mean nothing


class Config(_Settings):
    """The settings of one agent."""

    @property
    def var(self) -> Path:
        """This node's directory of the agent."""
        if self.platform == SHARED_DIRECTORY:
            return Path(self.directory(self.mynode))
        return Path(self.root, self.varpath.lstrip("/"))

    @property
    def lock_path(self) -> str:
        """What a process writes 1 into to stay on this node: beside the hpc tree; empty where none goes away."""
        return "" if self.platform == SHARED_DIRECTORY else f"{os.path.dirname(self.hpcbase.rstrip('/'))}/self/lock"

    @property
    def shooting(self) -> shooting.Settings:
        """The devices, and how they are asked."""
        return shooting.Settings(self.stomith, self.stomith_timeout_s, self.stomith_retries, self.stomith_verify)

    @cached_property
    def shot_limit_s(self) -> float:
        """A shot at one node has ended after this, all levels and retries included."""
        return shooting.limit_s(self.shooting) + GRACE_S

    def directory(self, node: int) -> str:
        """The agent's directory on a node, as a path here."""
        if self.platform == SHARED_DIRECTORY:
            return f"{self.shared}/{node}"
        return f"{self.mfsbase}/{node}/{self.varpath.lstrip('/')}"

    def voters_of(self, nodes: frozenset[int]) -> frozenset[int]:
        """The voters on a map: those that are configured, else the seven nodes with the lowest numbers."""
        return self.voters or frozenset(sorted(nodes)[:electorate.VOTERS_MAX])


_SECONDS = {name: f"{name}_s" for name in ("stomith_timeout", "stomith_delay", "stuck", "beat", "lease")}
_DIRECTORIES = ("mfsbase", "hpcbase", "root", "shared", "rundir")
_STRINGS = {name for name, default in Config._field_defaults.items() if isinstance(default, str)}
_LEVEL = re.compile(r"stomith(?:\.([2-9]))?")
_COMMENT = re.compile(r"(?:^|\s)#")
NAMES = (
    "platform", "shared", "mfsbase", "hpcbase", "mwhois", "mynode", "varpath", "stomith", *SAME, *UNUSED, "beat",
    "lease", "voters", "arbitrator", "stomith_timeout", "stomith_retries", "stomith_delay", "stomith_verify", "stuck",
    "root", "rundir", "units", "log",
)
"""Settings that have one value; those of OpenMosix::HA are behind the first two."""


class Given(NamedTuple):
    """A setting that is not in the file; ``place`` is what messages call it."""

    place: str
    name: str
    text: str


def load(file: str | None = None, given: Iterable[Given] = (), stomith: tuple[Level, ...] = ()) -> Config:
    """Read a configuration: the file, the environment, and what is given besides; ``stomith`` is in the place of all
    levels. None is the file that ``MOSHA_CONFIG`` names, or ``DEFAULT_FILE``, which may be missing.

    Raises TableErrors with everything that is wrong in it.
    """
    name = file_of(file)
    try:
        content = plain.read(name, FILE_BYTES_MAX) if name != os.devnull else b""
    except OSError as error:
        if name is not DEFAULT_FILE or not isinstance(error, FileNotFoundError):
            raise TableErrors([TableError(name, 0, error.strerror or str(error))]) from None
        content = b""
    if len(content) > FILE_BYTES_MAX:
        raise TableErrors([TableError(name, 0, f"longer than {FILE_BYTES_MAX} bytes")])
    return parse(content.decode("utf-8", "replace"), name, (_variables(os.environ), given), stomith)


def file_of(file: str | None) -> str:
    """The name of the configuration file."""
    return file or os.environ.get(FILE_VARIABLE) or DEFAULT_FILE


def _variables(environment: Mapping[str, str]) -> Iterable[Given]:
    for name in NAMES:
        variable = f"{VARIABLE}{name.upper()}"
        if variable in environment:
            yield Given(variable, name, environment[variable])


def parse(
    text: str, file: str = "mosha.conf", given: Iterable[Iterable[Given]] = (), stomith: tuple[Level, ...] = (),
) -> Config:
    """Parse the text of a configuration file, and what is given besides, from several places, the last comes first;
    raises TableErrors."""
    parser = _Parser(text, file)
    for place in given:
        parser.add(place)
    return parser.config(stomith)


class _Place(NamedTuple):
    file: str
    line: int


class _Parser:
    """Settings first as texts, then as values; every problem with its line."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._errors: list[TableError] = []
        self._places: dict[str, _Place] = {}         # of each setting, in the order in which they are read
        self._texts: dict[str, str] = {}
        for number, line in enumerate(text.split("\n"), 1):
            stripped = _COMMENT.split(line, maxsplit=1)[0].strip()
            if stripped:
                self._take(number, stripped)

    def add(self, given: Iterable[Given]) -> None:
        """What comes before what was read until now."""
        before = self._texts
        self._texts = {}
        for place, name, text in given:
            self._set(_Place(place, 0), name, text.strip())
        only = {"stomith"} & set(self._texts)
        kept = {name: text for name, text in before.items() if not only or not _LEVEL.fullmatch(name)}
        self._texts = {**kept, **self._texts}

    def config(self, stomith: tuple[Level, ...] = ()) -> Config:
        """Raises TableErrors."""
        values: dict[str, Any] = {"unused": tuple(name for name in UNUSED if name in self._texts)}
        plugs: dict[int, str] = {}
        levels: dict[str, str] = {}
        for name, text in self._texts.items():
            try:
                if name in UNUSED:
                    continue
                if _LEVEL.fullmatch(name):
                    levels[name] = text
                elif name.startswith("plug."):
                    node, plug = _plug(name, text)
                    plugs[node] = plug
                else:
                    values[_SECONDS.get(name, name)] = _value(name, text)
            except ValueError as error:
                self._problem(name, str(error))
        stomith = stomith or self._levels(levels, plugs)
        timing = self._timing({key: values.pop(key) for key in ("beat_s", "lease_s") if key in values})
        config = Config(timing=timing, stomith=stomith, **values)
        self._check_platform(config)
        if config.shot_limit_s > SHOT_MAX_S:
            self._problem(
                "stomith_timeout" if "stomith_timeout" in self._texts else "stomith",
                f"a shot could take {config.shot_limit_s:g} s, with all levels, devices and retries: "
                f"at most {SHOT_MAX_S:g} s",
            )
        if self._errors:
            raise TableErrors(sorted(self._errors, key=lambda error: error.line))
        return config

    def _check_platform(self, config: Config) -> None:
        if config.platform == SHARED_DIRECTORY and not (config.shared and config.mynode):
            self._problem("platform", f"platform = {SHARED_DIRECTORY} needs shared = DIRECTORY and mynode = NUMBER")
        elif config.platform != SHARED_DIRECTORY and config.shared:
            self._problem("shared", f"shared is for platform = {SHARED_DIRECTORY}")

    def _take(self, number: int, stripped: str) -> None:
        name, equals, value = (part.strip() for part in stripped.partition("="))
        if "\0" in stripped:
            self._errors.append(TableError(self._file, number, "NUL character in line"))
        elif not equals:
            first = stripped.split()[0]             # not more: there may be a password in it
            self._errors.append(TableError(self._file, number, f"expected `name = value`, got {shown(first)} …"))
        else:
            self._set(_Place(self._file, number), name, value)

    def _set(self, place: _Place, said: str, text: str) -> None:
        name = SAME.get(said, said)
        if name in self._texts:
            before = self._places[name]
            where = f", in line {before.line}" if before.line else f" by {before.file}"
            what = said if said == name else f"{said}, which is {name},"
            self._errors.append(TableError(*place, f"{what} was set before{where}"))
            return
        self._places.pop(name, None)
        self._places[name], self._texts[name] = place, text

    def _problem(self, name: str, reason: str) -> None:
        self._errors.append(TableError(*self._places.get(name, _Place(self._file, 1)), reason))

    def _levels(self, texts: dict[str, str], plugs: dict[int, str]) -> tuple[Level, ...]:
        """In the order of their numbers, which leave none out. An empty `stomith` is none."""
        levels: list[Level] = []
        wanted = "stomith"
        for name in sorted(texts):
            try:
                if name != wanted:
                    raise ValueError(f"{name} without {wanted}: levels are stomith, stomith.2, … stomith.{LEVELS_MAX}")
                if texts[name]:
                    levels.append(parse_level(texts[name], plugs))
                    wanted = f"stomith.{len(levels) + 1}"
            except ValueError as error:
                self._problem(name, str(error))
                break
        return tuple(levels)

    def _timing(self, times: dict[str, float]) -> Timing:
        try:
            return Timing(**times)
        except ValueError as error:
            last = [name for name in self._places if name in ("beat", "lease")]
            self._problem(last[-1], str(error))
            return Timing()


def _words(command: str) -> list[str]:
    """Empty for what is no command."""
    try:
        return shlex.split(command)
    except ValueError:
        return []


def _plug(name: str, value: str) -> tuple[int, str]:
    node = name.partition(".")[2]
    if not is_node(node):
        raise ValueError(f"{name}: plug.NODE needs a node number from 1 to 65535")
    if not value or len(value.split()) != 1:
        raise ValueError(f"{name} must be one word, what the device calls the plug of node {node}")
    return int(node), value


def _value(name: str, value: str) -> Any:
    if name == "stuck":
        if not _is_decimal(value) or not (float(value) == 0 or STUCK_S <= float(value) < SECONDS_MAX):
            raise ValueError(f"stuck must be 0, or at least {STUCK_S:g} seconds, got {value!r}")
        return float(value)
    if name in _SECONDS:
        seconds = float(value) if _is_decimal(value) else 0.0
        if not 0 < seconds < SECONDS_MAX:
            raise ValueError(f"{name} must be a number of seconds, got {value!r}")
        return seconds
    if name == "units":
        return settings.holds(value)
    if name == "mynode":
        if not is_node(value):
            raise ValueError(f"mynode must be a node number from 1 to 65535, got {value!r}")
        return int(value)
    if name == "stomith_retries":
        if not is_whole(value, 0, RETRIES_MAX):
            raise ValueError(f"stomith_retries must be a number from 0 to {RETRIES_MAX}, got {value!r}")
        return int(value)
    if name == "voters":
        return electorate.named(value.replace(",", " ").split())
    if name in ("stomith_verify", "arbitrator"):
        if value not in ("yes", "no"):
            raise ValueError(f"{name} must be yes or no, got {value!r}")
        return value == "yes"
    if name not in _STRINGS:
        raise ValueError(f"unknown setting {name!r}")
    if name == "mwhois":
        if not _words(value):
            raise ValueError(f"mwhois must be a command, got {value!r}")
        return value
    if name == "platform":
        if value not in PLATFORMS:
            raise ValueError(f"platform must be {' or '.join(PLATFORMS)}, got {value!r}")
        return value
    if name in _DIRECTORIES and not value.startswith("/"):
        raise ValueError(f"{name} must be an absolute path, got {value!r}")
    if name == "shared":
        return value.rstrip("/") or value
    if name == "rundir":
        return os.path.realpath(value)               # processes of one life are told by it
    if name == "varpath":
        parts = set(value.split("/")) - {"", "."}
        if not parts or ".." in parts:
            raise ValueError(f"varpath must name a directory below root, without .., got {value!r}")
    if name == "log":
        if value not in (settings.STDERR, settings.SYSLOG) and not value.startswith("/"):
            raise ValueError(f"log must be {settings.STDERR}, {settings.SYSLOG} or an absolute path, got {value!r}")
        return value
    return value


def _is_decimal(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit()
