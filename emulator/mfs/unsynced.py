"""Writes that were not synced, and are undone when the node lost its power: what a disk's cache does with them.

A container's disk outlives a power cut of the container whole, as the host's kernel has the cache. So before such a
write its undo is written down; fsync, or a write that is synced itself (O_SYNC), removes it, and the first start in
another boot carries out what is left.

Rules:

1. One log for each file: its path, then before each write the size, and the bytes that were at the place.
2. Names are not undone: a file that was made, written and renamed without fsync is empty afterwards.
3. What does not pass MFS is not seen.
4. A log whose end is missing was being written when the node died: that write had not begun.
5. A fault ends with the daemon, and from then on nobody notes what is synced. So when the daemon starts again within
   one boot nothing is undone any more.
"""

from __future__ import annotations

import hashlib
import logging
import os
from struct import Struct

log = logging.getLogger(__name__)

_RECORD = Struct("=QQI")  # size before, offset, length; then the bytes that were there
_PATH = Struct("=I")
BOOT = "boot"


class Unsynced:
    """The logs in ``folder``, made when the first is needed. ``boot`` tells one boot from another."""

    def __init__(self, folder: str, boot: str) -> None:
        self._folder = folder
        self._boot = boot

    def restore(self) -> None:
        """Undo what an earlier boot left unsynced; what this boot left counts as synced (rule 5)."""
        try:
            with open(os.path.join(self._folder, BOOT), encoding="ascii") as file:
                before = file.read()
        except FileNotFoundError:
            return
        for name in os.listdir(self._folder) if before != self._boot else ():
            if name != BOOT:
                _undo(os.path.join(self._folder, name))
        self.forget()

    def forget(self) -> None:
        """From now on everything counts as synced."""
        if os.path.isdir(self._folder):
            for name in os.listdir(self._folder):
                os.unlink(os.path.join(self._folder, name))

    def note(self, path: bytes, offset: int, size: int) -> None:
        """``size`` bytes at ``offset`` of the file, if it has a name, are about to be written."""
        try:
            with open(path, "rb", buffering=0) as file:
                end = os.fstat(file.fileno()).st_size
                old = os.pread(file.fileno(), size, offset)
        except FileNotFoundError:
            return
        self._append(path, _RECORD.pack(end, offset, len(old)) + old)

    def note_size(self, path: bytes, size: int) -> None:
        """The file, if it is there, is about to have ``size`` bytes."""
        try:
            end = os.stat(path).st_size
        except FileNotFoundError:
            return
        self.note(path, size, max(0, end - size))

    def synced(self, path: bytes) -> None:
        """What was written to the file is safe, or the file is gone."""
        try:
            os.unlink(self._log(path))
        except FileNotFoundError:
            pass

    def renamed(self, old: bytes, new: bytes) -> None:
        """The file is called ``new`` now."""
        self.synced(new)
        try:
            with open(self._log(old), "rb") as file:
                records = file.read()[_PATH.size + len(old) :]
        except FileNotFoundError:
            return
        self._append(new, records)
        self.synced(old)

    def _append(self, path: bytes, record: bytes) -> None:
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        boot, name = os.path.join(self._folder, BOOT), self._log(path)
        if not os.path.exists(boot):
            with open(boot, "w", encoding="ascii") as file:
                file.write(self._boot)
        with open(name, "ab") as records:
            if not records.tell():
                records.write(_PATH.pack(len(path)) + path)
            records.write(record)

    def _log(self, path: bytes) -> str:
        return os.path.join(self._folder, hashlib.sha256(path).hexdigest())


def _undo(name: str) -> None:
    with open(name, "rb") as file:
        data = file.read()
    if len(data) < _PATH.size:  # rule 4
        return
    (length,) = _PATH.unpack_from(data)
    path, at = data[_PATH.size : _PATH.size + length], _PATH.size + length
    records = []
    while at + _RECORD.size <= len(data):
        size, offset, count = _RECORD.unpack_from(data, at)
        at += _RECORD.size + count
        if at <= len(data):
            records.append((size, offset, data[at - count : at]))
    if not records:
        return
    try:
        with open(path, "r+b", buffering=0) as file:
            for size, offset, old in reversed(records):
                os.pwrite(file.fileno(), old, offset)
                os.ftruncate(file.fileno(), size)
    except OSError as error:  # removed, or replaced, and not through MFS
        log.warning("MFS: %s: nothing is undone: %s", os.fsdecode(path), error.strerror)
        return
    log.info("MFS: %s lost %d writes that were not synced", os.fsdecode(path), len(records))
