"""Namespaces; and two of the network with one Ethernet between them: ``here`` and ``there``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable

import pytest

from mosha.resources.records import RUN_VARIABLE

LIMIT_S = 10.0
DEVICE = "veth0"
ADDRESS = "10.99.0.200"
SNIFFER = """
import select, socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x806)) as s:
    s.bind((sys.argv[1], 0x806))
    print("ready", flush=True)
    while True:
        print(s.recv(1518).hex(), flush=True)
"""


class Namespace:
    """A namespace, of the network or of mounts, that lives as long as the process that holds it."""

    def __init__(self, kind: str = "net") -> None:
        self._processes: list[subprocess.Popen[str]] = []
        self._rundir = tempfile.TemporaryDirectory()
        self.rundir = self._rundir.name
        root = os.geteuid() == 0
        unshare = ["unshare", f"--{kind}", *([] if root else ["--map-root-user"])]
        self._holder = subprocess.Popen([*unshare, "sleep", "600"])
        self.enter = ["nsenter", "-t", str(self._holder.pid), f"--{kind}"]
        if not root:
            self.enter += ["-U", "--preserve-credentials"]
        name = {"net": "net", "mount": "mnt"}[kind]
        own = os.readlink(f"/proc/self/ns/{name}")
        wait_until(lambda: os.readlink(f"/proc/{self._holder.pid}/ns/{name}") != own)

    @property
    def pid(self) -> int:
        return self._holder.pid

    def run(self, *command: str) -> str:
        return subprocess.run([*self.enter, *command], check=True, capture_output=True, text=True).stdout

    def popen(self, *command: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*self.enter, *command],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._processes.append(process)
        return process

    def ip_resource(self, *arguments: str, group: str = "kv", **environment: str) -> subprocess.Popen[str]:
        code = "import sys; from mosha.resources.ip import main; sys.exit(main(sys.argv[1:]))"
        known = {"MOSHA_GROUP": group, RUN_VARIABLE: self.rundir, **environment}
        return self.popen(sys.executable, "-c", code, f"{ADDRESS}/24", "--dev", DEVICE, *arguments, **known)

    def addresses(self, device: str = DEVICE) -> dict[str, dict[str, Any]]:
        """What ``ip`` tells of each IPv4 address."""
        found = json.loads(self.run("ip", "-4", "-json", "addr", "show", "dev", device))
        return {info["local"]: info for link in found for info in link.get("addr_info", ())}

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            with process:
                pass                     # waits, and closes its pipes
        self._holder.kill()
        self._holder.wait()
        self._rundir.cleanup()


def wait_until(condition: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            pytest.fail(f"{condition} did not come true within {limit_s} s")
        time.sleep(0.01)


def connect(here: Namespace, there: Namespace) -> None:
    here.run("ip", "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", str(there.pid))
    for side, address in ((here, "10.99.0.1/24"), (there, "10.99.0.2/24")):
        side.run("ip", "addr", "add", address, "dev", DEVICE)
        side.run("ip", "link", "set", DEVICE, "up")
    wait_until(lambda: all('"UP"' in side.run("ip", "-json", "link", "show", DEVICE) for side in (here, there)))
