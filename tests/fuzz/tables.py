"""Tables and settings: a text is either a value, which reads the same when it is written again, or an error that names
file, line and reason."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Callable

from mosha import config
from mosha.clinit.lines import LINE_BYTES_MAX, LineReader
from mosha.ownership.electorate import VOTERS_MAX
from mosha.tables import clstat, cltab, hactl, hastat
from mosha.tables.cltab import Entry
from mosha.tables.errors import TableErrors
from mosha.tables.lines import is_name
from tests.fuzz.target import Target, text_of

FILE = "/var/a file"


def read(parse: Callable[[str, str], Any], text: str, at_least: int = 0) -> Any:
    """The value, or None if it was refused as it should be."""
    try:
        return parse(text, FILE)
    except TableErrors as errors:
        assert errors.errors
        lines = text.count("\n") + text.count("\r") + len(text.splitlines()) + 1
        for error in errors.errors:
            assert error.file == FILE
            assert at_least <= error.line <= lines
            assert error.reason
            said = str(error)
            assert said.startswith(f"{FILE}:")
            assert len(said) < 2000
            assert all(character.isprintable() for character in said), f"not for a terminal: {said!r}"
        assert str(errors)
        return None


def written(entry: Entry) -> str:
    every = f"={entry.every_s!r}" if entry.mode == cltab.MONITOR else ""
    return f"{entry.group}:{entry.tag}:{entry.levels}:{entry.mode}{every}:{entry.command}\n"


def check_cltab(data: bytes) -> None:
    text = text_of(data)
    settings = cltab.settings_of(text)
    table = read(cltab.parse, text)
    if table is None:
        return
    assert table.settings == settings
    again = "".join(f":::{name}:{value}\n" for name, value in settings.items()) + "".join(map(written, table.entries))
    assert cltab.parse(again) == table
    assert sorted(entry for name in table.groups() for entry in map(written, table.group(name))) == sorted(
        map(written, table.entries)
    )
    assert table.policy.stop[-1][1] == 9
    for entry in table.entries:
        assert is_name(entry.group)
        assert is_name(entry.tag)
        assert any(entry.at(level) for level in entry.levels.split(",") if level)


def check_hactl(data: bytes) -> None:
    text = text_of(data)
    table = read(hactl.parse, text, at_least=1)
    if table is None:
        return
    for group, wanted in table.items():
        assert is_name(group)
        assert is_name(wanted.level)
    bare = [line.partition("#")[0].split() for line in text.split("\n")]
    again = "".join(" ".join(words) + "\n" for words in bare if words)
    assert dict(hactl.parse(again)) == dict(table)
    levels = hactl.levels(table)
    assert set(levels) == set(table)
    for group, wanted in table.items():
        assert set(wanted.requires) <= set(table) - {group}
        assert all(levels[other] != hactl.STOP or levels[group] == hactl.STOP for other in wanted.requires)
    assert all(isinstance(wanted.fenced, bool) for wanted in table.values())


def check_clstat(data: bytes) -> None:
    found = read(clstat.parse, text_of(data), at_least=1)
    if found is not None:
        text = clstat.render(found)
        assert clstat.parse(text) == found
        assert not text or read(clstat.parse, text[:-1]) is None, "cut short is not whole"


def check_hastat(data: bytes) -> None:
    """Written only: whatever groups, levels and states are called, it is one Perl expression that says just that."""
    words = text_of(data).split("\t")
    groups: dict[str, dict[int, tuple[str, str]]] = {}
    for number in range(0, len(words) - 2, 3):
        groups.setdefault(words[number], {})[number] = words[number + 1], words[number + 2]
    text = hastat.render(groups)
    assert text.isascii()
    assert perl(text) == {
        group: {str(node): {"level": level, "state": state} for node, (level, state) in nodes.items()}
        for group, nodes in groups.items()
    }


_TOKEN = re.compile(r'"((?:[^"\\$@]|\\x\{[0-9a-f]+\}|\\[\\"$@])*)"|([A-Za-z_0-9]+)|(=>|[{},])|(\s+)')


def perl(text: str) -> Any:
    """The value of such an expression; only what Data::Dump writes is understood."""
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found, f"no Perl: {text[at : at + 40]!r}"
        at = found.end()
        if found[1] is not None:
            tokens.append(("text", re.sub(r"\\(?:x\{([0-9a-f]+)\}|(.))", _plain, found[1])))
        elif found[4] is None:
            tokens.append(("word" if found[2] is not None else "sign", found[2] or found[3]))
    value, used = _value(tokens, 0)
    assert used == len(tokens)
    return value


def _plain(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else found[2]


def _value(tokens: Sequence[tuple[str, str]], at: int) -> tuple[Any, int]:
    kind, text = tokens[at]
    if kind == "text":
        return text, at + 1
    assert text == "{"
    at += 1
    found: dict[str, Any] = {}
    while tokens[at] != ("sign", "}"):
        assert tokens[at][0] in ("text", "word")
        assert tokens[at + 1] == ("sign", "=>")
        found[tokens[at][1]], end = _value(tokens, at + 2)
        at = end + 1 if tokens[end] == ("sign", ",") else end
    return found, at + 1


def check_config(data: bytes) -> None:
    found = read(config.parse, data.decode("utf-8", "replace"), at_least=1)
    if found is not None:
        assert len(found.voters) <= VOTERS_MAX
        assert 0 < found.timing.beat_s < found.timing.lease_s
        assert found.shot_limit_s <= config.SHOT_MAX_S


def check_lines(data: bytes) -> None:
    """What a process writes: nothing is lost but line ends, however it is cut into reads."""
    reader = LineReader()
    step = data[0] + 1 if data else 1
    lines = [line for at in range(0, len(data), step) for line in reader.feed(data[at : at + step])] + reader.feed(b"")
    assert "".join(lines).replace("\ufffd", "") == data.replace(b"\n", b"").decode("utf-8", "ignore") or (
        b"\xff" in data.decode("utf-8", "surrogateescape").encode("utf-16", "surrogatepass") or not data.isascii()
    )
    assert all(len(line) <= LINE_BYTES_MAX for line in lines)


_CLTAB = (
    b"web:web-fit:test:test:test -x /x\nweb:ip:start,2:respawn:mosha ip 1.2.3.4/24\nweb:m:12:monitor=3:look\n",
    b":::socket:/s\n:::stop:INT 0 TERM 5 KILL 15\n:::fast_exits_max:5\n# no\n\na:b:c:off:\n",
    b"a:b:c:once:x\r\nd:b:1:wait:y\n  # x\nzzz",
)
_CLTAB_WORDS = tuple(
    b":wait: :once: :respawn: :test: :off: :monitor: :monitor=1 ::: :::stop: :::log: :::fast_exit_s: KILL INT nan inf "
    b"1e309 \0 \r\n \xff \xe2\x80\xa8 ( [ * , -".split(b" ")
)
_CONFIG = (
    b"mfsbase = /mfs\nbeat = 0.5\nlease = 2.5 # as ever\nvoters = 1 2 3\nstomith = fence:fence_x ip=1.%n secret=x\n",
    b"stomith = /sbin/off %n %a\nstomith.2 = x && y\nplug.3 = a\nmynode = 7\narbitrator = yes\nstomith_retries = 2\n",
)

TARGETS = (
    Target("cltab", check_cltab, _CLTAB, _CLTAB_WORDS, share=2),
    Target(
        "hactl",
        check_hactl,
        (b"web start fenced\nkv stop # why\n", b"a b requires=c\nb c requires=a\nc d\n", b"a b c\na b\n", b"a\n"),
        tuple(b"fenced fenced= stop start # \r\n prefer=1,2 requires= requires=a,b sticky =".split(b" ")),
        share=2,
    ),
    Target(
        "clstat",
        check_clstat,
        (b"Cluster::Init::Group web start DONE\nCluster::Init::Group db 2 FAILED\n", b"x"),
        (b"Cluster::Init::Group ", b" DONE\n", b" PASSED\n", b" CONFIGURED\n"),
        share=2,
    ),
    Target(
        "hastat",
        check_hastat,
        (b"kv\tstart\tDONE\tkv\tstop\tDONE\tweb\tx\ty", b'"$\\@{}\t\n\t\x80'),
        (b"\t", b"$", b"@"),
        share=0.5,
    ),
    Target(
        "mosha.conf",
        check_config,
        _CONFIG,
        tuple(
            b"stomith stomith.2 stomith.9 plug.1 plug. voters beat lease fence: && %n %a = # yes no nan 1e9 \\ ' \""
            .split(b" ")
        ),
    ),
    Target(
        "lines of a process",
        check_lines,
        (b"\x05one\ntwo\n\nthree", b"x" * 400),
        (b"\n", b"\n\n"),
        share=0.5,
        bytes_max=3000,
    ),
)
