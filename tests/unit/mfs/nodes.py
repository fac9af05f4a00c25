"""Real MFS nodes on loopback addresses: each a process with its own root directory, mount and address."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from emulator.fuse.mount import mounts, unmount
from tests.ports import free_ports

NODE = Path(__file__).with_name("mfs_node.py")
REPOSITORY = Path(__file__).parents[3]
END_S = 5


def need_fuse() -> None:
    """Skip where /dev/fuse cannot be opened; in CI that is a failure."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        reason = f"/dev/fuse cannot be opened: {error.strerror}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)


def failing(call: Callable[[], object]) -> str:
    """The name of the errno that ``call`` fails with."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - the errno is what is looked at
        call()
    return errno.errorcode[caught.value.errno or 0]


class MfsNode:
    """One node. ``root`` is its own tree, ``mfs`` its mount point."""

    def __init__(self, number: int, address: str, port: int, folder: Path) -> None:
        self.number = number
        self.address = address
        self.port = port
        self.root = folder / f"root{number}"
        self.mfs = folder / f"mfs{number}"
        self.control = folder / f"control{number}"
        self.log = folder / f"log{number}"
        self._unsynced = folder / f"unsynced{number}"
        self.root.mkdir()
        self.root.chmod(0o755)
        self.mfs.mkdir()
        self.control.mkdir()
        self.process: subprocess.Popen[str] | None = None

    def start(
        self, nodes: dict[int, str], key: str = "secret", boot: str = "first", genuine_s: float = 0, quick_s: float = 0,
        ahead_s: int = 0, within: Sequence[str] = (),
    ) -> None:
        """Start, and wait until it serves; ``within`` is put before the command, as to enter a namespace."""
        options = {
            "node": self.number,
            "nodes": nodes,
            "key": key,
            "root": str(self.root),
            "mountpoint": str(self.mfs),
            "control": str(self.control),
            "unsynced": str(self._unsynced),
            "boot": boot,
            "genuine_s": genuine_s,
            "quick_s": quick_s,
            "ahead_s": ahead_s,
            "address": self.address,
            "port": self.port,
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*within, sys.executable, str(NODE), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            )
        self._ready()

    def tell(self, line: str) -> None:
        """Give it a line of ``mfs_node.py``'s commands, and wait until that is done."""
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self._ready()

    def faults(self, *faults: dict[str, object]) -> None:
        """Have these faults of its files, and no others."""
        (self.control / "faults").write_text(json.dumps(faults))

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it, and wait until it has ended; its mount is gone then."""
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.send_signal(signal.SIGCONT)  # a stopped one hears it only then; KILL needs no such thing
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process = None
        for point, kind in mounts():
            if (point, kind) in ((str(self.mfs), "fuse.mfs"), (str(self.control), "fuse.hpc")):
                unmount(point)

    def path(self, owner: int | MfsNode, name: str = "") -> Path:
        """``/mfs/<owner>/<name>`` as this node sees it."""
        number = owner if isinstance(owner, int) else owner.number
        return self.mfs / str(number) / name

    def _ready(self) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n", self.log.read_text()


class Nodes:
    """Three nodes and an id that is nobody's; started when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.port = free_ports(1)[0]
        base = 10 + os.getpid() % 200
        self.table = {number: f"127.{base}.0.{number}" for number in (1, 2, 3)}
        self.nodes = {
            number: MfsNode(number, address, self.port, folder) for number, address in self.table.items()
        }

    def start(self, *numbers: int) -> list[MfsNode]:
        """Start these nodes; the table has all three."""
        for number in numbers:
            self.nodes[number].start(self.table)
        return [self.nodes[number] for number in numbers]

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()

