"""The daemon and the client program as processes of their own, with a fake engine."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_ports
from tests.unit.powerswitch.fake_engine import FakeEngine

KEY = "11" * 32
LIMIT_S = 20
QUICK = """
import sys
from emulator.powerswitch import server
server.SETTLE_S, server.SWEEP_EVERY_S = 0.3, 0.05
sys.exit(server.main())
"""


class Daemon:
    """powerswitchd for cluster red, with its standard input in the test's hand."""

    def __init__(self, fake: FakeEngine) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", QUICK, "red", fake.path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        )
        self._words: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._words.put(line.strip())

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def hang_up(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def hear(self) -> str:
        return self._words.get(timeout=LIMIT_S)

    def end(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT_S)
        self._reader.join(LIMIT_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@pytest.fixture
def daemon(fake: FakeEngine) -> Iterator[Daemon]:
    daemon = Daemon(fake)
    yield daemon
    daemon.end()


@pytest.fixture
def config(tmp_path: Path, daemon: Daemon) -> Path:
    """The node's configuration file, with the daemon serving."""
    text = json.dumps({"address": "127.0.0.1", "port": free_ports(1)[0], "key": KEY})
    assert daemon.hear() == "guarding"
    daemon.tell(f"serve {text}")
    assert daemon.hear() == "serving"
    path = tmp_path / "powerswitch.json"
    path.write_text(text)
    return path


def powerswitch(config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from emulator.powerswitch.client import main; sys.exit(main(sys.argv[1:], {str(config)!r}))"
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True,
                          timeout=LIMIT_S, check=False)


def test_a_node_is_switched_over_the_network(fake: FakeEngine, config: Path) -> None:
    name = fake.node("red", 3)
    done = powerswitch(config, "off", "3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "off\n", "")
    assert not fake.containers[name]["running"]
    assert powerswitch(config, "status", "3").stdout == "off\n"
    assert powerswitch(config, "on", "3").stdout == "on\n"
    assert powerswitch(config, "list").stdout == "3 on\n"
    assert powerswitch(config, "test").stdout == "ok\n"


def fence(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; from emulator.powerswitch.fence import main; sys.exit(main({str(config)!r}))"
    return subprocess.run([sys.executable, "-c", code], input="".join(f"{option}\n" for option in options),
                          capture_output=True, text=True, timeout=LIMIT_S, check=False)


def test_it_is_a_fence_agent_too(fake: FakeEngine, config: Path) -> None:
    name = fake.node("red", 3)
    assert fence(config, "action=status", "plug=3").returncode == 0
    done = fence(config, "# a comment", "action=off", "nodename=9", "plug=3", "unknown=1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Success: off\n", "")
    assert not fake.containers[name]["running"]
    assert fence(config, "action=status", "port=3").returncode == 2
    assert fence(config, "action=list").stdout == "3,\n"
    assert fence(config, "action=monitor").returncode == 0
    assert fence(config, "nodename=3").stdout == "Success: on\n"
    assert fake.containers[name]["running"]
    assert '<action name="off"/>' in fence(config, "action=metadata").stdout


@pytest.mark.parametrize(("options", "reason"), [
    (("action=off", "plug=9"), "no node 9"), (("action=off",), "no node number"), (("action=melt",), "no action 'melt"),
])
def test_a_fence_agent_that_fails_ends_with_1(config: Path, options: tuple[str, ...], reason: str) -> None:
    done = fence(config, *options)
    assert (done.returncode, done.stdout) == (1, "")
    assert reason in done.stderr


def test_what_cannot_be_done_ends_with_1_and_the_reason(fake: FakeEngine, config: Path) -> None:
    done = powerswitch(config, "off", "9")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "powerswitch: no node 9 in cluster red\n"


def test_a_node_without_the_key_switches_nothing(fake: FakeEngine, config: Path) -> None:
    name = fake.node("red", 3)
    config.write_text(config.read_text().replace(KEY, "22" * 32))
    done = powerswitch(config, "off", "3")
    assert done.returncode == 1
    assert "refused: wrong key" in done.stderr
    assert fake.containers[name]["running"]


@pytest.mark.parametrize(("arguments", "reason"), [
    ((), "usage"), (("off",), "usage"), (("test", "3"), "usage"), (("explode", "3"), "usage"),
    (("off", "0"), "no node number"), (("off", "-1"), "no node number"), (("off", "node3"), "no node number"),
])
def test_a_wrong_call_ends_with_2(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    done = powerswitch(tmp_path / "none", *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


@pytest.mark.parametrize(("text", "reason"), [
    ("{}", "'address' is missing"), ("[]", "list indices"), ("{", "Expecting property name"),
    ('{"address": "a", "port": 1, "key": "zz"}', "hexadecimal"),
])
def test_a_bad_configuration_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "c.json").write_text(text)
    done = powerswitch(tmp_path / "c.json", "test")
    assert done.returncode == 1
    assert str(tmp_path / "c.json") in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_a_silent_connection_keeps_nobody_from_the_switch(fake: FakeEngine, config: Path) -> None:
    fake.node("red", 3)
    port = json.loads(config.read_text())["port"]
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(4)]
    try:
        assert powerswitch(config, "off", "3").returncode == 0
    finally:
        for sock in silent:
            sock.close()


def objects_of(fake: FakeEngine) -> tuple[set[str], set[str], set[str]]:
    return set(fake.containers), set(fake.networks), set(fake.volumes)


def furnish(fake: FakeEngine) -> None:
    """A cluster, with the daemon's own container, in which it is by its host name."""
    fake.node("red", 1)
    fake.containers[socket.gethostname()] = {"labels": {"org.mosha.cluster": "red"}, "running": True}
    fake.networks["net"] = {"labels": {"org.mosha.cluster": "red"}, "endpoints": {socket.gethostname()}}
    fake.volumes["san"] = {"labels": {"org.mosha.cluster": "red"}}


def test_the_end_of_the_input_before_the_commit_removes_the_cluster(fake: FakeEngine, daemon: Daemon) -> None:
    furnish(fake)
    assert daemon.hear() == "guarding"
    daemon.hang_up()
    assert [daemon.hear(), daemon.hear()] == ["sweeping", "swept"]
    assert daemon.process.wait(LIMIT_S) == 0
    assert objects_of(fake) == ({socket.gethostname()}, set(), set())


def test_what_comes_late_is_removed_too(fake: FakeEngine, daemon: Daemon) -> None:
    """The engine may still carry out a request of the process that died."""
    late: list[str] = []

    def come_late(method: str, path: str) -> None:
        if path == "/volumes" and not late:
            late.append(fake.node("red", 5))

    fake.before = come_late
    daemon.hang_up()
    assert [daemon.hear() for _ in range(3)] == ["guarding", "sweeping", "swept"]
    assert late
    assert not fake.containers


def test_input_that_makes_no_sense_counts_as_a_crash(fake: FakeEngine, daemon: Daemon) -> None:
    furnish(fake)
    assert daemon.hear() == "guarding"
    daemon.tell("hello")
    assert [daemon.hear(), daemon.hear()] == ["sweeping", "swept"]


def test_after_the_commit_the_input_does_not_matter(fake: FakeEngine, daemon: Daemon, config: Path) -> None:
    furnish(fake)
    daemon.tell("commit")
    assert daemon.hear() == "committed"
    daemon.hang_up()
    assert powerswitch(config, "off", "1").stdout == "off\n"
    assert daemon.process.poll() is None
    assert objects_of(fake)[1:] == ({"net"}, {"san"})
    os.kill(daemon.process.pid, 15)
    assert daemon.process.wait(LIMIT_S) == 0
