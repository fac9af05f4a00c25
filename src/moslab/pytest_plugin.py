"""The pytest plugin: ``cluster`` and ``clusters`` in the world that was chosen (docs/laboratory.md).

Rules:

1. It is loaded into every pytest of an environment that has it: where a world is named nothing else is imported until a
   test wants a cluster, and nothing but the header is printed. Where none is, the header has to look for the best one.
2. Everything random comes of ``--seed`` and the test's own name, so a test does the same alone and among others, and
   with one of ``--seeds`` what it does with that seed alone.
3. A test that a world cannot do is skipped by the name of what it cannot, and counted.
4. A test that failed, in its setup too, leaves ``artifacts/<test>/`` and prints the line that does it again. Whatever
   happens, its clusters are removed, unless ``--keep failed`` keeps them.
5. With ``--replay`` fault plans are carried out, each as a test of its own, and no other test is run
   (:mod:`moslab.pytest_replay`); with ``--chaos-budget`` random scenarios on the clusters that tests ask for
   (:mod:`moslab.pytest_chaos`).
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import pytest

from moslab.duration import seconds
from moslab.seeds import new_seed, seed_of, seeds_of, whole

if TYPE_CHECKING:
    from moslab.errors import NotBegunError
    from moslab.hosts.inventory import Inventory
    from moslab.scenario.attached import Attached
    from moslab.scenario.cluster import Cluster
    from moslab.scenario.pool import Pool
    from moslab.scenario.world import Spec, World

DOCKER, NAMESPACES, HOSTS, SIM = WORLDS = ("docker", "namespaces", "hosts", "sim")
SEEDS_MAX = 100_000
CANNOT = "cannot "
FIXTURE = "moslab_world"
ARTIFACTS = "artifacts"
MARKER = (
    "cluster(nodes=5, stomith=True, cltab=…, hactl=…, profile='default', toxiproxy=False, networks=1): the cluster "
    "that the fixture of that name gives; cltab and hactl are texts, or files beside the test"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("moslab", "clusters that break (moslab)")
    group.addoption("--world", metavar="W[,W]", help=f"{', '.join(WORLDS)} (default: the best that there is)")
    group.addoption("--attach", action="store_true",
                    help="on the cluster that is up already: $MOSLAB_CLUSTER, else mosha; it stays up")
    group.addoption("--inventory", metavar="FILE", help="the machines of the world of hosts (docs/laboratory.md)")
    group.addoption("--seed", type=seed_of, metavar="N", help="of everything random (default: a new one)")
    group.addoption("--seeds", type=seeds_of, metavar="A..B", help="run each test with each of these seeds")
    group.addoption("--replay", metavar="FILE", action="append", default=[],
                    help="carry out this fault plan, or a failed test's (its folder), and run no other test (in: sim)")
    group.addoption("--chaos-budget", type=seconds, metavar="TIME",
                    help="random scenarios, seed after seed, for so long (60s, 10m), instead of the tests")
    group.addoption("--nodes", type=whole, metavar="N",
                    help="of clusters whose test does not say how many (default: 5)")
    group.addoption("--keep", choices=["failed"], help="failed: leave the clusters of failed tests running")
    group.addoption("--artifacts", metavar="DIR", default=ARTIFACTS, help="of what failed tests leave (artifacts)")


class Session:
    """What one process of the session knows: the worlds, the seed, and the pool of clusters."""

    def __init__(self, config: pytest.Config) -> None:
        # a worker of xdist has the arguments of the session, and what it was told by pytest_configure_node
        self._told = getattr(config, "workerinput", {}).get(FIXTURE)
        given = config.getoption("--world")
        self.worlds = list(dict.fromkeys(given.split(","))) if given else []
        self.why = "asked for"
        unknown = [name for name in self.worlds if name not in WORLDS]
        if unknown:
            raise pytest.UsageError(f"--world: {unknown[0]!r} is none of {', '.join(WORLDS)}")
        given_file = config.getoption("--inventory")
        if (HOSTS in self.worlds) != bool(given_file):
            raise pytest.UsageError("--inventory FILE and --world=hosts: one needs the other")
        self.inventory = Path(config.invocation_params.dir, given_file) if given_file else None
        self.machines = _machines(self.inventory) if self.inventory is not None else None
        given_seeds: range | None = config.getoption("--seeds")
        if given_seeds is not None and config.getoption("--seed") is not None:
            raise pytest.UsageError("--seed and --seeds exclude each other")
        self.budget_s: float | None = config.getoption("--chaos-budget")
        if given_seeds is not None and self.budget_s is not None:
            raise pytest.UsageError("--seeds and --chaos-budget exclude each other")
        if given_seeds is not None and len(given_seeds) > SEEDS_MAX:
            raise pytest.UsageError(f"--seeds: more than {SEEDS_MAX}")
        if given_seeds is None and config.getoption("--seed") is None:
            config.option.seed = self._told[2] if self._told else new_seed()
        self.seeds: range | None = given_seeds
        self.seed: int | None = config.getoption("--seed")
        self.replays = [_plan_of(Path(config.invocation_params.dir, file)) for file in config.getoption("--replay")]
        instead = ["--replay"] * bool(self.replays) + ["--chaos-budget"] * (self.budget_s is not None)
        if instead and (len(instead) > 1 or config.getoption("--keep")):
            raise pytest.UsageError(f"{instead[0]} and {[*instead, '--keep'][1]} exclude each other")
        self.attach = _attached(config, self.worlds)
        if self.attach:
            self.worlds, self.why = [DOCKER], f"the cluster {self.attach} is up"
        if self.replays and not self.worlds:
            self.worlds, self.why = [SIM], "plans are replayed"
        self.nodes: int | None = config.getoption("--nodes")
        self.keep: bool = config.getoption("--keep") == "failed"
        self.root = config.rootpath / config.getoption("--artifacts")
        self._config = config
        self._pool: Pool | None = None
        self._attached: Attached | None = None

    def chosen(self) -> list[str]:
        """The worlds; looks for the best one once, and a worker is told."""
        if not self.worlds:
            self.worlds, self.why = self._told[:2] if self._told else _best()
        return self.worlds

    def each(self) -> Sequence[int]:
        """The seeds."""
        return self.seeds if self.seeds is not None else [self.seed or 0]

    def given(self, world: str) -> list[str]:
        """The options without which that world, or the folder of artifacts, is another."""
        machines = [f"--inventory={self.inventory}"] if world == HOSTS else []
        there = self._config.getoption("--artifacts")
        return [*machines, *([f"--artifacts={there}"] if there != ARTIFACTS else [])]

    def nodes_of(self, world: str) -> int | None:
        """Of clusters whose test does not say how many; None: as many as they have."""
        return len(self.machines.numbers) if world == HOSTS and self.machines is not None else self.nodes

    @property
    def attached(self) -> Attached | None:
        """The cluster on which all tests are, if there is one."""
        if self.attach and self._attached is None:
            from moslab.scenario.attached import Attached

            self._attached = Attached(self.attach)
            self._config.add_cleanup(self._attached.close)
        return self._attached

    @property
    def pool(self) -> Pool:
        if self._pool is None:
            from moslab.scenario.pool import Pool

            self._pool = Pool(self.machines)
            self._config.add_cleanup(self._pool.close)
        return self._pool


def _attached(config: pytest.Config, worlds: list[str]) -> str:
    """The name of the cluster that is attached, if one shall be."""
    if not config.getoption("--attach"):
        return ""
    others = ("--inventory", "--nodes", "--keep", "--replay", "--chaos-budget")
    wrong = [name for name in others if config.getoption(name)] + ["--world"] * (worlds not in ([], [DOCKER]))
    if wrong or config.getoption("numprocesses", None):
        raise pytest.UsageError(f"--attach and {(wrong or ['-n'])[0]} exclude each other")
    return os.environ.get("MOSLAB_CLUSTER") or "mosha"


def _plan_of(given: Path) -> Path:
    """The plan that is meant by a folder which a failed test has left; a file as it is."""
    return (given / "plan.json" if given.is_dir() else given).resolve()


def _machines(inventory: Path) -> Inventory:
    """Of that file; a UsageError says what is wrong with it."""
    from moslab.hosts.inventory import InventoryError, read

    try:
        return read(inventory)
    except InventoryError as error:
        raise pytest.UsageError(str(error)) from None


def _best() -> tuple[list[str], str]:
    """The best world of this machine, and why it is that one."""
    try:
        from moslab import engine
        from moslab.errors import CannotError
        from moslab.namespaces import own
    except ImportError as error:
        return [SIM], f"{error}: pip install 'mosha[lab]'"
    try:
        engine.connect().close()
        return [DOCKER], "a container engine answers"
    except CannotError as error:
        reason = str(error).splitlines()[0]
    try:
        own.OwnEngine().close()
        return [NAMESPACES], reason
    except CannotError as error:
        return [SIM], f"{reason}; {error}"


SESSION = pytest.StashKey[Session]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[SESSION] = session = Session(config)
    if session.replays:
        config.args[:] = map(str, session.replays)           # rule 5


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist: all workers have the worlds and the seed of the session."""
    session = node.config.stash[SESSION]
    node.workerinput[FIXTURE] = session.chosen(), session.why, session.seed


def pytest_report_header(config: pytest.Config) -> str:
    session = config.stash[SESSION]
    if session.replays:
        return f"moslab: world {', '.join(session.chosen())} (plans are replayed)"
    seeds = f"seed {session.seed}" if session.seeds is None else f"seeds {session.seeds[0]}..{session.seeds[-1]}"
    return f"moslab: world {', '.join(session.chosen())} ({session.why}), {seeds}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if FIXTURE in metafunc.fixturenames:
        session = metafunc.config.stash[SESSION]
        draws = [Draw(world, seed, session.seeds is not None) for seed in session.each() for world in session.chosen()]
        metafunc.parametrize(FIXTURE, draws, ids=[draw.name for draw in draws], indirect=True, scope="session")


class Draw(NamedTuple):
    """In which world a test runs, and with which seed."""

    world: str
    seed: int
    is_one_of_many: bool

    @property
    def name(self) -> str:
        """In the test's id."""
        return f"{self.world}-seed{self.seed}" if self.is_one_of_many else self.world


# ---- clusters of a test -------------------------------------------------------------------------------------------


def _spec(item: pytest.Item | pytest.Session, session: Session, world: str, wanted: dict[str, Any]) -> Spec:
    """The cluster that a test asks for."""
    from moslab.scenario.world import Spec

    for name in ("cltab", "hactl"):
        given = wanted.get(name)
        if isinstance(given, Path) or (given and "\n" not in given):
            wanted[name] = (item.path.parent / given).read_text(encoding="utf-8")
    nodes = session.nodes_of(world)
    if "nodes" not in wanted and nodes:
        wanted["nodes"] = nodes
    return Spec(**wanted)


def _marked(item: pytest.Item) -> dict[str, Any]:
    marker = item.get_closest_marker("cluster")
    return dict(marker.kwargs) if marker else {}


class Lent:
    """The clusters of one test."""

    def __init__(self, session: Session, item: pytest.Item, draw: Draw) -> None:
        self.session, self.world, self.seed = session, draw.world, draw.seed
        self.passed = self.failed = False
        self._clusters: list[Cluster] = []
        self._back: list[Cluster] = []                       # of these, those that were given back
        self._unbegun: tuple[Spec, NotBegunError] | None = None     # the one that did not come up
        self._item = item
        name = rf"(?<=[\[-]){draw.name}(?=[\]-])"
        # the same in all worlds, so that the same targets are drawn
        self._key = re.sub(name, "", item.nodeid, count=1)
        self._id = re.sub(name, draw.world, item.nodeid, count=1)

    def new(self, **wanted: Any) -> Cluster:
        """One more; see the marker for what may be wanted."""
        from moslab.scenario.cluster import Cluster

        digest = hashlib.sha256(f"{self.seed}/{self._key}/{len(self._clusters)}".encode()).digest()
        seed = int.from_bytes(digest[:7], "big")
        spec = _spec(self._item, self.session, self.world, wanted)
        cluster = Cluster(self._lend(spec, seed, wanted), seed)
        self._clusters.append(cluster)
        cluster.see()
        return cluster

    def _lend(self, spec: Spec, seed: int, wanted: dict[str, Any]) -> World:
        from moslab.errors import NotBegunError

        attached = self.session.attached
        try:
            return self.session.pool.lend(self.world, spec, seed) if attached is None else attached.lend(wanted)
        except NotBegunError as error:
            self._unbegun = spec, error
            raise

    def report(self, failure: str) -> str:
        """After a failure: write the artifacts, keep what shall be kept; what there is to say."""
        self.failed = True
        again = self._again()
        said = []
        for place, cluster in enumerate(self._clusters):
            said += self._left(self._folder(place), cluster, again, failure)
            if self.session.keep and cluster not in self._back:
                said.append(cluster.world.keep())
        if self._unbegun is not None:
            said += self._left_unbegun(*self._unbegun, again)
        return "\n".join([*said, f"again: {again}"])

    def _again(self) -> str:
        nodes = [f"--nodes={self.session.nodes}"] if self.session.nodes else []
        where = "--attach" if self.session.attach else f"--world={self.world}"
        config, (path, *names) = self._item.config, self._id.split("::")
        file = os.path.relpath(config.rootpath / path, config.invocation_params.dir)       # ids are from the root on
        name = "::".join([file, *names])
        given = self.session.given(self.world)
        return shlex.join(["pytest", name, where, *given, f"--seed={self.seed}", *nodes])

    def _left(self, folder: Path, cluster: Cluster, again: str, failure: str) -> list[str]:
        """Write the artifacts of one cluster; what is to be said of them."""
        from moslab.scenario import artifacts

        try:
            run = cluster.stored(self._item.nodeid, self.seed, again, failure)
            first = "".join(f"; {problem.splitlines()[0]}" for problem in run.problems[:1])
            left = artifacts.leave(folder, run, cluster.plan(), self.session.given(self.world))
        except Exception as error:       # noqa: BLE001  (the test's own failure is what must be shown)
            return [f"not all could be written ({error}): {folder}"]
        return [f"the history is {run.verdict}{first}", *filter(None, [run.unseen]), *left]

    def _left_unbegun(self, spec: Spec, error: NotBegunError, again: str) -> list[str]:
        from moslab.scenario.artifacts import leave_unbegun

        folder, given = self._folder(len(self._clusters)), self.session.given(self.world)
        return leave_unbegun(folder, self._item.nodeid, self.world, spec, self.seed, again, error, given)

    def _folder(self, place: int) -> Path:
        """Of the artifacts of that cluster."""
        from moslab.scenario.artifacts import folder_of

        folder = folder_of(self.session.root, self._item.nodeid)
        return folder / f"cluster{place + 1}" if place else folder

    def end(self) -> None:
        """Heal, audit and give back, what is not kept. A test that passed fails if its history is not valid, or if it
        left anything; tables that are others are for nobody else, and the cluster is removed."""
        problems: list[str] = []
        try:
            with ExitStack() as ends:                        # of all, also where one ends in an error
                for cluster in reversed(self._clusters):
                    ends.callback(self._end, cluster, problems)
        except Exception as error:
            if not problems:
                raise
            raise AssertionError("\n".join(problems)) from error
        if problems:
            raise AssertionError("\n".join(problems))

    @property
    def _keeps(self) -> bool:
        """Whether its clusters live on."""
        return self.failed and self.session.keep and self.world != HOSTS

    def _end(self, cluster: Cluster, problems: list[str]) -> None:
        if self._keeps:
            return
        sound = False
        try:
            verdict = cluster.audit() if self.passed or self.failed else None        # neither: it was interrupted
            sound = bool(verdict)
            if verdict is not None:
                self._item.user_properties.append(("moslab_unseen", verdict.unseen))
            if verdict is not None and not sound and self.passed:
                whole = [f"the history is {verdict.word}:", *verdict.problems]
                problems += [*whole, self.report(whole[0])]
        finally:
            self._give_back(cluster, sound, problems)

    def _give_back(self, cluster: Cluster, sound: bool, problems: list[str]) -> None:
        """Unless it is kept. One that is attached stays: what an interrupted test broke there is healed here."""
        from moslab.errors import LabError

        attached = self.session.attached
        if attached is not None:
            try:
                if not self.passed and not self.failed:
                    cluster.world.settle()
                problems += attached.left()
            except LabError as error:
                problems.append(str(error))
        elif not self._keeps:
            self._back.append(cluster)
            left = self.session.pool.give_back(cluster.world, sound)
            problems += [*left, f"again: {self._again()}"] if left and self.passed else []


LENT = pytest.StashKey[Lent]()


@pytest.fixture(scope="session")
def moslab_world(request: pytest.FixtureRequest) -> Draw:
    """The world in which this test runs, and the seed."""
    drawn: Draw = request.param
    return drawn


@pytest.fixture
def clusters(request: pytest.FixtureRequest, moslab_world: Draw) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters: ``clusters(nodes=3, stomith=False, cltab=…, hactl=…)``; they are gone after the test."""
    item, session = request.node, request.config.stash[SESSION]
    item.user_properties += [("moslab_world", moslab_world.world), ("moslab_seed", moslab_world.seed)]
    item.stash[LENT] = lent = Lent(session, item, moslab_world)
    yield lent.new
    del item.stash[LENT]
    lent.end()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, clusters: Callable[..., Cluster]) -> Cluster:
    """A cluster of five nodes, or as the marker of that name says."""
    return clusters(**_marked(request.node))


# ---- what comes of a test -----------------------------------------------------------------------------------------


def _or_skip(item: pytest.Item) -> Iterator[None]:
    """Rule 3."""
    try:
        return (yield)
    except Exception as error:
        lent = item.stash.get(LENT, None)
        if lent is None or not _is_unsupported(error):
            raise
        pytest.skip(f"world {lent.world} {CANNOT}{error}")


def _is_unsupported(error: Exception) -> bool:
    from moslab.errors import UnsupportedError

    return isinstance(error, UnsupportedError)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    yield from _or_skip(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from _or_skip(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    report = yield
    lent = item.stash.get(LENT, None)
    if lent is not None and report.when in ("setup", "call"):
        lent.passed = report.when == "call" and not report.failed
        if report.failed:
            report.sections.append(("moslab", lent.report(call.excinfo.exconly() if call.excinfo else "")))
    return report


# ---- plans, chaos --------------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Rule 5."""
    session = parent.config.stash[SESSION]
    if file_path not in session.replays:
        return None
    from moslab.pytest_replay import PlanFile, Replays

    plans: PlanFile = PlanFile.from_parent(parent, path=file_path)
    plans.replays = Replays(session.chosen(), session)
    return plans


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Rule 5."""
    ours = config.stash[SESSION]
    if ours.budget_s is None:
        return
    from moslab.pytest_chaos import Budget, Chaos

    asking = [item for item in items if "cluster" in getattr(item, "fixturenames", ())]
    items[:] = []
    for world in ours.chosen():
        specs = [_spec(item, ours, world, _marked(item)) for item in asking] or [_spec(session, ours, world, {})]
        chaos = Chaos.from_parent(session, name=f"chaos[{world}]")
        chaos.budget = Budget(world, ours.seed or 0, ours.budget_s, list(dict.fromkeys(specs)), ours.pool, ours.root,
                              ours.given(world))
        items.append(chaos)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = [str(report.longrepr[-1]) for report in terminalreporter.stats.get("skipped", []) if report.longrepr]
    found = Counter(
        reason.partition("world ")[2] for reason in reasons if re.search(rf"\bworld \w+ {CANNOT}", reason)
    )
    if found:
        terminalreporter.section("what worlds cannot do")
        for reason, count in sorted(found.items()):
            terminalreporter.line(f"{count} skipped: {reason}")
