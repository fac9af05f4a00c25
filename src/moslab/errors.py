"""What a command says instead of succeeding; only :mod:`moslab.cli` makes messages and exit codes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moslab.history.record import Line


class LabError(Exception):
    """Something that was tried did not work; the text is for the user. Exit code 1."""

    exit_code = 1


class CannotError(LabError):
    """The command cannot even try: what is missing, and the one command that brings it. Exit code 2."""

    exit_code = 2


class NotBegunError(LabError):
    """A cluster did not come up, and is gone; ``log``: what its nodes had said by then."""

    def __init__(self, why: str, log: Iterable[Line]) -> None:
        super().__init__(why)
        self.log = list(log)


class UnsupportedError(LabError):
    """This world never can do that; the text names it: "run commands on nodes"."""
