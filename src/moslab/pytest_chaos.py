"""``--chaos-budget``: random scenarios, seed after seed, until the time is spent (docs/laboratory.md).

Rules:

1. First come the failing seeds of that world that were stored, whatever the time; then new ones, from ``--seed`` on,
   one at least. A scenario that has begun is ended.
2. Its cluster is one that a test asks for, drawn by the seed: the tests themselves are not run.
3. Each is said with its verdict. One that is not valid leaves its artifacts and is stored, so is one that left
   something on its nodes; one that is right again is struck out. At the end any that was not right fails the item.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import pytest

from moslab.errors import CannotError, LabError, NotBegunError, UnsupportedError
from moslab.history.checkers import UNKNOWN, VALID
from moslab.pytest_replay import say
from moslab.scenario import artifacts, failing
from moslab.scenario.chaos import chaos
from moslab.scenario.cluster import Cluster, Verdict
from moslab.scenario.failing import Case
from moslab.scenario.pool import Pool
from moslab.scenario.world import Spec

FOR_S = 30.0
STORE = "failing-seeds.jsonl"


class Budget(NamedTuple):
    """What an item is to do; ``root``: of artifacts and the store; ``given``: the options that it needs for that."""

    world: str
    seed: int
    for_s: float
    specs: Sequence[Spec]
    pool: Pool
    root: Path
    given: Sequence[str] = ()

    @property
    def again(self) -> str:
        """What does again what is stored."""
        return shlex.join(["pytest", f"--world={self.world}", *self.given, "--chaos-budget=1s"])

    def cases(self) -> Iterator[Case]:
        """Rule 1."""
        began_s = time.monotonic()
        yield from [case for case in failing.load(self.root / STORE) if case.world == self.world]
        for seed in count(self.seed):
            if seed != self.seed and time.monotonic() - began_s > self.for_s:
                return
            spec = random.Random(f"{seed}/cluster").choice(self.specs)
            yield Case(self.world, seed, FOR_S, spec)


class Chaos(pytest.Item):
    """See the rules; one for each world."""

    budget: Budget

    def runtest(self) -> None:
        self.user_properties += [("moslab_world", self.budget.world), ("moslab_seed", self.budget.seed)]
        wrong = []
        stored = failing.load(self.budget.root / STORE)
        for case in self.budget.cases():
            try:
                verdict, left = self._run(case)
            except UnsupportedError as error:
                say(self.config, f"{case}: cannot {error}")
                continue
            said = f"{case}: {verdict.word}"
            if verdict and left:
                said += ", but it left something"
            elif verdict and case in stored:
                said += ", and was not before"
            say(self.config, said)
            if left:
                self.user_properties.append(("moslab_failing_seed", case.seed))
                failing.add(self.budget.root / STORE, case)
                wrong += [said, *verdict.problems, *left]
            elif case in stored:
                failing.strike(self.budget.root / STORE, case)
        if wrong:
            where = [f"stored: {self.budget.root / STORE}", f"again: {self.budget.again}"]
            pytest.fail("\n".join([*wrong, *where]), pytrace=False)

    def _run(self, case: Case) -> tuple[Verdict, list[str]]:
        """The verdict, and what was left: of a history that is not valid a report."""
        try:
            world = self.budget.pool.lend(case.world, case.spec, case.seed)
        except NotBegunError as error:
            left = artifacts.leave_unbegun(self._folder(case), f"chaos, {case}", case.world, case.spec, case.seed,
                                           self.budget.again, error, self.budget.given)
            return Verdict(UNKNOWN, [str(error)], None), left
        sound = False
        left = []
        try:
            cluster = Cluster(world, case.seed)
            failure = ""
            try:
                verdict = chaos(cluster, case.for_s)
            except CannotError:                              # nothing could be broken in that time
                verdict = cluster.judge()
            except UnsupportedError:
                raise
            except LabError as error:                        # it went no further: so nobody knows
                failure = str(error)
                verdict = Verdict(UNKNOWN, [failure], None)
            sound = verdict.word == VALID
            left += [] if sound else self._report(case, cluster, failure)
        finally:
            left += self.budget.pool.give_back(world, sound)
        return verdict, left

    def _report(self, case: Case, cluster: Cluster, failure: str) -> list[str]:
        stored = cluster.stored(f"chaos, {case}", case.seed, self.budget.again, failure)
        return artifacts.leave(self._folder(case), stored, cluster.plan(), self.budget.given)

    def _folder(self, case: Case) -> Path:
        return artifacts.folder_of(self.budget.root, f"chaos-{case.world}-{case.seed}")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, self.name
