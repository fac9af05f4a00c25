"""A directory on a local disk as the agent uses it: see :class:`mosha.platform.world.Store`."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Callable, TypeVar

from mosha.platform import mountinfo

T = TypeVar("T")
PART_BYTES = 65536               # of one read: a larger one has memory mapped for it first
READING = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC       # it waits for nobody: a FIFO may lie there
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC


class LocalStore:
    """Small files in one directory, which is made if it is missing; every method may raise OSError.

    What is not finished lies in ``.NAME.new``, or, for a ``writer`` beside the agent, in ``.NAME.WRITER.new``: at most
    one for each, whoever was killed. Of one writer there may be one process at a time.
    """

    def __init__(self, directory: str | Path, writer: str = "") -> None:
        self._directory = Path(directory)
        self._suffix = f".{writer}.new" if writer else ".new"
        self._directory.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """The content, at most ``bytes_max`` + 1 bytes of it; None if there is no such file."""
        try:                                     # these are the calls that it takes: open() makes three more
            fd = os.open(f"{self._directory}/{name}", READING)
        except FileNotFoundError:
            return None
        parts, left = [], bytes_max + 1
        try:
            while left > 0:
                part = os.read(fd, min(left, PART_BYTES))
                if not part:
                    break
                parts.append(part)
                left -= len(part)
        except OSError as error:
            error.filename = f"{self._directory}/{name}"
            raise
        finally:
            os.close(fd)
        return b"".join(parts)

    def replace(self, name: str, content: bytes, durable: bool = False) -> None:
        """Whole or not at all; ``durable``: and on the disk when it returns."""
        os.replace(self._written(name, content, durable), f"{self._directory}/{name}")
        if durable:
            self._sync_directory()

    def supplant(self, name: str, content: bytes, aside: str) -> bool:
        """Durably put the content there, and what lay there, whatever it is by then, under the name ``aside``. False:
        somebody made a file of that name meanwhile, which stays. Where it fails what lay there lies there again.

        Where the file system has no hard links (FAT, some shared directories) a crash may leave half of the content.
        """
        temporary = self._written(name, content, durable=True)
        is_aside = False
        try:
            with suppress(FileNotFoundError):
                os.replace(self._directory / name, self._directory / aside)
                is_aside = True
            self._link(temporary, self._directory / name, content)
        except FileExistsError:
            return False
        except OSError:
            if is_aside:
                self.rename(aside, name)
            raise
        finally:
            os.unlink(temporary)
            self._sync_directory()
        return True

    def write(self, name: str, content: bytes) -> None:
        """Over the beginning of the file, in place: readers may keep it open, and meet it torn."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        fd = self._made(lambda: os.open(self._directory / name, flags, 0o644))
        try:
            written = os.pwrite(fd, content, 0)
        finally:
            os.close(fd)
        if written != len(content):
            raise OSError(f"short write of {name} ({written} of {len(content)} bytes)")

    def sync(self, name: str) -> None:
        """What the file has now is on the disk."""
        fd = os.open(self._directory / name, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def rename(self, old: str, new: str) -> None:
        """Durably, over the new name's file, if there is one."""
        os.replace(self._directory / old, self._directory / new)
        self._sync_directory()

    def remove(self, name: str, durable: bool = False) -> bool:
        """Whether there was such a file: of two that remove one, one is told so. ``durable``: it does not come back."""
        try:
            os.unlink(self._directory / name)
        except FileNotFoundError:
            return False
        if durable:
            self._sync_directory()
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
        fd = os.open(file, READING)
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
        temporary = f"{self._directory}/.{name}{self._suffix}"
        fd = self._made(lambda: os.open(temporary, _NEW, 0o666))
        try:
            left = memoryview(content)
            while left:
                left = left[os.write(fd, left) :]
            if durable:
                os.fsync(fd)
        finally:
            os.close(fd)
        return temporary

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

    def _made(self, use: Callable[[], T]) -> T:
        """What ``use`` gives; somebody may have removed the directory."""
        try:
            return use()
        except FileNotFoundError:
            self._directory.mkdir(parents=True, exist_ok=True)
            return use()

    def _sync_directory(self) -> None:
        directory = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
