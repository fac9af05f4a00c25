"""Where the next life of an agent finds a leash that outlived the one before: a socket in the run directory.

Rules:

1. Each leash that may be taken over listens there from its first moment, under the name of its group, and lets one in
   when its agent is gone. So who comes early waits at the door.
2. Only the user that the leash has itself is let in, root on any node.
3. The path is as short as a socket's has to be, wherever the run directory is: it goes by a descriptor.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

DIRECTORY = "leashes"
WAITING_MAX = 8                  # of lives that were killed before they were let in
CREDENTIALS = struct.Struct("3i")    # pid, user, group: unix(7)


class Door:
    """A leash's end."""

    def __init__(self, listener: socket.socket, place: Path) -> None:
        """``place`` is where it was just opened. Raises OSError."""
        self._listener = listener
        self._place, self._made = place, place.lstat()

    @classmethod
    def open(cls, rundir: str, group: str) -> Door | None:
        """None if the machine does not let it."""
        directory, listener = Path(rundir, DIRECTORY), socket.socket(socket.AF_UNIX)
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                _remove(directory / group)               # of a leash before, which has ended
                listener.bind(f"/proc/self/fd/{fd}/{group}")
            finally:
                os.close(fd)
            listener.listen(WAITING_MAX)
            listener.setblocking(False)
            return cls(listener, directory / group)
        except OSError:
            listener.close()
            return None

    def fileno(self) -> int:
        """Readable when somebody waits."""
        return self._listener.fileno()

    def is_there(self) -> bool:
        """Whether who looks for it in its directory finds this one."""
        try:
            return os.path.samestat(self._made, self._place.lstat())
        except OSError:
            return False

    def let_in(self) -> socket.socket | None:
        """Rule 2; None for anybody else, or if he has gone."""
        try:
            guest, _ = self._listener.accept()
        except OSError:
            return None
        guest.setblocking(False)
        if _credentials(guest)[1] == os.geteuid():
            return guest
        guest.close()
        return None


def knock(rundir: str) -> dict[str, tuple[socket.socket, int]]:
    """For each group whose leash listens: a connection, which waits until it is let in, and the pid of the leash."""
    directory = Path(rundir, DIRECTORY)
    found = {}
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        for group in sorted(os.listdir(directory)):
            guest = socket.socket(socket.AF_UNIX)
            guest.setblocking(False)
            try:
                guest.connect(f"/proc/self/fd/{fd}/{group}")
            except OSError as error:
                guest.close()
                if error.errno == errno.ECONNREFUSED:    # nobody listens any more
                    _remove(directory / group)
                continue
            found[group] = guest, _credentials(guest)[0]
    finally:
        os.close(fd)
    return found


def _credentials(guest: socket.socket) -> tuple[int, int, int]:
    """Of the other end; of one that listens, when it began to."""
    pid, user, group = CREDENTIALS.unpack(guest.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size))
    return pid, user, group


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError:
        pass
