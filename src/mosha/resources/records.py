"""What the leash knows of a group's mounts, also when their holder was killed: one small file for each.

Rules:

1. The file is there before the mount is made, and until nothing of it can be left. The run directory is empty after a
   boot, as are mounts.
2. Whoever holds the mount, or is ending it, has the file locked, by a descriptor that its death closes: in state D
   it is not dead. Who changes the file puts a new one, locked as well, in its place.
3. A mount that was unmounted while its file system may go on names its device: see :mod:`mosha.resources.ending`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Callable

from mosha.platform.mountinfo import Mount, top

DIRECTORY = "mounts"
HASH_CHARACTERS = 32
BYTES_MAX = 65536


@dataclass(frozen=True)
class Content:
    """What a record says. ``number`` is None until the mount was seen; ``lingers``: rule 3."""

    group: str
    directory: str
    source: str
    number: int | None = None
    lingers: str = ""

    @property
    def name(self) -> str:
        """Of the file."""
        return hashlib.sha256(f"{self.group}\0{self.directory}".encode(errors="surrogateescape")).hexdigest()[
            :HASH_CHARACTERS
        ]

    def find(self, mounts: Sequence[Mount]) -> Mount | None:
        """The mount of this record, if it is there."""
        if self.number is None:
            return top(mounts, self.directory)       # there was none before the record
        return next((m for m in mounts if (m.number, m.directory) == (self.number, self.directory)), None)


class Busy(Exception):
    """Somebody holds that mount, or is ending it."""


class Record:
    """One record, locked until :meth:`close` or :meth:`remove`."""

    def __init__(self, path: Path, fd: int, content: Content) -> None:
        self.content, self.fd = content, fd
        self._path = path

    def update(self, **changes: Any) -> None:
        """Raises OSError."""
        before = self.fd
        self.content = replace(self.content, **changes)
        self.fd = _put(self._path, self.content, os.rename)
        os.close(before)

    def close(self) -> None:
        """Unlock it."""
        os.close(self.fd)

    def remove(self) -> None:
        """Nothing of the mount is left."""
        self._path.unlink(missing_ok=True)
        self.close()


def write(rundir: str, content: Content) -> Record:
    """A new record, where there is none. Raises Busy, OSError."""
    directory = Path(rundir, DIRECTORY)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / content.name
    return Record(path, _put(path, content, os.link), content)


def lock(rundir: str, content: Content) -> Record | None:
    """The record of that group and directory; None if there is none. Raises Busy, OSError."""
    path = Path(rundir, DIRECTORY, content.name)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        _lock(fd)
        if os.fstat(fd).st_nlink == 0:
            raise Busy                               # it was replaced just now
        return Record(path, fd, _parse(os.read(fd, BYTES_MAX)) or content)
    except BaseException:
        os.close(fd)
        raise


def contents(rundir: str, group: str | None) -> list[Content]:
    """Of all records of the group (``None``: of any); mounts that lie in others come first."""
    directory = Path(rundir, DIRECTORY)
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    found = [_parse(_read(directory / name)) for name in names if not name.startswith(".")]
    wanted = [one for one in found if one is not None and (one.group == group if group else one.group)]
    return sorted(wanted, key=lambda one: one.directory.count("/"), reverse=True)


def _put(path: Path, content: Content, place: Callable[[Path, Path], None]) -> int:
    """The descriptor of the new file, locked; ``place`` gives it its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        _lock(fd)
        os.write(fd, json.dumps(asdict(content)).encode())
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


def _lock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise Busy from None
        raise


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""                                   # it was removed just now


def _parse(text: bytes) -> Content | None:
    try:
        return Content(**json.loads(text))
    except (ValueError, TypeError):
        return None                                  # not written by this program: a record is never half there
