"""A file that at most one process has locked, or several that share it: flock(2), without waiting, and released by the
end of the process."""

from __future__ import annotations

import errno
import fcntl


def try_lock(fd: int, shared: bool = False) -> bool:
    """Lock the open file, or share its lock; False if another has it. Raises OSError where files cannot be locked."""
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise
    return True
