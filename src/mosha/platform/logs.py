"""Where the agent's log goes, by a process of its own (:mod:`mosha.clinit.journal`).

Rules:

1. Whatever reads it may be slow, stopped, full or gone: lines are lost then, and counted. The agent never waits for it.
2. A guardian has the same pipe for its last words, and nothing that waits.
3. That process is forked together with the first workers, so that they share what the agent writes to later; with the
   first line where that comes before.
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
    """A handler that never blocks; ``where`` it goes."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(FORMAT if where == SYSLOG else STAMPED))
        self._where, self._owner = where, os.getpid()
        self._journal: Journal | None = None

    def start(self) -> Journal:
        """Have a process that writes. Raises OSError."""
        if self._journal is None:
            self._journal = Journal(self._where, "mosha", stamps=False)
        return self._journal

    def own(self) -> set[int]:
        """The pid of that process, which the caller does not wait for."""
        return {self._journal.pid} if self._journal is not None else set()

    def emit(self, record: logging.LogRecord) -> None:
        """One line, or several. The first one raises OSError where there can be no process."""
        text = self.format(record)
        for line in text.splitlines():
            if os.getpid() == self._owner:
                self.start().line(line)
            elif self._journal is not None:
                self._journal.last_words(line)

    def flush(self) -> None:
        """Give the writer what waits, as far as it takes it."""
        if self._journal is not None and os.getpid() == self._owner and self._journal.waits:
            self._journal.flush()

    def end(self) -> None:
        """The last lines; nothing is logged after that."""
        logging.getLogger().removeHandler(self)
        if self._journal is not None:
            self._journal.close(LAST_S)


def begin(where: str) -> Logs:
    """From here on everything is logged there."""
    logs = Logs(where)
    root = logging.getLogger()
    root.addHandler(logs)
    root.setLevel(logging.INFO)
    logging.raiseExceptions = False
    return logs
