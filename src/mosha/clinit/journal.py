"""Where a daemon writes what happens: standard error, a file, or syslog.

Rules:

1. Nothing about it can hold up or end the daemon. A forked process writes; it gets whole lines through a pipe. What
   does not fit into the pipe waits, up to ``LINES_MAX`` lines; then lines are dropped, and counted.
2. The writer opens the file for each batch, so it can be moved away. What cannot be written is lost, and counted; why,
   it says once at standard error. It waits for nobody longer than ``TAKE_LIMIT_S``, and at the end of the daemon it is
   killed if it has to.
3. To syslog goes a line with the priority that its first word names (``WARNING``), else ``info``, facility ``daemon``.
   A syslog that takes none for ``TAKE_LIMIT_S`` costs the writer, and what it had; nobody tells whether there is one.
4. Guardians have the pipe too, for their last words: the writer ends when the last of them has.
"""

from __future__ import annotations

import os
import select
import signal
import syslog
import time
from collections import deque

from mosha.clinit.process import reset_signals
from mosha.platform import linux, wake
from mosha.tables.settings import STDERR, SYSLOG

LINES_MAX = 1000
LINE_BYTES_MAX = 2048            # below PIPE_BUF: lines of several processes do not mix
READ_BYTES = 65536
RESTART_S = 10.0
TAKE_LIMIT_S = 1.0               # for what reads a pipe, or a terminal
PAUSE_S = 0.005
KILL_LIMIT_S = 1.0               # for a writer that was killed: the disk may hold it
MODE = 0o640
APPENDING = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
STAMP = "%Y-%m-%d %H:%M:%S "
LOST = "{} lines lost: nothing could be written"
DEAF_TO = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGXFSZ, *wake.DEAF_TO)
PRIORITIES = {"WARNING": syslog.LOG_WARNING, "ERROR": syslog.LOG_ERR, "CRITICAL": syslog.LOG_CRIT}


class Journal:
    """``where``: ``STDERR``, ``SYSLOG`` (there the daemon is called ``name``) or a path; ``pid``: of the writer;
    ``stamps``: whether a line begins with the time, which syslog gives itself."""

    def __init__(self, where: str, name: str, stamps: bool = True) -> None:
        """Raises OSError."""
        self._where, self._name = where, name
        self._stamps = stamps and where != SYSLOG
        self._lines: deque[tuple[bytes, int]] = deque()      # a line, and how many are lost if it is
        self._lost = 0
        self._start()

    @property
    def waits(self) -> bool:
        """Whether lines wait for the writer."""
        return bool(self._lines)

    def line(self, text: str) -> None:
        """One line, with the time; does not wait."""
        if len(self._lines) >= LINES_MAX:
            self._lost += 1
            return
        if self._lost:
            self._lines.append((self._line(LOST.format(self._lost)), self._lost))
            self._lost = 0
        self._lines.append((self._line(text), 1))
        self.flush()

    def last_words(self, text: str) -> None:
        """A line of another process, which has no time to wait for anything."""
        try:
            os.write(self._pipe, self._line(text))
        except OSError:
            pass

    def flush(self) -> None:
        """Give the writer what it can take; a new one where it has died, but not often."""
        try:
            while self._lines:
                os.write(self._pipe, self._lines[0][0])
                self._lines.popleft()
        except BlockingIOError:
            pass
        except OSError:
            self._lost += sum(lost for _, lost in self._lines)
            self._lines.clear()
            self._restart()

    def close(self, limit_s: float) -> None:
        """Give the writer all that waits, and wait for its end; kill it, if it has to be, after so long."""
        deadline_s = time.monotonic() + limit_s
        while self._lines and time.monotonic() < deadline_s:
            self.flush()
            time.sleep(PAUSE_S)
        if self._lost:
            self.last_words(LOST.format(self._lost))
        os.close(self._pipe)
        if not self._has_ended(deadline_s):
            os.kill(self.pid, signal.SIGKILL)
            self._has_ended(time.monotonic() + KILL_LIMIT_S)

    def _line(self, text: str) -> bytes:
        stamp = time.strftime(STAMP) if self._stamps else ""
        body = "".join(character if character.isprintable() else "?" for character in text)
        return (stamp + body).encode("utf-8", "replace")[: LINE_BYTES_MAX - 1] + b"\n"

    def _has_ended(self, deadline_s: float) -> bool:
        try:
            while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
                if time.monotonic() >= deadline_s:
                    return False
                time.sleep(PAUSE_S)
        except ChildProcessError:
            pass                         # somebody else has collected it
        return True

    def _restart(self) -> None:
        if time.monotonic() < self._started_s + RESTART_S:
            return
        before, pid = self._pipe, self.pid
        try:
            self._start()
        except OSError:
            return                       # there is no process, or no descriptor, to be had: later, perhaps
        os.close(before)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass

    def _start(self) -> None:
        self._started_s = time.monotonic()
        name = f"{self._name}[{os.getpid()}]"
        read_end, write_end = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            os.close(read_end)
            os.close(write_end)
            raise
        if pid == 0:
            try:
                linux.close_all_but(0, 1, 2, read_end)
                _take_all(read_end, self._where, name)
            finally:
                os._exit(0)
        os.close(read_end)
        os.set_blocking(write_end, False)
        self._pipe, self.pid = write_end, pid


def _take_all(read_end: int, where: str, name: str) -> None:
    """The writer; it ends with the last of those that have the pipe, not by a signal meant for all of them."""
    reset_signals()
    for signo in DEAF_TO:
        signal.signal(signo, signal.SIG_IGN)
    if where == SYSLOG:
        _log_all(read_end, name)
    else:
        _write_all(read_end, where)


def _log_all(read_end: int, name: str) -> None:
    syslog.openlog(name, 0, syslog.LOG_DAEMON)
    with open(read_end, "rb") as pipe:
        for line in pipe:
            text = line.decode("utf-8", "replace").rstrip("\n")
            signal.setitimer(signal.ITIMER_REAL, TAKE_LIMIT_S)       # SIGALRM is the end of this process: rule 3
            syslog.syslog(PRIORITIES.get(text.partition(" ")[0], syslog.LOG_INFO), text)
            signal.setitimer(signal.ITIMER_REAL, 0)


def _write_all(read_end: int, where: str) -> None:
    taker = _Taker(where)
    while True:
        batch = os.read(read_end, READ_BYTES)
        if not batch:
            return
        taker.take(batch)


class _Taker:
    """Whoever takes the lines of standard error, or of a file, which is there anew for each batch."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._lost, self._is_torn = 0, False         # lines since something was written; that ended within a line
        self._trouble = ""

    def take(self, batch: bytes) -> None:
        """As much of it as he takes; the rest is lost, and counted."""
        if self._lost:
            line = f"{time.strftime(STAMP)}{LOST.format(self._lost)}\n".encode()
            if self._put(b"\n" + line if self._is_torn else line):
                self._lost += len(batch.splitlines())
                return
        self._lost = len(self._put(batch).splitlines())

    def _put(self, text: bytes) -> bytes:
        """What was not taken."""
        left, trouble = text, ""
        try:
            fd = 2 if self._where == STDERR else os.open(self._where, APPENDING, MODE)
            try:
                left, trouble = _written(fd, text)
            finally:
                if fd != 2:
                    os.close(fd)
        except OSError as error:
            trouble = error.strerror or str(error)
        if len(left) < len(text):
            self._is_torn = not text[: len(text) - len(left)].endswith(b"\n")
        if trouble not in ("", self._trouble) and self._where != STDERR:
            _written(2, f"{self._where}: {trouble}: what is logged is lost until that is mended\n".encode())
        self._trouble = trouble
        return left


def _written(fd: int, text: bytes) -> tuple[bytes, str]:
    """What is not written, and why: nobody takes it for a while, or it cannot be."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    try:
        while text:
            if not poll.poll(TAKE_LIMIT_S * 1000):
                return text, "nobody reads it"
            text = text[os.write(fd, text[: select.PIPE_BUF]) :]
    except OSError as error:
        return text, error.strerror or str(error)
    return text, ""
