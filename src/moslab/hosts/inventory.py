"""The machines that a test may have: a file of TOML (docs/laboratory.md shows one).

Rules:

1. ``[every]`` says what all machines have unless one says otherwise. In commands ``%n`` is the number of a machine and
   ``%a`` its address, as in a line of STOMITH.
2. Paths are beside the file. A name that nobody knows is an error.
3. ``[mosha]`` is what the agents' configuration has of these machines, line for line; of what the laboratory decides
   (``LABORATORY``) it can say nothing.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mosha.config import Config
from moslab.errors import CannotError
from moslab.files import load

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FILE_BYTES_MAX = 1 << 20
MACHINES_MIN, MACHINES_MAX = 2, 64
LABORATORY = ("platform", "shared", "varpath", "rundir", "root", "voters", "beat", "lease", "mynode", "arbitrator")
STOMITH = re.compile(r"stomith|stomith\.[2-9]|plug\..*")
HPC, MFS = "hpcbase", "mfsbase"


class InventoryError(CannotError):
    """What is wrong with the file."""


@dataclass(frozen=True)
class Machine:
    """One of them. ``address`` is by what nodes reach it, ``ssh`` by what the laboratory does; ``off`` and ``on`` are
    the commands of its power, which run here."""

    number: int
    address: str
    ssh: str = ""
    port: int = 22
    user: str = "root"
    key: str = ""
    known_hosts: str = ""
    off: str = ""
    on: str = ""
    cut: bool = True

    def power(self, command: str) -> list[str]:
        """The words of one of its commands (rule 1)."""
        return [word.replace("%n", str(self.number)).replace("%a", self.address) for word in shlex.split(command)]


@dataclass(frozen=True)
class Inventory:
    """See the head of the module."""

    machines: tuple[Machine, ...]
    mosha: Mapping[str, str]

    @property
    def numbers(self) -> tuple[int, ...]:
        return tuple(machine.number for machine in self.machines)

    def conf(self, stomith: bool) -> str:
        """Rule 3; without ``stomith`` nothing of that."""
        return "".join(f"{name} = {value}\n" for name, value in self.mosha.items()
                       if stomith or not STOMITH.fullmatch(name))

    @property
    def voters(self) -> tuple[int, ...]:
        """The first ones."""
        return tuple(sorted(Config().voters_of(frozenset(self.numbers))))

    @property
    def can_shoot(self) -> bool:
        return "stomith" in self.mosha


def read(path: Path) -> Inventory:
    """InventoryError, with the file's name, says what is wrong."""
    return load(path, FILE_BYTES_MAX, lambda text: parse(text, path.parent.resolve()), InventoryError)


def parse(text: str, beside: Path) -> Inventory:
    """See the rules; InventoryError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InventoryError(str(error)) from None
    every, mosha, listed = data.pop("every", {}), data.pop("mosha", {}), data.pop("machine", [])
    tables = [every, mosha, *(listed if isinstance(listed, list) else [None])]
    if data or not all(isinstance(table, dict) for table in tables):
        raise InventoryError(f"[every], [mosha] and [[machine]] are all that there is, not {', '.join(data) or 'this'}")
    machines = sorted((_machine({**every, **one}, beside) for one in listed), key=lambda one: one.number)
    if not MACHINES_MIN <= len(machines) <= MACHINES_MAX:
        raise InventoryError(f"{MACHINES_MIN} to {MACHINES_MAX} machines, not {len(machines)}")
    for name in ("number", "address"):
        if len({getattr(one, name) for one in machines}) < len(machines):
            raise InventoryError(f"two machines have one {name}")
    ours = [name for name in mosha if name in LABORATORY]
    if ours:
        raise InventoryError(f"[mosha] {ours[0]}: that is the laboratory's")
    return Inventory(tuple(machines), {name: _line(name, value) for name, value in mosha.items()})


def _machine(given: Mapping[str, Any], beside: Path) -> Machine:
    kinds = {"int": int, "str": str, "bool": bool}
    known = {field.name: kinds[str(field.type)] for field in fields(Machine)}
    for name, value in given.items():
        if type(value) is not known.get(name):
            wanted = f"{known[name].__name__}, not {value!r}" if name in known else "no machine has that"
            raise InventoryError(f"[[machine]] {name}: {wanted}")
    for name in ("number", "port"):
        if given.get(name, 1) < 1:
            raise InventoryError(f"[[machine]] {name}: from 1 on, not {given[name]}")
    for name in ("number", "address"):
        if not given.get(name):
            raise InventoryError(f"[[machine]] needs a {name}")
    try:
        ipaddress.IPv4Address(given["address"])              # by which the packet filter knows it
    except ValueError:
        raise InventoryError(f"[[machine]] address: an IPv4 address, not {given['address']!r}") from None
    for name in ("ssh", "user"):
        if given.get(name, "").startswith("-"):              # it would be an option of ssh
            raise InventoryError(f"[[machine]] {name}: {given[name]!r}")
    paths = {name: str(beside / given[name]) for name in ("key", "known_hosts") if given.get(name)}
    machine = Machine(**{**given, **paths})
    for command in (machine.off, machine.on):
        try:
            shlex.split(command)
        except ValueError as error:
            raise InventoryError(f"machine {machine.number}: {command!r}: {error}") from None
    if bool(machine.off) != bool(machine.on):
        raise InventoryError(f"machine {machine.number}: off and on, or neither")
    return machine


def _line(name: str, value: object) -> str:
    if not isinstance(value, (str, int)) or isinstance(value, bool) or not f"{name}{value}".isprintable():
        raise InventoryError(f"[mosha] {name}: a text of one line, or a number")
    return str(value)
