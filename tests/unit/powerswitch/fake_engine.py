"""A container engine of a few lines: the part of Docker's API that the power switch uses, over a UNIX socket."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, Callable
from urllib.parse import parse_qs, urlsplit


class FakeEngine:
    """Objects by kind and id; ``before`` is called with (method, path) ahead of each request."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.containers: dict[str, dict[str, Any]] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] | None = None
        self.kill_works = self.goes_silent = True
        self.signals: list[str] = []
        self.lock = threading.Lock()
        self._server = _Server(path, _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def node(self, cluster: str, number: int, running: bool = True, role: str = "node") -> str:
        name = f"{cluster}-{number}-{len(self.containers)}"
        self.containers[name] = {
            "labels": {"org.mosha.cluster": cluster, "org.mosha.role": role, "org.mosha.node": str(number)},
            "running": running,
        }
        return name

    def answer(self, method: str, url: str, body: Any) -> tuple[int, Any]:
        parts = urlsplit(url)
        self.asked.append((method, parts.path))
        if self.before:
            self.before(method, parts.path)
        with self.lock:
            return self._answer(method, parts.path, parse_qs(parts.query), body)

    def _answer(self, method: str, path: str, parameters: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        words = path.strip("/").split("/")
        kind = words[0]
        objects = {"containers": self.containers, "networks": self.networks, "volumes": self.volumes}[kind]
        if method == "GET" and words[1:] in ([], ["json"]):
            listed = self._listed(kind, objects, json.loads(parameters["filters"][0])["label"])
            return 200, {"Volumes": listed or None} if kind == "volumes" else listed
        if words[1] not in objects:
            return 404, {"message": f"No such {kind}: {words[1]}"}
        signal = parameters.get("signal", ["KILL"])[0]
        return self._do(method, kind, objects, words[1], words[2] if len(words) > 2 else "", body, signal)

    @staticmethod
    def _listed(kind: str, objects: dict[str, dict[str, Any]], wanted: list[str]) -> list[dict[str, Any]]:
        return [
            {"Id": name, "Name": name, "Names": [f"/{name}"], "Labels": entry["labels"],
             "State": "running" if entry.get("running") else "exited"}
            for name, entry in objects.items()
            if all(label.split("=", 1) in [list(item) for item in entry["labels"].items()] for label in wanted)
        ]

    def _do(
        self, method: str, kind: str, objects: dict[str, dict[str, Any]], name: str, action: str, body: Any,
        signal: str,
    ) -> tuple[int, Any]:
        entry = objects[name]
        if method == "DELETE":
            if entry.get("endpoints"):
                return 403, {"message": "has active endpoints"}
            del objects[name]
            return 204, None
        if action == "json":
            return 200, {"State": {
                "Running": entry["running"], "Restarting": False, "Paused": entry.get("paused", False),
            }}
        if action == "disconnect":
            entry["endpoints"].discard(body["Container"])
            return 200, None
        if action == "kill":
            if not entry["running"]:
                return 409, {"message": "is not running"}
            self.signals.append(signal)
            entry["running"] = not self.kill_works if signal == "KILL" else not self.goes_silent
            return 204, None
        if action == "start":
            entry["running"] = True
            return 204, None
        return 500, {"message": f"{method} {kind} {action}?"}


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    block_on_close = False


def _handler(engine: FakeEngine) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            status, answer = engine.answer(self.command, self.path, body)
            text = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _do

        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_arguments: object) -> None:
            pass

    return Handler
