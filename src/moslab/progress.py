"""What a long command is doing, on stderr: one line for each stage, with its time."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class Stage:
    """A stage at work. :meth:`detail` shows how far it is; on a terminal only, where it is written over."""

    def __init__(self, text: str, stream: TextIO, live: bool) -> None:
        self._stream, self._live = stream, live
        self.text = text
        self.detail("")

    def detail(self, detail: str) -> None:
        if self._live:
            self._stream.write(f"\r\x1b[K  {self.text} … {detail[:60]}")
            self._stream.flush()

    def end(self, mark: str, took_s: float) -> None:
        start = "\r\x1b[K" if self._live else ""
        self._stream.write(f"{start}{mark} {self.text:<58} {took_s:6.1f} s\n")
        self._stream.flush()


class Progress:
    """Prints stages to ``stream`` (default: stderr)."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self._began_s = time.monotonic()

    @contextmanager
    def stage(self, text: str) -> Iterator[Stage]:
        """A stage: its line ends with ``ok`` or, when the block raises, ``--``."""
        began_s = time.monotonic()
        stage = Stage(text, self._stream, self._live)
        try:
            yield stage
        except BaseException:
            stage.end("--", time.monotonic() - began_s)
            raise
        stage.end("ok", time.monotonic() - began_s)

    def say(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()

    @property
    def took_s(self) -> float:
        """Seconds since the command began."""
        return time.monotonic() - self._began_s
