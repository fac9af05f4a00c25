"""mosha.conf: values, defaults, and errors that name file, line and reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from mosha import config
from mosha.tables.errors import TableErrors


def test_defaults_are_those_of_a_real_openmosix_node(tmp_path: Path) -> None:
    found = config.load(str(tmp_path / "absent"))
    assert (found.mfsbase, found.hpcbase, found.mwhois) == ("/mfs", "/proc/hpc", "mosctl whois")
    assert str(found.var) == "/var/mosix-ha"
    assert found.procbase == "/proc"
    assert found.peer_file(3, "cltab") == "/mfs/3/var/mosix-ha/cltab"


def test_values() -> None:
    found = config.parse("beat = 0.1 # fast\n\n# all\nlease=0.5\nstomith = /bin/sw off %n\nmynode=7\n")
    assert (found.timing.beat_s, found.timing.lease_s, found.mynode) == (0.1, 0.5, 7)
    assert found.stomith == "/bin/sw off %n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("beat 0.5", "x:1: expected `name = value`"),
        ("\nbaet = 0.5", "x:2: unknown setting 'baet'"),
        ("beat = soon", "x:1: beat must be a number of seconds"),
        ("beat = 1\nlease = 2", "x:2: lease 2 s is under 4 beats of 1 s"),
        ("beat = 1\nbeat = 1", "x:2: beat was set before, in line 1"),
        ("mynode = 0", "x:1: mynode must be a node number"),
        ("timing = 3", "x:1: unknown setting 'timing'"),
    ],
)
def test_errors_name_file_line_and_reason(text: str, problem: str) -> None:
    with pytest.raises(TableErrors) as raised:
        config.parse(text, "x")
    assert problem in str(raised.value)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(TableErrors) as raised:
        config.parse("a\nb = 1\nbeat = x\n", "x")
    assert [error.line for error in raised.value.errors] == [1, 2, 3]
