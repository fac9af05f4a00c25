"""What the commands make of words that are wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mosha import cli
from mosha.clinit import cli as clinit
from mosha.resources import ip
from moslab import cli as moslab


@pytest.mark.parametrize(("main", "words"), [
    (cli.main, ["--conf=x", "status"]), (cli.main, ["status", "--js"]), (cli.main, ["voters", "found", "--conf"]),
    (cli.main, ["ip", "192.0.2.1/24", "--val", "9"]), (ip.main, ["192.0.2.1/24", "--de", "lo"]),
    (clinit.main, ["--vers"]), (moslab.main, ["status", "--js"]), (moslab.main, ["--clus=x", "status"]),
])
def test_an_option_is_known_by_its_whole_name_only(
    main: object, words: list[str], capsys: pytest.CaptureFixture[str],
) -> None:
    assert callable(main)
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "unrecognized arguments: --" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "said"), [
    (["maintenance"], "the following arguments are required: on|off"),
    (["maintenance", "of"], "argument on|off: invalid choice: 'of'"),
    (["history", "-n", "-3"], "'-3' is no count: 1 to"), (["history", "-n", "0"], "'0' is no count: 1 to"),
    (["stomith", "history", "--lines", "x"], "'x' is no count: 1 to"),
    (["voters", "add", "x"], "'x' is no number of a node: 1 to"),
    (["voters", "remove", "-1"], "'-1' is no number of a node: 1 to"),
    (["drain", "70000"], "'70000' is no number of a node: 1 to"),
])
def test_what_is_wrong_with_a_word_is_said(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_output_that_nobody_can_take_is_said_in_plain_words(tmp_path: Path) -> None:
    (tmp_path / "clstat").write_text("Cluster::Init::Group kv start DONE\n")
    (tmp_path / "cltab").write_text(f":::socket:{tmp_path}/s\n:::clstat:{tmp_path}/clstat\nkv:k:start:once:x\n")
    table = f"{tmp_path}/cltab"
    for words, who in ((["check", table], "mosha"), (["clinit", "-c", table, "-v"], "clinit")):
        with open("/dev/full", "w") as full:
            ended = subprocess.run([sys.executable, "-m", "mosha", *words], stdout=full, stderr=subprocess.PIPE,
                                   text=True, timeout=60, check=False, env={**os.environ, "PYTHONUNBUFFERED": ""})
        assert ended.returncode == 1
        assert ended.stderr.splitlines()[-1] == f"{who}: standard output: No space left on device"
