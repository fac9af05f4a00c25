"""``mosha.HA``: the agent of this node, with the methods that OpenMosix::HA had.

    ha = mosha.HA(mfsbase="/mfs", stomith=switch_off)
    ha.tell("web", "start")          # hactl says so from now on, on all nodes
    ha.status()                      # [GroupState(name="web", level="start", state="DONE", node=3)]
    ha.shutdown()                    # the agent of this node gives its groups up, and ends
    sys.exit(ha.monitor())           # the agent itself, in this process: it ends when its life does

Nothing of an agent is here: ``monitor`` runs the one that the command ``mosha`` runs; the rest ask that one, from any
process.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import time
from contextlib import suppress
from typing import Callable, NamedTuple, Union

from mosha import config
from mosha.config import Config, Given
from mosha.stomith.devices import Function, Level
from mosha.tables.settings import STDERR
from mosha.timing import STOP_LIMIT_S

__all__ = ["HA", "GroupState"]
log = logging.getLogger(__name__)

END_LIMIT_S = STOP_LIMIT_S + 10.0        # for what comes before groups are stopped, and after they are killed
LOOK_EVERY_S = 0.05
Stomith = Union[str, Callable[[int], object], None]


class GroupState(NamedTuple):
    """One group as the agent of this node sees it; ``node`` is None if nobody has it."""

    name: str
    level: str
    state: str
    node: int | None


class HA:
    """Of the node that it is made on. Everything may raise OSError."""

    def __init__(self, file: str | None = None, stomith: Stomith = None, **settings: object) -> None:
        """``settings`` are those of mosha.conf, in the place of what ``file`` and the environment say; a list, where
        there are several numbers. ``stomith`` is a setting as well, or a function ``stomith(node)`` that returns True
        when the node is off for certain: it is called in a process of its own, and has failed if it returns anything
        else, raises, or has not ended within ``stomith_timeout``.

        Raises TableErrors with everything that is wrong.
        """
        levels: tuple[Level, ...] = ()
        if callable(stomith):
            levels = ((Function(stomith),),)
        elif stomith is not None:
            settings["stomith"] = stomith
        given = [Given(f"mosha.HA({name}=…)", name, _text(value)) for name, value in settings.items()]
        self.config = config.load(file, given, levels)

    def monitor(self) -> int:
        """Be this node's agent until the end of its life: by a signal, :meth:`shutdown`, or as it cannot go on; the
        exit code. Raises AlreadyRuns.

        This process has no other threads, and its signals and its log are the agent's from here on.
        """
        return run(self.config)

    def tell(self, group: str, level: str) -> None:
        """Have the group go to the level, somewhere; it is hactl that says so, so it stays told, whoever dies.

        Returns when the agent of this node has taken it up. Raises Refused, NotRunning, TableErrors.
        """
        from mosha import operate

        operate.tell(self.config, group, level)

    def status(self, group: str | None = None, level: str | None = None) -> list[GroupState]:
        """All groups, or this one, or those at a level. Raises NotRunning."""
        from mosha import ordering

        found = [GroupState(one["name"], one["level"], one["state"], one["owner"]) for one in
                 ordering.page(self.config)["groups"]]
        return [one for one in found if group in (None, one.name) and level in (None, one.level)]

    def shutdown(self) -> None:
        """Have this node's agent give its groups up in order, and wait for its end. Raises Refused, NotRunning."""
        from mosha.lives import agent
        from mosha.ordering import Refused
        from mosha.platform import procscan
        from mosha.status import NotRunning

        process = agent(self.config.rundir)
        if process is None:
            raise NotRunning(f"no agent runs on this node: nobody holds {self.config.rundir}/agent.lock")
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        deadline_s = time.monotonic() + END_LIMIT_S
        while procscan.lives(process):
            if time.monotonic() >= deadline_s:
                raise Refused(f"the agent, process {process.pid}, has not ended within {END_LIMIT_S:g} s")
            time.sleep(LOOK_EVERY_S)


def run(settings: Config) -> int:
    """One life of the agent in this process; the exit code. Raises AlreadyRuns, OSError."""
    gc.disable()                                     # nothing that is imported is garbage
    from mosha.platform import home, logs, machine, plain

    plain.fill_standard()
    at_home = home.Home(settings.lock_path)          # before any process is forked
    gc.freeze()                                      # nor is it copied into each worker only for having been looked at
    gc.enable()
    journal = logs.begin(settings.log)

    for name in settings.unused:
        log.warning("%s means nothing here: %s", name, config.UNUSED[name])
    try:
        return machine.run(settings, journal, at_home)
    except OSError as error:
        if settings.log != STDERR:                   # where whoever calls this says it
            log.error("%s", plain.words(error))
        raise
    finally:
        journal.end()


def _text(value: object) -> str:
    """As a configuration file has it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        return " ".join(map(str, value))
    return str(value)
