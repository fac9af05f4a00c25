"""The pytest plugin: ``cluster`` and ``clusters`` in the world that was chosen (docs/laboratory.md).

Rules:

1. It is loaded into every pytest of an environment that has it: until a test wants a cluster nothing else is imported,
   and nothing but the header is printed.
2. Everything random comes of ``--seed`` and the test's own name, so a test does the same alone and among others.
3. A test that a world cannot do is skipped by the name of what it cannot, and counted.
4. A test that failed leaves ``artifacts/<test>/`` and prints the line that does it again. Whatever happens, its
   clusters are removed, unless ``--keep failed`` keeps them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shlex
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable

import pytest

if TYPE_CHECKING:
    from moslab.scenario.cluster import Cluster
    from moslab.scenario.pool import Pool
    from moslab.scenario.world import Spec

DOCKER, SIM = WORLDS = ("docker", "sim")
SEED_MAX = 2**31
CANNOT = "cannot "
FIXTURE = "moslab_world"
MARKER = (
    "cluster(nodes=5, stomith=True, cltab=…, hactl=…, profile='default'): the cluster that the fixture of that name "
    "gives; cltab and hactl are texts, or files beside the test"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("moslab", "clusters that break (moslab)")
    group.addoption("--world", metavar="W[,W]", help=f"{', '.join(WORLDS)} (default: the best that there is)")
    group.addoption("--seed", type=int, metavar="N", help="of everything random (default: a new one)")
    group.addoption("--nodes", type=int, metavar="N", help="of clusters whose test does not say how many (default: 5)")
    group.addoption("--keep", choices=["failed"], help="failed: leave the clusters of failed tests running")
    group.addoption("--artifacts", metavar="DIR", default="artifacts", help="of what failed tests leave (artifacts)")


class Session:
    """What one process of the session knows: the worlds, the seed, and the pool of clusters."""

    def __init__(self, config: pytest.Config) -> None:
        given = config.getoption("--world")
        self.worlds = given.split(",") if given else []
        self.why = "asked for"
        unknown = [name for name in self.worlds if name not in WORLDS]
        if unknown:
            raise pytest.UsageError(f"--world: {unknown[0]!r} is none of {', '.join(WORLDS)}")
        if config.getoption("--seed") is None:
            config.option.seed = secrets.randbelow(SEED_MAX)     # workers of xdist are given the same options
        self.seed: int = config.getoption("--seed")
        self.nodes: int | None = config.getoption("--nodes")
        self.keep: bool = config.getoption("--keep") == "failed"
        self.root = config.rootpath / config.getoption("--artifacts")
        self._config = config
        self._pool: Pool | None = None

    def chosen(self) -> list[str]:
        """The worlds; looks for the best one once, and a worker is told."""
        if not self.worlds:
            told = getattr(self._config, "workerinput", {}).get(FIXTURE)
            self.worlds, self.why = told or _best()
        return self.worlds

    @property
    def pool(self) -> Pool:
        if self._pool is None:
            from moslab.scenario.pool import Pool

            self._pool = Pool()
            self._config.add_cleanup(self._pool.close)
        return self._pool


def _best() -> tuple[list[str], str]:
    """The best world of this machine, and why it is that one."""
    try:
        from moslab import engine
        from moslab.errors import CannotError
    except ImportError as error:
        return [SIM], f"{error}: pip install 'mosha[lab]'"
    try:
        engine.connect().close()
    except CannotError as error:
        return [SIM], str(error).splitlines()[0]
    return [DOCKER], "a container engine answers"


SESSION = pytest.StashKey[Session]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)
    config.stash[SESSION] = Session(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Of pytest-xdist: all workers have the worlds of the session."""
    session = node.config.stash[SESSION]
    node.workerinput[FIXTURE] = session.chosen(), session.why


def pytest_report_header(config: pytest.Config) -> str:
    session = config.stash[SESSION]
    return f"moslab: world {', '.join(session.chosen())} ({session.why}), seed {session.seed}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if FIXTURE in metafunc.fixturenames:
        metafunc.parametrize(FIXTURE, metafunc.config.stash[SESSION].chosen(), indirect=True, scope="session")


# ---- clusters of a test -------------------------------------------------------------------------------------------


class Lent:
    """The clusters of one test."""

    def __init__(self, session: Session, item: pytest.Item, world: str) -> None:
        self.session, self.world = session, world
        self.passed = self.failed = False
        self._clusters: list[Cluster] = []
        self._item = item
        # the same in all worlds, so that the same targets are drawn
        self._key = re.sub(rf"(?<=[\[-]){world}(?=[\]-])", "", item.nodeid, count=1)

    def new(self, **wanted: Any) -> Cluster:
        """One more; see the marker for what may be wanted."""
        from moslab.scenario.cluster import Cluster

        digest = hashlib.sha256(f"{self.session.seed}/{self._key}/{len(self._clusters)}".encode()).digest()
        seed = int.from_bytes(digest[:7], "big")
        cluster = Cluster(self.session.pool.lend(self.world, self._spec(wanted), seed), seed)
        self._clusters.append(cluster)
        cluster.heal()                                       # which also sees where the groups run
        return cluster

    def _spec(self, wanted: dict[str, Any]) -> Spec:
        from moslab.scenario.world import Spec

        beside = self._item.path.parent
        for name in ("cltab", "hactl"):
            given = wanted.get(name)
            if isinstance(given, Path) or (given and "\n" not in given):
                wanted[name] = (beside / given).read_text(encoding="utf-8")
        if "nodes" not in wanted and self.session.nodes:
            wanted["nodes"] = self.session.nodes
        return Spec(**wanted)

    def report(self) -> str:
        """After a failure: write the artifacts, keep what shall be kept; what there is to say."""
        self.failed = True
        said = []
        for folder, cluster in zip(self._folders(), self._clusters):
            said.append(f"{_written(folder, cluster)}: {folder}")
            if self.session.keep:
                said.append(cluster.world.keep())
        nodes = [f"--nodes={self.session.nodes}"] if self.session.nodes else []
        again = ["pytest", self._item.nodeid, f"--world={self.world}", f"--seed={self.session.seed}", *nodes]
        return "\n".join([*said, f"again: {shlex.join(again)}"])

    def _folders(self) -> list[Path]:
        from moslab.scenario.artifacts import folder_of

        folder = folder_of(self.session.root, self._item.nodeid)
        return [folder, *(folder / f"cluster{place + 1}" for place in range(1, len(self._clusters)))]

    def end(self) -> None:
        """Heal, audit and give back, what is not kept. A test that passed fails if its history is not valid."""
        problems = []
        for cluster in self._clusters:
            if self.failed and self.session.keep:
                continue
            sound = False
            try:
                verdict = cluster.audit() if self.passed or self.failed else None    # neither: it was interrupted
                sound = bool(verdict)
                if verdict is not None and not sound and self.passed:
                    problems += [f"the history is {verdict.word}:", *verdict.problems, self.report()]
            finally:
                self.session.pool.give_back(cluster.world, sound)
        if problems:
            raise AssertionError("\n".join(problems))


def _written(folder: Path, cluster: Cluster) -> str:
    from moslab.scenario import artifacts

    try:
        return artifacts.write(folder, cluster)
    except Exception as error:       # noqa: BLE001  (the test's own failure is what must be shown)
        return f"not all could be written ({error})"


LENT = pytest.StashKey[Lent]()


@pytest.fixture(scope="session")
def moslab_world(request: pytest.FixtureRequest) -> str:
    """The name of the world in which this test runs."""
    return str(request.param)


@pytest.fixture
def clusters(request: pytest.FixtureRequest, moslab_world: str) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters: ``clusters(nodes=3, stomith=False, cltab=…, hactl=…)``; they are gone after the test."""
    item, session = request.node, request.config.stash[SESSION]
    item.user_properties += [("moslab_world", moslab_world), ("moslab_seed", session.seed)]
    item.stash[LENT] = lent = Lent(session, item, moslab_world)
    yield lent.new
    del item.stash[LENT]
    lent.end()


@pytest.fixture
def cluster(request: pytest.FixtureRequest, clusters: Callable[..., Cluster]) -> Cluster:
    """A cluster of five nodes, or as the marker of that name says."""
    marker = request.node.get_closest_marker("cluster")
    return clusters(**(marker.kwargs if marker else {}))


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
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    yield from _or_skip(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    lent = item.stash.get(LENT, None)
    if lent is not None and report.when == "call":
        lent.passed = not report.failed
        if report.failed:
            report.sections.append(("moslab", lent.report()))
    return report


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons = [str(report.longrepr[-1]) for report in terminalreporter.stats.get("skipped", []) if report.longrepr]
    found = Counter(
        reason.partition("world ")[2] for reason in reasons if re.search(rf"\bworld \w+ {CANNOT}", reason)
    )
    if found:
        terminalreporter.section("what worlds cannot do")
        for reason, count in sorted(found.items()):
            terminalreporter.line(f"{count} skipped: {reason}")
