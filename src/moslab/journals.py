"""When the tickers of a cluster lived, from their journals on the shared disk: the history that checkers judge.

Rules:

1. All times are of the engine's monotonic clock, which all nodes share. A ticker writes every 10 ms: so exact is the
   end of one that was killed, whose last tick counts. Its beginning is its first line, after its program was loaded.
2. A frozen node or process is not running: where a gap between two ticks meets a freeze that was written down beside
   the journals, and that began while this run lived, the interval is cut there. Any other gap is no pause: a busy
   machine hides nothing.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Sequence
from importlib import resources
from typing import Any, Callable, NamedTuple

from docker.models.containers import Container

from moslab.cluster import Cluster
from moslab.errors import LabError
from moslab.history.intervals import Interval
from moslab.history.record import History
from moslab.node import EXEC_LIMIT_S, execute, run
from moslab.reader import ALIVE_S

READ_LIMIT_S = 60.0
DIRECTORY = "/san"
PYTHON = ["/usr/bin/python3", "-IS", "-c"]
NO_TOKEN = "0"


class Freeze(NamedTuple):
    """Processes of a node (of one group, or of all) stood still, at some time within these bounds."""

    node: int
    group: str | None
    begin_s: float
    end_s: float


class Forgotten(NamedTuple):
    """Not all is kept of what a node wrote of a group until then."""

    group: str
    node: str
    until_s: float


class Life(NamedTuple):
    """One run of a ticker."""

    group: str
    node: int
    pid: int
    epoch: str
    begin_s: float
    end_s: float
    stopped: bool
    pauses: tuple[tuple[float, float], ...]

    def stood_still(self, freezes: Sequence[Freeze]) -> list[tuple[float, float]]:
        """The pauses that these freezes explain, by rule 2."""
        mine = [freeze for freeze in freezes if freeze.node == self.node and freeze.group in (None, self.group)
                and self.begin_s < freeze.begin_s]
        return [(since, until) for since, until in self.pauses
                if any(since < freeze.end_s and freeze.begin_s < until for freeze in mine)]

    def pieces(self, freezes: Sequence[Freeze]) -> list[Interval]:
        """Its intervals, by rule 2."""
        cuts = self.stood_still(freezes)
        begins = [self.begin_s, *(until for _since, until in cuts)]
        ends = [*(since for since, _until in cuts), self.end_s]
        return [Interval(self.group, self.node, self.pid, self.epoch, begin_s, end_s)
                for begin_s, end_s in zip(begins, ends)]


class Look(NamedTuple):
    """What the journals show at one moment."""

    now_s: float
    lives: tuple[Life, ...]
    freezes: tuple[Freeze, ...] = ()
    forgotten: tuple[Forgotten, ...] = ()

    def since(self, zero_s: float) -> Look:
        """The same, with times that count from then."""
        return Look(
            self.now_s - zero_s,
            tuple(life._replace(
                begin_s=life.begin_s - zero_s, end_s=life.end_s - zero_s,
                pauses=tuple((since_s - zero_s, until_s - zero_s) for since_s, until_s in life.pauses),
            ) for life in self.lives),
            tuple(one._replace(begin_s=one.begin_s - zero_s, end_s=one.end_s - zero_s) for one in self.freezes),
            tuple(one._replace(until_s=one.until_s - zero_s) for one in self.forgotten),
        )

    def running(self, group: str) -> tuple[Life, ...]:
        """The runs of a group that are going on."""
        return tuple(life for life in self.lives
                     if life.group == group and not life.stopped and life.end_s > self.now_s - ALIVE_S)

    def owner(self, group: str) -> int | None:
        """The one node on which a group runs; None if it runs on none, or on several."""
        nodes = {life.node for life in self.running(group)}
        return nodes.pop() if len(nodes) == 1 else None

    def history(self, judged_s: float = 0.0) -> History:
        """All of it, for :mod:`moslab.history.checkers`. The pid of a run is its number: nodes have the same pids.

        What is named like an address is the time for which a node had that address. What was until ``judged_s`` was
        judged before, and may be forgotten.
        """
        made = History(len({life.node for life in self.lives}), end_s=self.now_s)
        whole = [freeze for freeze in self.freezes if freeze.group is None]
        for number, life in enumerate(self.lives):
            epoch = "" if life.epoch == NO_TOKEN else life.epoch
            pieces = [piece._replace(pid=number, epoch=epoch) for piece in life.pieces(self.freezes)]
            (made.addresses if is_address(life.group) else made.intervals).extend(pieces)
            made.thaws += [(until, life.node) for _since, until in life.stood_still(whole)]
        made.unfinished = self.unseen(judged_s)
        return made

    def unseen(self, judged_s: float = 0.0) -> str:
        """What is not known of what was after that; nothing if all is."""
        return "; ".join(
            f"the journals of {one.group} on node {one.node} have forgotten some of what was until {one.until_s:.3f}"
            for one in self.forgotten if one.until_s > judged_s
        )


def is_address(name: str) -> bool:
    """Whether this is an IP address."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def read(cluster: Cluster, whole: bool = False) -> Look:
    """Read the journals through a node that runs; ``whole``: also of runs that ended long ago. LabError."""
    said = ""
    for container in cluster.nodes().values():
        if container.status == "running":
            try:
                done = run(container, [*PYTHON, _reader(), "all" if whole else "now"], READ_LIMIT_S)
            except LabError as error:                        # it went off, or froze, just now
                said = str(error)
                continue
            if done.exit_code == 0:
                return look_of(json.loads(done.stdout))
            said = done.stderr
    raise LabError(f"no node reads the journals: {said.strip() or 'none runs'}")


def wait_for_run(
    container: Container, group: str, after_s: float, within_s: float, on_look: Callable[[], None]
) -> None:
    """Return when just one run of the group goes on that began after ``after_s``. LabError if it does not in time.

    One process in the container, which must live, does all the looking; ``on_look`` is called when it begins.
    """
    command = [*PYTHON, _reader(), "run", DIRECTORY, group, repr(after_s), repr(within_s)]
    if execute(container, command, lambda _piece: on_look(), within_s + EXEC_LIMIT_S):
        raise LabError(f"{group} runs: not within {within_s:g} s")


def _reader() -> str:
    return resources.files("moslab").joinpath("reader.py").read_text(encoding="utf-8")


def look_of(answer: dict[str, Any]) -> Look:
    """What the reader printed."""
    lives = tuple(
        Life(group, node, pid, epoch, begin_s, end_s, stopped, tuple((since, until) for since, until in pauses))
        for group, node, pid, epoch, begin_s, end_s, stopped, pauses in answer["lives"]
    )
    freezes = tuple(
        Freeze(node, group, begin_s, float("inf") if end_s is None else end_s)
        for node, group, begin_s, end_s in answer["freezes"]
    )
    return Look(float(answer["now"]), lives, freezes, tuple(Forgotten(*one) for one in answer["forgotten"]))
