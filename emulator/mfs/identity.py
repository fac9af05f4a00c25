"""Act on the file system as somebody else: setfsuid(2), and the calls that Python does not have."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

_libc = ctypes.CDLL(None, use_errno=True)
_NOBODY = 0xFFFFFFFF


RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2

_current = (0, 0)


def become(uid: int, gid: int) -> None:
    """From now on the loop's file accesses are those of ``uid`` and ``gid``; OSError EPERM if that is denied.

    With another uid than 0 it loses the capabilities that override permissions, until it is 0 again.
    """
    global _current
    if (uid, gid) == _current:
        return
    _libc.setfsuid(0)  # only root may take any group
    _libc.setfsgid(gid)
    _libc.setfsuid(uid)
    _current = (_effective(_libc.setfsuid), _effective(_libc.setfsgid))
    if _current != (uid, gid):
        raise OSError(errno.EPERM, f"cannot act as {uid}:{gid}")


@contextmanager
def as_root() -> Iterator[None]:
    """Be root for the server's own look-ups, then again who one was."""
    before = _current
    become(0, 0)
    try:
        yield
    finally:
        become(*before)


def prepare_process() -> None:
    """No supplementary groups and no umask, as they would be every caller's; as many descriptors as allowed."""
    if os.geteuid() == 0:
        try:
            os.setgroups([])
        except PermissionError:                              # a user's namespace: the groups stay
            pass
    os.umask(0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def rename(old_dir: int, old: bytes, new_dir: int, new: bytes, flags: int) -> None:
    """renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE in ``flags``."""
    if _libc.renameat2(old_dir, old, new_dir, new, flags):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def _effective(call: ctypes._NamedFuncPointer) -> int:
    return int(call(_NOBODY)) & _NOBODY  # setfsuid(2): an impossible id changes nothing and returns the present one
