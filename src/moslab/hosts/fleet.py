"""The machines of an inventory during one run: connected, installed, off, lost, and released at the end.

Rules:

1. A run has a name of its own, and with it directories, processes and a table of nftables on each machine. When the
   fleet is closed all of that is gone, or a LabError names the machine where that is not sure.
2. A thread tells the keepers that we are there. If this process is killed, or the machine it is on, they heal and
   remove everything by themselves (:mod:`moslab.hosts.keeper`); nobody then gives power to a machine that is off.
3. A machine is off from when we put it off, or its connection is lost, until we give it power.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable

from moslab import host
from moslab.errors import CannotError, LabError, UnsupportedError
from moslab.hosts import install
from moslab.hosts.clock import Clock
from moslab.hosts.inventory import HPC, MFS, Inventory
from moslab.hosts.link import Link, LostError
from moslab.wait import eventually

ALIVE_EVERY_S = 5.0
POWER_LIMIT_S = 120.0
BOOT_LIMIT_S = 600.0
BOOT_LOOK_EVERY_S = 0.5
AT_ONCE_MAX = 8
INSTALL_LIMIT_S = 150.0
COMMAND_LIMIT_S = 60.0


class Fleet:
    """See the rules. ``files`` are those of :func:`moslab.hosts.install.files`, by the name of the run."""

    def __init__(self, inventory: Inventory, files: Callable[[str], dict[str, tuple[str, int]]]) -> None:
        self.inventory = inventory
        self.run = uuid.uuid4().hex[:12]
        self.machines = {machine.number: machine for machine in inventory.machines}
        self.clocks: dict[int, dict[str, Clock]] = {number: {} for number in self.machines}
        self._links: dict[int, Link] = {}
        self._closed = threading.Event()
        self._alive = threading.Thread(target=self._tell, name="moslab-alive", daemon=True)
        self._alive.start()
        try:
            self._each(self.machines, self._connect)
            self._check()
            archive, wanted = install.archive(), files(self.run)
            self._each(self.machines, lambda number: self.link(number).ask(
                "install", limit_s=INSTALL_LIMIT_S, archive=archive, files=wanted))
            self.ask_all("begin")
        except BaseException:
            self._close()
            raise

    def link(self, number: int) -> Link:
        """The connection; LabError for a machine that is off."""
        link = self._links.get(number)
        if link is None or link.is_lost:
            raise LabError(f"node {number} is off")
        return link

    def ask(self, number: int, do: str, **more: Any) -> dict[str, Any]:
        return self.link(number).ask(do, **more)

    def ask_all(self, do: str, **more: Any) -> dict[int, dict[str, Any]]:
        """The answers of all that are there, asked at once. Who is lost meanwhile has none."""
        asked, answers = {}, {}
        for number, link in self._links.items():
            if not link.is_lost:
                try:
                    asked[number] = link.say(do, **more)
                except LostError:
                    pass
        for number, one in asked.items():
            try:
                answers[number] = self._links[number].hear(one)
            except LostError:
                pass
        return answers

    def command(self, number: int, words: Sequence[str], limit_s: float = COMMAND_LIMIT_S) -> tuple[int, str, str]:
        """Exit code and both texts of a command there."""
        done = self.link(number).ask("run", limit_s=limit_s + 10.0, words=list(words), limit=limit_s)
        return done["code"], done["out"], done["err"]

    # -- power -------------------------------------------------------------------------------------

    def off(self) -> list[int]:
        return [number for number, link in sorted(self._links.items()) if link.is_lost]

    def power_off(self, number: int) -> None:
        """By the inventory's command; LabError if that fails, or the machine is off."""
        self.link(number)
        machine = self._with_power(number)
        host.run_checked(machine.power(machine.off), POWER_LIMIT_S)
        self._links[number].drop()

    def power_on(self, number: int) -> None:
        """Give it power, and wait until it has all that it needs; no agent runs yet. LabError if it is not off."""
        if number not in self.off():
            raise LabError(f"node {number} runs already")
        machine = self._with_power(number)
        host.run_checked(machine.power(machine.on), POWER_LIMIT_S)

        def problem() -> str:
            try:
                if self._links[number].is_lost:
                    self._connect(number)
                return "; ".join(self._missing(number))
            except LostError as error:
                return str(error)

        eventually(problem, lambda seen: not seen, within_s=BOOT_LIMIT_S, what=f"node {number} boots",
                   every_s=BOOT_LOOK_EVERY_S)

    def close(self) -> None:
        """Rule 1. Machines that are off get power first."""
        problems = []
        for number in self.off():
            try:
                self.power_on(number)
            except LabError as error:
                problems.append(str(error))
        problems += self._close()
        if problems:
            raise LabError("not all is removed:\n" + "\n".join(problems))

    # -- inside ------------------------------------------------------------------------------------

    def _close(self) -> list[str]:
        self._closed.set()
        self._alive.join()
        problems: list[str] = []

        def end(number: int) -> None:
            try:
                if not self._links[number].is_lost:
                    self._links[number].end()
            except LabError as error:
                problems.append(str(error))

        self._each(list(self._links), end)
        return problems

    def _connect(self, number: int) -> None:
        if number in self._links:
            self._links[number].drop()
        self._links[number] = Link(self.machines[number], self.run, self.clocks[number])

    def _check(self) -> None:
        problems = [f"machine {number} needs {what}" for number in self.machines for what in self._missing(number)]
        if problems:
            raise CannotError("\n".join(problems))

    def _missing(self, number: int) -> list[str]:
        mosha = self.inventory.mosha
        answer = self.link(number).ask(
            "check", mfsbase=mosha.get(MFS, "/mfs"), hpcbase=mosha.get(HPC, "/proc/hpc"),
            nodes=list(self.inventory.numbers), cut=self.machines[number].cut,
        )
        missing: list[str] = answer["missing"]
        return missing

    def _with_power(self, number: int) -> Any:
        if not self.machines[number].off:
            raise UnsupportedError(f"switch machine {number}: the inventory has no `off` and `on` of it")
        return self.machines[number]

    def _tell(self) -> None:
        """Rule 2."""
        while not self._closed.wait(ALIVE_EVERY_S):
            for link in list(self._links.values()):
                link.alive()

    @staticmethod
    def _each(numbers: Iterable[int], do: Callable[[int], object]) -> None:
        """At once; all of their errors as one of the kind of the first."""
        with ThreadPoolExecutor(AT_ONCE_MAX) as pool:
            errors = [future.exception() for future in [pool.submit(do, number) for number in numbers]]
        found = [error for error in errors if error is not None]
        said = [str(error) for error in found if isinstance(error, LabError)]
        if found:
            raise type(found[0])("\n".join(said)) if len(said) == len(found) else found[0]
