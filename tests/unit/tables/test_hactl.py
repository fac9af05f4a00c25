from __future__ import annotations

import pytest

from mosha.tables import hactl
from mosha.tables.errors import TableErrors
from mosha.tables.hactl import Wanted


def test_a_table_is_read() -> None:
    text = "  # resource_group  runlevel\nmygroup start\n\tbargroup\t3  # three\nredgrp stop\r\n\n# redgrp start\n"
    assert hactl.levels(hactl.parse(text)) == {"mygroup": "start", "bargroup": "3", "redgrp": "stop"}


def test_an_empty_table_is_valid() -> None:
    assert hactl.parse("") == {}


def test_all_problems_are_told() -> None:
    text = "a start\nb\na stop\nc( start\nd st.art\ne start now\nf\0 start\n"
    with pytest.raises(TableErrors) as caught:
        hactl.parse(text, "/var/mosix-ha/hactl")
    assert str(caught.value).splitlines() == [
        "/var/mosix-ha/hactl:2: no level for group 'b': write 'stop' to have it stopped",
        "/var/mosix-ha/hactl:3: group a is already given level start",
        "/var/mosix-ha/hactl:4: bad group 'c(': letters, digits, _ and - only, at most 64, not starting with -",
        "/var/mosix-ha/hactl:5: bad level 'st.art': letters, digits, _ and - only, at most 64, not starting with -",
        "/var/mosix-ha/hactl:6: unknown option 'now' after the level; there are: fenced",
        "/var/mosix-ha/hactl:7: NUL character in line",
    ]


def test_a_line_of_nothing_but_a_comment_after_blanks_says_nothing() -> None:
    assert hactl.parse("   #a\n#\n") == {}


def test_a_comment_right_after_a_word_ends_it() -> None:
    assert hactl.parse("a start#x\n") == {"a": Wanted("start")}


def test_options_follow_the_level() -> None:
    table = hactl.parse("a start fenced # its disk\nb start\nc stop fenced\n")
    assert table == {"a": Wanted("start", fenced=True), "b": Wanted("start"), "c": Wanted("stop", fenced=True)}
    assert hactl.fenced(table) == {"a", "c"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("fence", "unknown option 'fence' after the level; there are: fenced"),
        ("fenced prefer=3", "unknown option 'prefer=3' after the level; there are: fenced"),
        ("fenced=yes", "option fenced has no value"),
        ("fenced fenced", "option fenced is given twice"),
    ],
)
def test_bad_options_are_told(options: str, reason: str) -> None:
    with pytest.raises(TableErrors) as caught:
        hactl.parse(f"b start\na start {options}\n")
    assert str(caught.value) == f"hactl:2: {reason}"
