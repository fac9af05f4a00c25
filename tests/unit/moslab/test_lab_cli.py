from __future__ import annotations

import json
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


def test_bench_rows_are_medians_with_the_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = bench._row([9.0, 5.0, 7.0], [3.0, 2.0, 1.0])
    assert (row["ours"], row["peer"], row["ratio"], row["target"], row["n"]) == (7.0, 2.0, 3.5, 8.0, 3)
    monkeypatch.setattr(bench, "OUT", tmp_path / "out" / "bench")
    bench.write("up", [row])
    assert json.loads((tmp_path / "out/bench/up.json").read_text()) == [row]
    assert "7.00 s" in bench.table([row])


def test_a_row_without_a_peer_shows_none() -> None:
    row = {**bench._row([1.0], [1.0]), "peer": None, "ratio": None, "peer_name": None}
    assert bench.table([row]).count(" -") == 3
