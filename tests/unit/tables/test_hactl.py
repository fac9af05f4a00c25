from __future__ import annotations

import pytest

from mosha.tables import hactl
from mosha.tables.errors import TableErrors
from mosha.tables.hactl import Wanted
from mosha.tables.lines import GROUPS_MAX, NAME_RULE

NAMES = "fenced, failback, sticky, exclusive-test, maintenance, prefer=…, restarts=…, requires=…"


def test_a_table_is_read() -> None:
    text = "  # resource_group  runlevel\nmygroup start\n\tbargroup\t3  # three\nredgrp stop\r\n\n# redgrp start\n"
    assert hactl.levels(hactl.parse(text)) == {"mygroup": "start", "bargroup": "3", "redgrp": "stop"}


def test_names_may_have_points() -> None:
    table = hactl.parse("web.1 up.1 requires=db.main\nweb start\ndb.main start\n")
    assert hactl.levels(table) == {"web.1": "up.1", "web": "start", "db.main": "start"}
    assert table["web.1"].requires == ("db.main",)
    changed = hactl.with_level("web-1 a\nweb.1 a\n", "web.1", "b.2")
    assert changed == "web-1 a\nweb.1 b.2\n"


def test_an_empty_table_is_valid() -> None:
    assert hactl.parse("") == {}


def test_all_problems_are_told() -> None:
    text = "a start\nb\na stop\nc( start\nd st+art\ne start now\nf\0 start\n"
    with pytest.raises(TableErrors) as caught:
        hactl.parse(text, "/var/mosix-ha/hactl")
    assert str(caught.value).splitlines() == [
        "/var/mosix-ha/hactl:2: no level for group 'b': write 'stop' to have it stopped",
        "/var/mosix-ha/hactl:3: group a is already given level start",
        "/var/mosix-ha/hactl:4: bad group 'c(': " + NAME_RULE,
        "/var/mosix-ha/hactl:5: bad level 'st+art': " + NAME_RULE,
        "/var/mosix-ha/hactl:6: unknown option 'now' after the level; there are: " + NAMES,
        "/var/mosix-ha/hactl:7: NUL character in line",
    ]


def test_a_line_of_nothing_but_a_comment_after_blanks_says_nothing() -> None:
    assert hactl.parse("   #a\n#\n") == {}


def test_a_comment_right_after_a_word_ends_it() -> None:
    assert hactl.parse("a start#x\n") == {"a": Wanted("start")}


def test_options_follow_the_level() -> None:
    table = hactl.parse("a start fenced # its disk\nb start\nc stop fenced\n")
    assert table == {"a": Wanted("start", fenced=True), "b": Wanted("start"), "c": Wanted("stop", fenced=True)}
    assert hactl.with_flag(table, "fenced") == {"a", "c"}


def test_preferred_nodes_are_read_in_their_order() -> None:
    table = hactl.parse("a start prefer=3,1,2 failback\nb start prefer=7 sticky exclusive-test\n")
    assert table == {
        "a": Wanted("start", prefer=(3, 1, 2), failback=True), "b": Wanted("start", prefer=(7,), exclusive_test=True),
    }


def test_groups_that_are_required_are_read() -> None:
    table = hactl.parse("web start requires=db,ip\ndb start requires=disk\nip start\ndisk start\n")
    assert table["web"].requires == ("db", "ip")
    assert hactl.required_by(table) == {"db": ["web"], "ip": ["web"], "disk": ["db"]}


def test_what_requires_a_stopped_group_shall_be_stopped_too() -> None:
    text = "web start requires=app\napp start requires=db\ndb {level}\nother start requires=ip\nip start\n"
    started = dict.fromkeys(("web", "app", "db", "other", "ip"), "start")
    assert hactl.levels(hactl.parse(text.format(level="start"))) == started
    stopped = hactl.parse(text.format(level="stop"))
    assert hactl.levels(stopped) == {**started, "web": "stop", "app": "stop", "db": "stop"}
    assert stopped["web"].level == "start", "as it is written"


def test_groups_that_require_each_other_are_told_with_the_circle() -> None:
    with pytest.raises(TableErrors) as caught:
        hactl.parse("x start requires=a\na start requires=b,d\nb start requires=c\nc start requires=a\nd start\n")
    assert str(caught.value) == "hactl:2: group a requires itself: a -> b -> c -> a"


def test_a_group_whose_line_is_wrong_is_not_missed() -> None:
    with pytest.raises(TableErrors) as caught:
        hactl.parse("web start requires=db,dc\ndb start now\n")
    first, second = str(caught.value).splitlines()
    assert first == "hactl:1: group web requires dc, which this table does not name"
    assert second.startswith("hactl:2: unknown option 'now'")


def test_a_long_way_of_groups_is_read() -> None:
    """As many as a table can hold: no recursion, and no second look."""
    names = [f"g{number}" for number in range(GROUPS_MAX)]
    lines = [f"{name} start requires={other}" for name, other in zip(names, names[1:])]
    table = hactl.parse("\n".join([*lines, f"{names[-1]} stop\n"]))
    assert set(hactl.levels(table).values()) == {"stop"}
    with pytest.raises(TableErrors, match="requires itself"):
        hactl.parse("\n".join([*lines, f"{names[-1]} start requires=g0\n"]))


TABLE = "# groups\nkv start prefer=1,2\t# a store\ndb\tstart maintenance fenced\n\nx start#\nmaintenance start\n"


def test_an_edit_of_a_flag_changes_nothing_else() -> None:
    on = hactl.edited(TABLE, ["kv", "db", "x", "maintenance"], hactl.MAINTENANCE, True)
    assert on == (
        "# groups\nkv start prefer=1,2 maintenance\t# a store\ndb\tstart maintenance fenced\n\n"
        "x start maintenance#\nmaintenance start maintenance\n"
    )
    assert all(wanted.maintenance for wanted in hactl.parse(on).values())
    assert hactl.parse(hactl.edited(on, ["kv", "x", "maintenance"], hactl.MAINTENANCE, False)) == hactl.parse(TABLE)
    off = hactl.edited(TABLE, ["db"], hactl.MAINTENANCE, False)
    assert off == TABLE.replace("start maintenance fenced", "start fenced")
    for line in ("kv start", "kv start # a store", " maintenance maintenance prefer=1\r", "kv start\t#"):
        group = line.split()[0]
        on = hactl.edited(line, [group], hactl.MAINTENANCE, True)
        assert hactl.edited(on, [group], hactl.MAINTENANCE, False) == line


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("fence", "unknown option 'fence' after the level; there are: " + NAMES),
        ("prefer", "option prefer needs a value: prefer=…"),
        ("restarts=10", "restarts=10: it must be a number from 0 to 9"),
        ("restarts=010", "restarts=010: it must be a number from 0 to 9"),
        ("prefer=0655359", "prefer=0655359: '0655359' is no number of a node"),
        ("restarts=-1", "restarts=-1: it must be a number from 0 to 9"),
        ("prefer=3,x", "prefer=3,x: 'x' is no number of a node"),
        ("prefer=3,,4", "prefer=3,,4: '' is no number of a node"),
        ("prefer=0", "prefer=0: '0' is no number of a node"),
        ("prefer=3,03", "prefer=3,03 names a node twice"),
        ("prefer=3 sticky failback", "failback and sticky exclude each other"),
        ("failback", "failback needs prefer: where to?"),
        ("fenced=yes", "option fenced has no value"),
        ("fenced fenced", "option fenced is given twice"),
        ("requires", "option requires needs a value: requires=…"),
        ("requires=b,", f"requires=b,: '' is no group: {NAME_RULE}"),
        ("requires=b,b", "requires=b,b names a group twice"),
        ("requires=c", "group a requires c, which this table does not name"),
        ("requires=a", "group a requires itself: a -> a"),
    ],
)
def test_bad_options_are_told(options: str, reason: str) -> None:
    with pytest.raises(TableErrors) as caught:
        hactl.parse(f"b start\na start {options}\n")
    assert str(caught.value) == f"hactl:2: {reason}"


def test_groups_and_names_have_a_bound() -> None:
    names = [f"{number:03}" for number in range(GROUPS_MAX + 2)]
    assert len(hactl.parse("".join(f"{name} start\n" for name in names[:-2]))) == GROUPS_MAX
    with pytest.raises(TableErrors) as many:
        hactl.parse("".join(f"{name} start\n" for name in names))
    assert str(many.value) == f"hactl:{GROUPS_MAX + 1}: more than {GROUPS_MAX} groups"
    whole = hactl.NAMED_CHARACTERS_MAX // 128        # lines of names and levels that are as long as may be
    long = "".join(f"{number:064} {'l' * 64}\n" for number in range(whole + 2))
    assert len(hactl.parse("".join(long.splitlines(True)[:whole]))) == whole
    with pytest.raises(TableErrors) as wide:
        hactl.parse(long)
    problem = f"the names of groups and levels have more than {hactl.NAMED_CHARACTERS_MAX} characters"
    assert str(wide.value) == f"hactl:{whole + 1}: {problem}"
