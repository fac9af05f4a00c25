"""mosha: a cluster-wide init for openMosix; every node runs the same agent and there is no head node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mosha.ha import HA

__all__ = ["HA"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Nothing is imported before it is asked for: parts of this package are programs that start often."""
    if name == "HA":
        from mosha.ha import HA

        return HA
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
