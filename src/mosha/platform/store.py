"""A directory on a local disk as the agent uses it: see :class:`mosha.platform.world.Store`.

What lies in the place of one of its files, and is none (a directory, FIFO, device, link to nowhere), is put aside as
soon as that file is wanted: it is ``.NAME.strange-N`` from then on, the log says so, and the file is as one that is
missing. The tables are left alone: they are people's. A table that is a link within the file system of the directory
stays one: what it leads to is written.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import signal
import stat
from contextlib import suppress
from pathlib import Path
from typing import Callable, TypeVar

from mosha.platform import mountinfo, plain

log = logging.getLogger(__name__)

T = TypeVar("T")
TABLES = ("cltab", "hactl")
STRANGE_MAX = 16                 # of one name; then it is in the way, and stays there
PART_BYTES = 65536               # of one read: a larger one has memory mapped for it first
_WRITING = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = _WRITING | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW


class LocalStore:
    """Small files in one directory, which is made if it is missing; every method may raise OSError.

    What is not finished lies in ``.NAME.new``, or, for a ``writer`` beside the agent, in ``.NAME.WRITER.new``: at most
    one for each, whoever was killed. Of one writer there may be one process at a time.
    """

    def __init__(self, directory: str | Path, writer: str = "", say: Callable[[str], None] = log.error) -> None:
        self._directory, self._say = Path(directory), say
        self._suffix = f".{writer}.new" if writer else ".new"
        self._directory.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """The content, at most ``bytes_max`` + 1 bytes of it; None if there is no such file."""
        try:
            return self._read(name, bytes_max)
        except FileNotFoundError:
            return None
        except OSError:
            if not self._put_aside(name):
                raise
            return None

    def _read(self, name: str, bytes_max: int) -> bytes:
        """These are the calls that it takes: open() makes three more."""
        path = f"{self._directory}/{name}"
        fd = os.open(path, plain.READING)
        plain.checked(fd, path)
        parts, left = [], bytes_max + 1
        try:
            while left > 0:
                part = os.read(fd, min(left, PART_BYTES))
                if not part:
                    break
                parts.append(part)
                left -= len(part)
        except OSError as error:
            error.filename = path
            raise
        finally:
            os.close(fd)
        return b"".join(parts)

    def replace(self, name: str, content: bytes, durable: bool = False) -> None:
        """Whole or not at all; ``durable``: and on the disk when it returns."""
        temporary = self._written(name, content, durable)
        place = self._place(name)
        self._cleared(name, lambda: os.replace(temporary, place))
        if durable:
            self._sync_directory(name)

    def supplant(self, name: str, content: bytes, aside: str) -> bool:
        """Durably put the content there, and what lay there, whatever it is by then, under the name ``aside``. False:
        somebody made a file of that name meanwhile, which stays. Where it fails what lay there lies there again.

        Where the file system has no hard links (FAT, some shared directories) a crash may leave half of the content.
        """
        temporary, place = self._written(name, content, durable=True), self._place(name)
        is_aside = False
        try:
            with suppress(FileNotFoundError):
                self._cleared(aside, lambda: os.replace(place, self._directory / aside))
                is_aside = True
            self._link(temporary, place, content)
            if is_aside and os.path.islink(self._directory / aside):
                self._say(f"{place} was a link that leaves this file system: it is a file now, that link {aside}")
        except FileExistsError:
            return False
        except OSError:
            if is_aside:
                self.rename(aside, name)
            raise
        finally:
            os.unlink(temporary)
            self._sync_directory(name)
        return True

    def write(self, name: str, content: bytes) -> None:
        """Over the beginning of the file, in place: readers may keep it open, and meet it torn."""
        written = self._cleared(name, lambda: self._made(lambda: self._write(name, content)))
        if written != len(content):
            raise OSError(f"short write of {name} ({written} of {len(content)} bytes)")

    def _write(self, name: str, content: bytes) -> int:
        path = self._directory / name
        fd = plain.checked(os.open(path, _WRITING | os.O_CREAT, 0o644), path)
        try:
            with plain.named(path):
                return os.pwrite(fd, content, 0)
        finally:
            os.close(fd)

    def sync(self, name: str) -> None:
        """What the file has now is on the disk."""
        path = self._directory / name
        fd = os.open(path, _WRITING)
        try:
            with plain.named(path):
                os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Durably, over the new name's file, if there is one."""
        place = self._place(new)
        self._cleared(new, lambda: os.replace(self._directory / old, place))
        self._sync_directory(new)

    def remove(self, name: str, durable: bool = False) -> bool:
        """Whether there was such a file: of two that remove one, one is told so. ``durable``: it does not come back."""
        try:
            self._cleared(name, lambda: os.unlink(self._directory / name))
        except FileNotFoundError:
            return False
        if durable:
            self._sync_directory(name)
        return True

    def is_being_written(self, name: str) -> bool:
        """Whether somebody has that file open to write; False where the machine does not tell, and where there is none.

        The kernel gives a read lease only for a file that nobody has open to write (since Linux 2.4). Some file systems
        refuse all with the same error: so a file that nobody can have open is asked about as well. NFS tells nothing:
        since Linux 5.9 it gives leases where the server has delegated that file, whoever writes it.
        """
        try:
            if self._may_lease(self._directory / name) or self._is_remote():
                return False
        except FileNotFoundError:
            return False
        quiet = self._written(name, b"", durable=False)
        try:
            return self._may_lease(quiet)
        finally:
            os.unlink(quiet)

    @staticmethod
    def _may_lease(file: str | Path) -> bool:
        """Whether the kernel gives a read lease, or cannot say why not; it is given back at once."""
        fd = os.open(file, plain.READING)
        try:
            fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)       # it is told so if somebody opens it amid that
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        except OSError as error:
            return error.errno != errno.EAGAIN
        finally:
            os.close(fd)
        return True

    def _is_remote(self) -> bool:
        """Whether the directory is on NFS; False where the kernel does not say (before Linux 2.6.26)."""
        device = os.stat(self._directory).st_dev
        number = f"{os.major(device)}:{os.minor(device)}"
        try:
            mounts = mountinfo.read()
        except OSError:
            return False
        return any(mount.device == number and mount.kind.startswith("nfs") for mount in mounts)

    def list(self) -> list[str]:
        """The names, sorted; a file that :meth:`replace` has not finished is not one."""
        return sorted(name for name in self._made(lambda: os.listdir(self._directory)) if not name.startswith("."))

    def _written(self, name: str, content: bytes, durable: bool) -> str:
        new = f".{name}{self._suffix}"
        temporary = f"{self._directory}/{new}"
        fd = self._cleared(new, lambda: self._made(lambda: os.open(temporary, _NEW, 0o666)))
        try:
            with plain.named(temporary):
                left = memoryview(content)
                while left:
                    left = left[os.write(fd, left) :]
                if durable:
                    os.fsync(fd)
        finally:
            os.close(fd)
        return temporary

    def _place(self, name: str) -> Path:
        """What is to be written: see the head of the module."""
        file = self._directory / name
        if name not in TABLES or not file.is_symlink():
            return file
        target = Path(os.path.realpath(file))
        try:
            is_here = os.stat(target.parent).st_dev == os.stat(self._directory).st_dev
        except OSError:
            return file
        return target if is_here and (target.is_file() or not os.path.lexists(target)) else file

    @staticmethod
    def _link(temporary: str, file: Path, content: bytes) -> None:
        """Give the name to the content; raises FileExistsError where it is taken."""
        try:
            os.link(temporary, file)
        except FileExistsError:
            raise
        except OSError:                              # there are no links here, or the disk fails
            with open(file, "xb") as stream:
                try:
                    stream.write(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                except OSError:
                    os.unlink(file)
                    raise

    def _cleared(self, name: str, use: Callable[[], T]) -> T:
        """What ``use`` gives; once more, where what lies there was in its way."""
        try:
            return use()
        except OSError:
            if not self._put_aside(name):
                raise
            return use()

    def _put_aside(self, name: str) -> bool:
        """What lies there and is no file; whether there was anything like that."""
        file = self._directory / name
        try:                                         # what is not finished yet is no link either
            if name in TABLES or stat.S_ISREG(os.stat(file, follow_symlinks=not name.startswith(".")).st_mode):
                return False
        except OSError:
            if not os.path.islink(file):
                return False
        names = (f".{name.lstrip('.')}.strange-{number}" for number in range(STRANGE_MAX))
        free = next((one for one in names if not os.path.lexists(self._directory / one)), "")
        try:
            if free:
                os.rename(file, self._directory / free)
        except OSError:
            return False
        if free:
            self._say(f"{file} was no file: that is {self._directory}/{free} now")
        return bool(free)

    def _made(self, use: Callable[[], T]) -> T:
        """What ``use`` gives; somebody may have removed the directory."""
        try:
            return use()
        except FileNotFoundError:
            self._directory.mkdir(parents=True, exist_ok=True)
            return use()

    def _sync_directory(self, name: str) -> None:
        """The directory, and where a table is that is a link."""
        for path in dict.fromkeys((self._directory, self._place(name).parent)):
            directory = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                with plain.named(path):
                    os.fsync(directory)
            finally:
                os.close(directory)
