"""``--replay``: fault plans as tests, in the worlds that were chosen (docs/laboratory.md).

Rules:

1. In the simulator a plan is run as ``moslab sim --plan`` does it: to the last message. In any other world it is
   carried out on a cluster such as it describes (:mod:`moslab.scenario.replay`), as near as that can be.
2. What was left out there, and how late the latest fault was, is said, and stands in the JUnit properties. A plan of
   which nothing is left to be done is skipped.
3. What was not valid, or went no further, leaves what a failed test leaves: the plan as it was carried out there, and
   one that is as small as could be found, if that fails simulated.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Callable, NamedTuple, Protocol

import pytest

from moslab.errors import LabError, NotBegunError, UnsupportedError
from moslab.faults.plan import FaultPlan, PlanError, load
from moslab.history.checkers import UNKNOWN, VALID
from moslab.history.stored import Run
from moslab.scenario import artifacts
from moslab.scenario.cluster import Cluster, Verdict
from moslab.scenario.plans import spec_of
from moslab.scenario.pool import Pool
from moslab.scenario.replay import Replay
from moslab.scenario.world import SIM
from moslab.simulator.run import run


class Lends(Protocol):
    """The session, as far as it is needed here."""

    root: Path

    @property
    def pool(self) -> Pool: ...

    def given(self, world: str) -> list[str]: ...


class Replays(NamedTuple):
    """In which worlds, and by what session."""

    worlds: Sequence[str]
    session: Lends


class PlanFile(pytest.File):
    """A fault plan that shall be carried out."""

    replays: Replays

    def collect(self) -> Iterator[pytest.Item]:
        for world in self.replays.worlds:
            item = PlanItem.from_parent(self, name="plan" if world == SIM else f"plan[{world}]")
            item.world, item.session_ = world, self.replays.session
            yield item


class PlanItem(pytest.Item):
    """One plan in one world."""

    world: str
    session_: Lends

    def runtest(self) -> None:
        try:
            plan = load(self.path)
        except PlanError as error:
            pytest.fail(str(error), pytrace=False)
        self.user_properties += [("moslab_world", self.world), ("moslab_seed", plan.seed)]
        if self.world == SIM:
            result = run(plan, traced=True)
            self._judge(Verdict(result.verdict, result.problems, result.history), plan,
                        lambda: result.stored(f"plan {self.path}", self._again()))
            return
        try:
            self._elsewhere(plan)
        except UnsupportedError as error:
            pytest.skip(f"world {self.world} cannot {error}")
        except NotBegunError as error:
            left = artifacts.leave_unbegun(self._folder(), f"plan {self.path}", self.world, spec_of(plan)[0], plan.seed,
                                           self._again(), error, self.session_.given(self.world))
            pytest.fail("\n".join([str(error), *left, f"again: {self._again()}"]), pytrace=False)
        except LabError as error:
            pytest.fail(str(error), pytrace=False)

    def _elsewhere(self, plan: FaultPlan) -> None:
        spec, lacks = spec_of(plan)
        pool, sound = self.session_.pool, False
        world = pool.lend(self.world, spec, plan.seed)
        try:
            cluster = Cluster(world, plan.seed)
            replay, failure = Replay(cluster, plan), ""
            try:
                cluster.see()
                replay.run()
                verdict = replay.judge()
            except UnsupportedError:
                raise
            except (AssertionError, LabError) as error:      # it went no further: so nobody knows
                failure = str(error)
                verdict = Verdict(UNKNOWN, [failure], None)
            sound = verdict.word == VALID
            left_out = [*(f"not as in the plan: {lack}" for lack in lacks),
                        *(f"left out: {fault}" for fault in replay.left_out)]
            self.user_properties += [("moslab_left_out", one) for one in left_out]
            self.user_properties.append(("moslab_late_s", round(replay.late_s, 3)))
            self.add_report_section("call", "moslab", "\n".join(left_out))
            say(self.config, "\n".join([f"{self.path.name}: {self.world}: {verdict.word}; the latest fault was "
                                        f"{replay.late_s:.3f} s late", *left_out]))
            self._judge(verdict, cluster.plan(),
                        lambda: cluster.stored(f"plan {self.path}", plan.seed, self._again(), failure))
            if plan.faults and not cluster.faults:
                raise UnsupportedError("do anything of this plan")
        finally:
            left = pool.give_back(world, sound)
        if left:
            pytest.fail("\n".join([*left, f"again: {self._again()}"]), pytrace=False)

    def _judge(self, verdict: Verdict, done: FaultPlan, stored: Callable[[], Run]) -> None:
        """Of what is not valid: leave what was ``done``, and what is ``stored`` of it."""
        if verdict:
            return
        left = artifacts.leave(self._folder(), stored(), done, self.session_.given(self.world))
        pytest.fail("\n".join([f"the history is {verdict.word}:", *verdict.problems, *left, f"again: {self._again()}"]),
                    pytrace=False)

    def _folder(self) -> Path:
        place = f"-{self.world}" if self.world != SIM else ""
        return artifacts.folder_of(self.session_.root, f"replay-{self.path.parent.name}-{self.path.stem}{place}")

    def _again(self) -> str:
        there = [f"--world={self.world}"] if self.world != SIM else []
        return shlex.join(["pytest", "--replay", str(self.path), *there, *self.session_.given(self.world)])

    def reportinfo(self) -> tuple[Path, int | None, str]:
        return self.path, None, f"plan {self.path.name}{self.name[len('plan'):]}"


def say(config: pytest.Config, text: str) -> None:
    """At once, and not only when something fails; workers of xdist have no terminal."""
    plugins: Any = config.pluginmanager
    capture, reporter = plugins.getplugin("capturemanager"), plugins.getplugin("terminalreporter")
    if capture is None or reporter is None:
        print(text, flush=True)
        return
    with capture.global_and_fixture_disabled():
        reporter.ensure_newline()
        reporter.write_line(text)
