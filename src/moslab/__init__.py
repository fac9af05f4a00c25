"""moslab: the laboratory that starts, breaks and measures clusters of nodes.

What a scenario needs is here, and is loaded when it is asked for: the simulator and the commands need none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moslab.errors import LabError
    from moslab.scenario.breach import Breach
    from moslab.scenario.cluster import Cluster, Verdict
    from moslab.scenario.group import Group

__all__ = ["Breach", "Cluster", "Group", "LabError", "UnsupportedError", "Verdict"]

_HOMES = {
    "LabError": "moslab.errors", "UnsupportedError": "moslab.errors",
    "Breach": "moslab.scenario.breach", "Group": "moslab.scenario.group",
    **dict.fromkeys(("Cluster", "Verdict"), "moslab.scenario.cluster"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
