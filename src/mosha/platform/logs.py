"""Where the agent's log goes, by a process of its own (:mod:`mosha.clinit.journal`).

Rules:

1. Whatever reads it may be slow, stopped, full or gone: lines are lost then, and counted. The agent never waits for it.
2. A guardian has the same pipe for its last words, and nothing that waits.
"""

from __future__ import annotations

import logging
import os

from mosha.clinit.journal import Journal
from mosha.tables.settings import SYSLOG

FORMAT = "%(levelname)s %(message)s"
STAMPED = f"%(asctime)s {FORMAT}"
LAST_S = 1.0                     # for the lines that wait at the end


class Logs(logging.Handler):
    """A handler that never blocks; ``journal`` has the process that writes ``where``. Raises OSError."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT if where == SYSLOG else STAMPED))
        self.journal = Journal(where, "mosha", stamps=False)
        self._owner = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """One line, or several."""
        text = self.format(record)
        for line in text.splitlines():
            if os.getpid() == self._owner:
                self.journal.line(line)
            else:
                self.journal.last_words(line)

    def flush(self) -> None:
        """Give the writer what waits, as far as it takes it."""
        if os.getpid() == self._owner and self.journal.waits:
            self.journal.flush()

    def end(self) -> None:
        """The last lines; nothing is logged after that."""
        logging.getLogger().removeHandler(self)
        self.journal.close(LAST_S)


def begin(where: str) -> Logs:
    """From here on everything is logged there. Raises OSError."""
    logs = Logs(where)
    root = logging.getLogger()
    root.addHandler(logs)
    root.setLevel(logging.INFO)
    logging.raiseExceptions = False
    return logs
