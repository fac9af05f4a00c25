"""Toxiproxy's API, by toxiproxy-python, whose module knows one server, no time limit and one call at a time.

Here each cluster has a consumer of its own, every call a limit, and what is done to many links a few calls at a time.
It is not one instant: it begins at some time between the call and its return, and ends so too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

import requests
from docker.models.containers import Container
from toxiproxy.api import APIConsumer
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from moslab.errors import LabError
from moslab.faults.links import Cuts, Link
from moslab.faults.toxics import Toxic, parse, places, toxic_name
from moslab.router import name_of
from moslab.toxiproxy import API_PORT

CALL_LIMIT_S = 10.0
CALLS_MAX = 8
"""At a time."""
HOST = "127.0.0.1"
ERROR_MIN = 400


class Toxiproxy:
    """That of one cluster, found by its router; LabError, from each call, where it does not answer."""

    def __init__(self, router: Container) -> None:
        published = router.attrs["NetworkSettings"]["Ports"].get(f"{API_PORT}/tcp")
        if not published:
            raise LabError(f"{router.name} does not run")
        self._api: Any = type("Api", (APIConsumer,), {"host": HOST, "port": int(published[0]["HostPort"])})

    def add(self, links: Iterable[Link], toxic: Toxic) -> str:
        """Everything that is sent over these links meets it; the name of the fault. All or nothing."""
        fault = f"{toxic.kind}-{secrets.token_hex(2)}"

        def put(place: tuple[Link, str]) -> None:
            proxy, stream = place
            told = {"name": toxic_name(fault, stream), "type": toxic.type, "stream": stream, "toxicity": 1.0,
                    "attributes": dict(toxic.attributes)}
            self._call(self._api.post, f"/proxies/{name_of(*proxy)}/toxics", json=told)

        try:
            _each(put, places(links))
        except LabError:
            self.remove(fault, self.present().get(fault, ()))
            raise
        return fault

    def remove(self, fault: str, links: Iterable[Link]) -> None:
        """Those toxics, wherever they still are."""

        def take(place: tuple[Link, str]) -> None:
            proxy, stream = place
            path = f"/proxies/{name_of(*proxy)}/toxics/{toxic_name(fault, stream)}"
            self._call(self._api.delete, path, good=NotFound)

        _each(take, places(links))

    def present(self) -> Cuts:
        """The links of each fault that lasts, by its name."""
        return parse(self._call(self._api.get, "/proxies").json())

    def _call(self, method: Callable[..., Any], path: str, good: type[Exception] | None = None, **more: Any) -> Any:
        try:
            answer = method(path, timeout=CALL_LIMIT_S, proxies={"http": None}, **more)      # whatever HTTP_PROXY says
        except requests.RequestException as error:
            raise LabError(
                f"Toxiproxy does not answer at {HOST}:{self._api.port}; the engine must be on this machine: {error}"
            ) from None
        except (InvalidToxic, NotFound, ProxyExists) as error:
            if good is not None and isinstance(error, good):
                return None
            raise LabError(f"Toxiproxy: {path}: {error}") from None
        if answer.status_code >= ERROR_MIN:
            raise LabError(f"Toxiproxy: {path}: {answer.status_code} {answer.text[:200]}")
        return answer


def _each(do: Callable[[tuple[Link, str]], None], wanted: list[tuple[Link, str]]) -> None:
    with ThreadPoolExecutor(CALLS_MAX) as pool:
        list(pool.map(do, wanted))
