"""What the agent's worker does when a node shall be shot."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mosha import config
from mosha.platform.openmosix import OpenMosix
from tests.unit.stomith.devices import Strip


def shoot(root: Path, strip: Strip, node: int) -> str:
    settings = config.parse(f"root={root}\nstomith = {strip.agent}\nstomith_retries = 0\nstomith_timeout = 3\n")
    settings.var.mkdir(parents=True, exist_ok=True)
    return str(OpenMosix(settings).by_name()["shoot"](node))


def test_a_shot_is_answered_when_the_node_is_off(tmp_path: Path) -> None:
    strip = Strip(tmp_path / "strip", 3)
    assert shoot(tmp_path, strip, 3) == "level 1 fence_strip: off 3: ok"
    assert not strip.is_on(3)
    lines = (tmp_path / "var/mosix-ha/stomith.log").read_text().splitlines()
    assert [(line["by"], line["action"]) for line in map(json.loads, lines)] == [("agent", "off"), ("agent", "status")]


@pytest.mark.parametrize("how", ["fail-off", "hang-off", "deaf", "lies", "fail-status"])
def test_anything_else_is_an_error(tmp_path: Path, how: str) -> None:
    strip = Strip(tmp_path / "strip", 3)
    strip.set(how, "1")
    with pytest.raises(OSError, match="level 1 fence_strip: off 3: failed"):
        shoot(tmp_path, strip, 3)
