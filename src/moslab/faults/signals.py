"""Signals to the processes of a role: by name, and as a fault plan has them."""

from __future__ import annotations

from signal import SIGKILL, SIGSTOP, Signals

from moslab.errors import CannotError
from moslab.faults.plan import SIGNALS, Fault

AGENT, LEASH, GROUP = ROLES = ("agent", "leash", "group")
"""The roles that every world has; those of a leash and a group have the group's name after them."""


def signal_of(name: str) -> Signals:
    """The signal of that name, as ``TERM``; CannotError if there is none."""
    try:
        return Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise CannotError(f"{name!r} is no signal") from None


def of_signal(node: int, role: str, signo: int) -> list[Fault]:
    """It as a fault of a plan, without its time; none if no plan has such a thing."""
    what, _, group = role.partition(" ")
    name = Signals(signo).name.removeprefix("SIG")
    whose: Fault = {"whom": [node], "what": what, **({"group": group} if group else {})}
    if what in ROLES and signo in (SIGKILL, SIGSTOP):
        return [{"do": "kill" if signo == SIGKILL else "pause", **whose}]
    if what == AGENT and name in SIGNALS:
        return [{"do": "leave", "whom": [node]}]
    if what in ROLES and name in SIGNALS:
        return [{"do": "kill", **whose, "signal": name}]
    return []
