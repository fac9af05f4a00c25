"""A cluster that is attached is what it is: a test that asks for another is skipped by that name."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from moslab.errors import UnsupportedError
from moslab.scenario import attached
from moslab.scenario.attached import Attached
from moslab.scenario.world import Spec


def check(monkeypatch: pytest.MonkeyPatch, **wanted: Any) -> None:
    """On three nodes in one network, without STOMITH."""
    endpoint = {"IPAMConfig": {"IPv4Address": "10.0.0.101"}}
    node = SimpleNamespace(name="node1", attrs={"NetworkSettings": {"Networks": {"one": endpoint}}})
    monkeypatch.setattr(attached, "read_file", lambda *_: b"beat = 0.5\n")
    one = Attached.__new__(Attached)
    one.cluster = cast("Any", SimpleNamespace(nodes=lambda: dict.fromkeys((1, 2, 3), node)))
    one._check(cast("Any", SimpleNamespace(spec=Spec(3))), wanted)


@pytest.mark.parametrize(("name", "has", "wants"), [
    ("nodes", 3, 5), ("stomith", False, True), ("toxiproxy", False, True), ("networks", 1, 2),
])
def test_what_it_has_not_is_named(monkeypatch: pytest.MonkeyPatch, name: str, has: object, wants: object) -> None:
    check(monkeypatch, **{name: has})
    with pytest.raises(UnsupportedError, match=f"have {name}={wants}: the cluster that is attached has {has}"):
        check(monkeypatch, **{name: wants})
