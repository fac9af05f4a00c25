"""``hpc/decay``: how the statistics of the process that asks are to fade; each process sees and sets its own.

Rules:

1. One of ``slow``, ``fast`` and ``own`` holds: who sets one clears the others. So do ``cpujob`` and ``iojob``.
2. ``clear`` forgets the statistics. There are none, as nothing is balanced: it changes nothing.

Names, modes and first values are those of the genuine kernel; what its settings do to each other is our reading of
their names.
"""

from __future__ import annotations

import errno

from emulator.fuse.tree import Context, Directory, File, Reply
from emulator.hpc.files import Generated, Refused, folder, to_ints
from emulator.hpc.tasks import DECAY, Tasks

OF_ONE_KIND = ({"slow", "fast", "own"}, {"cpujob", "iojob"})


class Decay(File):
    """One setting of the process that asks; 0 or 1."""

    def __init__(self, name: str, tasks: Tasks) -> None:
        super().__init__(0o666)
        self._name = name
        self._tasks = tasks

    def read(self, context: Context, reply: Reply) -> None:
        task = self._tasks.of_thread(context.pid)
        reply(b"%d\n" % task.settings[self._name] if task else errno.ESRCH)

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        task = self._tasks.of_thread(context.pid)
        if task is None:
            reply(errno.ESRCH)
            return
        try:
            [value] = to_ints(data, 0, 1)
        except Refused as refused:
            reply(refused.code)
            return
        changes = {self._name: value}
        for kind in OF_ONE_KIND:
            if value and self._name in kind:
                changes.update(dict.fromkeys(kind - {self._name}, 0))
        self._tasks.set(task, changes)
        reply(0)


def decay_folder(tasks: Tasks) -> Directory:
    """The directory ``decay/``."""
    settings = [(name, Decay(name, tasks)) for name in DECAY]
    return folder([*settings, ("clear", Generated(0o222, write=_clear))])


def _clear(data: bytes) -> None:
    to_ints(data, 0, 1)
