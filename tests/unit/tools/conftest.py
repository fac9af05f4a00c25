"""A tree made by hand, as the genuine texts were taken from; and the real one of one node."""

from __future__ import annotations

import importlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest

from emulator.table import Record, render_config
from tests.unit.hpc.loopback import Node, may_mount

Run = Callable[..., tuple[int, str, str]]

RECORDS = [Record(1, "10.0.0.1", 4), Record(7, "10.0.0.77", 1), Record(3, "10.9.9.9", 0)]
DEAD = dict.fromkeys(("load", "speed", "cpus", "util", "mem", "rmem", "tmem"), "-101\n")
UP = {
    "load": "123\n",
    "speed": "9876\n",
    "cpus": "2\n",
    "util": "100\n",
    "mem": "200000000\n",
    "rmem": "150000000\n",
    "tmem": "260000000\n",
}
ADMIN = {
    "mospe": "3",
    "sspeed": "10000\n",
    "speed": "9876\n",
    "decayinterval": "5\n",
    "slowdecay": "975\n",
    "fastdecay": "926\n",
    "gateways": "0\n",
    "overheads": "\t".join(map(str, range(14))) + "\n",
    **dict.fromkeys(("stay", "lstay", "block", "quiet", "nomfs", "expel", "bring"), "0\n"),
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``hpc/`` made by hand: this is node 3 of 5; node 2 is dead."""
    hpc = tmp_path / "hpc"
    for folder, files in {
        "admin": ADMIN,
        "nodes/1": {**UP, "status": "127\n"},
        "nodes/2": {**DEAD, "status": "1\n"},
        "nodes/3": {**UP, "status": "3\n"},
        "nodes/4": {**DEAD, "status": "-101\n"},
    }.items():
        (hpc / folder).mkdir(parents=True)
        for name, content in files.items():
            (hpc / folder / name).write_text(content)
    (hpc / "admin/config").write_bytes(render_config(RECORDS))
    monkeypatch.setenv("OPENMOSIX_PROC", str(tmp_path))
    return hpc


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a tool in this process: exit code, stdout, stderr. What it did to SIGPIPE is undone."""

    def run(name: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [name, *words])
        code: int = importlib.import_module(f"emulator.tools.{name}").main()
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    before = signal.getsignal(signal.SIGPIPE)
    yield run
    signal.signal(signal.SIGPIPE, before)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    """One real node, up and not configured."""
    may_mount()
    one = Node(1, tmp_path)
    try:
        one.start()
        yield one
    finally:
        one.stop()
