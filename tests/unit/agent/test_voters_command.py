"""``mosha voters``: what it asks of the agent, and what it says of the answer."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mosha import status
from mosha.cli import main
from mosha.lives import Life
from mosha.ownership import marker
from mosha.ownership.electorate import first
from mosha.ownership.marker import FULL, NONE, RECOVERING, REJOINING, Marker
from mosha.ownership.voter import FOUNDED
from mosha.platform import linux
from mosha.platform.openmosix import STATUS_UP
from mosha.timing import ELECT_LIMIT_S
from mosha.voters import new_era


class Agent:
    """Takes an order as soon as somebody waits, and answers it on its page; unless it is ``deaf``, ``mute`` or dies."""

    def __init__(self, var: Path, problem: str = "", chosen: tuple[int, ...] = (1, 2, 3), trouble: str = "") -> None:
        self.var, self.problem, self.chosen, self.trouble = var, problem, chosen, trouble
        self.orders: list[dict[str, Any]] = []
        self.now = 100.0
        self.next_at: float | None = None            # on the clock of this boot

    def page(self, *_: object) -> dict[str, Any]:
        if self.trouble == "dies" and self.now > 100.0:
            raise status.NotRunning("the agent on this node does not run")
        answer = [self.orders[-1]["name"], self.problem] if self.orders and self.trouble != "mute" else []
        return {
            "node": 1, "era": "7-00000007", "quorum": True, "beat": 0.5,
            "voters": [{"id": one, "state": "full", "era": "7-00000007"} for one in self.chosen],
            "electorate": {"number": 0, "voters": list(self.chosen), "before": [9], "answer": answer,
                           "settled": False, "next_at": self.next_at},
        }

    def take(self, seconds: float) -> None:
        """Instead of waiting."""
        self.now += seconds
        order = self.var / "order"
        if order.exists() and self.trouble in ("", "mute"):
            self.orders.append(json.loads(order.read_text()))
            order.unlink()


@pytest.fixture
def configuration(tmp_path: Path) -> str:
    (tmp_path / "mosha.conf").write_text(f"varpath = {tmp_path}\nrundir = {tmp_path}/run\n")
    return str(tmp_path / "mosha.conf")


def run(agent: Agent, configuration: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(status, "read", agent.page)
    monkeypatch.setattr(time, "sleep", agent.take)
    monkeypatch.setattr(time, "monotonic", lambda: agent.now)
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


@pytest.mark.parametrize(("stomith", "said"), [
    ("", "two voters are both needed: the death of either stops every group\n"),
    ("stomith = off\n", "of two voters one goes on when it has shot the other; after both were off both are needed\n"),
])
def test_what_two_voters_cannot_survive_is_said_as_it_is_with_stomith_and_without(
    stomith: str, said: str, tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open(configuration, "a", encoding="utf-8") as file:
        file.write(stomith)
    for chosen, arguments in (((1, 2, 3), ["remove", "2"]), ((1, 3), [])):
        assert run(Agent(tmp_path, chosen=chosen), configuration, monkeypatch, *arguments) == 0
        assert said in capsys.readouterr().out
    assert run(Agent(tmp_path), configuration, monkeypatch) == 0
    assert said not in capsys.readouterr().out


def test_a_wish_is_waited_for_as_long_as_the_agent_keeps_it(
    tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Slow(Agent):
        def take(self, seconds: float) -> None:
            self.trouble = "mute" if self.now < 100.0 + ELECT_LIMIT_S else ""
            super().take(seconds)

    agent = Slow(tmp_path)
    assert run(agent, configuration, monkeypatch, "add", "4") == 0
    assert agent.now >= 100.0 + ELECT_LIMIT_S


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


@pytest.mark.parametrize(("left_s", "wait_s", "said"), [
    (None, None, "no other change of the voters until that is settled\n"),
    (3.5, 4, "no other change of the voters for another 4 s\n"), (-1.0, 0, ""),
])
def test_how_long_no_other_change_can_begin_is_shown(
    left_s: float | None, wait_s: int | None, said: str, tmp_path: Path, configuration: str,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(linux, "boottime", lambda: 1000.0)
    agent = Agent(tmp_path)
    agent.next_at = None if left_s is None else 1000.0 + left_s
    assert run(agent, configuration, monkeypatch) == 0
    assert capsys.readouterr().out.partition("count too\n")[2] == said
    assert run(agent, configuration, monkeypatch, "--json") == 0
    shown = json.loads(capsys.readouterr().out)["electorate"]
    assert (shown["wait_s"], "next_at" in shown) == (wait_s, False)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[None]:
    """The lock of an agent that runs."""
    life = Life(str(tmp_path / "run"))
    yield
    life.close()


ORDERS = [(["found", "--without", "3", "2", "3"], {"do": "found", "without": [2, 3]}), (["forget"], {"do": "forget"})]


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(("arguments", "order"), ORDERS)
def test_an_order_is_accepted_or_refused_by_the_agent(
    arguments: list[str], order: dict[str, Any], tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent = Agent(tmp_path)
    assert run(agent, configuration, monkeypatch, *arguments) == 0
    assert "accepted" in capsys.readouterr().out
    assert [{**one, "name": ""} for one in agent.orders] == [{**order, "name": ""}]
    assert run(Agent(tmp_path, "this node has no vote"), configuration, monkeypatch, *arguments) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "mosha: this node has no vote\n")


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("arguments", [*(arguments for arguments, _ in ORDERS), ["add", "4"]])
@pytest.mark.parametrize(("trouble", "said"), [
    ("deaf", "did not take the order, which is withdrawn"), ("mute", "has not answered"), ("dies", "does not run"),
])
def test_an_order_without_an_answer_is_an_error_and_leaves_nothing(
    trouble: str, said: str, arguments: list[str], tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    agent = Agent(tmp_path, trouble=trouble)
    assert run(agent, configuration, monkeypatch, *arguments) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "order").exists()
    assert agent.now < 160.0


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("is_up", [False, True])
def test_who_is_said_to_be_off_does_not_answer(
    is_up: bool, tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "hpc" / "nodes" / "2").mkdir(parents=True)
    (tmp_path / "hpc" / "nodes" / "2" / "status").write_text(str(STATUS_UP if is_up else 0))
    with open(configuration, "a", encoding="utf-8") as file:
        file.write(f"hpcbase = {tmp_path}/hpc\n")
    agent = Agent(tmp_path, chosen=(1, 2))
    code = run(agent, configuration, monkeypatch, "found", "--without", "2", "--confirm-off")
    said = capsys.readouterr()
    if is_up:
        assert (code, agent.orders, said.err) == (1, [], "mosha: node 2 answers: it is not off\n")
    else:
        assert code == 0
        assert [{**one, "name": ""} for one in agent.orders] == [
            {"do": "found", "without": [2], "are_off": True, "name": ""}
        ]
        assert f"remove {tmp_path / marker.NAME} from its disk" in said.out


def test_another_operators_order_is_not_withdrawn(
    tmp_path: Path, configuration: str, monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Second(Agent):
        def take(self, seconds: float) -> None:
            self.now += seconds
            (self.var / "order").write_text("another")

    assert run(Second(tmp_path), configuration, monkeypatch, "found", "--without", "3") == 1
    assert (tmp_path / "order").read_text() == "another"


# ---- a disk whose agent does not run ------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [FULL, RECOVERING, REJOINING])
def test_a_restored_disk_forgets_before_its_agent_begins(state: str, tmp_path: Path, configuration: str) -> None:
    before = Marker(state, "7-00000007", "a life", "c", "boot", electorate=first([1, 2, 3], 7))
    (tmp_path / marker.NAME).write_bytes(marker.encode(before))
    assert main(["--config", configuration, "voters", "forget"]) == 0
    after = marker.decode((tmp_path / marker.NAME).read_bytes())
    assert after is not None
    assert after.life != before.life
    assert after == before._replace(state=RECOVERING, life=after.life)


@pytest.mark.parametrize(("content", "said"), [
    (b"", "no marker of a voter"), (marker.encode(Marker(NONE, "", "a", "c", "b")), "this node has no vote"),
])
def test_what_is_no_voter_has_nothing_to_forget(
    content: bytes, said: str, tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / marker.NAME).write_bytes(content)
    assert main(["--config", configuration, "voters", "forget"]) == 1
    assert said in capsys.readouterr().err
    assert (tmp_path / marker.NAME).read_bytes() == content


# ---- an installer -------------------------------------------------------------------------------------------------


def install(configuration: str, era: str, *more: str, voters: str = "1 2 3") -> int:
    return main(["--config", configuration, "voters", "install", era, *voters.split(), *more])


def test_an_installer_gives_all_disks_one_era(
    tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--config", configuration, "voters", "era"]) == 0
    era = capsys.readouterr().out.strip()
    assert marker.is_era(era)
    disk = tmp_path / "disk"
    disk.mkdir()
    for more, file in (([], tmp_path / FOUNDED), (["--root", str(disk)], disk / str(tmp_path)[1:] / FOUNDED)):
        assert install(configuration, era, *more) == 0
        assert capsys.readouterr().out == f"{file}: {era} 1 2 3\n"
        assert file.read_text() == f"{era} 1 2 3\n"


@pytest.mark.parametrize(("voters", "said"), [
    ("1 1", "voters names node 1 twice"), ("0 1", "node numbers from 1 to 65535, got '0'"),
    ("1 2 3 4 5 6 7 8", "voters must name 1 to 7 nodes, got 8"),
])
def test_an_era_needs_voters(
    voters: str, said: str, tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert install(configuration, new_era(), voters=voters) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / FOUNDED).exists()


@pytest.mark.parametrize("era", ["", "7", "now", "7-0000000", "7-0000000G", "7-00000007x"])
def test_what_is_no_era_is_wrong_usage(
    era: str, tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        install(configuration, era)
    assert ended.value.code == 2
    assert f"{era!r} is no era (NUMBER-NONCE" in capsys.readouterr().err
    assert not (tmp_path / FOUNDED).exists()


@pytest.mark.parametrize("days", [-3, 3])
def test_an_era_is_not_kept_for_later(
    days: int, tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert install(configuration, marker.make_era(int(time.time()) + days * 86400, "0" * 8)) == 1
    assert f"was made 3 days {'ago' if days < 0 else 'from now'}" in capsys.readouterr().err
    assert not (tmp_path / FOUNDED).exists()


@pytest.mark.parametrize("used", ["voter", "state"])
def test_only_an_empty_disk_begins_in_an_era(
    used: str, tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / used).write_text("")
    assert install(configuration, new_era()) == 1
    assert f"{tmp_path / used} is there" in capsys.readouterr().err
    assert install(configuration, new_era(), "--root", str(tmp_path / "absent")) == 1
    assert "no directory" in capsys.readouterr().err
    assert not (tmp_path / FOUNDED).exists()


@pytest.mark.parametrize(("era", "voters"), [("", "1 2"), ("another", "1 2 3")])
def test_another_list_is_not_replaced_without_a_word(
    era: str, voters: str, tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    """Two lists on the nodes of one cluster are two clusters."""
    first_era = new_era()
    era = new_era() if era else first_era
    for _ in range(2):
        assert install(configuration, first_era) == 0, "the same may be said again"
    capsys.readouterr()
    assert install(configuration, era, voters=voters) == 1
    assert f"{tmp_path / FOUNDED} is there already: {first_era} 1 2 3. " in capsys.readouterr().err
    assert (tmp_path / FOUNDED).read_text() == f"{first_era} 1 2 3\n"
    assert install(configuration, era, "--replace", voters=voters) == 0
    assert f"replaced: {first_era} 1 2 3\n" in capsys.readouterr().out
    assert (tmp_path / FOUNDED).read_text() == f"{era} {voters}\n"


@pytest.mark.usefixtures("running")
def test_an_era_is_not_installed_under_an_agent_that_runs(
    tmp_path: Path, configuration: str, capsys: pytest.CaptureFixture[str],
) -> None:
    assert install(configuration, new_era()) == 1
    assert "another mosha runs on this node" in capsys.readouterr().err
    assert not (tmp_path / FOUNDED).exists()
    (tmp_path / "disk").mkdir()
    assert install(configuration, new_era(), "--root", str(tmp_path / "disk")) == 0
