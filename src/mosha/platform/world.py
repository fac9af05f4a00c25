"""The port between the agent and what it runs on: everything that the agent has of its machine.

There are two: :class:`mosha.platform.machine.Machine`, a Linux machine with openMosix, and the simulator of the
laboratory. The agent is the same code on both. Rules:

1. Nothing in a world blocks. What may take long is a *task*: it is submitted, has a limit, and its answer comes later
   as a call from the world's loop. A task that ran over its limit may still take effect at any later time.
2. The world calls :meth:`Agent.round <mosha.agent.Agent.round>` after whatever it delivered (an answer, a report of a
   leash, a signal) and at the time which the round before returned.
3. One clock, :meth:`World.now`: seconds that never go back, and go on while the machine sleeps. Deadlines are
   absolute on it. :meth:`World.wall` is for people only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Callable, Optional, Protocol

from mosha.clinit.custody import Legacy
from mosha.clinit.leash import LeashReport
from mosha.tables.cltab import Entry
from mosha.tables.settings import Policy

Answer = Callable[[Any, Optional[OSError]], None]
PROBES, SHOTS = -1, -2       # keys of tasks that must not wait behind a hung node


class Leash(Protocol):
    """The agent's end of a guardian that holds all processes of one group: see :mod:`mosha.clinit.leash`."""

    gone: bool

    def tell(
        self, level: str, entries: Iterable[Entry], environment: Mapping[str, str] | None = None,
        policy: Policy | None = None,
    ) -> None: ...

    def own(self, environment: Mapping[str, str]) -> None: ...

    def extend(self, deadline: float) -> None: ...

    def kill(self) -> None: ...

    def kill_guardian(self) -> None: ...

    def hold(self) -> None: ...

    def finish(self) -> None: ...

    def receive(self) -> list[LeashReport]: ...

    def close(self) -> None: ...


class Store(Protocol):
    """The agent's own directory (varpath) or its run directory, on a local disk; small files, whole.

    Every method may raise OSError.
    """

    def read(self, name: str, bytes_max: int) -> bytes | None:
        """The content, at most ``bytes_max`` + 1 bytes of it; None if there is no such file."""

    def replace(self, name: str, content: bytes, durable: bool = False) -> None:
        """Whole or not at all; ``durable``: and on the disk when it returns."""

    def supplant(self, name: str, content: bytes, aside: str) -> bool:
        """Durably put the content there, and what lay there, whatever it is by then, under the name ``aside``. False:
        somebody made a file of that name meanwhile, which stays."""

    def write(self, name: str, content: bytes) -> None:
        """Over the beginning of the file, in place: readers may keep it open, and meet it torn."""

    def sync(self, name: str) -> None:
        """What the file has now is on the disk."""

    def rename(self, old: str, new: str) -> None:
        """Durably, over the new name's file, if there is one."""

    def remove(self, name: str, durable: bool = False) -> bool:
        """Whether there was such a file: of two that remove one, one is told so. ``durable``: it does not come back."""

    def is_being_written(self, name: str) -> bool:
        """Whether somebody has that file open to write; False where the machine does not tell, and for no file."""

    def list(self) -> list[str]: ...


class World(Protocol):
    """See the head of the module."""

    var: Store
    run: Store          # empty after a boot

    def now(self) -> float: ...

    def skew(self) -> float | None:
        """How far a second clock, which nobody slews and which may stand still while the machine sleeps, is ahead of
        :meth:`now`, both seen at one instant; None if that could not be seen, or there is no other clock."""

    def wall(self) -> float:
        """Seconds since 1970: for people, never for a decision."""

    def boot_id(self) -> str:
        """The identity of this boot, empty where there is none."""

    def nonce(self) -> str:
        """32 hexadecimal digits that nobody else ever gets."""

    def uniform(self, low: float, high: float) -> float:
        """A random number, for back-off."""

    def submit(
        self, key: int, task: str, arguments: list[Any], limit_s: float, answer: Answer, patience_s: float = 0.0
    ) -> None:
        """Run a task; ``answer(result, error)`` comes later. Tasks of one key, a node's number or -1 or -2, are done in
        their order, one at a time, and wait for those of other keys for ``patience_s`` at most. With too many at work
        they fail with EAGAIN.

        Tasks: those of :mod:`mosha.platform.plans`, carried out on the node ``key``, and ``whois``, ``nodes``,
        ``probe`` and ``shoot`` of :class:`mosha.platform.tasks.Tasks`.
        """

    def start_leash(self, group: str, environment: Mapping[str, str], deadline: float, ahead: bool = False) -> Leash:
        """Fork a guardian, armed with ``deadline``; raises OSError.

        ``ahead``: it executes nothing but what the level ``test`` has before :meth:`Leash.own`.
        """

    def legacies(self) -> Sequence[tuple[Leash, Legacy]]:
        """The leashes of an earlier life that live on, and obey this one (R9); asked once."""

    def sweep(self, group: str | None) -> bool:
        """Kill what outlived its leash, and take the addresses and mounts of the group (None: of every one) away.

        Whether nothing is left.
        """

    def remains(self, group: str) -> str:
        """What a sweep of that group cannot end, in words."""
