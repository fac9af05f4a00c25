"""``hpc/remote``: the guests of this node, each a directory that is called as the process is called here.

Rules:

1. ``identity`` shows the ids that the guest has at home; ``stats`` and ``statm`` are of the body, from the machine's
   ``/proc``. ``stats`` ends with a NUL, a quirk of the genuine kernel.
2. Who has ended since gives ESRCH.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

from emulator.fuse.tree import Context, Directory, Node
from emulator.hpc.files import Generated, Refused, folder
from emulator.hpc.migration import Guest, Migration
from emulator.hpc.processes import Goto
from emulator.hpc.procfs import fields_of, statm_of

MOVES = 1
STATS = {"utime": 14, "cutime": 16, "nice": 19, "state": 3, "vsize": 23, "rss": 24, "nswap": 36, "cnswap": 37}
"""What ``stats`` shows, and which fields of ``/proc/<pid>/stat`` that are."""


class Remote(Directory):
    """``remote/``, in the order in which the guests came."""

    def __init__(self, migration: Migration) -> None:
        super().__init__(0o555)
        self._migration = migration
        self._folders: dict[int, tuple[Guest, Directory]] = {}

    def lookup(self, name: str, context: Context) -> Node | None:
        return dict(self.entries()).get(name)

    def entries(self) -> Iterable[tuple[str, Node]]:
        guests = self._migration.guests
        for pid in self._folders.keys() - guests.keys():
            del self._folders[pid]
        for pid, guest in guests.items():
            known = self._folders.get(pid)
            if known is None or known[0] is not guest:
                self._folders[pid] = (guest, self._folder(pid, guest))
        return [(str(pid), self._folders[pid][1]) for pid in guests]

    def _folder(self, pid: int, guest: Guest) -> Directory:
        goto = Goto(0o222, pid, self._migration)
        goto.uid, goto.gid = guest.uid, guest.gid
        return folder(
            [
                ("from", Generated(0o444, lambda: f"{guest.home:<6d}{guest.address}\n")),
                ("statm", Generated(0o444, lambda: _statm(pid))),
                ("stats", Generated(0o444, lambda: _stats(pid))),
                ("identity", Generated(0o444, lambda: identity(guest))),
                ("goto", goto),
            ]
        )


def identity(guest: Guest) -> str:
    """Who it is at home, as at disclosure 3."""
    return (
        f"pid={guest.pid}\nuid={guest.uid}\ngid={guest.gid}\npgrp={guest.pgrp}\nsession={guest.session}\n"
        f"nmigs={MOVES}\ncommand={guest.name}\n"
    )


def _statm(pid: int) -> bytes:
    content = statm_of(pid)
    if content is None:
        raise Refused(errno.ESRCH)
    return content


def _stats(pid: int) -> str:
    fields = fields_of(pid)
    if fields is None:
        raise Refused(errno.ESRCH)
    return "".join(f"{name}={fields[number - 3]}\n" for name, number in STATS.items()) + "\0"
