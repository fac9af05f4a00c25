"""mosctl against the genuine texts: of the 2004 tools over a tree made by hand, and seen running."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.tools.mosctl import REQUESTS, TOGGLES, TUNING, VERBS
from tests.unit.hpc.loopback import NETWORK, Node
from tests.unit.tools.conftest import Run

MAN_PAGE = """
    stay nostay lstay nolstay block noblock quiet noquiet nomfs mfs expel bring gettune getyard getdecay
    whois getload getspeed status isup getmem getfree getutil setyard setspeed setdecay
"""

GENUINE = [
    ("whois", 0, "This is openMosix #3\n", ""),
    ("whois 4", 0, "10.0.0.4\n", ""),
    ("whois 9", 0, "", "Node #9 is not configured\n"),
    ("whois 10.0.0.2", 0, "10.0.0.2 is openMosix #2\n", ""),
    ("whois 10.7.0.2", 0, "", "Node at 10.7.0.2 is not configured\n"),
    ("whois 10.9.9.9", 0, "", "Node at 10.9.9.9 is not configured\n"),  # an alias
    ("status", 0, "up.\n", ""),
    ("stat 3", 0, "up.\n", ""),
    ("status 1", 0, "up,stay,lstay,block,quiet,nomfs.\n", ""),
    ("status 2", 0, "down.\n", ""),
    ("status 4", 0, "", "Error: Network is unreachable\n"),
    ("status 9", 0, "", "Node #9 is not configured\n"),
    ("isup", 0, "yes\n", ""),
    ("isup some-word", 0, "yes\n", ""),
    ("isup 2", 0, "no\n", ""),
    ("isup 9", 0, "", "Node #9 is not configured\n"),
    ("getload", 0, "load=123\n", ""),
    ("getload 2", 0, "", "Error: Network is unreachable\n"),
    ("getload 9", 0, "", "Node #9 is not configured\n"),
    ("getspeed", 0, "speed=9876.\n", ""),
    ("speedof 1", 0, "speed=9876.\n", ""),
    ("getmem", 0, "free memory = 200000000 of 260000000\n", ""),
    ("memory 1", 0, "free memory = 200000000 of 260000000\n", ""),
    ("getfree", 0, "raw free memory = 150000000 of 260000000\n", ""),
    ("getrawmem 1", 0, "raw free memory = 150000000 of 260000000\n", ""),
    ("getutil", 0, "Utilizability = 100%\n", ""),
    ("getmem 2", 0, "", "Error: Network is unreachable\n"),
    ("getfree 2", 0, "", "Error: Network is unreachable\n"),
    ("getspeed 2", 0, "", "Error: Network is unreachable\n"),
    ("getutil 2", 0, "", "Error: Network is unreachable\n"),
    ("getyard", 0, "Yardstick speed currently set to 10000 (matching a PIII/1000 processor).\n", ""),
    ("setyard 9876", 0, "Yardstick speed set to 9876 (probably a PIII/1000 processor).\n", ""),
    ("setyard this", 0, "Yardstick speed set to 9876 (probably a PIII/1000 processor).\n", ""),
    ("setspeed 5000", 0, "", ""),
    ("setdecay 7 900 800", 0, "", ""),
    ("gettune", 0,
     "\n\033[1mOpenMosix Kernel Tuning Parameters (microseconds):\033[0m\n\n"
     + "".join(f"\t{label:<47} = {number}\n" for number, label in enumerate(TUNING)), ""),
    ("getdecay", 0,
     "Decaying statistics of active processes occurs every 5 seconds.\n"
     "Slow decay leaves 975/1000.\nFast decay leaves 926/1000.\n", ""),
    ("expel", 0, "All remote processes were expelled and no further remote processes accepted.\n", ""),
    ("bring", 0, "All local processes were brought back and will stay here.\n", ""),
    ("bogus", 1, "mosctl: No such option.\n", ""),
]  # fmt: skip

TOGGLED = {
    "stay": "Automatic load-balancing disabled: no processes will leave This node\n"
            "(except by an explicit request)\n",
    "nostay": "automatic load-balancing re-enabled.\n",
    "lstay": "No local processes will leave the node automatically.\n",
    "nolstay": "Local processes may now leave the node automatically.\n",
    "block": "Remote processes will not be allowed in here.\n",
    "noblock": "Remote processes now allowed in.\n",
    "quiet": "Load-balancing activity is now shut-down (for fine-timing measurements)\n",
    "noquiet": "Load balancing activity now resumed.\n",
    "nomfs": "MFS access to this node now disallowed.\n",
    "mfs": "MFS access to this node now allowed.\n",
}  # fmt: skip
ALREADY = {
    "stay": "Automatic load-balancing already disabled.\n",
    "nostay": "automatic load-balancing already enabled.\n",
    "lstay": "Local processes already not leaving the node automatically.\n",
    "nolstay": "Local processes already allowed to leave automatically.\n",
    "block": "Remote processes already not allowed here.\n",
    "noblock": "Remote processes already allowed in.\n",
    "quiet": "Load-balancing activity already shut-down.\n",
    "noquiet": "Load balancing already active.\n",
    "nomfs": "MFS access already disallowed to this node.\n",
    "mfs": "MFS access already enabled.\n",
}
PAIRS = [("stay", "nostay"), ("lstay", "nolstay"), ("block", "noblock"), ("quiet", "noquiet"), ("nomfs", "mfs")]


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize(("words", "code", "out", "err"), GENUINE)
def test_text_stream_and_exit_code_are_genuine(run: Run, words: str, code: int, out: str, err: str) -> None:
    assert run("mosctl", *words.split()) == (code, out, err)


def test_every_verb_of_the_man_page_is_there() -> None:
    assert set(MAN_PAGE.split()) <= VERBS.keys() | TOGGLES.keys() | REQUESTS.keys()


@pytest.mark.usefixtures("tree")
def test_no_verb_is_a_usage_error(run: Run) -> None:
    code, out, err = run("mosctl")
    assert (code, out) == (1, "")
    assert err.startswith("Usage: mosctl")


@pytest.mark.usefixtures("tree")
@pytest.mark.parametrize("words", ["setspeed", "setspeed x", "setdecay 1 2", "setdecay a b c", "setyard XT/4"])
def test_a_bad_number_is_exit_code_1(run: Run, words: str) -> None:
    code, out, err = run("mosctl", *words.split())
    assert (code, out) == (1, "")
    assert err


def test_gettune_that_cannot_be_read(run: Run, tree: Path) -> None:
    (tree / "admin/overheads").unlink()
    assert run("mosctl", "gettune") == (1, "", "Getting tune values: No such file or directory\n")
    assert TUNING[0] == "Home-node overhead in processing a demand-page"


@pytest.mark.usefixtures("tree")
def test_an_unknown_host_is_exit_code_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: str) -> str:
        raise OSError(host)

    monkeypatch.setattr("socket.gethostbyname", unknown)
    assert run("mosctl", "whois", "nohost") == (1, "", "nohost: No Such Host-Name\n")
    monkeypatch.setattr("socket.gethostbyname", lambda host: "10.0.0.2")
    assert run("mosctl", "whois", "node2") == (0, "node2 is openMosix #2\n", "")


@pytest.mark.parametrize("words", [[], ["whois"], ["bogus"]])
def test_without_openmosix(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str]
) -> None:
    monkeypatch.setenv("OPENMOSIX_PROC", str(tmp_path))
    assert run("mosctl", *words) == (1, "", "This is NOT a OpenMosix system!\n")


def test_off(run: Run, tree: Path) -> None:
    (tree / "admin/mospe").write_text("0\n")
    assert run("mosctl", "whois") == (0, "This is openMosix #0\n", "")
    assert run("mosctl", "status") == run("mosctl", "isup") == (0, "", "Error: Success\n")


@pytest.mark.usefixtures("tree")
def test_the_wording_of_older_tools(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENMOSIX_NAME", "MOSIX")
    assert run("mosctl", "whois") == (0, "This is MOSIX #3\n", "")
    assert run("mosctl", "whois", "10.0.0.2") == (0, "10.0.0.2 is MOSIX #2\n", "")


def test_half_off(run: Run, tree: Path) -> None:
    """Seen while ``setpe -off`` hung: the number is there, the nodes are gone."""
    (tree / "nodes/3/status").unlink()
    assert run("mosctl", "status") == (0, "", "Node #(null) is not configured\n")
    (tree / "admin/mospe").unlink()
    assert run("mosctl", "whois") == (0, "", "Node at (null) is not configured\n")


@pytest.mark.parametrize(("on", "off"), PAIRS)
def test_toggles(node: Node, run: Run, monkeypatch: pytest.MonkeyPatch, on: str, off: str) -> None:
    monkeypatch.setenv("OPENMOSIX_PROC", str(node.proc))
    dashed = "-" + on if on != "nomfs" else "-nomfs"
    assert run("mosctl", off) == (0, ALREADY[off], "")
    assert run("mosctl", on) == (0, TOGGLED[on], "")
    assert run("mosctl", on) == (0, ALREADY[on], "")
    assert run("mosctl", dashed) == (0, TOGGLED[off], "")
    assert run("mosctl", off) == (0, ALREADY[off], "")


def test_a_user_is_told_of_a_success_that_was_none(node: Node) -> None:
    assert node.tool_as_user("mosctl", "stay") == (0, TOGGLED["stay"], "")
    assert node.read("admin/stay") == "0\n"


def test_on_the_real_tree(node: Node) -> None:
    assert node.tool("mosctl", "whois") == (0, "This is openMosix #0\n", "")
    assert node.tool("mosctl", "status") == (0, "", "Error: Success\n")
    assert node.tool("mosctl", "whois", "1") == (0, "", "Node #1 is not configured\n")
    node.configure(f"1 {NETWORK}.1 2\n")
    assert node.tool("mosctl", "whois") == (0, "This is openMosix #1\n", "")
    assert node.tool("mosctl", "status", "2") == (0, "down.\n", "")
    assert node.tool("mosctl", "getload", "2") == (0, "", "Error: Network is unreachable\n")
    assert node.tool("mosctl", "whois", "2") == (0, f"{NETWORK}.2\n", "")
    assert node.tool("mosctl", "status", "4") == (0, "", "Node #4 is not configured\n")
    assert node.tool("mosctl", "getyard") == (
        0, "Yardstick speed currently set to 15000 (matching a PIV/1500 processor).\n", "",
    )  # fmt: skip
    assert node.tool("mosctl", "setspeed", "4711") == (0, "", "")
    assert node.tool("mosctl", "getspeed") == (0, "speed=4711.\n", "")
    assert node.tool("mosctl", "setdecay", "5", "970", "920") == (0, "", "")
    assert node.tool("mosctl", "getdecay")[1].startswith("Decaying statistics of active processes occurs every 5")
    assert node.tool("mosctl", "expel")[0] == node.tool("mosctl", "bring")[0] == 0
    assert node.tool("mosctl", "status") == (0, "up,lstay,block.\n", "")


@pytest.mark.parametrize("tool", ["mosctl", "migrate", "mosrun", "mps", "setpe", "showmap"])
def test_it_starts_with_little(tool: str) -> None:
    """These are started often: nothing that costs milliseconds is imported."""
    code = f"import sys; import emulator.tools.{tool}; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert not {"argparse", "logging", "socket", "subprocess", "curses"} & set(done.stdout.split())
    if tool in ("mosctl", "migrate"):
        assert not {"re", "typing"} & set(done.stdout.split())
