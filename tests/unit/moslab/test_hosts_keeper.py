"""What runs on a machine of an inventory, here without a machine: no agent, no packet filter."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from moslab import journals
from moslab.hosts import install, keeper
from moslab.hosts.keeper import Command, Keeper, Refused

LIMIT_S = 30.0


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keeper:
    monkeypatch.setattr(keeper, "HOME", str(tmp_path / "home"))
    monkeypatch.setattr(keeper, "RUNS", str(tmp_path / "run"))
    return Keeper("r1", "2")


def ended(command: Command) -> dict[str, object]:
    deadline_s = time.monotonic() + LIMIT_S
    while (result := command.result()) is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return result


def test_journals_of_this_boot_and_of_the_ones_before(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    kept.install(install.archive(), {"bin/tick": ("#!/bin/sh\n", 0o755)})
    assert os.access(f"{kept.home}/bin/tick", os.X_OK)
    assert os.path.exists(f"{kept.home}/lib/mosha/cli.py")
    monkeypatch.setattr(sys, "path", [*sys.path])
    for boot, pid in (("before", 7), (keeper.boot(), 8)):
        kept.journals = f"{kept.home}/journals/{boot}"
        kept.begin()
        os.makedirs(f"{kept.home}/san/web")                  # where the witness writes
        line = f"start {time.monotonic_ns()} 2 {pid} 9.1\n"
        Path(f"{kept.home}/san/web/2-{pid}-1.log").write_text(line)
    looks = {boot: journals.look_of(look) for boot, look in kept.looks(whole=True).items()}
    assert {boot: look.lives[0].pid for boot, look in looks.items()} == {"before": 7, keeper.boot(): 8}
    assert [*kept.looks(whole=False)] == [keeper.boot()]


def test_nothing_begins_where_all_was_removed(kept: Keeper) -> None:
    with pytest.raises(Refused, match="the laboratory was gone for too long"):
        kept.begin()


def test_the_laboratory_is_never_cut_off(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50000 10.0.0.2 22")
    monkeypatch.setattr(keeper, "nft", lambda text: "" if text == "rules" else "no rules")
    assert kept.cut("rules", ["10.0.0.1", "10.0.0.3"]) == {}
    with pytest.raises(Refused, match=r"10\.0\.0\.9 is where the laboratory speaks from"):
        kept.cut("rules", ["10.0.0.1", "10.0.0.9"])
    with pytest.raises(Refused, match="no rules"):
        kept.cut("others", ["10.0.0.1"])


def test_what_is_missing_has_a_name(kept: Keeper, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_args, **_more: None)
    said = kept.missing(str(tmp_path / "mfs"), str(tmp_path / "hpc"), [1, 2], cut=True)
    assert any("nft" in one for one in said)
    assert any(one.startswith(f"{tmp_path}/hpc: openMosix") for one in said)
    assert any(one.startswith(f"{tmp_path}/mfs/2: MFS mounted") for one in said)
    assert not any("nft" in one for one in kept.missing(str(tmp_path), str(tmp_path), [1, 2], cut=False))
    for part in ("mfs/2", "hpc/nodes/1", "hpc/nodes/2", "hpc/nodes/3"):
        (tmp_path / part).mkdir(parents=True)
    (said_now,) = [one for one in kept.missing(str(tmp_path / "mfs"), str(tmp_path / "hpc"), [1, 2], cut=False)
                   if "map" in one]
    assert said_now == "a map of just the inventory's nodes: it has [1, 2, 3]"


def test_silence_is_the_end(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is the end of the input."""
    monkeypatch.setattr(keeper, "SILENCE_S", 0.3)
    monkeypatch.setattr("signal.alarm", lambda _s: None)
    kept.input, ours = os.pipe()
    os.write(ours, b'{"do": "alive"}\n')
    began_s = time.monotonic()
    kept.keep()
    assert time.monotonic() - began_s >= 0.3
    monkeypatch.setattr(keeper, "SILENCE_S", LIMIT_S)
    os.close(ours)
    kept.keep()
    assert time.monotonic() - began_s < LIMIT_S
    os.close(kept.input)


def test_a_command_ends_in_time_or_is_killed() -> None:
    environment = {"PATH": keeper.PATH}
    assert ended(Command(1, ["sh", "-c", "echo a; echo b >&2; exit 3"], LIMIT_S, environment)) == {
        "code": 3, "out": "a\n", "err": "b\n",
    }
    with pytest.raises(Refused, match="did not end in time"):
        ended(Command(2, ["sleep", "60"], 0.1, environment))


def test_a_log_that_has_forgotten_its_beginning_says_so(kept: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "LOG_BYTES_MAX", 100)
    os.makedirs(f"{kept.home}/var")
    kept.said[-1] = b""
    told = []
    for _ in range(3):
        kept.hear_agent(-1, b"x" * 60 + b"\n" + b"y" * 60 + b"\n")
        told.append((kept.answer({"do": "read"}) or {})["is_whole"])
    assert told == [True, False, False]
