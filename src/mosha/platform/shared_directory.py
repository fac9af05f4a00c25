"""A directory that machines share, in the place of openMosix: ``DIR/NODE`` is what ``/mfs/NODE/var/mosix-ha`` is there.

Rules (docs/shared-directory.md has the reasons):

1. ``DIR/nodes`` is the map: a line ``NUMBER HOSTNAME`` for each node. Only its administrator makes it, so an agent
   waits where the file system is not mounted.
2. A node begins only with the number that the map gives to its host name: two agents with one number would declare
   each other dead.
3. It begins only where a read after a write of another machine shows that write: ``COHERENT`` file systems, and NFS
   with ``NFS_OPTIONS``. ``LOCAL`` ones are shared by the processes of one machine. All others are refused.
4. Files are opened with O_DSYNC: a client of NFS sends what was written then, and not the whole page with what it
   believes of other nodes' slots.
5. There is nobody to be probed: a node is alive while its beats are seen to change, by the observer's own clock.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import NamedTuple

from mosha.config import Config
from mosha.platform import mountinfo, plain
from mosha.platform.mountinfo import Window
from mosha.platform.tasks import Tasks
from mosha.tables.lines import is_node

MAP = "nodes"
MAP_BYTES_MAX = 65536
COHERENT = frozenset({"ceph", "gfs2", "ocfs2", "lustre", "gpfs"})
LOCAL = frozenset({"btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"})
NFS = "nfs4"
NFS_OPTIONS = ("noac", "lookupcache=none")


class Ground(NamedTuple):
    """What a directory lies on: why it is ``refused``, or what is to be thought of; both may be empty."""

    refused: str
    warning: str


class SharedDirectory(Tasks):
    """See :class:`mosha.platform.tasks.Tasks`, and the rules of the module."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, os.O_DSYNC)

    def whois(self) -> int:
        """``mynode``; raises OSError, EINVAL by rules 2 and 3."""
        hosts, mine = read_map(self._config.shared), self._config.mynode
        refused = ground(self._config.shared).refused
        here = socket.gethostname()
        if not refused and hosts.get(mine, here) != here:
            refused = f"{self._config.shared}/{MAP}: node {mine} is the host {hosts[mine]}, and this is {here}"
        if refused:
            raise OSError(errno.EINVAL, refused)
        return mine

    def nodes(self) -> list[int]:
        return sorted(read_map(self._config.shared))

    def probe(self, node: int) -> bool:
        """Rule 5: what can be seen was seen by who asks."""
        return False


def read_map(directory: str) -> dict[int, str]:
    """The host name of each node. Raises OSError, EINVAL for a line that is wrong; what it says names the file."""
    path = f"{directory}/{MAP}"
    try:
        content = plain.read(path, MAP_BYTES_MAX)
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from None
    return parse_map(content, path)


def parse_map(content: bytes, path: str = MAP) -> dict[int, str]:
    """The same for what is in that file."""
    if len(content) > MAP_BYTES_MAX:
        raise OSError(errno.EFBIG, f"{path} is over {MAP_BYTES_MAX} bytes")
    found: dict[int, str] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or not is_node(words[0]):
            raise OSError(errno.EINVAL, f"{path}:{number}: expected `NUMBER HOSTNAME`")
        if int(words[0]) in found or words[1] in found.values():
            raise OSError(errno.EINVAL, f"{path}:{number}: node {words[0]} or host {words[1]} is there twice")
        found[int(words[0])] = words[1]
    return found


def ground(directory: str) -> Ground:
    """Rule 3, of the file system that is mounted there now. Raises OSError."""
    return judged(mountinfo.windows(), os.path.realpath(directory))


def judged(mounts: list[Window], path: str) -> Ground:
    """The same for these mounts; of several at one place the last is seen."""
    above = [one for one in mounts if f"{path}/".startswith(f"{one.directory.rstrip('/')}/")]
    mount = max(reversed(above), key=lambda one: len(one.directory), default=None)
    kind = mount.kind if mount is not None else "nothing"
    if kind in COHERENT:
        return Ground("", "")
    if kind in LOCAL:
        return Ground("", f"{path} is on {kind}: only processes of this machine share it")
    if kind == NFS and mount is not None:
        missing = [option for option in NFS_OPTIONS if option not in mount.options | mount.system_options]
        text = f"{path} is on NFS without {', '.join(missing)}: what is read may be old, and a group could run twice"
        return Ground(text if missing else "", "")
    known = ", ".join(sorted(COHERENT))
    return Ground(
        f"{path} is on {kind}: nothing is known of what its clients cache. Good are {known}, and {NFS} with "
        f"{', '.join(NFS_OPTIONS)}", "",
    )
