"""``mosha.HA``: the agent as an object, its settings, and a function that switches nodes off."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, TypeVar

import pytest

import mosha
from mosha.ha import GroupState
from mosha.lives import Life, agent
from mosha.ordering import Refused
from mosha.platform import procscan
from mosha.platform.openmosix import OpenMosix
from mosha.status import NotRunning
from mosha.tables.errors import TableErrors
from tests.unit.agent.test_agent import Cluster

SCRIPT = """\
import os, sys
import mosha

def switch_off(node):
    print("shooting", node)
    if os.system(f"{root}/stomith {{node}}") != 0:
        raise OSError("no power switch")
    return True

sys.exit(mosha.HA({file!r}, stomith=switch_off, balance=1.5).monitor())
"""
MARK = "MOSHA_TEST_OF_HA"
SOURCES = Path(mosha.__file__).parents[1]
T = TypeVar("T")


class Made(Cluster):
    """Its agents are made by a script."""

    def agent(self, node: int) -> list[str]:
        return ["-c", SCRIPT.format(root=self.root, file=f"{self.root}/{node}/mosha.conf")]

    def ha(self, node: int) -> mosha.HA:
        return mosha.HA(f"{self.root}/{node}/mosha.conf")

    def ask(self, call: Callable[[], T]) -> T:
        """Again where the agent's page is old for a moment, on a busy machine."""
        answers: list[T] = []

        def is_answered() -> bool:
            try:
                answers.append(call())
            except NotRunning:
                return False
            return True

        self.until(is_answered, "an answer")
        return answers[0]

    def wait_shown(self, node: int, wanted: GroupState) -> None:
        self.until(lambda: self.ask(lambda: self.ha(node).status(wanted.name, wanted.level)) == [wanted], str(wanted))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Made]:
    made = Made(tmp_path, 3, stomith=False)
    for node in (1, 2, 3):
        (made.var(node) / "hactl").write_text("web start fenced\njob start\n")
    made.start()
    yield made
    made.end()
    made.check_never_twice()


def test_a_cluster_of_scripts_moves_a_fenced_group_when_their_function_has_shot_its_owner(cluster: Made) -> None:
    """Nothing else could free it."""
    owner = cluster.wait_running("web", asked=1)
    survivor = 1 + owner % 3
    cluster.power_off(owner)
    cluster.wait_running("web", asked=survivor, other_than=owner)
    calls = [
        json.loads(line) for node in {1, 2, 3} - {owner} if (cluster.var(node) / "stomith.log").exists()
        for line in (cluster.var(node) / "stomith.log").read_text().splitlines()
    ]
    assert {(call["device"], call["action"], call["node"], call["ok"]) for call in calls} == {
        ("switch_off", "off", owner, True)
    }
    assert all("shooting" in call["words"] for call in calls)
    assert "WARNING balance means nothing here" in (cluster.root / f"{survivor}/log").read_text()


def test_groups_are_told_shown_and_given_up(cluster: Made) -> None:
    owner = cluster.wait_running("web", asked=1)
    other = 1 + owner % 3
    cluster.wait_shown(other, GroupState("web", "start", "DONE", owner))
    cluster.wait_running("job", asked=other)
    cluster.ask(lambda: cluster.ha(other).tell("web", "stop"))
    cluster.wait_shown(other, GroupState("web", "stop", "STOPPED", None))
    assert "web stop fenced\n" in (cluster.var(other) / "hactl").read_text()
    assert {one.name for one in cluster.ask(cluster.ha(other).status)} == {"web", "job"}
    assert [one.name for one in cluster.ask(lambda: cluster.ha(other).status(level="start"))] == ["job"]
    cluster.ask(lambda: cluster.ha(owner).tell("web", "start"))
    again = cluster.wait_running("web", asked=owner)
    cluster.ha(again).shutdown()
    assert cluster.processes.pop(again).wait(timeout=20) == 0
    assert (cluster.disk / f"stopped-{again}").exists()
    cluster.wait_running("web", asked=1 + again % 3, other_than=again)
    with pytest.raises(NotRunning, match=r"agent\.lock"):
        cluster.ha(again).shutdown()


def test_what_cannot_be_told_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cltab").write_text("web:run:start:respawn:sleep 1\n")
    ha = mosha.HA(os.devnull, varpath=tmp_path, root="/", rundir=tmp_path / "run")
    for group, level, problem in (("x", "start", "no such group: x"), ("web", "st/art", "bad level 'st/art'")):
        with pytest.raises(Refused, match=problem):
            ha.tell(group, level)
    with pytest.raises(NotRunning):
        ha.tell("web", "start")
    (tmp_path / "hactl").write_text("web start now\n")
    with pytest.raises(TableErrors, match="hactl:1: unknown option 'now'"):
        ha.tell("web", "start")
    with pytest.raises(NotRunning):
        ha.status()
    with pytest.raises(NotRunning):
        ha.shutdown()
    assert (tmp_path / "hactl").read_text() == "web start now\n"


# ---- settings -----------------------------------------------------------------------------------------------------


def test_settings_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "conf").write_text("beat = 0.1\nlease = 1\nmfsbase = /one\nhpcbase = /two\n")
    monkeypatch.setenv("MOSHA_HPCBASE", "/three")
    found = mosha.HA(str(tmp_path / "conf"), mfsbase="/four", voters=[3, 1], arbitrator=True, beat=0.25).config
    assert (found.timing.beat_s, found.timing.lease_s) == (0.25, 1.0)
    assert (found.mfsbase, found.hpcbase) == ("/four", "/three")
    assert (found.voters, found.arbitrator) == (frozenset({1, 3}), True)
    assert found.stomith == ()


def test_every_parameter_of_2003_is_taken() -> None:
    found = mosha.HA(
        os.devnull, mfsbase="/mfs", hpcbase="/proc/hpc", mwhois="mosctl whois", mynode=3, varpath="var/mosix-ha",
        clinit_s="/var/mosix-ha/clinit.s", timeout=60, cycletime=1, balance=1.5, stomith=lambda node: False,
    ).config
    assert (found.mynode, found.timing.lease_s, found.unused) == (3, 60.0, ("balance", "clinit_s"))


def test_bad_settings_are_told_all_at_once() -> None:
    with pytest.raises(TableErrors) as raised:
        mosha.HA(os.devnull, beat="soon", baet=1, stomith="a &&")
    assert {str(error) for error in raised.value.errors} == {
        "mosha.HA(beat=…): beat must be a number of seconds, got 'soon'",
        "mosha.HA(baet=…): unknown setting 'baet'",
        "mosha.HA(stomith=…): a device is missing: a level is DEVICE, or DEVICE && DEVICE",
    }


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = "import sys, mosha; print([m for m in sys.modules if m.startswith('mosha.')]); mosha.HA; mosha.nothing"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "[]\n"
    assert "AttributeError: module 'mosha' has no attribute 'nothing'" in done.stderr


def test_an_agent_imports_nothing_that_is_slow_and_not_needed() -> None:
    """A start of it costs most of all what it imports."""
    code = "import sys, mosha.cli, mosha.ha, mosha.platform.machine, mosha.platform.logs; print(*sys.modules)"
    command = [sys.executable, "-IS", "-c", f"import sys; sys.path.insert(0, {str(SOURCES)!r}); {code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert not {"argparse", "dataclasses", "inspect", "secrets", "tempfile"} & set(done.stdout.split())


# ---- a function as STOMITH ----------------------------------------------------------------------------------------


def shoot(root: Path, function: Callable[[int], object], timeout_s: float = 10.0) -> str:
    """What the agent's worker does."""
    settings = mosha.HA(os.devnull, function, root=root, stomith_retries=0, stomith_timeout=timeout_s).config
    settings.var.mkdir(parents=True, exist_ok=True)
    return str(OpenMosix(settings).by_name()["shoot"](3))


def off(node: int) -> bool:
    return node == 3


def test_a_function_that_returns_true_has_shot(tmp_path: Path) -> None:
    assert shoot(tmp_path, off) == "level 1 off: off 3: ok"
    (line,) = (tmp_path / "var/mosix-ha/stomith.log").read_text().splitlines()
    assert (json.loads(line)["by"], json.loads(line)["ok"]) == ("agent", True)


def fails(error: BaseException) -> Callable[[int], object]:
    def function(_: int) -> object:
        raise error

    return function


def dies(_: int) -> object:
    os.kill(os.getpid(), 9)
    return True


@pytest.mark.parametrize(("function", "problem"), [
    (lambda _: False, "it returned False, not True"), (lambda _: None, "it returned None, not True"),
    (lambda _: 256, "it returned 256, not True"), (lambda _: "off", "it returned 'off', not True"),
    (fails(ValueError("no answer")), "exit 1: ValueError: no answer"), (fails(SystemExit(0)), "exit 1: SystemExit: 0"),
    (fails(KeyboardInterrupt()), "exit 1: KeyboardInterrupt"), (dies, "exit -9"),
])
def test_anything_else_is_a_failed_shot(tmp_path: Path, function: Callable[[int], object], problem: str) -> None:
    with pytest.raises(OSError, match=f"off 3: failed: .*{problem}"):
        shoot(tmp_path, function)


def test_a_function_that_does_not_end_is_killed_with_all_that_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(MARK, str(os.getpid()))

    def hangs(_: int) -> bool:
        subprocess.Popen(["sleep", "600"], start_new_session=True)
        time.sleep(600)
        return True

    began_s = time.monotonic()
    with pytest.raises(OSError, match=r"no end within 0\.5 s, killed"):
        shoot(tmp_path, hangs, timeout_s=0.5)
    assert time.monotonic() - began_s < 20
    assert not procscan.find(f"{MARK}={os.getpid()}".encode())


def test_what_a_function_says_is_what_it_prints_and_logs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    def talks(_: int) -> bool:
        print("printed")
        logging.getLogger("own").warning("logged")
        os.system("echo by a shell")
        return False

    with pytest.raises(OSError, match="failed") as raised:
        shoot(tmp_path, talks)
    assert all(word in str(raised.value) for word in ("printed", "logged", "by a shell"))
    assert capfd.readouterr() == ("", ""), "nothing of it is on the agent's own output"


def test_a_function_has_nothing_open_of_the_agent(tmp_path: Path) -> None:
    with open(tmp_path / "file", "w") as file:
        os.set_inheritable(file.fileno(), True)
        with pytest.raises(OSError, match=r"it returned \[\], not True"):
            shoot(tmp_path, lambda _: [name for name in os.listdir("/proc/self/fd") if int(name) > 3])


def test_the_agent_is_who_holds_the_lock(tmp_path: Path) -> None:
    assert agent(str(tmp_path)) is None
    life = Life(str(tmp_path))
    assert agent(str(tmp_path)) is None, "nor this process"
    life.close()
