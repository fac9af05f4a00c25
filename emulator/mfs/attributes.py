"""A file's attributes as FUSE wants them, and setting its times."""

from __future__ import annotations

import os
import time

from emulator.fuse import protocol as fuse
from emulator.membership import Membership

_S = 1_000_000_000  # nanoseconds


class Attributes:
    """Packs what stat(2) says on this node."""

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._devices: dict[int, int] = {}

    def of(self, state: os.stat_result) -> tuple[int, ...]:
        """The fields of ``struct fuse_attr``."""
        atime, atime_ns = divmod(state.st_atime_ns, _S)
        mtime, mtime_ns = divmod(state.st_mtime_ns, _S)
        ctime, ctime_ns = divmod(state.st_ctime_ns, _S)
        return (
            self.base(state.st_dev) ^ state.st_ino,
            state.st_size,
            state.st_blocks,
            atime,
            mtime,
            ctime,
            atime_ns,
            mtime_ns,
            ctime_ns,
            state.st_mode,
            state.st_nlink,
            state.st_uid,
            state.st_gid,
            0,
            state.st_blksize,
            0,
        )

    def base(self, device: int) -> int:
        """What keeps the inode numbers of this node's devices and those of other nodes apart: /mfs is one device.

        Otherwise cp(1) would take two nodes' copies of one image's file for the same file.
        """
        base = self._devices.get(device)
        if base is None:
            base = self._devices[device] = (self._membership.mospe << 48) | (len(self._devices) << 40)
        return base


def set_times(path: bytes, fd: int, valid: int, atime_ns: int, mtime_ns: int) -> None:
    """Set the times that ``valid`` (FATTR_*) names; ``fd`` is an O_PATH descriptor of ``path``."""
    if valid & fuse.FATTR_ATIME_NOW and valid & fuse.FATTR_MTIME_NOW:
        os.utime(path)  # who may write may do this, too
        return
    state, now_ns = os.fstat(fd), time.time_ns()
    if not valid & fuse.FATTR_ATIME:
        atime_ns = state.st_atime_ns
    elif valid & fuse.FATTR_ATIME_NOW:
        atime_ns = now_ns
    if not valid & fuse.FATTR_MTIME:
        mtime_ns = state.st_mtime_ns
    elif valid & fuse.FATTR_MTIME_NOW:
        mtime_ns = now_ns
    os.utime(path, ns=(atime_ns, mtime_ns))
