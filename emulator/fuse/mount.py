"""Mount and unmount FUSE file systems with the bare system calls (mount(2), umount2(2), mount.fuse(8))."""

from __future__ import annotations

import ctypes
import os

MS_NOSUID = 2
MS_NODEV = 4
MNT_DETACH = 2

_libc = ctypes.CDLL(None, use_errno=True)


def mount(mountpoint: str, subtype: str) -> int:
    """Mount type ``fuse.<subtype>`` on ``mountpoint`` for all users; return the descriptor of /dev/fuse.

    A mount of the same type that a killed daemon left there is removed first. Needs CAP_SYS_ADMIN and
    /dev/fuse. Raises OSError.
    """
    mountpoint = os.path.abspath(mountpoint)
    kind = f"fuse.{subtype}"
    while (mountpoint, kind) in mounts():
        unmount(mountpoint)
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0,allow_other"
    failed = _libc.mount(
        subtype.encode(), os.fsencode(mountpoint), kind.encode(), MS_NOSUID | MS_NODEV, options.encode()
    )
    if failed:
        error = ctypes.get_errno()
        os.close(fd)
        raise OSError(error, os.strerror(error), mountpoint)
    return fd


def unmount(mountpoint: str) -> None:
    """Take the topmost mount away from ``mountpoint`` at once, even if it is in use (umount2 MNT_DETACH).

    The file system itself is not asked. Raises OSError; EINVAL if nothing is mounted there.
    """
    if _libc.umount2(os.fsencode(mountpoint), MNT_DETACH):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), mountpoint)


def mounts() -> list[tuple[str, str]]:
    """(mount point, type) of every mount this process sees, the oldest first (proc(5), mountinfo)."""
    found = []
    with open("/proc/self/mountinfo", "rb") as table:
        for line in table:
            fields = line.split()
            kind = fields[fields.index(b"-", 6) + 1]
            found.append((os.fsdecode(fields[4].decode("unicode_escape").encode("latin-1")), kind.decode()))
    return found
