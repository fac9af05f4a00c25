"""What the leash knows of a group's addresses and mounts, also when their holder was killed: one small file for each.

Rules:

1. The file is there before what it tells of is made, and until nothing of that can be left. The run directory is empty
   after a boot, as are addresses and mounts.
2. Whoever holds it, or is ending it, has the file locked, by a descriptor that its death closes: in state D it is not
   dead. Who changes the file puts a new one, locked as well, in its place.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Callable, ClassVar, Generic, TypeVar

from mosha import config
from mosha.platform import plain, procscan
from mosha.platform.locks import try_lock
from mosha.resources.errors import ResourceError
from mosha.tables.errors import TableErrors

RUN_VARIABLE = procscan.RUN
"""Tells a group's commands where the run directory of the agent is."""

HASH_CHARACTERS = 32
BYTES_MAX = 65536


class Content:
    """What a record says: which group has something. ``KIND`` names the directory of all records of that sort."""

    KIND: ClassVar[str]

    def __init__(self, group: str) -> None:
        self.group = group

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def what(self) -> str:
        """It: only one process of a group may hold it."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """Of the file."""
        of = f"{self.group}\0{self.what}".encode(errors="surrogateescape")
        return hashlib.sha256(of).hexdigest()[:HASH_CHARACTERS]


C = TypeVar("C", bound=Content)


class Busy(Exception):
    """Somebody holds it, or is ending it."""


class Record(Generic[C]):
    """One record, locked until :meth:`close` or :meth:`remove`."""

    def __init__(self, path: Path, fd: int, content: C) -> None:
        self.content, self.fd = content, fd
        self._path = path

    def update(self, **changes: Any) -> None:
        """Raises OSError."""
        before = self.fd
        self.content = type(self.content)(**{**vars(self.content), **changes})
        self.fd = _put(self._path, self.content, os.rename)
        os.close(before)

    def close(self) -> None:
        """Unlock it."""
        os.close(self.fd)

    def remove(self) -> None:
        """Nothing is left of what it told of."""
        self._path.unlink(missing_ok=True)
        self.close()


def run_directory() -> str:
    """Of the agent: that of the leash, or by the configuration. Raises ResourceError."""
    try:
        return os.environ.get(RUN_VARIABLE) or config.load().rundir
    except TableErrors as errors:
        raise ResourceError(errors.errors[0]) from None


def write(rundir: str, content: C) -> Record[C]:
    """A new record, where there is none. Raises Busy, OSError."""
    directory = Path(rundir, content.KIND)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / content.name
    return Record(path, _put(path, content, os.link), content)


def lock(rundir: str, content: C) -> Record[C] | None:
    """The record of that group that has the same name; None if there is none. Raises Busy, OSError."""
    path = Path(rundir, content.KIND, content.name)
    try:
        fd = os.open(path, plain.READING)
    except FileNotFoundError:
        return None
    try:
        if not try_lock(fd):
            raise Busy
        if os.fstat(fd).st_nlink == 0:
            raise Busy                               # it was replaced just now
        return Record(path, fd, _parse(type(content), os.read(fd, BYTES_MAX)) or content)
    except BaseException:
        os.close(fd)
        raise


def contents(rundir: str, kind: type[C], group: str | None) -> list[C]:
    """Of all records of that kind and of the group (``None``: of any)."""
    directory = Path(rundir, kind.KIND)
    try:
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    found = [_parse(kind, _read(directory / name)) for name in names if not name.startswith(".")]
    return [one for one in found if one is not None and (one.group == group if group else one.group)]


def _put(path: Path, content: Content, place: Callable[[Path, Path], None]) -> int:
    """The descriptor of the new file, locked; ``place`` gives it its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        if not try_lock(fd):
            raise Busy
        os.write(fd, json.dumps(vars(content)).encode())
        place(temporary, path)
    except FileExistsError:
        os.close(fd)
        raise Busy from None                         # somebody was quicker
    except BaseException:
        os.close(fd)
        raise
    finally:
        temporary.unlink(missing_ok=True)
    return fd


def _read(path: Path) -> bytes:
    try:
        return plain.read(path, BYTES_MAX)
    except OSError:
        return b""                                   # it was removed just now


def _parse(kind: type[C], text: bytes) -> C | None:
    try:
        return kind(**json.loads(text))
    except (ValueError, TypeError, RecursionError):
        return None                                  # not written by this program: a record is never half there
