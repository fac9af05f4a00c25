from __future__ import annotations

import pytest

from mosha.tables import clstat
from mosha.tables.clstat import GroupStat
from mosha.tables.errors import TableErrors

STATS = [GroupStat("web", "start", "DONE"), GroupStat("db", "0", "STOPPING")]


def test_the_format_is_that_of_2003() -> None:
    assert clstat.render(STATS) == "Cluster::Init::Group web start DONE\nCluster::Init::Group db 0 STOPPING\n"


def test_what_is_rendered_is_read_again() -> None:
    every_state = [GroupStat(f"g{n}", "start", state) for n, state in enumerate(clstat.STATES)]
    assert clstat.parse(clstat.render(every_state)) == every_state
    assert clstat.parse("") == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Cluster::Init::Group web start\n", "not 'Cluster::Init::Group NAME LEVEL STATE'"),
        ("Cluster::Init::Process web start DONE\n", "not 'Cluster::Init::Group"),
        ("Cluster::Init::Group web start RUNNING\n", "unknown state 'RUNNING'"),
        ("Cluster::Init::Group w(b start DONE\n", "bad group or level"),
        ("Cluster::Init::Group web start DONE\nCluster::Init::Group web stop DONE\n", "there twice"),
        ("Cluster::Init::Group web start DON", "unknown state 'DON'"),
        ("Cluster::Init::Group web start DONE", "cut short"),
    ],
)
def test_a_bad_table_is_refused(line: str, reason: str) -> None:
    with pytest.raises(TableErrors, match=r"clstat:[12]: ") as caught:
        clstat.parse(line)
    assert reason in str(caught.value)


def test_no_prefix_of_a_table_passes_for_a_whole_one() -> None:
    text = clstat.render(STATS)
    whole = [end for end in range(1, len(text)) if _is_valid(text[:end])]
    assert whole == [text.index("\n") + 1]


def _is_valid(text: str) -> bool:
    try:
        clstat.parse(text)
    except TableErrors:
        return False
    return True
