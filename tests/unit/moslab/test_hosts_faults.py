"""Faults of machines, on a fleet that writes down what it is asked."""

from __future__ import annotations

from signal import SIGCONT, SIGSTOP
from typing import Any, cast

import pytest

from moslab.errors import UnsupportedError
from moslab.faults.agents import STOPPED
from moslab.faults.record import UNENDED
from moslab.hosts.faults import Faults


class Fleet:
    """Machines that all run."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[int]]] = []

    def ask(self, _node: int, _do: str, role: str, signals: list[int]) -> dict[str, Any]:
        self.asked.append((role, signals))
        return {"pids": [17]}

    def ask_all(self, _do: str, role: str, signals: list[int]) -> None:
        self.asked.append((role, signals))

    def off(self) -> list[int]:
        return []


def test_what_stands_still_goes_on_by_one_signal_to_all() -> None:
    """Whoever stopped it, and whatever it is."""
    fleet = Fleet()
    faults = Faults(cast(Any, fleet))
    faults.signal(1, "agent", SIGSTOP)
    faults.signal(2, "group web", SIGSTOP)
    faults.end()
    assert fleet.asked[2:] == [(STOPPED, [SIGCONT])]
    assert faults.record.lasting() == []
    assert all(fault.end_s < UNENDED for fault in faults.record.all)


def test_a_reboot_in_order_is_refused_by_name() -> None:
    with pytest.raises(UnsupportedError, match="reboot machines in order"):
        Faults(cast(Any, Fleet())).reboot(1)
