"""``moslab exhaust`` tells a node's agent what it shall have."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from moslab import cli


class Told:
    """Faults that are only written down."""

    def __init__(self, said: list[tuple[str, int, str]]) -> None:
        self._said = said

    def remember(self) -> None: ...

    def exhaust(self, node: int, what: str) -> None:
        self._said.append(("exhaust", node, what))

    def relieve(self, node: int, what: str) -> None:
        self._said.append(("relieve", node, what))


@pytest.mark.parametrize(("what", "said", "printed"), [
    ("descriptors", [("exhaust", 3, "descriptors")], "node 3: descriptors are exhausted"),
    ("memory", [("exhaust", 3, "memory")], "node 3: memory is exhausted"),
    ("nothing", [("relieve", 3, "memory"), ("relieve", 3, "descriptors")], "node 3: nothing is exhausted"),
])
def test_what_is_said_is_done(
    what: str, said: list[tuple[str, int, str]], printed: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told: list[tuple[str, int, str]] = []
    monkeypatch.setattr(cli, "_existing", lambda _: SimpleNamespace(nodes=lambda: dict.fromkeys((1, 2, 3))))
    monkeypatch.setattr(cli, "Faults", lambda _: Told(told))
    assert cli.main(["exhaust", "3", what]) == 0
    assert told == said
    assert capsys.readouterr().out.strip() == printed


def test_other_words_are_refused() -> None:
    with pytest.raises(SystemExit):
        cli.main(["exhaust", "3", "patience"])
