"""A full screen of text that is drawn again and again, until ``q``: what ``mosmon`` and ``mtop`` share."""

from __future__ import annotations

import curses
import os

from emulator.tools.hpcfile import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    Draw = Callable[[int, int], list[str]]
    Ask = Callable[[str], str]

REVERSE = "\x0e"
"""Before and after words that are shown in reverse."""


class Screen:
    """``draw(width, height)`` gives the lines; ``key(key, ask)`` is told each key that is not ``q``.

    ``ask(question)`` reads a line from the user.
    """

    def __init__(self, draw: Draw, key: Callable[[str, Ask], object], every_s: float) -> None:
        self._draw = draw
        self._key = key
        self._every_s = every_s

    def run(self) -> int:
        """Until ``q`` or the interrupt key; the exit code, 1 where no screen can be had."""
        try:
            curses.wrapper(self._loop)
        except KeyboardInterrupt:
            pass
        except curses.error:
            complain(f"Error opening terminal: {os.environ.get('TERM', 'unknown')}.")
            return 1
        return 0

    def _loop(self, window: curses.window) -> None:
        while True:
            self._show(window)
            window.timeout(int(1000 * self._every_s))
            pressed = window.getch()
            if pressed == ord("q"):
                return
            if 0 < pressed < 256:
                self._key(chr(pressed), lambda question: self._ask(window, question))

    def _show(self, window: curses.window) -> None:
        height, width = window.getmaxyx()
        window.erase()
        for row, line in enumerate(self._draw(width - 1, height)[:height]):
            column = 0
            for number, part in enumerate(line.split(REVERSE)):
                window.addnstr(row, column, part, max(0, width - 1 - column), curses.A_REVERSE if number % 2 else 0)
                column += len(part)
                if column >= width - 1:
                    break
        window.refresh()

    @staticmethod
    def _ask(window: curses.window, question: str) -> str:
        height, width = window.getmaxyx()
        window.addnstr(height - 1, 0, question, width - 1)
        window.clrtoeol()
        curses.echo()
        window.timeout(-1)
        try:
            return window.getstr(height - 1, min(len(question), width - 2), 20).decode(errors="replace").strip()
        finally:
            curses.noecho()
