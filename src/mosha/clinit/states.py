"""The state machines of clinit as tables: state -> event -> next state. An event that is not there cannot happen.

The code steps through these tables, and the diagrams of docs/clinit.md are drawn from them (:func:`diagram`).
"""

from __future__ import annotations

from collections.abc import Mapping

from mosha.tables.clstat import (
    CHECKING,
    CONFIGURED,
    DONE,
    DUMPING,
    FAILED,
    HALTING,
    PASSED,
    STARTING,
    STOPPING,
)

Machine = Mapping[str, Mapping[str, str]]

GROUP: Machine = {
    CONFIGURED: {"tell": STARTING, "halt": HALTING},
    STOPPING: {"tell": STOPPING, "halt": HALTING, "clear": DUMPING},
    DUMPING: {"tell": STOPPING, "halt": HALTING, "clear": STARTING},
    STARTING: {"tell": STOPPING, "halt": HALTING, "clear": CHECKING},
    CHECKING: {"done": DONE, "passed": PASSED, "failed": FAILED},
    DONE: {"tell": STOPPING, "halt": HALTING, "failed": FAILED},
    PASSED: {"tell": STOPPING, "halt": HALTING},
    FAILED: {"tell": STOPPING, "halt": HALTING},
    HALTING: {"halt": HALTING},
}
"""One resource group on one node: the states that clstat shows."""

RUNNING, LEFT, ENDING, CLEARING, GONE = "RUNNING", "LEFT", "ENDING", "CLEARING", "GONE"

FAMILY: Machine = {
    RUNNING: {"exited": LEFT, "stop": ENDING},
    LEFT: {"stop": CLEARING, "emptied": GONE},
    ENDING: {"stop": ENDING, "exited": CLEARING},
    CLEARING: {"stop": CLEARING, "emptied": GONE},
    GONE: {},
}
"""One entry's process with all that it left behind: it runs; it has ended and left something; both being stopped."""

IDLE, HELD, FINISHING, LOST = "IDLE", "HELD", "FINISHING", "LOST"

UNIT: Machine = {
    IDLE: {"tell": HELD},
    HELD: {"tell": HELD, "finish": FINISHING, "died": LOST},
    FINISHING: {"ended": IDLE, "died": LOST},
    LOST: {"swept": IDLE},
}
"""One group in the stand-alone daemon: has it a guardian, and what becomes of it."""

MACHINES: Mapping[str, Machine] = {"group": GROUP, "family": FAMILY, "unit": UNIT}


def diagram(machine: Machine) -> str:
    """It as Mermaid draws it; the first state is where it begins."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(machine))}"]
    for state, events in machine.items():
        targets: dict[str, list[str]] = {}
        for event, target in events.items():
            targets.setdefault(target, []).append(event)
        lines += [f"    {state} --> {target}: {', '.join(names)}" for target, names in targets.items()]
        if not set(events.values()) - {state}:
            lines.append(f"    {state} --> [*]")
    return "\n".join(lines) + "\n"
