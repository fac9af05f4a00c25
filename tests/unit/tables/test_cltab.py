from __future__ import annotations

import random

import pytest

from mosha.tables import cltab
from mosha.tables.cltab import Cltab, Entry, matches
from mosha.tables.errors import TableErrors
from mosha.tables.lines import GROUPS_MAX, LINE_CHARACTERS_MAX, TABLE_CHARACTERS_MAX

GOOD = """\
# the web group
web:web-test:test:test:test -x /usr/sbin/httpd

web:web-run:start,3:respawn:/usr/sbin/httpd -f "a:b" # kept
db:db-run:12:once: mysqld
db:db-old:start:off
:::socket:/run/clinit.s
:::note:a:b
   # an indented comment
"""


def problems(text: str) -> list[str]:
    with pytest.raises(TableErrors) as caught:
        cltab.parse(text, "T")
    return [str(error) for error in caught.value.errors]


def test_a_table_is_read_as_written() -> None:
    table = cltab.parse(GOOD)
    assert table.groups() == ["web", "db"]
    assert table.group("web") == (
        Entry("web", "web-test", "test", "test", "test -x /usr/sbin/httpd"),
        Entry("web", "web-run", "start,3", "respawn", '/usr/sbin/httpd -f "a:b" # kept'),
    )
    assert [entry.line for entry in table.entries] == [2, 4, 5, 6]
    assert table.group("db")[0].command == " mysqld"
    assert table.group("db")[1] == Entry("db", "db-old", "start", "off", "")
    assert table.group("nobody") == ()
    assert table.settings == {"socket": "/run/clinit.s", "note": "a:b"}


def test_names_may_have_points() -> None:
    table = cltab.parse("web.1:web.1-run:up.1,1.2:once:x\nweb:web.run:1.2:once:x\n")
    assert table.groups() == ["web.1", "web"]
    (entry,) = table.group("web.1")
    assert [entry.at(level) for level in ("up.1", "1.2", "up", "1", "2", ".")] == [True, True, *[False] * 4]
    (entry,) = table.group("web")
    assert (entry.tag, entry.at("1.2"), entry.at("1")) == ("web.run", True, False)


def test_an_empty_table_is_valid() -> None:
    assert cltab.parse("") == Cltab()


def test_the_line_does_not_make_an_entry_another() -> None:
    assert cltab.parse("a:b:1:once:x").entries == cltab.parse("\n\na:b:1:once:x\n").entries


def test_one_carriage_return_at_the_end_of_a_line_is_dropped() -> None:
    assert cltab.parse("a:b:1:once:run\r\n\r\n").entries == (Entry("a", "b", "1", "once", "run"),)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a", "no tag"),
        ("a:b", "no levels"),
        ("a:b:1", "no mode"),
        ("a:b:1:once", "no command: only off"),
        ("a:b:1:once:  ", "no command: only off"),
        ("a:b:1:bootwait:x", "unknown mode 'bootwait': one of wait once respawn test off monitor"),
        ("a:b:1:Once:x", "unknown mode 'Once'"),
        ("a:b:1::x", "unknown mode ''"),
        ("a:b::once:x", "no level"),
        ("a:b:,:once:x", "no level"),
        ("a:b:1 2:once:x", "bad level '1 2'"),
        (":b:1:once:x", "bad group ''"),
        ("a(:b:1:once:x", "bad group 'a('"),
        (" a:b:1:once:x", "bad group ' a'"),
        ("../a:b:1:once:x", "bad group '../a'"),
        ("é:b:1:once:x", r"bad group '\xe9'"),
        ("-a:b:1:once:x", "bad group '-a'"),
        (".a:b:1:once:x", "bad group '.a'"),
        ("..:b:1:once:x", "bad group '..'"),
        ("a:.b:1:once:x", "bad tag '.b'"),
        ("a:b:.:once:x", "bad level '.'"),
        ("a" * 65 + ":b:1:once:x", "bad group"),
        ("a::1:once:x", "bad tag ''"),
        ("a:b*:1:once:x", "bad tag 'b*'"),
        ("a:b:1:once:x\0y", "NUL character"),
        ("a:b:1:once:x\ry", "carriage return inside"),
        ("a:b:1:once:x\udc80", "not valid UTF-8"),
        ("a:b:1:once:" + "x" * LINE_CHARACTERS_MAX, "longer than 4096"),
        (":::socket", ":::NAME:VALUE"),
        (":::a b:1", "bad setting name 'a b'"),
    ],
)
def test_a_bad_line_is_told_with_file_line_and_reason(line: str, reason: str) -> None:
    (problem,) = problems(f"# head\n{line}\n")
    assert problem.startswith("T:2: ")
    assert reason in problem


def test_all_problems_are_told_not_only_the_first() -> None:
    text = "a:b:1:once:x\nbad\na:b:1:once:y\n:::s:1\n:::s:2\n$:c::no:\n"
    assert problems(text) == [
        "T:2: no tag: an entry is written group:tag:levels:mode:command",
        "T:3: tag b is already used in line 1",
        "T:5: setting s is already set",
        "T:6: bad group '$': letters, digits, _ - and . only, at most 64, not starting with - or .",
        "T:6: no level",
        "T:6: unknown mode 'no': one of wait once respawn test off monitor",
    ]


def test_a_table_that_is_too_long_is_refused_without_reading_it() -> None:
    (problem,) = problems("x\n" * TABLE_CHARACTERS_MAX)
    assert str(TABLE_CHARACTERS_MAX) in problem


def test_the_message_of_many_problems_is_bounded() -> None:
    with pytest.raises(TableErrors) as caught:
        cltab.parse("bad\n" * 1000)
    assert len(caught.value.errors) == 1000
    assert str(caught.value).splitlines()[-1] == "and 980 more"


@pytest.mark.parametrize(
    ("levels", "level", "expected"),
    [
        ("start", "start", True),
        ("start", "s", False),
        ("start", "star", False),
        ("12", "12", True),
        ("12", "1", True),
        ("12", "2", True),
        ("123", "12", False),
        ("12", "3", False),
        ("12", "", False),
        ("1a", "1", False),
        ("1,start", "start", True),
        ("1,start", "1", True),
        ("12,3", "1", False),
        ("12,3", "12", True),
        ("long3,", "long3", True),
        ("long3,", "3", False),
        ("long3,", "", False),
        (".*", "start", False),
        ("start", ".*", False),
    ],
)
def test_matches(levels: str, level: str, expected: bool) -> None:
    assert matches(levels, level) is expected


def test_parsing_never_raises_anything_else() -> None:
    """Random tables: of random characters, and good tables with random damage."""
    draw = random.Random(20030526)
    alphabet = ":,#\n\r\t \0abz019_-./$é\u2028\ud800\udc80😀"
    for _ in range(3000):
        if draw.random() < 0.5:
            text = "".join(draw.choices(alphabet, k=draw.randrange(60)))
        else:
            at = draw.randrange(len(GOOD))
            text = GOOD[:at] + draw.choice(alphabet) + GOOD[at + draw.randrange(4) :]
        try:
            table = cltab.parse(text)
        except TableErrors as errors:
            assert errors.errors
            assert str(errors)
            assert all(1 <= error.line <= text.count("\n") + 1 for error in errors.errors)
        else:
            assert len({entry.tag for entry in table.entries}) == len(table.entries)
            assert [e for name in table.groups() for e in table.group(name)] == sorted(
                table.entries, key=lambda e: (table.groups().index(e.group), e.line)
            )


def test_a_monitor_says_how_often() -> None:
    table = cltab.parse("a:m:1:monitor=0.5:x\na:n:1:monitor:y\na:o:1:once:z\n")
    assert [(entry.mode, entry.every_s) for entry in table.entries] == [("monitor", 0.5), ("monitor", 10), ("once", 0)]
    assert cltab.parse("a:m:1:monitor=5:x").entries != cltab.parse("a:m:1:monitor=6:x").entries


@pytest.mark.parametrize("mode", ["monitor=", "monitor=0", "monitor=x", "monitor=nan", "monitor=-1", "monitor=1e9"])
def test_a_monitor_without_a_time_is_refused(mode: str) -> None:
    (problem,) = problems(f"a:m:1:{mode}:x")
    assert problem.startswith("T:1: mode monitor: ")


def test_no_other_mode_takes_a_time() -> None:
    assert problems("a:m:1:once=3:x")[0].startswith("T:1: unknown mode 'once=3'")


def test_a_bad_setting_is_a_problem_of_its_line() -> None:
    assert problems(":::stop:INT 0\n") == [
        "T:1: setting stop: the last signal must be KILL: nothing else ends every process"
    ]


def test_settings_are_found_in_a_bad_table() -> None:
    assert cltab.settings_of("nonsense\n:::socket:/s\n:::stop:no\n:::clstat:/c\n") == {"socket": "/s", "clstat": "/c"}


def test_groups_have_a_bound() -> None:
    lines = [f"g{number}:t{number}:start:once:true\n" for number in range(GROUPS_MAX + 1)]
    assert len(cltab.parse("".join([*lines[:-1], "g0:more:start:once:true\n"])).groups()) == GROUPS_MAX
    with pytest.raises(TableErrors, match=f"^cltab:{GROUPS_MAX + 1}: more than {GROUPS_MAX} groups$"):
        cltab.parse("".join(lines))
