"""What Toxiproxy is told, by a server that answers as it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest
from docker.models.containers import Container

from moslab.errors import CannotError, LabError
from moslab.faults import toxics, toxiproxy
from moslab.faults.links import between
from moslab.faults.toxics import DOWN, UP, Toxic, delay, parse, places, rate, reset, slow_close
from moslab.faults.toxiproxy import Toxiproxy


def test_a_link_is_what_one_node_sends_both_as_asker_and_as_owner() -> None:
    assert places([(1, 2)]) == [((1, 2), UP), ((2, 1), DOWN)]
    both = places(between([1], [2]))
    assert len(set(both)) == len(both) == 4


@pytest.mark.parametrize(("toxic", "type_", "attributes"), [
    (delay(0.25), "latency", {"latency": 250, "jitter": 0}),
    (delay(0.25, 0.05), "latency", {"latency": 250, "jitter": 50}),
    (rate(12), "bandwidth", {"rate": 12}),
    (reset(), "reset_peer", {"timeout": 0}),
    (slow_close(2), "slow_close", {"delay": 2000}),
])
def test_toxiproxy_counts_in_milliseconds(toxic: Toxic, type_: str, attributes: dict[str, int]) -> None:
    assert (toxic.type, toxic.attributes) == (type_, attributes)


@pytest.mark.parametrize("wrong", [
    lambda: delay(0), lambda: delay(-1), lambda: delay(601), lambda: delay(float("nan")), lambda: delay(0.1, 0.2),
    lambda: rate(0), lambda: slow_close(0), lambda: slow_close(float("inf")),
])
def test_what_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(CannotError, match="is from"):
        wrong()


class Server(ThreadingHTTPServer):
    """``proxies`` as Toxiproxy has them; ``refuse`` is (path's part, status); ``hangs`` until it is set."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.proxies: dict[str, Any] = {
            f"{a}-{b}": {"name": f"{a}-{b}", "toxics": []} for a in (1, 2, 3) for b in (1, 2, 3) if a != b
        }
        self.refuse: tuple[str, int] = ("", 0)
        self.hangs = threading.Event()
        self.hangs.set()

    def handle_error(self, *_: object) -> None:
        """Who asked has gone: they have a time limit."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.hangs.wait(10)
        part, status = self.server.refuse
        if status and part in self.path and self.command == "POST":
            self._say(status, {"error": "refused"})
            return
        _, _, *words = self.path.split("/")
        if self.command == "GET":
            self._say(200, self.server.proxies)
            return
        there = self.server.proxies[words[0]]["toxics"]
        if self.command == "POST":
            there.append(json.loads(body))
        else:
            gone = [toxic for toxic in there if toxic["name"] == words[2]]
            if not gone:
                self._say(404, {"error": "toxic not found"})
                return
            there.remove(gone[0])
        self._say(200, {})

    do_GET = do_POST = do_DELETE = _answer

    def _say(self, status: int, said: object) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.hangs.set()
        made.shutdown()
        thread.join()


def client(port: int) -> Toxiproxy:
    ports = {"8474/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(port)}]}
    return Toxiproxy(cast(Container, SimpleNamespace(name="router", attrs={"NetworkSettings": {"Ports": ports}})))


def test_faults_compose_are_known_by_their_names_and_go_alone(server: Server) -> None:
    one = client(server.server_address[1])
    links = between([1], [2, 3])
    first = one.add(links, delay(0.1))
    second = one.add([(1, 2)], reset())
    assert first.startswith("delay-")
    assert one.present() == {first: links, second: frozenset({(1, 2)})}
    assert {toxic["stream"] for toxic in server.proxies["1-2"]["toxics"]} == {UP, DOWN}
    one.remove(first, links)
    assert one.present() == {second: frozenset({(1, 2)})}
    one.remove(second, links)                                # those that are gone are no error
    assert one.present() == {}


def test_two_clusters_have_a_server_each(server: Server) -> None:
    with Server() as second:
        thread = threading.Thread(target=second.serve_forever, args=(0.01,))
        thread.start()
        one, other = client(server.server_address[1]), client(second.server_address[1])
        one.add([(1, 2)], reset())
        assert len(one.present()) == 1
        assert other.present() == {}
        second.shutdown()
        thread.join()


@pytest.mark.parametrize("status", [400, 404, 409, 500])
def test_what_is_refused_on_one_link_is_on_none(server: Server, status: int) -> None:
    server.refuse = ("2-3", status)
    one = client(server.server_address[1])
    with pytest.raises(LabError, match="/proxies/2-3/toxics"):
        one.add(between([1, 2], [3]), delay(0.1))
    assert one.present() == {}


def test_a_server_that_says_nothing_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toxiproxy, "CALL_LIMIT_S", 0.1)
    server.hangs.clear()
    with pytest.raises(LabError, match="the engine must be on this machine"):
        client(server.server_address[1]).present()


def test_a_router_that_does_not_run_has_no_api() -> None:
    stopped = SimpleNamespace(name="mosha-x-router", attrs={"NetworkSettings": {"Ports": {}}})
    with pytest.raises(LabError, match="mosha-x-router does not run"):
        Toxiproxy(cast(Container, stopped))


def test_toxics_of_others_are_left_alone() -> None:
    assert parse({"1-2": {"toxics": [{"name": "slow", "stream": DOWN}]}}) == {}
    assert parse({"web": {"toxics": [{"name": f"slow.{DOWN}", "stream": DOWN}]}}) == {}
    assert toxics.toxic_name("delay-1", UP) == "delay-1.upstream"
