"""What a test leaves on nodes is seen there, and told from what was there before."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from moslab.faults.inside import EXHAUST, limit
from moslab.node import Result
from moslab.scenario import leavings, traces
from moslab.scenario.leavings import Leavings

SLEEPER = "import time; print(1, flush=True); time.sleep(60)  # of leavings"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        yield child
        child.kill()


def test_processes_and_how_they_are(sleeper: subprocess.Popen[str]) -> None:
    words = f"{sys.executable} -c {SLEEPER}"
    first, second = ([line for line in traces.processes() if line.endswith(words)] for _ in range(2))
    assert first == second
    assert re.fullmatch(rf"process: {sleeper.pid}@[1-9][0-9]* {re.escape(words)}", first[0])
    assert not [line for line in traces.processes() if words in line and not line.startswith("process: ")]
    os.kill(sleeper.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, sleeper.pid, os.WSTOPPED | os.WNOWAIT)
    limit([sleeper.pid], EXHAUST, "descriptors")
    assert {f"stands still: {words}", f"gets no more descriptors: {words}"} <= {*traces.processes()}


def test_sockets_that_listen(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(path)
        assert f"socket: {path}" not in [*traces.sockets()]
        one.listen()
        assert f"socket: {path}" in [*traces.sockets()]
    for port in range(20000, 20100):
        with socket.socket() as two, socket.socket(type=socket.SOCK_DGRAM) as three:
            try:
                two.bind(("127.0.0.1", port))
                three.bind(("127.0.0.1", port))
            except OSError:
                continue
            assert f"socket: tcp {port}" not in [*traces.sockets()]
            two.listen()
            assert {f"socket: tcp {port}", f"socket: udp {port}"} <= {*traces.sockets()}
            return
    pytest.fail("no port is free")


def test_tables_files_disk_and_core_dumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FREE": (str(tmp_path),), "BOUNDED": (str(tmp_path),), "TABLES": str(tmp_path)}.items():
        monkeypatch.setattr(traces, name, value)
    before = {*traces.files(), *traces.processes()}
    (tmp_path / "cltab").write_text("web:\n")
    (tmp_path / "big").write_bytes(b"x" * 8192)
    (tmp_path / "core.17").write_text("")
    monkeypatch.setattr(traces, "BYTES_MAX", 8000)
    lines = {*traces.files(), *traces.processes()} - before
    assert {f"file: {tmp_path}/big", f"disk: more than 0 MiB in {tmp_path}", f"core dump: {tmp_path}/core.17"} <= lines
    assert any(line.startswith("cltab: ") for line in lines)
    assert any(line.startswith("mount: ") for line in before)


class Nodes:
    """A cluster of which nodes print what ``says`` has of them."""

    def __init__(self) -> None:
        self.says = {1: ["mount: /mfs", "process: 7@70 web"], 2: ["mount: /mfs"]}
        self.status = "running"
        self.besides = {"power": "running"}

    def others(self) -> dict[str, str]:
        return self.besides

    def nodes(self) -> dict[int, SimpleNamespace]:
        return {node: SimpleNamespace(status=self.status, name=str(node)) for node in self.says}


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> Nodes:
    made = Nodes()
    monkeypatch.setattr(leavings, "run", lambda container, _: Result(0, "\n".join(made.says[int(container.name)]), ""))
    monkeypatch.setattr(leavings, "GONE_LIMIT_S", 0.05)
    monkeypatch.setattr(leavings, "LOOK_EVERY_S", 0.01)
    return made


def test_what_is_left_and_what_has_gone_is_said_of_its_node(nodes: Nodes) -> None:
    left = Leavings(nodes)  # type: ignore[arg-type]
    nodes.says = {1: ["mount: /mfs"], 2: ["mount: /mfs", "process: 7@70 web"]}
    assert left.found() == [], "a group moved"
    nodes.says = {1: ["core dump: /core"], 2: ["mount: /mfs", "process: 8@80 cat"], 3: []}
    assert left.found() == ["left: node 1: core dump: /core", "left: node 3: running", "left: process: cat",
                            "gone: node 1: mount: /mfs"]
    nodes.besides = {"power": "exited", "client-7": "running"}
    assert {"left: container: client-7, running", "left: container: power, exited",
            "gone: container: power, running"} <= {*left.found()}
    nodes.status = "paused"
    assert "left: node 1: paused" in left.found()


@pytest.fixture
def patient(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> Nodes:
    """There is time for any number of looks, on a machine that is busy."""
    monkeypatch.setattr(leavings, "GONE_LIMIT_S", 60.0)
    return nodes


def test_what_ends_in_time_is_not_left(patient: Nodes) -> None:
    left = Leavings(patient)  # type: ignore[arg-type]
    looks = iter([["process: 8@80 cat"], ["process: 8@80 cat"]])
    patient.says = {1: patient.says[1], 2: ["mount: /mfs"]}
    whole = patient.nodes

    def going() -> dict[int, SimpleNamespace]:
        patient.says[2] = ["mount: /mfs", *next(looks, [])]
        return whole()

    patient.nodes = going  # type: ignore[method-assign]
    assert left.found() == []
    assert next(looks, None) is None


@pytest.mark.parametrize("at", [0, 1])
def test_a_loop_of_which_the_first_look_saw_no_child_is_not_left(patient: Nodes, at: int) -> None:
    whole, begun = patient.nodes, iter(range(1, 1000))

    def turning() -> dict[int, SimpleNamespace]:
        pid = 100 + (next(begun) + at) // 2                  # two looks see each of them
        patient.says[2] = ["mount: /mfs", f"process: {pid}@1 sleep 1"]
        return whole()

    patient.says[2] = ["mount: /mfs"]
    left = Leavings(patient)  # type: ignore[arg-type]
    patient.nodes = turning  # type: ignore[method-assign]
    assert left.found() == []
    assert left.found() == [], "and it is so again for the next test"


def test_what_a_stray_leaves_for_itself_is_left(nodes: Nodes) -> None:
    left, whole = Leavings(nodes), nodes.nodes  # type: ignore[arg-type]
    looks = iter(["8@80 sh -c cat", "9@90 cat"])

    def handed_over() -> dict[int, SimpleNamespace]:
        nodes.says[2] = ["mount: /mfs", f"process: {next(looks, '9@90 cat')}"]
        return whole()

    nodes.nodes = handed_over  # type: ignore[method-assign]
    assert left.found() == ["left: process: cat"]


def test_one_begun_again_is_left_once_it_stays(nodes: Nodes) -> None:
    left = Leavings(nodes)  # type: ignore[arg-type]
    nodes.says[2] = ["mount: /mfs", "process: 8@80 cat"]
    assert left.found() == ["left: process: cat"]
    nodes.says[2] = ["mount: /mfs", "process: 8@90 cat"]
    assert left.found() == ["left: process: cat"], "no look of the audit before counts"
