"""setpe and showmap against the genuine texts."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from emulator.table import Record, render_config
from tests.unit.hpc.loopback import NETWORK, Node
from tests.unit.tools.conftest import RECORDS, Run

MAP = "1 10.0.0.1 4\n7 10.0.0.77 1\n3 10.9.9.9 ALIAS\n"


@pytest.fixture(autouse=True)
def own_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host is 10.0.0.3, and knows no other host."""

    def resolve(host: str) -> str:
        if host == os.uname().nodename:
            return "10.0.0.3"
        raise OSError(f"unknown {host}")

    monkeypatch.setattr("socket.gethostbyname", resolve)


@pytest.fixture
def off(tree: Path) -> Path:
    (tree / "admin/mospe").write_bytes(b"0")
    (tree / "admin/config").write_bytes(b"")
    return tree


def feed(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_success_is_silent_and_writes_the_genuine_bytes(run: Run, off: Path, tmp_path: Path) -> None:
    (tmp_path / "map").write_text(MAP)
    assert run("setpe", "-w", "-f", str(tmp_path / "map")) == (0, "", "")
    assert (off / "admin/config").read_bytes() == render_config(RECORDS)
    assert (off / "admin/mospe").read_bytes() == b"3\0"


def test_the_table_comes_from_standard_input(run: Run, off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, MAP)
    assert run("setpe", "-W", "-p", "7", "-g", "2", "-n", "inet", "-f", "-") == (0, "", "")
    assert (off / "admin/mospe").read_bytes() == b"7\0"
    assert (off / "admin/gateways").read_text() == "2\n"


def test_only_a_check_changes_nothing(run: Run, off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, MAP)
    assert run("setpe", "-w", "-c") == (0, "", "")
    assert (off / "admin/mospe").read_bytes() == b"0"
    feed(monkeypatch, "1 10.0.0.1 2\n")
    assert run("setpe", "-w", "-c") == (102, "", "setpe: the table is ok, but I'm not there!\n")


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ("1 10.0.0.1\n", "Bad Table Input: <1 10.0.0.1>"),
        ("", "setpe: the table is empty."),
        ("1 10.0.0.1 3\n2 10.0.0.8 1\n", "setpe: Table contains conflicting OpenMosix addresses!"),
        ("1 10.0.0.1 3\n8 10.0.0.2 1\n", "setpe: Table contains conflicting IP addresses!"),
        ("70003 10.0.0.1 1\n", "setpe: Table contains node-#70003 (max=65534)!"),
        ("1 nohost 1\n", "nohost: Unknown host"),
        ("1 10.0.0.1 2\n",
         "setpe: the supplied table is well-formatted,\nbut my IP address (10.0.0.3) is not there!"),
        ("1 10.0.0.3 1\n",
         "setpe: The proposed change will modify the current node's mapping,\n"
         "requiring a full OpenMosix restart, including bringing all processes back home:\n"
         "If you are sure about the change, use 'setpe -W' (instead of 'setpe -w')."),
    ],
)  # fmt: skip
def test_errors_are_genuine_and_change_nothing(
    run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch, table: str, text: str
) -> None:
    feed(monkeypatch, table)
    assert run("setpe", "-w") == (102, "", text + "\n")
    assert (tree / "admin/mospe").read_text() == "3"
    assert (tree / "admin/config").read_bytes() == render_config(RECORDS)


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("words", ["", "-w -r", "-x", "-w -g 3", "-w -n inet6", "-w rest", "-off -w"])
def test_bad_words_are_a_usage_error(run: Run, words: str) -> None:
    code, out, err = run("setpe", *words.split())
    assert (code, out) == (102, "")
    assert err.startswith("Usage: setpe")


@pytest.mark.usefixtures("tree")
def test_a_map_that_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    missing = str(tmp_path / "none")
    assert run("setpe", "-w", "-f", missing) == (102, "", f"setpe: {missing}: No such file or directory\n")


def test_reading_the_configuration(run: Run, tree: Path, tmp_path: Path) -> None:
    (tree / "admin/config").write_bytes(
        render_config([Record(1, "10.0.0.1", 4), Record(3, "10.9.9.9", 0)])
    )
    text = (
        "This is OpenMosix node #3\nNetwork protocol: 2 (AF_INET)\n"
        "OpenMosix range     1-4     begins at 10.0.0.1\nNode 3 has an alias: 10.9.9.9\n"
        "Total configured: 4; 1 alias\n"
    )
    assert run("setpe", "-r") == (0, text, "")
    assert run("setpe", "-r", "-f", str(tmp_path / "out")) == (0, "", "")
    assert (tmp_path / "out").read_text() == text


@pytest.mark.usefixtures("off")
def test_reading_when_off(run: Run) -> None:
    assert run("setpe", "-r") == (3, "OpenMosix is currently disabled\n", "")


def test_switching_off(run: Run, tree: Path) -> None:
    assert run("setpe", "-off") == (0, "", "")
    assert (tree / "admin/mospe").read_bytes().rstrip(b"\0") == b"0"


def test_showmap(run: Run, tree: Path) -> None:
    assert run("showmap") == (
        0,
        "My Node-Id: 0x0003\n\n"
        "Base Node-Id Address          Count\n"
        "------------ ---------------- -----\n"
        "0x0001       10.0.0.1         4\n"
        "0x0007       10.0.0.77        1\n"
        "0x0003       10.9.9.9         alias\n",
        "",
    )


@pytest.mark.usefixtures("off")
def test_showmap_of_an_empty_table(run: Run) -> None:
    code, out, _err = run("showmap")
    assert (code, out) == (5, "My Node-Id: 0x0000\n\n")


def test_without_openmosix(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENMOSIX_PROC", str(tmp_path))
    for words in (["-w"], ["-r"], ["-off"]):
        assert run("setpe", *words) == (102, "", "Error: this is not OpenMosix!\n")
    assert run("showmap") == (2, "", f"Unable to open {tmp_path}/hpc/admin/mospe\n")


def test_on_the_real_tree(node: Node) -> None:
    off = f"Unable to read {node.proc}/hpc/admin/config\n"
    assert node.tool("showmap") == (6, "My Node-Id: 0x0000\n\n", off)
    assert node.tool("setpe", "-r") == (3, "OpenMosix is currently disabled\n", "")
    node.configure(f"1 {NETWORK}.1 3\n")
    assert node.tool("showmap")[1].splitlines()[-1] == f"0x0001       {NETWORK + '.1':<16} 3"
    assert node.tool("setpe", "-r")[1].splitlines()[-1] == "Total configured: 3"
    code, _, err = node.tool("setpe", "-w", "-p", "2", text=f"1 {NETWORK}.1 3\n")
    assert (code, err.splitlines()[0]) == (
        102, "setpe: The proposed change will modify the current node's mapping,",
    )  # fmt: skip
    assert node.tool("setpe", "-W", "-p", "1", text=f"1 {NETWORK}.1 2\n") == (0, "", "")
    log = node.log.read_text().splitlines()
    assert log[2:] == [
        "openMosix configuration disabled",
        "openMosix configuration changed: This is openMosix #1 (of 2 configured)",
        f"openMosix range: 1-2 begins at {NETWORK}.1",
    ]
    assert node.tool("setpe", "-off") == (0, "", "")
    assert node.read("admin/mospe") == "0\n"
