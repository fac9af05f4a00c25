"""The engine's HTTP interface: as much of Docker's as the laboratory and its power switch use.

Source: Docker Engine API reference, v1.41. What is asked beyond that is an error 404.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import signal
import socket
import time
from collections.abc import Mapping
from typing import Any, Callable, Union

from moslab.layout import BASE
from moslab.namespaces.command import Command
from moslab.namespaces.engine import Engine, EngineError, Network, Volume, seconds
from moslab.namespaces.http import UPGRADED, Answer, Request, TakeOver
from moslab.namespaces.image import read_tar, write_tar
from moslab.namespaces.machine import PAUSED
from moslab.streams import HEADER

log = logging.getLogger(__name__)

VERSION = "1.41"
DONE = Answer(204)
Reply = Union[Answer, TakeOver]


class Api:
    """Handles the requests of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Reply]]] = [
            (method, re.compile(path), handle) for method, path, handle in (
                ("GET", "/_ping", lambda _request: Answer(body=b"OK", headers={"Api-Version": VERSION})),
                ("GET", "/version", lambda _request: Answer(body={"ApiVersion": VERSION, "MinAPIVersion": "1.24"})),
                ("GET", "/info", self._info),
                ("GET", "/images/json", lambda _request: Answer(body=[])),
                ("GET", "/images/(.+)/json", self._image),
                ("POST", "/build", self._build),
                ("GET", "/containers/json", self._machines),
                ("POST", "/containers/create", self._create),
                ("GET", "/containers/([^/]+)/json", self._inspect),
                ("DELETE", "/containers/([^/]+)", self._remove),
                ("POST", "/containers/([^/]+)/start", self._start),
                ("POST", "/containers/([^/]+)/kill", self._kill),
                ("POST", "/containers/([^/]+)/pause", self._pause),
                ("POST", "/containers/([^/]+)/unpause", self._unpause),
                ("POST", "/containers/([^/]+)/attach", self._attach),
                ("GET", "/containers/([^/]+)/logs", self._logs),
                ("GET", "/containers/([^/]+)/archive", self._read),
                ("PUT", "/containers/([^/]+)/archive", self._write),
                ("POST", "/containers/([^/]+)/exec", self._prepare),
                ("POST", "/exec/([^/]+)/start", self._run),
                ("GET", "/exec/([^/]+)/json", self._ran),
                ("GET", "/networks", self._networks),
                ("POST", "/networks/create", self._create_network),
                ("GET", "/networks/([^/]+)", self._network),
                ("DELETE", "/networks/([^/]+)", self._remove_network),
                ("POST", "/networks/([^/]+)/connect", self._connect),
                ("POST", "/networks/([^/]+)/disconnect", self._disconnect),
                ("GET", "/volumes", self._volumes),
                ("POST", "/volumes/create", self._create_volume),
                ("GET", "/volumes/([^/]+)", self._volume),
                ("DELETE", "/volumes/([^/]+)", self._remove_volume),
            )
        ]

    def __call__(self, request: Request) -> Reply:
        path = re.sub(r"^/v[0-9.]+", "", request.path)
        try:
            for method, pattern, handle in self._routes:
                found = pattern.fullmatch(path)
                if found and method == request.method:
                    return handle(request, *found.groups())
            raise EngineError(404, f"this engine has no {request.method} {path}")
        except EngineError as error:
            return Answer(error.status, {"message": str(error)})
        except Exception as error:                           # whatever it is: who asks gets an answer
            log.exception("%s %s", request.method, path)
            return Answer(500, {"message": f"{type(error).__name__}: {error}"})

    # -- the engine and its images -----------------------------------------------------------------

    def _info(self, _request: Request) -> Answer:
        return Answer(body={
            "SystemTime": seconds(time.time()), "SecurityOptions": [], "Architecture": os.uname().machine,
            "Name": "namespaces", "NCPU": os.cpu_count(),
        })

    def _image(self, _request: Request, name: str) -> Answer:
        if name == BASE:                                     # that is this machine itself
            return Answer(body={"Id": f"sha256:{'0' * 64}", "RepoTags": [BASE]})
        image = self._engine.image(name)
        return Answer(body={"Id": f"sha256:{image.id}", "RepoTags": [image.name]})

    def _build(self, request: Request) -> Answer:
        try:
            self._engine.build(request.query["t"], request.body, request.query["dockerfile"])
        except (OSError, ValueError, KeyError) as error:
            return Answer(body=json.dumps({"error": f"{type(error).__name__}: {error}"}).encode())
        return Answer(body=json.dumps({"stream": "built"}).encode())

    # -- machines ----------------------------------------------------------------------------------

    def _machines(self, request: Request) -> Answer:
        return Answer(body=[
            {"Id": machine.id, "Names": [f"/{machine.name}"], "Labels": machine.labels, "State": machine.status,
             "Status": machine.status, "Image": machine.image.name, "Created": int(machine.created_s)}
            for machine in self._engine.machines.values()
            if _has(machine.labels, request) and (machine.has_power or _is_on(request.query, "all"))
        ])

    def _create(self, request: Request) -> Answer:
        machine = self._engine.create(request.query["name"], request.json)
        return Answer(201, {"Id": machine.id, "Warnings": []})

    def _inspect(self, _request: Request, known: str) -> Answer:
        machine = self._engine.machine(known)
        endpoints = {name: {"IPAMConfig": {"IPv4Address": address}, "IPAddress": address if machine.has_power else ""}
                     for name, address in machine.addresses.items()}
        return Answer(body={
            "Id": machine.id, "Name": f"/{machine.name}", "Created": seconds(machine.created_s),
            "Image": f"sha256:{machine.image.id}",
            "State": {
                "Status": machine.status, "Running": machine.has_power, "Paused": machine.status == PAUSED,
                "Restarting": False, "Pid": machine.pid, "ExitCode": machine.exit_code,
                "StartedAt": seconds(machine.started_s),
            },
            "Config": {key: machine.config.get(key) for key in ("Hostname", "Image", "Labels", "Tty")},
            "HostConfig": machine.config["HostConfig"], "NetworkSettings": {"Networks": endpoints},
        })

    def _remove(self, request: Request, known: str) -> Answer:
        self._engine.remove(self._engine.machine(known), _is_on(request.query, "force"))
        return DONE

    def _start(self, _request: Request, known: str) -> Answer:
        return DONE if self._engine.start(self._engine.machine(known)) else Answer(304)

    def _kill(self, request: Request, known: str) -> Answer:
        machine = self._engine.machine(known)
        if not machine.has_power:
            raise EngineError(409, f"container {machine.name} is not running")
        word = request.query.get("signal", "KILL")
        machine.kill(int(word) if word.isdigit() else signal.Signals[f"SIG{word.removeprefix('SIG')}"])
        return DONE

    def _pause(self, _request: Request, known: str) -> Answer:
        self._engine.running(self._engine.machine(known)).pause()
        return DONE

    def _unpause(self, _request: Request, known: str) -> Answer:
        machine = self._engine.machine(known)
        if machine.status != PAUSED:
            raise EngineError(409, f"container {machine.name} is not paused")
        machine.resume()
        return DONE

    def _attach(self, _request: Request, known: str) -> TakeOver:
        machine = self._engine.machine(known)

        def attach(connection: socket.socket) -> None:
            connection.sendall(UPGRADED)
            machine.attach(connection)

        return attach

    def _logs(self, request: Request, known: str) -> Answer:
        query, tail = request.query, request.query.get("tail", "all")
        streams = [stream for stream, name in ((1, "stdout"), (2, "stderr")) if _is_on(query, name)]
        chosen = [said for said in self._engine.machine(known).log
                  if said.wall_s >= float(query.get("since", 0)) and said.stream in streams]
        lines = [
            (said.stream, (f"{seconds(said.wall_s)} ".encode() if _is_on(query, "timestamps") else b"") + said.text)
            for said in (chosen if tail == "all" else chosen[max(0, len(chosen) - int(tail)):])
        ]
        return Answer(body=b"".join(HEADER.pack(stream, len(text)) + text for stream, text in lines))

    def _read(self, request: Request, known: str) -> Answer:
        path = self._inside(known, request.query["path"])
        try:
            found = os.stat(path)
        except OSError as error:
            raise EngineError(404, str(error)) from None
        shown = {"name": os.path.basename(path), "size": found.st_size, "mode": found.st_mode & 0o7777,
                 "mtime": seconds(found.st_mtime), "linkTarget": ""}
        return Answer(body=read_tar(path), headers={
            "X-Docker-Container-Path-Stat": base64.b64encode(json.dumps(shown).encode()).decode(),
        })

    def _write(self, request: Request, known: str) -> Answer:
        write_tar(request.body, self._inside(known, request.query["path"]))
        return Answer()

    def _inside(self, known: str, path: str) -> str:
        machine = self._engine.machine(known)
        if ".." in path.split("/"):
            raise EngineError(400, f"no path of a machine: {path}")
        return f"{machine.root}/{path.strip('/')}"

    # -- commands ----------------------------------------------------------------------------------

    def _prepare(self, request: Request, known: str) -> Answer:
        words = request.json["Cmd"]
        return Answer(201, {"Id": self._engine.prepare(self._engine.machine(known), list(words))})

    def _run(self, request: Request, known: str) -> Reply:
        command = self._command(known)
        self._engine.running(command.machine)
        if request.json.get("Detach"):
            command.start(None)
            return Answer()
        return command.start

    def _ran(self, _request: Request, known: str) -> Answer:
        command = self._command(known)
        command.look()
        return Answer(body={"ID": known, "Running": command.result >= 0, "ExitCode": command.exit_code})

    def _command(self, known: str) -> Command:
        try:
            return self._engine.commands[known]
        except KeyError:
            raise EngineError(404, f"no such exec instance: {known}") from None

    # -- networks and volumes ----------------------------------------------------------------------

    def _networks(self, request: Request) -> Answer:
        return Answer(body=[_network(one) for one in self._engine.networks.values() if _has(one.labels, request)])

    def _create_network(self, request: Request) -> Answer:
        given = request.json
        pools = (given.get("IPAM") or {}).get("Config") or [{}]
        made = self._engine.create_network(given["Name"], given.get("Labels") or {}, pools[0].get("Subnet"))
        return Answer(201, {"Id": made.id})

    def _network(self, _request: Request, known: str) -> Answer:
        return Answer(body=_network(self._engine.network(known)))

    def _remove_network(self, _request: Request, known: str) -> Answer:
        self._engine.remove_network(self._engine.network(known))
        return DONE

    def _connect(self, request: Request, known: str) -> Answer:
        given = request.json
        address = given["EndpointConfig"]["IPAMConfig"]["IPv4Address"]
        self._engine.connect(self._engine.network(known), self._engine.machine(given["Container"]), address)
        return Answer()

    def _disconnect(self, request: Request, known: str) -> Answer:
        self._engine.disconnect(self._engine.network(known), self._engine.machine(request.json["Container"]))
        return Answer()

    def _volumes(self, request: Request) -> Answer:
        found = [_volume(one) for one in self._engine.volumes.values() if _has(one.labels, request)]
        return Answer(body={"Volumes": found})

    def _create_volume(self, request: Request) -> Answer:
        given = request.json
        return Answer(201, _volume(self._engine.create_volume(given["Name"], given.get("Labels") or {})))

    def _volume(self, _request: Request, known: str) -> Answer:
        return Answer(body=_volume(self._engine.volume(known)))

    def _remove_volume(self, _request: Request, known: str) -> Answer:
        self._engine.remove_volume(self._engine.volume(known))
        return DONE


def _has(labels: Mapping[str, str], request: Request) -> bool:
    """Whether these are the labels that are asked for."""
    wanted: Any = json.loads(request.query.get("filters") or "{}").get("label", [])
    return all(labels.get(name) == value for name, _, value in (label.partition("=") for label in wanted))


def _is_on(query: Mapping[str, str], name: str) -> bool:
    return query.get(name, "0") in ("1", "True", "true")


def _network(network: Network) -> dict[str, Any]:
    return {"Id": network.id, "Name": network.name, "Labels": network.labels, "Driver": "bridge",
            "IPAM": {"Config": [{"Subnet": str(network.subnet)}]}, "Containers": {}}


def _volume(volume: Volume) -> dict[str, Any]:
    return {"Name": volume.name, "Labels": volume.labels, "Driver": "local", "Mountpoint": volume.path}
