"""The demo's register and its clients, without a cluster: who takes over knows all, and nobody before it answers."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from moslab import demo
from moslab.clients import operations
from moslab.errors import LabError
from moslab.history.linear import misfit
from moslab.history.record import FAIL, INFO, OK, READ, WRITE
from moslab.wait import eventually

PROGRAMS = demo.HERE / "programs"
LIMIT_S = 20.0
STILL_S = 0.3                    # in which what shall not happen would


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The register's; where it would end its process, the thread that finds out stands still."""
    loader = SourceFileLoader("register_program", str(PROGRAMS / "register"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = module_from_spec(spec)
    loader.exec_module(module)

    def end(text: str) -> None:
        module.ended.append(text)
        threading.Event().wait()

    vars(module).update(ended=[], end=end)                   # for ever: its threads live on after the test
    return module


@pytest.fixture
def replicas(tmp_path: Path) -> list[str]:
    return [str(tmp_path / str(node) / "register") for node in (1, 2, 3)]


def owner(program: ModuleType, replicas: list[str], epoch: int, of: int = 3) -> Any:
    register = program.Register(replicas[:of], (7, epoch, 1))
    register.begin()
    return register


def in_time(work: Any, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def test_what_was_set_is_got(program: ModuleType, replicas: list[str]) -> None:
    register = owner(program, replicas, 1)
    assert register.get("x") == b"$-1\r\n"
    assert register.set("x", "12") == b"+OK\r\n"
    assert register.get("x") == b"$2\r\n12\r\n"


def test_who_takes_over_knows_all_and_who_was_before_answers_nobody(program: ModuleType, replicas: list[str]) -> None:
    first = owner(program, replicas, 1)
    first.set("x", "1")
    second = owner(program, replicas, 2)
    assert second.get("x") == b"$1\r\n1\r\n"
    for work in ((first.get, "x"), (first.set, "y", "2")):
        thread = in_time(*work)
        thread.join(STILL_S)
        assert thread.is_alive(), "it answers, and another one has begun"
    assert any("after" in text for text in program.ended)
    assert second.get("y") == b"$-1\r\n"


def test_a_minority_of_the_replicas_may_be_away(program: ModuleType, replicas: list[str]) -> None:
    register = owner(program, replicas, 1)
    register.set("x", "1")
    away = Path(replicas[0]).parent
    away.rename(away.with_name("away"))
    away.touch()                                             # so it cannot be made anew
    register.set("x", "2")
    assert owner(program, replicas, 2).get("x") == b"$1\r\n2\r\n"


def test_without_a_majority_nobody_begins(program: ModuleType, replicas: list[str]) -> None:
    for replica in replicas[:2]:
        Path(replica).parent.touch()
    thread = in_time(owner, program, replicas, 1)
    thread.join(STILL_S)
    assert thread.is_alive()


def test_a_write_that_only_a_minority_has_is_kept_or_forgotten_for_ever(
    program: ModuleType, replicas: list[str]
) -> None:
    """One replica alone has a later value: who begins with it makes all have it before it answers."""
    first = owner(program, replicas, 1)
    first.set("x", "1")
    eventually(lambda: {*first.written.values()}, lambda seen: len(seen) == 1, within_s=LIMIT_S, what="all have it")
    alone = program.Replica(replicas[2], (7, 1, 1))
    alone.write((99, {"x": "late"}))
    second = owner(program, replicas, 2)
    said = second.get("x")
    third = owner(program, replicas[:2], 3, of=2)
    assert third.get("x") == said


def test_what_is_left_of_those_before_is_forgotten(program: ModuleType, replicas: list[str]) -> None:
    for epoch in range(1, 6):
        register = owner(program, replicas, epoch)
        register.set("x", str(epoch))
        Path(replicas[0], ".new-000000000001.000000000001.00000000000000000001").touch()
    register.set("x", "6")

    def left() -> int:
        return max(len(os.listdir(replica)) for replica in replicas)

    eventually(left, lambda count: count <= 3, within_s=LIMIT_S, what="old files go")


@pytest.mark.parametrize("signo", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_by_a_signal_without_a_word(replicas: list[str], signo: signal.Signals) -> None:
    command = [str(PROGRAMS / "register"), *replicas]
    environment = {**os.environ, "MOSHA_ERA": "7", "MOSHA_EPOCH": "1"}
    for replica in replicas[:2]:
        Path(replica).parent.touch()                         # so it never comes to serve
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        eventually(lambda: Path(replicas[2]).exists(), within_s=LIMIT_S, what="it is at work")
        process.send_signal(signo)
        _, said = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, said) == (-signo, b"")


# ---- clients ------------------------------------------------------------------------------------------------------


@pytest.fixture
def port(program: ModuleType, replicas: list[str]) -> Iterator[int]:
    """Of a register that serves."""
    register = owner(program, replicas, 1)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            places = threading.Semaphore(8)
            while places.acquire():
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                in_time(program.serve, connection, register, places)

        in_time(accept)
        yield server.getsockname()[1]


def test_clients_say_what_they_asked_and_what_came_of_it(port: int, tmp_path: Path) -> None:
    """On two nodes, one of which has nobody that answers; at the end each key is read."""
    command = [str(PROGRAMS / "client"), str(port), "3", "2", "k", "1=127.0.0.2", "2=127.0.0.1"]
    file = tmp_path / "said"
    with file.open("wb") as out, subprocess.Popen(command, stdout=out) as process:
        try:
            eventually(lambda: file.read_bytes().count(b"\n") > 60, within_s=LIMIT_S, what="they are at work")
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0
        finally:
            process.kill()
    found = operations(file.read_text(), is_over=True)
    assert {one.node for one in found} == {2}
    assert {one.kind for one in found if one.outcome == OK} == {READ, WRITE}
    assert {one.key for one in found if one.client == 4} == {"k.1", "k.2"}
    written = [one.value for one in found if one.kind == WRITE]
    assert len(written) == len({*written})
    for key in ("k.1", "k.2"):
        assert misfit([one for one in found if one.key == key]) == ""


EVENTS = """\
invoke 1000000000 1 2 k.1 write 5
invoke 2000000000 2 3 k.1 read -
ok 3000000000 2 -
fail 4000000000 1 5
invoke 5000000000 2 3 k.1 write 6
info 6000000000 2 6
invoke 7000000000 1 2 k.1 read -
end 8000000000 7
"""


def test_events_become_operations() -> None:
    found = operations(EVENTS, is_over=True)
    assert [(one.client, one.node, one.kind, one.value, one.outcome) for one in found] == [
        (1, 2, WRITE, 5, FAIL), (2, 3, READ, None, OK), (2, 3, WRITE, 6, INFO), (1, 2, READ, None, INFO),
    ]
    assert [(one.begin_s, one.end_s) for one in found[:2]] == [(1.0, 4.0), (2.0, 3.0)]
    assert {one.end_s for one in found[2:]} == {float("inf")}


def test_while_they_are_at_work_the_last_line_may_be_torn() -> None:
    assert operations(EVENTS[: EVENTS.index("end") - 5], is_over=False) == operations(EVENTS, is_over=True)[:3]
    assert operations("", is_over=False) == []


@pytest.mark.parametrize("said", [
    "", EVENTS[: EVENTS.index("end")], EVENTS.replace("fail 4000000000 1 5\n", ""), EVENTS.replace("fail", "fail x"),
])
def test_clients_of_which_not_all_is_heard_say_nothing(said: str) -> None:
    with pytest.raises(LabError, match="clients: "):
        operations(said, is_over=True)
