"""An agent with one leash, driven by lines of JSON: it can be stopped and killed as a whole process.

In: ``["start", {group, lease_s, stop, lock_path, ahead}]``, ``["own"]``, ``["tell", level, cltab text]``,
``["extend", lease_s]``, ``["kill"]``, ``["finish"]``, ``["close"]``, ``["deaf", seconds]``, ``["hold"]``. Out: each
report as a JSON object, and ``{"kind": "gone", "status": n}``.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from collections.abc import Collection
from functools import partial
from typing import Any

from mosha.clinit import group
from mosha.clinit.family import Families
from mosha.clinit.leash import Leash
from mosha.platform import linux
from mosha.platform.procscan import Process
from mosha.resources.records import RUN_VARIABLE
from mosha.tables import cltab
from mosha.tables.settings import Policy
from tests.unit.clinit.leashed import is_dead, wait_until


def main() -> None:
    if os.environ.get("NO_SUBREAPER"):
        linux.set_subreaper = lambda: False
    if "STUCK_S" in os.environ:
        vars(group)["STUCK_S"] = float(os.environ["STUCK_S"])
    if "DIES_AFTER_LOOKS" in os.environ:
        _kill_what_was_seen(int(os.environ["DIES_AFTER_LOOKS"]), os.environ["FROM"])
    leash: Leash | None = None
    typed = b""
    while leash is None or not leash.gone:
        fds: list[Any] = [0] if leash is None else [0, leash]
        ready = select.select(fds, [], [])[0]
        if leash is not None and leash in ready:
            for report in leash.receive():
                _print(report._asdict())
        if 0 in ready:
            data = os.read(0, 65536)
            if not data:
                break
            *lines, typed = (typed + data).split(b"\n")
            for line in lines:
                leash = _obey(leash, *json.loads(line))
    assert leash is not None
    _print({"kind": "gone", "status": leash.status})


def _kill_what_was_seen(looks: int, switch: str) -> None:
    """What the guardian sees at the last of so many looks, once the file ``switch`` is there, dies right after it."""
    look = Families.living
    left = looks

    def living(self: Families, tags: Collection[str]) -> dict[str, list[Process]]:
        nonlocal left
        families = look(self, tags)
        left -= os.path.exists(switch)
        if left == 0:
            for process in [process for family in families.values() for process in family]:
                os.kill(process.pid, signal.SIGKILL)
                wait_until(partial(is_dead, process.pid))
        return families

    Families.living = living  # type: ignore[method-assign]


def _obey(leash: Leash | None, word: str, *arguments: Any) -> Leash | None:
    if word == "start":
        options = arguments[0]
        return Leash.start(
            options["group"],
            {"PATH": os.environ["PATH"], "GIVEN": "yes", RUN_VARIABLE: os.environ[RUN_VARIABLE]},
            linux.boottime() + options["lease_s"],
            close_fds=[0, 1],
            lock_path=options.get("lock_path", ""),
            ahead=options["ahead"],
            policy=Policy(stop=tuple((delay, signo) for delay, signo in options["stop"]), kill_again_s=0.1),
        )
    assert leash is not None
    if word == "tell":
        table = cltab.parse(arguments[1])
        leash.tell(arguments[0], table.entries, policy=table.policy if table.settings else None)
    elif word == "own":
        leash.own({"TOKEN": "7"})
    elif word == "extend":
        leash.extend(linux.boottime() + arguments[0])
    elif word == "deaf":
        time.sleep(arguments[0])
    elif word == "hold":                 # a child that keeps this end of the leash open, for a while
        if os.fork() == 0:
            time.sleep(10)
            os._exit(0)
    else:
        getattr(leash, word)()
        if word == "close":
            os._exit(os.waitstatus_to_exitcode(os.waitpid(leash.pid, 0)[1]))
    return leash


def _print(value: dict[str, Any]) -> None:
    os.write(1, json.dumps(value).encode() + b"\n")


if __name__ == "__main__":
    main()
