"""Dead, silent, refusing and restarted nodes: every operation ends in time, and with the right errno."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from emulator.mfs.pace import QUICK
from tests.unit.mfs.nodes import MfsNode, Nodes, failing

LIMIT_S = 20.0  # of what has no bound of its own
BUSY_S = 3.0  # what a busy machine may add to a bound: with the bound of a second it is less than that of five
SLACK_S = 0.8  # to the least of several times; two deadlines are more
AT_ONCE_S = 0.5  # the least of several times, where none of a deadline is waited


def timed(call: Callable[[], object]) -> tuple[str, float]:
    """How ``call`` ends ("ok" or an errno) and after how many seconds."""
    begin_s = time.monotonic()
    try:
        call()
        result = "ok"
    except OSError as error:
        result = errno.errorcode[error.errno or 0]
    return result, time.monotonic() - begin_s


def least(call: Callable[[], object], times: int = 3) -> tuple[str, float]:
    """How ``call`` ends each time, and the least time that it takes."""
    ends = [timed(call) for _ in range(times)]
    assert len({result for result, _ in ends}) == 1, ends
    return min(ends)


def assert_one_deadline_then_at_once(call: Callable[[], object]) -> None:
    result, took_s = timed(call)
    assert result == "EAGAIN"
    assert 0.9 < took_s < QUICK.reply_s + BUSY_S
    result, took_s = least(call, 20)
    assert (result, took_s < AT_ONCE_S) == ("EAGAIN", True)


def wait_until(condition: Callable[[], bool]) -> None:
    begin_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begin_s < LIMIT_S, f"not within {LIMIT_S} s"
        time.sleep(0.01)


def descriptors_on(path: Path, node: MfsNode) -> int:
    """How many descriptors of a file of its own a node has open."""
    assert node.process is not None
    descriptors = f"/proc/{node.process.pid}/fd"
    links = []
    for name in os.listdir(descriptors):
        try:
            links.append(os.readlink(f"{descriptors}/{name}"))
        except FileNotFoundError:
            continue
    return links.count(str(path))


CUT = "from emulator import power; power._LOCAL_OUT = 1; power.cut_off()"
"""All that comes is dropped (NF_INET_LOCAL_IN): who sends sees nothing of it."""


@pytest.fixture
def network() -> Iterator[list[str]]:
    """What is put before a command that is to be in a network of its own."""
    command = ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"up\n"
        yield ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "--"]


def test_stopped_peer_costs_one_deadline_and_heals(pair: list[MfsNode]) -> None:
    one, two = pair
    seen = one.path(2, "f")
    seen.write_text("before")
    directory = os.open(one.path(2), os.O_RDONLY)
    with seen.open("r+b", buffering=0) as opened, seen.open("rb", buffering=0) as idle:
        two.send_signal(signal.SIGSTOP)
        assert_one_deadline_then_at_once(lambda: os.stat(seen))
        assert timed(lambda: os.pread(opened.fileno(), 9, 0))[0] == "EAGAIN"
        assert timed(lambda: os.listdir(one.mfs))[0] == "ok"  # nobody is asked
        assert timed(lambda: os.stat(one.path(2)))[0] == "ok"
        assert timed(lambda: os.listdir(one.path(1)))[0] == "ok"
        two.send_signal(signal.SIGCONT)
        wait_until(lambda: timed(lambda: os.stat(seen))[0] == "ok")
        assert os.pread(opened.fileno(), 9, 0) == idle.read() == b"before"  # the handles live on
        assert os.stat("f", dir_fd=directory).st_size == 6
    os.close(directory)


def test_what_was_given_up_is_not_carried_out_when_a_frozen_node_thaws(pair: list[MfsNode]) -> None:
    one, two = pair
    seen = one.path(2, "f")
    seen.write_text("before")
    fd = os.open(seen, os.O_WRONLY | os.O_APPEND)
    for _ in range(3):
        two.send_signal(signal.SIGSTOP)
        assert timed(lambda: os.write(fd, b"late"))[0] == "EAGAIN"
        two.send_signal(signal.SIGCONT)
        wait_until(lambda: timed(lambda: os.stat(seen))[0] == "ok")
    assert (two.root / "f").read_text() == "before"
    os.close(fd)


def test_a_pause_shorter_than_the_deadline_is_only_a_delay(pair: list[MfsNode]) -> None:
    one, two = pair
    seen = one.path(2, "f")
    seen.write_text("x")
    two.send_signal(signal.SIGSTOP)
    resume = threading.Timer(0.3, two.send_signal, [signal.SIGCONT])
    resume.start()
    result, took_s = timed(seen.read_text)
    resume.join()
    assert result == "ok"
    assert took_s > 0.2


def test_fsync_may_take_longer_than_the_rest(pair: list[MfsNode]) -> None:
    one, two = pair
    two.faults({"do": "delay", "seconds": 2.5, "on": ["fsync"]})
    with one.path(2, "f").open("w") as opened:
        result, took_s = timed(lambda: os.fsync(opened.fileno()))
    assert result == "ok"
    assert took_s > 2.4


@pytest.mark.parametrize("since_s", [0.0, 0.5])
def test_fsync_on_a_node_that_falls_silent_takes_no_longer_than_the_rest(pair: list[MfsNode], since_s: float) -> None:
    one, two = pair
    two.faults({"do": "delay", "seconds": 60, "on": ["fsync"]})
    with one.path(2, "f").open("w") as opened:
        silence = threading.Timer(since_s, two.send_signal, [signal.SIGSTOP])
        silence.start()
        result, took_s = timed(lambda: os.fsync(opened.fileno()))
        silence.join()
        two.send_signal(signal.SIGCONT)
        two.faults()
    assert (result, took_s < QUICK.slow_s - AT_ONCE_S) == ("EAGAIN", True), took_s


@pytest.mark.parametrize("size", [64 << 10, 8 << 20])
def test_a_big_write_to_a_node_that_is_cut_off_takes_no_longer_than_the_rest(
    nodes: Nodes, network: list[str], size: int
) -> None:
    """As long as its machine takes what is sent, it may."""
    one, two = nodes.nodes[1], nodes.nodes[2]
    one.start(nodes.table, within=network)
    two.start(nodes.table, within=network)
    with one.path(2, "f").open("wb", buffering=0) as opened:
        two.faults({"do": "delay", "seconds": 2.5, "on": ["write"], "times": 1})
        result, took_s = timed(lambda: os.pwrite(opened.fileno(), bytes(size), 0))
        assert (result, took_s > 2.4) == ("ok", True), took_s
        subprocess.run([*network, sys.executable, "-c", CUT], check=True)
        result, took_s = timed(lambda: os.pwrite(opened.fileno(), bytes(size), 0))
    assert (result, took_s < QUICK.slow_s - AT_ONCE_S) == ("EAGAIN", True), took_s


def test_peer_that_never_answers(nodes: Nodes) -> None:
    """It takes the connection and says nothing."""
    (one,) = nodes.start(1)
    with socket.create_server((nodes.table[2], nodes.port)):
        assert_one_deadline_then_at_once(lambda: os.listdir(one.path(2)))


def test_closed_port_is_refused_at_once(nodes: Nodes) -> None:
    (one,) = nodes.start(1)
    result, took_s = least(lambda: os.stat(one.path(3, "f")))
    assert (result, took_s < AT_ONCE_S) == ("ECONNREFUSED", True)


def test_restarted_peer_has_stale_handles_and_serves_new_ones(pair: list[MfsNode], nodes: Nodes) -> None:
    one, two = pair
    (two.root / "d").mkdir()
    for name in ("f", "g", "d/h"):
        (two.root / name).write_text("secret of " + name)
    files = [one.path(2, name).open("rb", buffering=0) for name in ("f", "g", "d/h")]
    directory = os.open(one.path(2, "d"), os.O_RDONLY)
    two.stop(signal.SIGKILL)
    assert failing(lambda: os.stat(one.path(2, "f"))) == "ECONNREFUSED"
    two.start(nodes.table)
    for file in files:
        assert failing(partial(file.read, 5)) == "ESTALE"
        assert failing(partial(os.fstat, file.fileno())) == "ESTALE"
        file.close()
    assert failing(lambda: os.stat("h", dir_fd=directory)) == "ESTALE"
    assert failing(lambda: os.listdir(directory)) == "ESTALE"
    os.close(directory)
    assert one.path(2, "d/h").read_text() == "secret of d/h"


def test_descriptors_come_back(pair: list[MfsNode]) -> None:
    """A peer does not keep what answers that came too late, or never, had opened."""
    one, two = pair
    (two.root / "f").touch()
    one.path(2, "f").read_text()
    wait_until(lambda: descriptors_on(two.root / "f", two) <= 1)
    for _ in range(2):
        two.send_signal(signal.SIGSTOP)
        opens = "import os,sys\ntry: os.open(sys.argv[1], os.O_RDONLY)\nexcept BlockingIOError: pass"
        waiting = [subprocess.Popen([sys.executable, "-c", opens, one.path(2, "f")]) for _ in range(4)]
        assert [process.wait(LIMIT_S) for process in waiting] == [0] * 4
        two.send_signal(signal.SIGCONT)
        wait_until(lambda: timed(one.path(2, "f").read_text)[0] == "ok")
    wait_until(lambda: descriptors_on(two.root / "f", two) <= 1)


def test_wrong_key_is_eremote(nodes: Nodes) -> None:
    one, two = nodes.nodes[1], nodes.nodes[2]
    one.start(nodes.table)
    two.start(nodes.table, key="another")
    for asks in (lambda: os.listdir(one.path(2)), lambda: os.listdir(two.path(1))):
        result, took_s = least(asks)
        assert (result, took_s < AT_ONCE_S) == ("EREMOTE", True)
    assert "unauthorized MFS request" in two.log.read_text()


def test_asker_is_known_by_the_hello_and_not_by_its_address(nodes: Nodes) -> None:
    """There may be a proxy between the two, and each map gives its own."""
    one, two = nodes.nodes[1], nodes.nodes[2]
    one.start(nodes.table)
    two.start({**nodes.table, 1: "127.99.99.99"})
    (two.root / "f").write_text("f")
    with one.path(2, "f").open("rb", buffering=0) as opened:
        assert opened.read(1) == b"f"
        two.tell(json.dumps(nodes.table))
        wait_until(lambda: timed(lambda: opened.read(1))[0] == "ESTALE")     # it is somewhere else now
    assert one.path(2, "f").read_text() == "f"


def test_asker_that_is_not_in_the_peers_map_is_eremote(pair: list[MfsNode], nodes: Nodes) -> None:
    one, two = pair
    (two.root / "f").write_text("f")
    with one.path(2, "f").open("rb", buffering=0) as opened:
        others = {number: address for number, address in nodes.table.items() if number != 1}
        two.tell(json.dumps(others))
        wait_until(lambda: timed(lambda: os.stat(one.path(2, "f")))[0] == "EREMOTE")
        assert f"Received an unauthorized MFS request from {one.address}\n" in two.log.read_text()
        assert failing(lambda: os.stat(two.path(1))) == "ENOENT"
        two.tell(json.dumps(nodes.table))
        wait_until(lambda: timed(lambda: os.stat(one.path(2, "f")))[0] == "ok")
        assert failing(lambda: opened.read(1)) == "ESTALE"


def test_node_that_is_off(pair: list[MfsNode], nodes: Nodes) -> None:
    one, two = pair
    (two.root / "f").write_text("f")
    kept = one.path(2, "f").open("rb", buffering=0)
    mine = os.open(one.path(1), os.O_RDONLY)
    two.tell("off")
    wait_until(lambda: timed(lambda: os.stat(one.path(2, "f")))[0] == "EREMOTE")
    one.tell("off")
    assert set(os.listdir(one.mfs)) == {"here", "home", "lastexec", "magic", "selected"}
    assert failing(lambda: kept.read(1)) == "EREMOTE"
    assert failing(lambda: os.listdir(mine)) == "EREMOTE"
    assert failing(lambda: os.stat(one.path(2))) == "ENOENT"
    os.close(mine)
    for node in pair:
        node.tell(json.dumps(nodes.table))
    assert one.path(2, "f").read_text() == "f"
    assert failing(lambda: kept.read(1)) == "ESTALE"
    kept.close()
    assert "will become inaccessible!" in two.log.read_text()


def test_half_off(pair: list[MfsNode]) -> None:
    """While ``setpe -off`` waits for a guest: its files are served, and its /mfs is as it was."""
    one, two = pair
    (one.root / "f").write_text("one")
    (two.root / "f").write_text("two")
    with one.path(2, "f").open("rb", buffering=0) as kept:
        two.tell("leave")
        assert kept.read() == b"two"
        assert one.path(2, "f").read_text() == two.path(2, "f").read_text() == "two"
        assert two.path(1, "f").read_text() == "one"
        assert {"1", "2", "3"} <= set(os.listdir(two.mfs))
        two.tell("off")
        assert failing(lambda: os.stat(one.path(2, "f"))) == "EREMOTE"


def test_a_change_of_its_own_map_costs_a_node_only_the_handles_that_it_serves(
    pair: list[MfsNode], nodes: Nodes
) -> None:
    """As ``setpe -W`` does: off, and then configured anew."""
    one, two = pair
    (one.root / "f").write_text("one")
    (two.root / "f").write_text("two")
    asked, served = one.path(2, "f").open("rb", buffering=0), two.path(1, "f").open("rb", buffering=0)
    one.tell("off")
    one.tell(json.dumps(nodes.table))
    assert asked.read() == b"two"
    assert failing(served.read) == "ESTALE"
    asked.close()
    served.close()
    warning = (
        "WARNING: Due to the openMosix configuration-change, all MFS files and directories previously opened on this"
        " node will become inaccessible!"
    )
    assert (one.log.read_text().count(warning), two.log.read_text().count(warning)) == (1, 0)


def test_a_node_that_joins_the_map_harms_no_handle(pair: list[MfsNode], nodes: Nodes) -> None:
    one, two = pair
    (two.root / "f").write_text("two")
    with one.path(2, "f").open("rb", buffering=0) as opened:
        for node in pair:
            node.tell(json.dumps({**nodes.table, 7: "127.0.0.77"}))
        assert "7" in os.listdir(one.mfs)
        assert opened.read() == b"two"


def test_nomfs(nodes: Nodes) -> None:
    """Open handles go for good; who is connected gets EINVAL, a new connection and the node itself EREMOTE."""
    one, two, three = nodes.start(1, 2, 3)
    (two.root / "d").mkdir()
    (two.root / "d/f").write_text("f")
    kept = [node.path(2, "d/f").open("rb", buffering=0) for node in (one, two)]
    directory = os.open(one.path(2, "d"), os.O_RDONLY)
    two.tell("nomfs")
    for opened in kept:
        assert failing(partial(opened.read, 1)) == "ESTALE"
    assert failing(lambda: os.listdir(directory)) == "ESTALE"
    assert failing(lambda: os.stat("f", dir_fd=directory)) == "ESTALE"
    for _ in range(3):
        assert failing(lambda: os.stat(one.path(2, "d"))) == "EINVAL"
        assert failing(lambda: os.listdir(one.path(2))) == "EINVAL"
        assert failing(lambda: os.stat(three.path(2, "d"))) == "EREMOTE"
        assert failing(lambda: os.stat(two.path(2, "d"))) == "EREMOTE"
    assert two.path(1).is_dir()
    two.tell("mfs")
    for node in (one, two, three):
        assert node.path(2, "d/f").read_text() == "f"
    for opened in kept:
        assert failing(partial(opened.read, 1)) == "ESTALE"
        opened.close()
    assert failing(lambda: os.listdir(directory)) == "ESTALE"
    os.close(directory)
    assert "not found (obsolete)" in two.log.read_text()


def test_killing_a_waiting_caller_does_not_wedge(pair: list[MfsNode]) -> None:
    one, two = pair
    two.send_signal(signal.SIGSTOP)
    waiting = subprocess.Popen(["cat", one.path(2, "f")], stderr=subprocess.DEVNULL)
    time.sleep(0.2)
    waiting.kill()
    waiting.wait(LIMIT_S)


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.0\r\n\r\n", b"\0" * 64, b"\xff" * 4096, b"\x20\0\0\0" * 9, b""])
def test_strangers_get_nothing_and_harm_nobody(pair: list[MfsNode], garbage: bytes) -> None:
    one, two = pair
    (two.root / "f").write_text("f")
    with socket.create_connection((two.address, two.port), 5) as stranger:
        stranger.sendall(garbage)
        received = b""
        try:
            while piece := stranger.recv(65536):
                received += piece
        except ConnectionResetError:
            pass
    assert len(received) <= 44  # the challenge
    assert one.path(2, "f").read_text() == "f"


def test_a_hundred_strangers_do_not_keep_others_out(pair: list[MfsNode]) -> None:
    one, two = pair
    strangers = [socket.create_connection((two.address, two.port), 5) for _ in range(100)]
    (two.root / "f").write_text("f")
    assert one.path(2, "f").read_text() == "f"
    for stranger in strangers:
        stranger.close()


def test_an_oversize_answer_ends_the_connection(nodes: Nodes) -> None:
    """Something that is no MFS server listens there."""
    (one,) = nodes.start(1)
    with socket.create_server((nodes.table[2], nodes.port)) as listener:

        def talk() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"\xff\xff\xff\x7f" * 100)

        talker = threading.Thread(target=talk)
        talker.start()
        assert timed(lambda: os.listdir(one.path(2)))[0] == "EREMOTE"
        talker.join(5)


def test_waiting_for_a_silent_node_does_not_slow_the_others(pair: list[MfsNode]) -> None:
    one, two = pair
    two.send_signal(signal.SIGSTOP)
    waiting = subprocess.Popen(["ls", one.path(2)], stderr=subprocess.DEVNULL)
    turns = 0
    while waiting.poll() is None:
        one.path(1, "f").write_text(str(turns))
        assert one.path(1, "f").read_text() == str(turns)
        turns += 1
    assert waiting.returncode != 0
    assert turns > 1, "what blocks the node would let one end, at most"
