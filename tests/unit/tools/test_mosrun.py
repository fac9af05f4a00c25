"""mosrun, its short forms, and migrate."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emulator.hpc.tasks import DECAY
from emulator.tools.mosrun import Job, UsageError, one_of, words_of
from tests.unit.hpc.loopback import NETWORK, Node
from tests.unit.tools.conftest import Run

USAGE = "Usage: mosrun "


@pytest.fixture
def home(node: Node) -> Node:
    node.configure(f"1 {NETWORK}.1 2\n")
    return node


def show(node: Node, *files: str) -> list[str]:
    """A command that shows these files of its own process."""
    return ["cat", *(str(node.proc / "self" / file) for file in files)]


def decay(node: Node) -> list[str]:
    return ["cat", *(str(node.path(f"decay/{name}")) for name in DECAY)]


@pytest.mark.parametrize(
    ("options", "lock"),
    [
        ("", 1), ("-h", 1), ("-1", 1), ("-j1", 1), ("-c", None), ("-l", 0), ("-L", 1), ("-k", None), ("-h -l", 0),
        ("-h -k", None), ("-s -h", 1), ("-f -L", 1), ("-t 5 -d 900", None),
    ],
)  # fmt: skip
def test_where_a_place_is_given_or_no_decay_it_is_locked(options: str, lock: int | None) -> None:
    assert Job([*options.split(), "true"]).lock == lock


@pytest.mark.parametrize(
    "words", ["", "-h", "-x true", "-j true", "-j1-x true", "-t true", "-d x true", "-z true", "-123456 true", "- true"]
)
def test_words_that_are_no_command_line(words: str) -> None:
    with pytest.raises(UsageError):
        Job(words.split())


def test_a_list_gives_one_of_its_nodes() -> None:
    assert {one_of("3-5,9") for _ in range(400)} == {3, 4, 5, 9}
    assert one_of("7") == 7


def test_the_command_is_this_process_locked_at_home(home: Node) -> None:
    assert home.tool("mosrun", "-h", *show(home, "lock", "where")) == (0, "1\n0\n", "")
    assert home.tool("mosrun", "-l", *show(home, "lock")) == (0, "0\n", "")
    assert home.tool("mosrun", "sh", "-c", "exit 7") == (7, "", "")
    assert home.tool("mosrun", "sh", "-c", "kill -KILL $$")[0] == -9


def test_its_children_are_locked_too(home: Node) -> None:
    lock = home.proc / "self/lock"
    assert home.tool("mosrun", "-h", "sh", "-c", f"cat {lock}; cat {lock}") == (0, "1\n1\n", "")


def test_the_own_node_is_home(home: Node) -> None:
    for place in ("-1", "-j1", "-j1-1,1"):
        assert home.tool("mosrun", place, *show(home, "where")) == (0, "0\n", "")


def test_kinds_of_decay(home: Node) -> None:
    flags = {"-c": "1 0 1 0 0 0 0 0", "-i": "0 1 1 0 0 0 0 0", "-f": "0 0 0 1 0 0 0 0", "-n": "0 0 0 0 1 0 0 0",
             "-e": "0 0 1 0 0 0 1 0", "-E": "0 0 1 0 0 0 0 1", "-r": "0 0 1 0 0 1 0 0"}  # fmt: skip
    for option, expected in flags.items():
        assert home.tool("mosrun", option, *decay(home)) == (0, expected.replace(" ", "\n") + "\n", ""), option


def test_argv_0(home: Node) -> None:
    assert home.tool("mosrun", "-z", "sh", "called", "-c", "echo $0") == (0, "called\n", "")


def test_no_such_command(home: Node) -> None:
    assert home.tool("mosrun", "no-such-command") == (1, "", "no-such-command: No such file or directory\n")


def test_usage(home: Node) -> None:
    code, out, err = home.tool("mosrun")
    assert (code, out) == (1, "")
    assert err.startswith(USAGE)


def test_short_forms() -> None:
    assert words_of("runon", ["3", "true"]) == ["-3", "true"]
    assert words_of("runhome", ["true"]) == ["-h", "true"]
    assert words_of("nomig", ["true"]) == ["-L", "true"]
    assert words_of("cpujob", ["-2", "true"]) == ["-c", "-2", "true"]
    assert words_of("mosrun", ["-2", "true"]) == ["-2", "true"]
    with pytest.raises(UsageError):
        words_of("runon", ["true"])


def test_a_short_form_is_known_by_its_name(home: Node) -> None:
    code = "import sys; from emulator.tools.mosrun import main; sys.argv[:1] = ['/usr/bin/slowdecay']; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "-h", *show(home, "lock")],
        env=home.environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


def test_signals_are_as_they_were(home: Node) -> None:
    """Python ignores SIGPIPE, and who becomes another program hands that on."""
    assert home.tool("mosrun", "sh", "-c", "kill -PIPE $$; echo still here")[:2] == (-13, "")


def test_a_user_is_told_that_the_process_is_not_locked(node: Node) -> None:
    node.configure(f"1 {NETWORK}.1 2\n")
    told = "mosrun: not locked: Permission denied\n"
    assert node.tool_as_user("mosrun", "-h", *show(node, "lock")) == (0, "0\n", told)


def test_without_openmosix(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "emulator.tools.mosrun", "true"],
        env={**os.environ, "OPENMOSIX_PROC": str(tmp_path)}, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "This is NOT a OpenMosix system!\n")


def test_a_daemon_that_hangs_up(home: Node) -> None:
    """While it is told what is to be run: that is more than a socket holds."""

    def hang_up() -> None:
        sock, _ = listening.accept()
        sock.close()

    with socket.socket(socket.AF_UNIX) as listening, ThreadPoolExecutor() as pool:
        listening.bind(str(home.folder / "hangs-up"))
        listening.listen()
        listening.settimeout(30)
        hung_up = pool.submit(hang_up)
        done = subprocess.run(
            [sys.executable, "-m", "emulator.tools.mosrun", "-2", "true", *["x" * 100_000] * 9],
            env={
                **home.environment, "OPENMOSIX_DEPUTIES": str(home.folder / "hangs-up"),
                "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            },
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        hung_up.result(30)
    assert (done.returncode, done.stderr) == (1, "Migration Failed: Network is unreachable\n")


def test_what_is_no_number(run: Run, tree: Path) -> None:
    assert run("migrate", "1", "²")[0] == 1
    assert run("migrate", "²", "1")[0] == 1
    assert run("mosctl", "whois", "9" * 5000)[0] == 1


def test_migrate(home: Node) -> None:
    own = str(os.getpid())
    for place in ("home", "balance", "0", "1"):
        assert home.tool("migrate", own, place) == (0, "", "")
    assert home.tool("migrate", "4194305", "home") == (0, "", "")
    assert home.tool("migrate", own, "9") == (1, "", "migrate: No such device\n")
    for words in ([], [own], [own, "x"], ["x", "home"], [own, "home", "1"]):
        code, out, err = home.tool("migrate", *words)
        assert (code, out) == (1, "")
        assert err == "Usage: migrate pid {openMosix_ID|home|balance}\n"


def test_migrate_writes_the_genuine_bytes(tmp_path: Path) -> None:
    goto = tmp_path / "42/goto"
    goto.parent.mkdir()
    for place, written in (("7", "7\n"), ("home", "0\n"), ("balance", "-1\n")):
        goto.write_text("")
        subprocess.run(
            [sys.executable, "-m", "emulator.tools.migrate", "42", place],
            env={**os.environ, "OPENMOSIX_PROC": str(tmp_path)}, timeout=30, check=True,
        )  # fmt: skip
        assert goto.read_text() == written
