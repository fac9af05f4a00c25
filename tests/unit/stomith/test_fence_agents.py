"""Real fence agents of ClusterLabs: fence_dummy keeps a plug in a file, fence_ipmilan talks IPMI to simulated boards.

Both use the library that nearly all agents share. CI installs them (.ci/run); elsewhere:
apt-get install fence-agents ipmitool openipmi.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosha.stomith import history, process, shooting
from mosha.stomith.devices import OFF, ON, UNKNOWN
from tests.unit.stomith.devices import Rig

QUICK = ("stomith_timeout = 30", "stomith_retries = 0")

LAN = """\
name "board"
set_working_mc 0x20
  startlan 1
    addr {address} {port}
    priv_limit admin
    allowed_auths_admin none md2 md5 straight
    guid a123456789abcdefa123456789abcde{node}
  endlan
  chassis_control "{root}/chassis"
  user 2 true "mosha" "geheim" admin 10 none md2 md5 straight
"""
EMULATION = "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr\nmc_enable 0x20\n"
CHASSIS = """\
#!/bin/sh
case "$1 $2" in
  "get power") echo "power:$(cat {root}/power)" ;;
  "set power") echo "$3" > {root}/power ;;
esac
"""


def need(*programs: str) -> None:
    """Skip where these are not installed, but not in CI."""
    absent = [name for name in programs if shutil.which(name, path=process.path()) is None]
    if absent:
        reason = f"no {', '.join(absent)}: apt-get install fence-agents ipmitool openipmi"
        assert "CI" not in os.environ, reason
        pytest.skip(reason)


# ---- fence_dummy --------------------------------------------------------------------------------------------------


class Dummy:
    """A plug of each node, in a file; the directory's name has what an option's value may have."""

    def __init__(self, root: Path) -> None:
        self.root, self.directory = root, root / "plugs of=rack#1"
        self.directory.mkdir()
        for node in (1, 2):
            (self.directory / f"{node}").write_text("on")

    def rig(self, options: str = "", more: tuple[str, ...] = QUICK) -> Rig:
        return Rig(self.root, f"stomith = fence:fence_dummy status_file='{self.directory}/%n' {options}", *more)

    @property
    def plugs(self) -> dict[str, str]:
        return {file.name: file.read_text() for file in self.directory.iterdir()}


@pytest.fixture
def dummy(tmp_path: Path) -> Dummy:
    need("fence_dummy")
    return Dummy(tmp_path)


def test_off_on_and_status(dummy: Dummy) -> None:
    rig = dummy.rig()
    assert rig.stomith.status(2)[0] == ON
    for _ in range(2):
        done, answers = rig.stomith.off(2)
        assert done, shooting.reason(answers)
        assert dummy.plugs == {"1": "on", "2": "off"}
    assert rig.stomith.status(2)[0] == OFF
    assert rig.stomith.status(1)[0] == ON
    assert rig.stomith.on(2)[0]
    assert dummy.plugs == {"1": "on", "2": "on"}
    codes = [(attempt.action, attempt.code) for attempt in rig.attempts]
    assert codes == [("status", 0), *2 * [("off", 0), ("status", 2)], ("status", 2), ("status", 0), ("on", 0)]


def test_a_test_switches_nothing(dummy: Dummy) -> None:
    answers = list(dummy.rig().stomith.test([1, 2]))
    assert [(answer.action, answer.ok, answer.state) for answer in answers] == [
        ("metadata", True, UNKNOWN), ("status", True, ON), ("status", True, ON),
    ], list(map(str, answers))
    assert [answer.ok for answer in dummy.rig().stomith.listing([1, 2])] == [True, True]
    assert dummy.plugs == {"1": "on", "2": "on"}


def test_a_plug_that_does_not_go_off_is_failure(dummy: Dummy) -> None:
    rig = dummy.rig("type=fail plug=%p power_timeout=1")
    done, answers = rig.stomith.off(2)
    assert not done
    assert "Timed out waiting to power OFF" in shooting.reason(answers)
    assert [(attempt.action, attempt.code) for attempt in rig.attempts] == [("off", 1)]


def test_one_that_is_slow_is_waited_for_and_one_that_is_too_slow_is_not(dummy: Dummy) -> None:
    rig = dummy.rig("delay=1")
    assert rig.stomith.off(1)[0]
    assert rig.attempts[0].seconds >= 1
    rig = dummy.rig("delay=1000", more=("stomith_timeout = 2", "stomith_retries = 0"))
    done, answers = rig.stomith.off(2)
    assert not done
    assert "no end within 2 s, killed" in shooting.reason(answers)
    assert dummy.plugs == {"1": "off", "2": "on"}


def test_options_that_it_would_ignore_are_found(dummy: Dummy) -> None:
    """It succeeds with them, and has named no node."""
    rig = dummy.rig("plug=%p pasword=geheim")
    assert rig.stomith.status(1)[0] == ON
    described, *others = rig.stomith.test([1])
    assert not described.ok
    assert described.words == "it does not know plug, pasword, and would ignore that"
    assert all(answer.ok for answer in others)


def test_its_warnings_do_not_tell_secrets(dummy: Dummy) -> None:
    rig = dummy.rig("password=geheim")
    assert rig.stomith.off(1)[0]
    assert "Ignoring unknown option 'password=***'" in rig.attempts[0].words
    assert "geheim" not in (dummy.root / history.NAME).read_text()


# ---- fence_ipmilan ------------------------------------------------------------------------------------------------


class Board:
    """The simulated management board of one node, at 127.0.0.NODE."""

    def __init__(self, root: Path, node: int, port: int) -> None:
        self.root = root
        (root / "state").mkdir(parents=True)
        (root / "lan.conf").write_text(LAN.format(address=f"127.0.0.{node}", port=port, node=node, root=root))
        (root / "board.emu").write_text(EMULATION)
        (root / "chassis").write_text(CHASSIS.format(root=root))
        (root / "chassis").chmod(0o755)
        self.power = root / "power"
        self.power.write_text("1\n")
        with open(root / "log", "wb") as log:
            self.process = subprocess.Popen(
                ["ipmi_sim", "-c", "lan.conf", "-f", "board.emu", "-s", "state", "-n"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=root,
            )

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


class Boards:
    """Two nodes with a board each; their simulators' port is free on both addresses."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as found:
            found.bind(("", 0))
            self.port = found.getsockname()[1]
        self.all = {node: Board(root / f"board{node}", node, self.port) for node in (1, 2)}

    def rig(self, options: str = "ip=127.0.0.%n password=geheim", more: tuple[str, ...] = QUICK) -> Rig:
        where = shutil.which("ipmitool", path=process.path())
        agent = f"fence:fence_ipmilan ipport={self.port} username=mosha lanplus=1 cipher=3 ipmitool_path={where}"
        return Rig(self.root, f"stomith = {agent} {options}", *more)

    @property
    def power(self) -> dict[int, str]:
        return {node: board.power.read_text().strip() for node, board in self.all.items()}


@pytest.fixture
def boards(tmp_path: Path) -> Iterator[Boards]:
    need("fence_ipmilan", "ipmitool", "ipmi_sim")
    boards = Boards(tmp_path)
    try:
        deadline = time.monotonic() + 60
        while not all(answer.ok for answer in boards.rig().stomith.listing([1, 2])):
            logs = [(board.root / "log").read_text() for board in boards.all.values()]
            assert time.monotonic() < deadline, f"the boards do not answer: {logs}"
            assert all(board.process.poll() is None for board in boards.all.values()), logs
        yield boards
    finally:
        for board in boards.all.values():
            board.end()


def test_a_board_is_switched_and_another_one_is_not(boards: Boards) -> None:
    rig = boards.rig()
    answers = list(rig.stomith.test([1, 2]))
    assert all(answer.ok for answer in answers), list(map(str, answers))
    done, said = rig.stomith.off(2)
    assert done, shooting.reason(said)
    assert boards.power == {1: "1", 2: "0"}
    assert (rig.stomith.status(1)[0], rig.stomith.status(2)[0]) == (ON, OFF)
    assert rig.stomith.on(2)[0]
    assert boards.power == {1: "1", 2: "1"}


def test_a_board_that_refuses_or_is_silent_is_failure(boards: Boards) -> None:
    rig = boards.rig("ip=127.0.0.%n password=falsch")
    assert not rig.stomith.off(2)[0]
    assert rig.stomith.status(2)[0] == UNKNOWN
    boards.all[2].end()
    rig = boards.rig(more=("stomith_timeout = 3", "stomith_retries = 0"))
    assert not rig.stomith.off(2)[0]
    assert boards.power == {1: "1", 2: "1"}


def test_one_address_for_all_nodes_is_found(boards: Boards) -> None:
    """The plug that is added means nothing to this agent: it would switch board 1 for node 2."""
    rig = boards.rig("ip=127.0.0.1 password=geheim")
    described, *_ = rig.stomith.test([2])
    assert not described.ok
    assert "would do the same for every node" in described.words
