"""The init of a node that was forked from the engine: what is loaded already it starts by another fork."""

from __future__ import annotations

import logging
import os

from emulator import daemon
from emulator.init import Init
from emulator.inittab import Entry
from moslab.namespaces.child import detach

LOADED = {"openmosixd": daemon.main}


class WarmInit(Init):
    """As :class:`emulator.init.Init`."""

    def _spawn(self, entry: Entry) -> int:
        main = LOADED.get(entry.process)
        if main is None:
            return super()._spawn(entry)
        pipe = self._output.pipe(entry.name)
        pid = 0
        try:
            pid = os.fork()
            if not pid:
                try:
                    detach(os.open(os.devnull, os.O_RDONLY), pipe.writer, pipe.writer)
                    logging.root.handlers.clear()            # the engine's
                    os._exit(main())
                finally:
                    os._exit(1)
        finally:
            pipe.started(pid)
        return pid
