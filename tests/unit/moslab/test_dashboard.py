"""The demo's page on the cluster, with an agent that is a script."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from select import select
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from moslab import demo
from moslab.wait import eventually

PROGRAM = demo.HERE / "programs/dashboard"
FRESH_S, CLIENTS_MAX, CLIENT_LIMIT_S, LIMIT_S = 0.5, 16, 5.0, 10.0
SEEN = {"node": 2, "quorum": True, "nodes": [], "groups": []}
MOSHA = """#!/bin/sh
echo "$*" >>{0}/asked
if [ -e {0}/silent ]; then echo "mosha: the agent waits" >&2; exit 1; fi
cat {0}/seen
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Of a dashboard that runs."""
    (tmp_path / "mosha").write_text(MOSHA.format(tmp_path))
    (tmp_path / "mosha").chmod(0o755)
    (tmp_path / "seen").write_text(json.dumps(SEEN))
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = [sys.executable, "-IS", str(PROGRAM), "0"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert select([process.stdout], [], [], LIMIT_S)[0], "the dashboard says its port"
            yield int(process.stdout.readline().removeprefix("dashboard: port "))
        finally:
            process.terminate()


def get(port: int, path: str, method: str = "GET") -> bytes:
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", method=method), timeout=LIMIT_S) as answer:
        return bytes(answer.read())


def test_it_shows_what_the_agent_says(port: int, tmp_path: Path) -> None:
    assert json.loads(get(port, "/status.json")) == SEEN
    assert (tmp_path / "asked").read_text() == "status --json\n"
    assert b"fetch('status.json'" in get(port, "/")


def test_it_can_only_be_read(port: int) -> None:
    for path, method, code in (("/../etc/passwd", "GET", 404), ("/status.json?", "GET", 404), ("/", "POST", 501)):
        with pytest.raises(HTTPError) as error:
            get(port, path, method)
        assert error.value.code == code
        error.value.close()


def test_an_agent_that_does_not_answer_is_said_with_its_reason(port: int, tmp_path: Path) -> None:
    (tmp_path / "silent").touch()
    with pytest.raises(HTTPError, match="503") as error:
        get(port, "/status.json")
    assert error.value.read() == b"mosha: the agent waits\n"
    error.value.close()
    (tmp_path / "silent").unlink()
    (tmp_path / "seen").write_text("no JSON")
    time.sleep(FRESH_S)
    with pytest.raises(HTTPError, match="503") as error:
        get(port, "/status.json")
    assert error.value.read().startswith(b"mosha status: ")
    error.value.close()


def test_many_who_look_do_not_ask_the_agent_more_often(port: int, tmp_path: Path) -> None:
    begin_s = time.monotonic()
    for _ in range(30):
        get(port, "/status.json")
    asked = len((tmp_path / "asked").read_text().splitlines())
    assert asked <= 2 + (time.monotonic() - begin_s) / FRESH_S


def test_clients_that_say_nothing_take_only_their_places(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S) for _ in range(CLIENTS_MAX)]
    one_more = socket.create_connection(("127.0.0.1", port), timeout=CLIENT_LIMIT_S / 2)
    assert one_more.recv(1) == b""                       # turned away, and not when a place gets free
    for sock in [*silent, one_more]:
        sock.close()
    eventually(lambda: _answers(port), within_s=LIMIT_S, what="it serves again", every_s=0.05)


def _answers(port: int) -> bool:
    try:
        return bool(json.loads(get(port, "/status.json")) == SEEN)
    except OSError:
        return False


@pytest.mark.parametrize("arguments", [[], ["x"], ["80", "81"], ["99999"]])
def test_a_wrong_call_says_so(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-IS", PROGRAM, *arguments], capture_output=True, text=True, timeout=LIMIT_S,
                          check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(("usage: dashboard", "dashboard: port 99999"))
    assert "Traceback" not in done.stderr
