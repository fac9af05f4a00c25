from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from moslab import bench, cli, engine


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_arguments: object) -> None:
        pytest.fail("the engine was asked")

    monkeypatch.setattr(engine, "connect", forbidden)
    monkeypatch.setattr(engine, "ensure", forbidden)


@pytest.mark.parametrize("arguments", [
    ["up", "1"], ["up", "65"], ["up", "many"], ["--cluster", "Not A Name", "up", "3"],
    ["--cluster", "Not A Name", "down"], ["--cluster", "Not A Name", "status"],
    ["bench-up", "-n", "0"],
    ["bench-mfs", "-n", "0"],
    ["bench-idle", "--seconds", "0"],
])
def test_what_cannot_be_is_refused_before_the_engine_is_asked(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("moslab: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("arguments", [
    [], ["explode"], ["kill"], ["kill", "x"], ["kill", "0"], ["kill", "3", "--group", "kv"], ["start"], ["logs"],
    ["exec"],
])
def test_a_wrong_call_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2


def test_exec_needs_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["exec", "3", "--"]) == 2
    assert "which command" in capsys.readouterr().err


def test_the_cluster_is_named_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOSLAB_CLUSTER", "blue")
    assert cli._parser().parse_args(["status"]).cluster == "blue"
    assert cli._parser().parse_args(["--cluster", "red", "status"]).cluster == "red"
    monkeypatch.delenv("MOSLAB_CLUSTER")
    assert cli._parser().parse_args(["status"]).cluster == "mosha"


def test_bench_rows_are_medians_with_the_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    row = bench._row([9.0, 5.0, 7.0], [3.0, 2.0, 1.0])
    assert (row["ours"], row["peer"], row["ratio"], row["target"], row["n"]) == (7.0, 2.0, 3.5, 3.6, 3)
    monkeypatch.setattr(bench, "OUT", tmp_path / "out" / "bench")
    bench.write("up", [row])
    assert bench.conclude("up", [row]) == 1, "so CI tells a target that was missed, which it bears, from a failure"
    assert json.loads((tmp_path / "out/bench/up.json").read_text()) == [row]
    assert re.search(r"7.00 s +2.00 s +3.50 +3.60 s MISSED", capsys.readouterr().out)
    assert bench.conclude("up", [bench._row([3.6], [2.0])]) == 0


def test_a_row_without_a_peer_shows_none() -> None:
    row = {**bench._row([1.0], [1.0]), "peer": None, "ratio": None, "peer_name": None}
    assert bench.table([row]).count(" -") == 3


@pytest.mark.parametrize(
    ("name", "by_make", "call"),
    [
        ("mosha", False, "moslab kill --group kv"),
        ("two", False, "moslab --cluster two down"),
        ("mosha", True, "make kill GROUP=kv"),
        ("two", True, "make down CLUSTER=two"),
    ],
)
def test_what_to_type_next_is_about_this_cluster(name: str, by_make: bool, call: str) -> None:
    shown = cli._what_next(name, 1.0, by_make)
    assert f"  {call}  " in shown
    assert ("moslab" in shown) is not by_make


def test_a_ctrl_c_while_modules_are_loaded_is_no_traceback() -> None:
    code = (
        "import sys, importlib.abc\n"
        "class Finder(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'docker': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from moslab.entry import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "moslab: interrupted\n")


def test_a_reader_that_has_enough_is_no_error() -> None:
    code = (
        "import sys\nfrom moslab import cli\n"
        "cli._down = lambda _arguments: print('x\\n' * 500_000) or 0\n"
        "sys.exit(cli.main(['down']))\n"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -c \"$0\" | head -1", code],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "x\n", "")
