"""Ending mounts whose group was killed: after that their file systems write nothing, as far as a kernel can promise it.

Rules:

1. With ``cut`` it is like a power cut: a file system that can be shut down (ext4, xfs, f2fs, btrfs) is, without writing
   its journal, which the next owner replays. Others are unmounted by force, so that requests to a dead server fail.
   Without ``cut`` everything is written first.
2. A file system that is mounted elsewhere too is not shut down: others would be harmed.
3. A mount that is in use is detached. It has then ended if its file system was shut down, or its device is free: its
   record names the device until then.
4. Unmounting may block for ever: a process of its own does it, with the record locked. The caller waits for a limit,
   and has it killed then. Who finds the record locked knows that the mount has not ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import signal
import stat
import struct
import subprocess
from collections.abc import Collection, Sequence
from typing import Callable, ClassVar

from mosha.platform import linux, mountinfo
from mosha.platform.mountinfo import Mount
from mosha.resources import records
from mosha.resources.records import Busy, Content, Record

SHUT_DOWN = 0x8004587D           # _IOR('X', 125, __u32): XFS_IOC_GOINGDOWN, and the same of others
FULL_SYNC, NO_LOG_FLUSH = 0, 2
CAN_SHUT_DOWN = frozenset({"ext4", "ext3", "xfs", "f2fs", "btrfs"})
LIMIT_MIN_S = 0.02
KILL_LIMIT_S = 0.02
_MOUNT_OF_FD = re.compile(r"^mnt_id:\s*(\d+)$", re.MULTILINE)


class HeldMount(Content):
    """What the record of a mount says. ``number`` is None until the mount was seen; ``lingers``: rule 3."""

    KIND: ClassVar[str] = "mounts"

    def __init__(
        self, group: str, directory: str, source: str, number: int | None = None, lingers: str = ""
    ) -> None:
        super().__init__(group)
        self.directory, self.source, self.number, self.lingers = directory, source, number, lingers

    @property
    def what(self) -> str:
        return self.directory

    def find(self, mounts: Sequence[Mount]) -> Mount | None:
        """The mount of this record, if it is there."""
        if self.number is None:
            return mountinfo.top(mounts, self.directory)     # there was none before the record
        return next((m for m in mounts if (m.number, m.directory) == (self.number, self.directory)), None)


def remove_left(group: str | None, rundir: str, limit_s: float, cut: bool, spared: Collection[str] = ()) -> bool:
    """End the mounts that processes of ``group`` (``None``: of any but ``spared``) left; whether nothing is left.

    It blocks for ``limit_s``, or little more with several mounts.
    """
    deadline_s = linux.boottime() + limit_s
    left = [one for one in records.contents(rundir, HeldMount, group) if one.group not in spared]
    left.sort(key=lambda one: one.directory.count("/"), reverse=True)        # those that lie in others come first
    ended = [_end(rundir, content, deadline_s, cut) for content in left]
    return all(ended)


def _end(rundir: str, content: HeldMount, deadline_s: float, cut: bool) -> bool:
    try:
        record = records.lock(rundir, content)
        if record is None:
            return True
    except (Busy, OSError):
        return False
    try:
        return _bounded(lambda: _finish(record, cut), max(LIMIT_MIN_S, deadline_s - linux.boottime()))
    finally:
        record.close()


def _finish(record: Record[HeldMount], cut: bool) -> bool:
    """In a process of its own, which keeps nothing of its parent but the lock."""
    linux.close_all_but(record.fd)           # what else it would hold while it blocks: locks, and the ends of leashes
    ended = _unmount(record, cut)
    if ended:
        record.remove()
    return ended


def _unmount(record: Record[HeldMount], cut: bool) -> bool:
    """Whether nothing of the mount is left."""
    mounts = mountinfo.read()
    mount = record.content.find(mounts)
    if mount is None:
        return _is_free(record.content.lingers)
    if mountinfo.top(mounts, mount.directory) != mount:
        return False                                 # somebody else's lies over it
    alone = mountinfo.is_alone(mounts, mount)
    record.update(number=mount.number, lingers=mount.source if alone else "")
    if not cut and _umount(mount.directory, 0):
        return _is_free(record.content.lingers)
    if alone and _shut_down(mount, NO_LOG_FLUSH if cut else FULL_SYNC):
        record.update(lingers="")
    ways = (linux.MNT_FORCE, linux.MNT_DETACH) if cut else (linux.MNT_DETACH,)
    return any(_umount(mount.directory, way) for way in ways) and _is_free(record.content.lingers)


def _umount(directory: str, way: int) -> bool:
    done = linux.unmount(directory, way)
    if done is not None:
        return done
    option = {linux.MNT_FORCE: ["-f"], linux.MNT_DETACH: ["-l"]}.get(way, [])
    try:
        return subprocess.call(["umount", *option, directory], stdin=subprocess.DEVNULL) == 0
    except OSError:
        return False


def _shut_down(mount: Mount, how: int) -> bool:
    """Rule 1; whether its file system writes nothing any more."""
    if mount.kind not in CAN_SHUT_DOWN:
        return False
    try:
        fd = os.open(mount.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            if _mount_of(fd) != mount.number:
                return False                         # another one lies over the way to it
            fcntl.ioctl(fd, SHUT_DOWN, struct.pack("I", how))
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


def _mount_of(fd: int) -> int | None:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as stream:
        found = _MOUNT_OF_FD.search(stream.read())
    return int(found[1]) if found else None


def _is_free(device: str) -> bool:
    """Whether no file system is on it. What is not a block device has nothing that could be asked."""
    try:
        if not stat.S_ISBLK(os.stat(device).st_mode):
            return True
        os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
    except OSError as error:
        return error.errno != errno.EBUSY
    return True


# ---- rule 4 ---------------------------------------------------------------------------------------------------


def _bounded(work: Callable[[], bool], limit_s: float) -> bool:
    """Whether the work was done, and done within the limit. The child that waits for it never blocks."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _watch(work, limit_s)
    except OSError:
        return False
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return os.waitpid(pid, 0)[1] == 0


def _watch(work: Callable[[], bool], limit_s: float) -> None:
    """The child; does not return."""
    wait_status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        pid = os.fork()
        if pid == 0:
            _work(work)
        if signal.sigtimedwait([signal.SIGCHLD], limit_s) is None:
            os.kill(pid, signal.SIGKILL)
            signal.sigtimedwait([signal.SIGCHLD], KILL_LIMIT_S)
        ended, wait_status = os.waitpid(pid, os.WNOHANG)
        if not ended:
            wait_status = 1                          # state D
    finally:
        os._exit(0 if wait_status == 0 else 1)


def _work(work: Callable[[], bool]) -> None:
    """The child's child; does not return."""
    done = False
    try:
        done = work()
    except OSError:
        pass
    finally:
        os._exit(0 if done else 1)
