"""The command ``clinit``."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mosha.clinit import cli, places
from mosha.clinit.daemon import ALL_HALTING, STARTED
from tests.unit.clinit.leashed import lives, wait_until
from tests.unit.clinit.standalone import Standalone

HOST = socket.gethostname().partition(".")[0]
WEB = "web:w:start:respawn:sleep 600\n"


class Command:
    def __init__(self, alone: Standalone, capsys: pytest.CaptureFixture[str]) -> None:
        self._alone, self._capsys = alone, capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        code = cli.main(["-c", str(self._alone.cltab), *arguments])
        said = self._capsys.readouterr()
        return code, said.out, said.err


@pytest.fixture
def clinit(alone: Standalone, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(alone, capsys)


def test_all_that_an_operator_does(alone: Standalone, clinit: Command) -> None:
    alone.start(f"{WEB}{HOST}:h:3:respawn:sleep 601\n")
    assert clinit("web", "start") == (0, f"{STARTED}\n", "")
    assert clinit("3") == (0, f"{STARTED}\n", ""), "the group is that of the host"
    alone.until("web", "start DONE")
    alone.until(HOST, "3 DONE")
    lines = sorted([f"{HOST} 3 DONE", "web start DONE"])
    assert clinit("-v") == (0, "".join(f"{line}\n" for line in lines), "")
    assert clinit("-v", "web") == (0, "web start DONE\n", "")
    assert clinit("-v", "web", "3") == (0, "", "")
    assert clinit() == (0, "2 groups, 0 told what is new\n", "")
    assert clinit("nobody", "start") == (1, "", f"no such group: nobody; there are: web, {HOST}\n")
    assert clinit("web", "a/b")[0] == 1
    assert clinit("-k") == (0, f"{ALL_HALTING}\n", "")
    assert alone.wait() == 0


@pytest.mark.parametrize("group", ["node1.example.org", "node1"])
def test_the_group_of_a_host_with_a_domain_is_named_with_it_or_without(
    group: str, alone: Standalone, clinit: Command, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "node1.example.org")
    alone.start(f"{group}:h:3:respawn:sleep 601\n")
    assert clinit("3") == (0, f"{STARTED}\n", "")
    alone.until(group, "3 DONE")


def test_without_a_daemon(alone: Standalone, clinit: Command) -> None:
    alone.write(WEB)
    for arguments in (["web", "start"], ["-k"], ["-v"], []):
        code, out, err = clinit(*arguments)
        assert (code, out) == (1, "")
        assert err.startswith("clinit: clinit does not run")


def test_a_typing_error_is_no_word_for_the_usual_daemon(
    alone: Standalone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    alone.start(WEB)
    monkeypatch.setattr(places, "DEFAULT_SOCKET", str(alone.socket))
    assert cli.main(["-c", str(alone.directory / "clatb"), "-k"]) == 1
    assert "No such file or directory" in capsys.readouterr().err
    assert alone.tell("web", "start") == STARTED


@pytest.mark.parametrize(("setting", "file", "both"), [
    ("clstat", "cltab", "cltab and clstat"), ("log", "link", "cltab and log"), ("clstat", "s", "socket and clstat"),
])
def test_two_files_in_one_are_refused_and_left_alone(
    setting: str, file: str, both: str, alone: Standalone, capsys: pytest.CaptureFixture[str],
) -> None:
    (alone.directory / "link").symlink_to(alone.cltab)
    text = f":::{setting}:{alone.directory / file}\n{WEB}"
    alone.cltab.write_text(text)
    said = f"clinit: {alone.cltab}: {both} are one file, {alone.directory / file}\n"
    alone.spawn("-s", str(alone.socket), stderr=subprocess.PIPE)
    assert alone.wait() == 1
    assert alone.process is not None
    assert alone.process.communicate()[1].decode() == said
    assert cli.main(["-c", str(alone.cltab), "-s", str(alone.socket), "web", "start"]) == 1
    assert capsys.readouterr().err == said
    assert alone.cltab.read_text() == text
    assert not alone.socket.exists()


def test_what_a_dead_daemon_wrote_is_shown_as_that(alone: Standalone, clinit: Command) -> None:
    alone.start(WEB)
    alone.run("web", "start")
    assert alone.process is not None
    alone.process.kill()
    alone.wait()
    code, out, err = clinit("-v")
    assert (code, out) == (1, "web start DONE\n")
    assert "this is what it wrote last" in err


def test_help_and_wrong_usage(clinit: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        clinit("-h")
    assert ended.value.code == 0
    assert "clinit [-c FILE] [-s SOCKET] [-d | -k | -v] [[GROUP] LEVEL]" in capsys.readouterr().out
    for wrong in (["a", "b", "c"], ["-k", "web"], ["-d", "-k"], ["-x"]):
        with pytest.raises(SystemExit) as ended:
            clinit(*wrong)
        assert ended.value.code == 2


def test_a_second_daemon_is_refused(alone: Standalone) -> None:
    alone.start(WEB)
    alone.run("web", "start")
    second = subprocess.run([sys.executable, "-m", "mosha.clinit", "-d", "-c", alone.cltab], capture_output=True,
                            text=True, timeout=60, check=False)
    assert second.returncode == 1
    assert second.stderr.startswith("clinit: another clinit runs on this node")
    assert lives(alone.pid("web", "w"))
    assert alone.client.runs()


def test_the_socket_can_be_named(alone: Standalone, tmp_path: Path) -> None:
    """Where cltab does not say it."""
    alone.cltab.write_text(f":::clstat:{alone.clstat}\n{WEB}")
    alone.socket = tmp_path / "other"
    alone.spawn("-s", str(alone.socket), stderr=subprocess.DEVNULL)
    wait_until(alone.client.runs)
    assert cli.main(["-c", str(alone.cltab), "-s", str(alone.socket), "web", "start"]) == 0
    assert lives(alone.pid("web", "w"))


def test_mosha_has_it_too(alone: Standalone) -> None:
    """For those who have mosha.pyz only."""
    alone.start(WEB)
    done = subprocess.run([sys.executable, "-m", "mosha", "clinit", "-c", alone.cltab, "web", "start"],
                          capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, f"{STARTED}\n")
