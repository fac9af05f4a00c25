"""Random operations end the same way through ``/mfs`` as on a plain directory, and leave the same files."""

from __future__ import annotations

import errno
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.mfs.nodes import MfsNode

NAMES = ["a", "b", "c", "d", "d/a", "d/b", "e", "e/d", "e/d/a", "n" * 255, "n" * 256, "d/.", "a/b"]
STEPS = 1000


class Player:
    """Does to ``top`` what a seed says."""

    def __init__(self, top: Path, seed: int) -> None:
        self._top = top
        self._random = random.Random(seed)
        self._open: list[int] = []
        self._steps: list[Callable[[], object]] = [
            self._create,
            self._create,
            self._write,
            self._append,
            self._read,
            self._truncate,
            self._mkdir,
            self._rmdir,
            self._unlink,
            self._rename,
            self._link,
            self._symlink,
            self._chmod,
            self._utime,
            self._stat,
            self._list,
            self._keep,
            self._use,
        ]

    def step(self) -> object:
        """One operation; what came of it."""
        operation = self._random.choice(self._steps)
        try:
            return operation.__name__, operation()
        except OSError as error:
            return operation.__name__, errno.errorcode[error.errno or 0]

    def close(self) -> None:
        for fd in self._open:
            os.close(fd)

    def files(self) -> list[object]:
        """Everything below, with what a program can see of it."""
        found: list[object] = []
        for folder, folders, files in os.walk(self._top):
            folders.sort()
            for name in sorted(folders + files):
                path = os.path.join(folder, name)
                found.append((os.path.relpath(path, self._top), self._seen(os.lstat(path))))
                if os.path.isfile(path) and not os.path.islink(path):
                    found.append(Path(path).read_bytes())
        return found

    def _path(self) -> Path:
        return self._top / self._random.choice(NAMES)

    def _bytes(self) -> bytes:
        return self._random.randbytes(self._random.choice((0, 1, 100, 5000)))

    def _seen(self, state: os.stat_result) -> tuple[int, ...]:
        size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
        links = 0 if stat.S_ISDIR(state.st_mode) else state.st_nlink
        return (state.st_mode, links, size, state.st_uid, state.st_gid)

    def _create(self) -> None:
        flags = self._random.choice((0, os.O_EXCL, os.O_TRUNC, os.O_APPEND)) | os.O_CREAT | os.O_RDWR
        fd = os.open(self._path(), flags, self._random.choice((0o600, 0o644, 0o777)))
        os.write(fd, self._bytes())
        os.close(fd)

    def _write(self) -> object:
        fd = os.open(self._path(), os.O_RDWR)
        try:
            return os.pwrite(fd, self._bytes(), self._random.randrange(20_000))
        finally:
            os.close(fd)

    def _append(self) -> object:
        fd = os.open(self._path(), os.O_WRONLY | os.O_APPEND)
        try:
            return os.write(fd, self._bytes()), os.lseek(fd, 0, os.SEEK_CUR), os.fstat(fd).st_size
        finally:
            os.close(fd)

    def _read(self) -> object:
        return self._path().read_bytes()

    def _truncate(self) -> None:
        os.truncate(self._path(), self._random.choice((0, 10, 30_000)))

    def _mkdir(self) -> None:
        os.mkdir(self._path(), 0o755)

    def _rmdir(self) -> None:
        os.rmdir(self._path())

    def _unlink(self) -> None:
        os.unlink(self._path())

    def _rename(self) -> None:
        os.rename(self._path(), self._path())

    def _link(self) -> None:
        os.link(self._path(), self._path(), follow_symlinks=False)

    def _symlink(self) -> None:
        os.symlink(self._random.choice(("a", "d", "../a", "nowhere", "b")), self._path())

    def _chmod(self) -> None:
        os.chmod(self._path(), self._random.choice((0o4755, 0o600, 0o1777)))

    def _utime(self) -> object:
        path, times = self._path(), (self._random.randrange(10**18), self._random.randrange(10**18))
        os.utime(path, ns=times, follow_symlinks=False)
        return os.lstat(path).st_mtime_ns

    def _stat(self) -> object:
        return self._seen(os.lstat(self._path()))

    def _list(self) -> object:
        with os.scandir(self._path()) as found:
            return sorted((entry.name, entry.is_symlink(), entry.is_dir(follow_symlinks=False)) for entry in found)

    def _keep(self) -> None:
        self._open.append(os.open(self._path(), os.O_RDWR))
        if len(self._open) > 5:
            os.close(self._open.pop(0))

    def _use(self) -> object:
        if not self._open:
            return None
        fd = self._random.choice(self._open)
        written = os.pwrite(fd, self._bytes(), self._random.randrange(1000))
        return written, os.pread(fd, 10_000, 0), self._seen(os.fstat(fd))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("owner", [1, 2], ids=["own", "other"])
def test_random_operations_end_as_on_a_plain_directory(
    pair: list[MfsNode], tmp_path: Path, seed: int, owner: int
) -> None:
    (pair[owner - 1].root / "top").mkdir()
    (tmp_path / "top").mkdir()
    mfs, plain = Player(pair[0].path(owner, "top"), seed), Player(tmp_path / "top", seed)
    try:
        for number in range(STEPS):
            assert mfs.step() == plain.step(), f"step {number} of seed {seed}"
        assert mfs.files() == plain.files()
    finally:
        mfs.close()
        plain.close()
