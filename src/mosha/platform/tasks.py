"""What workers (:mod:`mosha.platform.workers`) are asked to run: everything that may block.

Results are plain JSON values. Plans and STOMITH are the same on every platform; number, map and probe of a node are
what a platform is.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import Any, Callable

from mosha.config import Config
from mosha.platform import plans
from mosha.platform.files import Files, Posix
from mosha.stomith import history, shooting


class Tasks:
    """Those of one worker; it keeps what it looks at again and again open. ``open_flags``: of all files, as open(2)."""

    def __init__(self, config: Config, open_flags: int = 0) -> None:
        self._config = config
        self._files = Files(Posix(config.directory, open_flags))

    def by_name(self) -> dict[str, Callable[..., Any]]:
        """All of them; plans get the node as first argument."""
        planned = {name: partial(self._carry_out, plan) for name, plan in plans.TASKS.items()}
        return {"whois": self.whois, "nodes": self.nodes, "probe": self.probe, "shoot": self.shoot, **planned}

    def whois(self) -> int:
        """This node's number, 0 while nobody knows it. Raises OSError if it cannot be asked, or must not begin."""
        raise NotImplementedError

    def nodes(self) -> list[int]:
        """The configured map: every node, up or down. Raises OSError."""
        raise NotImplementedError

    def probe(self, node: int) -> bool:
        """Whether the node is up, as far as the platform can tell. Raises OSError."""
        raise NotImplementedError

    def shoot(self, node: int) -> str:
        """Switch the node off; what the devices said. Raises OSError unless it is off for certain."""
        stomith = shooting.Stomith(self._config.shooting, "agent", partial(history.append, self._config.var))
        done, answers = stomith.off(node)
        if not done:
            raise OSError(errno.EIO, shooting.reason(answers))
        return str(answers[-1])

    def _carry_out(self, plan: Callable[..., plans.Plan], node: int, *arguments: Any) -> Any:
        return self._files.carry_out(node, plan(*arguments))
