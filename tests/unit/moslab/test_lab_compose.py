"""compose/ is what the harness starts: the file is what its code gives, and the image is made of the same files."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from moslab import cli, compose, guard, image, node
from moslab.layout import Layout, Names

ROOT = Path(__file__).parents[3]
NAMES, SIZE = Names("compose"), 5


def plan(size: int = SIZE) -> Layout:
    return Layout(size, compose.SUBNET, compose.MFS_KEY, compose.POWER_KEY, era=compose.ERA)


def test_the_file_is_what_the_harness_gives_now() -> None:
    again = "moslab --cluster compose compose 5 >compose/compose.yaml"
    assert (ROOT / "compose/compose.yaml").read_text() == compose.render(NAMES, SIZE), f"make it again: {again}"


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--cluster", "red", "compose", "3"]) == 0
    said = capsys.readouterr().out
    assert said == compose.render(Names("red"), 3)
    assert "mosha-red-node3" in said
    assert "node4" not in said
    assert cli.main(["compose", "1"]) == 2


def test_what_the_harness_begins_to_say_of_a_container_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (node, guard):
        said = module.settings
        with monkeypatch.context() as patch:
            patch.setattr(module, "settings", lambda *given, said=said: {**said(*given), "pids_limit": 100})
            with pytest.raises(KeyError, match="pids_limit"):
                compose.render(NAMES, SIZE)


def test_a_file_that_the_harness_begins_to_give_comes_along(monkeypatch: pytest.MonkeyPatch) -> None:
    said = Layout.files
    monkeypatch.setattr(Layout, "files", lambda *given: {**said(*given), "etc/new": (b"some $HOME\n", 0o640)})
    text = compose.render(NAMES, SIZE)
    assert "      - source: new\n        target: /plan/etc/new\n        mode: 0640\n" in text
    assert "  new:\n    content: |\n      some $$HOME\n" in text


def test_the_files_are_such_as_the_founding_can_lay_down() -> None:
    """The same on all nodes; under etc, or of the agent; no two with one name."""
    files = [plan().files(number, {"cltab": "", "hactl": ""}) for number in range(1, SIZE + 1)]
    assert all(each == files[0] for each in files)
    assert all(path.startswith(("etc/", f"{compose.VAR}/")) for path in files[0])
    assert len({Path(path).name for path in files[0]}) == len(files[0])


def test_what_the_founding_draws_stands_nowhere_else() -> None:
    """One place for the key of MFS, one for that of the power switch, one for the era: sed finds these, and no more."""
    files = plan().files(1, {"cltab": "", "hactl": ""})
    assert [path for path, (content, _) in files.items() if content == compose.MFS_KEY] == ["etc/openmosix/key"]
    assert [path for path, (content, _) in files.items() if compose.POWER_KEY.hex().encode() in content] == [
        "etc/powerswitch.json"
    ]
    assert [path for path, (content, _) in files.items() if content.startswith(f"{compose.ERA} ".encode())] == [
        "var/mosix-ha/founded"
    ]


def test_plain_docker_builds_the_image_of_the_same_files() -> None:
    """What .dockerignore leaves is what the harness sends: the same names, and programs can be executed."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [ROOT / line[1:] for line in lines if line.startswith("!")]
    assert [line for line in lines if not line.startswith(("!", "#"))] == ["*", "**/__pycache__", "**/*.py[co]"]
    here = {
        path.relative_to(ROOT).as_posix(): bool(path.stat().st_mode & 0o100)
        for root in kept for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".pyo")
    }
    with tarfile.open(fileobj=io.BytesIO(image.build_context())) as tar:
        assert here == {member.name: bool(member.mode & 0o100) for member in tar}
    assert {part for line in (ROOT / image.DOCKERFILE).read_text().splitlines() if line.startswith("COPY")
            for part in line.split()[1:-1]} == {path.relative_to(ROOT).as_posix() for path in kept}


@pytest.mark.parametrize(("value", "text"), [
    ({"a": "plain-1.2/x"}, "a: plain-1.2/x\n"),
    ({"a": "no", "b": "12", "c": "a: b", "d": ""}, 'a: "no"\nb: "12"\nc: "a: b"\nd: ""\n'),
    ({"a": 12, "b": True, "c": {}, "d": []}, "a: 12\nb: true\nc: {}\nd: []\n"),
    ({"a": ["x", {"b": 1, "c": ["z"]}]}, "a:\n  - x\n  - b: 1\n    c:\n      - z\n"),
    ({"a": "one\n\n  two\n", "b": ["three\nfour"]}, "a: |\n  one\n\n    two\nb:\n  - |-\n    three\n    four\n"),
])
def test_yaml(value: dict[str, object], text: str) -> None:
    assert compose._text(value) == text
