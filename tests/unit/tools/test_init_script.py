"""/etc/init.d/openmosix: start, stop, restart, status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import emulator
from tests.unit.hpc.loopback import NETWORK, Node

SCRIPT = Path(str(emulator.__file__)).parent / "image/openmosix"
TOOLS = ("mosctl", "setpe", "omdiscd")


class Service:
    """The script on one node, with the settings in ``config``."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.config = folder / "config"
        self.map = folder / "map"
        self.pid = folder / "pid"
        tools = folder / "bin"
        tools.mkdir()
        for name in TOOLS:
            (tools / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m emulator.tools.{name} "$@"\n')
            (tools / name).chmod(0o755)
        self.map.write_text(f"1 {NETWORK}.1 2\n")
        self.environment = {
            **node.environment,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "OPENMOSIX_MAP": str(self.map),
            "OPENMOSIX_CONFIG": str(self.config),
            "OPENMOSIX_DISCOVERY_PID": str(self.pid),
        }

    def run(self, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            ["sh", str(SCRIPT), *words],
            env=self.environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def service(node: Node, tmp_path: Path) -> Service:
    return Service(node, tmp_path)


def test_start_stop_and_status(node: Node, service: Service) -> None:
    service.config.write_text("MYOMID=1\n")
    assert service.run("status") == (3, "OpenMosix is currently disabled\n", "")
    assert service.run("start") == (0, "", "")
    code, out, _ = service.run("status")
    assert (code, out.splitlines()[0]) == (0, "This is OpenMosix node #1")
    assert node.read("admin/block") == "0\n"
    assert service.run("stop") == (0, "", "")
    assert node.read("admin/mospe") == "0\n"
    assert service.run("start") == (0, "", "")
    assert node.read("nodes/1/status") == "3\n"  # what stop has blocked is open again
    assert service.run("restart") == (0, "", "")
    assert node.read("nodes/1/status") == "3\n"


def test_settings(node: Node, service: Service) -> None:
    overheads = "\t".join(map(str, range(14)))
    service.config.write_text(
        "MYOMID=2\nMOSGATES=1\nNODESPEED=4711\nMIGRATE=no\nBLOCK=yes\nMFS=no\nMFSCOSTS='1 2 3 4 5 6'\n"
        f"OVERHEADS='{overheads}'\nAUTODISC=no\n"
    )
    assert service.run("start") == (0, "", "")
    files = ("mospe", "gateways", "speed", "stay", "block", "nomfs", "mfscosts", "overheads")
    assert [node.read(f"admin/{name}").rstrip() for name in files] == [
        "2", "1", "4711", "1", "1", "1", "1\t2\t3\t4\t5\t6", overheads,
    ]  # fmt: skip


def test_what_is_no_longer_set_is_as_at_first(node: Node, service: Service) -> None:
    places = ("stay", "nomfs", "block", "gateways", "speed", "mfscosts", "overheads")

    def values() -> list[str]:
        return [node.read(f"admin/{name}") for name in places]

    first = values()
    service.config.write_text(
        "MYOMID=1\nMIGRATE=no\nMFS=no\nBLOCK=yes\nMOSGATES=2\nNODESPEED=4711\nMFSCOSTS='1 2 3 4 5 6'\n"
        "OVERHEADS='1 2 3 4 5 6 7 8 9 10 11 12 13 14'\n"
    )
    assert service.run("start") == (0, "", "")
    assert not set(first) & set(values())
    service.config.write_text("MYOMID=1\nMIGRATE=yes\n")
    assert service.run("restart") == (0, "", "")
    assert values() == first


@pytest.mark.parametrize("setting", ["MOSGATES=3", "NODESPEED=fast", "MFSCOSTS=1", "OVERHEADS=1"])
def test_a_setting_that_is_none_is_said(service: Service, setting: str) -> None:
    service.config.write_text(f"MYOMID=1\n{setting}\n")
    code, _, err = service.run("start")
    assert code
    assert "Invalid argument" in err or "I/O error" in err  # the latter in dash


def test_auto_discovery_is_started_and_ended(node: Node, service: Service) -> None:
    service.config.write_text("AUTODISC=yes\nAUTODISCIF=no-such-if\n")
    code, _, err = service.run("start")
    assert (code, err) == (1, "no-such-if: No such device\nUnable to initialize network.  Exiting.\n")
    with subprocess.Popen(["sleep", "60"]) as discovery:
        service.pid.write_text(f"{discovery.pid}\n")
        assert service.run("stop")[0] == 0
        assert discovery.wait(10) == -15
    assert not service.pid.exists()


def test_a_map_that_is_refused_is_said(service: Service) -> None:
    service.map.write_text("1 10.0.0.1\n")
    assert service.run("start") == (102, "", "Bad Table Input: <1 10.0.0.1>\n")


def test_words_and_places_that_are_none(service: Service, tmp_path: Path) -> None:
    for words in ([], ["reload"]):
        code, out, err = service.run(*words)
        assert (code, out) == (3, "")
        assert err.startswith("Usage: ")
    service.environment["OPENMOSIX_PROC"] = str(tmp_path)
    code, _, err = service.run("start")
    assert code == 1
    assert "this is not an openMosix system" in err
