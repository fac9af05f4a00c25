"""``mosha voters``: what it asks of the agent, and what it says of the answer."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from mosha import status
from mosha.cli import main


class Agent:
    """Answers an order as soon as somebody looks at the page after it was given."""

    def __init__(self, var: Path, problem: str = "", chosen: tuple[int, ...] = (1, 2, 3)) -> None:
        self.var, self.problem, self.chosen = var, problem, chosen
        self.orders: list[dict[str, Any]] = []

    def page(self, *_: object) -> dict[str, Any]:
        answer = [self.orders[-1]["name"], self.problem] if self.orders and "name" in self.orders[-1] else []
        return {
            "node": 1, "era": "7-00000007", "quorum": True,
            "voters": [{"id": one, "state": "full", "era": "7-00000007"} for one in self.chosen],
            "electorate": {"number": 0, "voters": list(self.chosen), "before": [9], "answer": answer,
                           "settled": False},
        }

    def take(self, _: object) -> None:
        """Instead of waiting."""
        order = self.var / "order"
        if order.exists():
            self.orders.append(json.loads(order.read_text()))
            order.unlink()


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    (tmp_path / "mosha.conf").write_text(f"varpath = {tmp_path}\n")
    return str(tmp_path / "mosha.conf")


def run(agent: Agent, configuration: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(status, "read", agent.page)
    monkeypatch.setattr(time, "sleep", agent.take)
    return main(["--config", configuration, "voters", *arguments])


@pytest.mark.parametrize(("action", "node", "wanted"), [("add", "4", [1, 2, 3, 4]), ("remove", "2", [1, 3])])
def test_a_wish_is_for_a_whole_set(
    action: str, node: str, wanted: list[int], tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent = Agent(tmp_path)
    assert run(agent, configuration, monkeypatch, action, node) == 0
    assert [(order["do"], order["voters"]) for order in agent.orders] == [("elect", wanted)]
    shown = capsys.readouterr().out
    assert f"the voters will be {', '.join(map(str, wanted))};" in shown
    assert ("both needed" in shown) is (len(wanted) == 2)


@pytest.mark.parametrize(("action", "node", "said"), [("add", "3", "votes already"), ("remove", "4", "has no vote")])
def test_what_is_so_already_is_not_asked_for(
    action: str, node: str, said: str, tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent = Agent(tmp_path)
    assert run(agent, configuration, monkeypatch, action, node) == 0
    assert said in capsys.readouterr().out
    assert not agent.orders


def test_a_refusal_is_an_error(
    tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    agent = Agent(tmp_path, "not on the map: [4]")
    assert run(agent, configuration, monkeypatch, "add", "4") == 1
    assert "not on the map: [4]" in capsys.readouterr().err


def test_a_change_on_its_way_is_shown(
    tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(Agent(tmp_path), configuration, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "2 of 3 are needed" in shown
    assert "until then 9 count too" in shown
    assert run(Agent(tmp_path), configuration, monkeypatch, "--json") == 0
    assert json.loads(capsys.readouterr().out)["electorate"]["voters"] == [1, 2, 3]


def test_orders_that_need_no_answer(tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Agent(tmp_path)
    assert run(agent, configuration, monkeypatch, "found", "--without", "3") == 0
    assert run(agent, configuration, monkeypatch, "forget") == 0
    assert agent.orders == [{"do": "found", "without": [3]}, {"do": "forget"}]
