"""Anybody's cltab in each world."""

from __future__ import annotations

import pytest

from mosha.tables import cltab
from moslab.errors import CannotError, UnsupportedError
from moslab.scenario.tables import groups_of, hactl_of, modelled, real, wanted, witnessed

TEXT = """\
# a comment: with colons
:::RESPAWN_TIME:1
web:web-fit:test:test:test -x /usr/sbin/nginx
web:web-dir:start:wait:mkdir -p "/srv/a:b"
web:web-run:start,12:respawn:exec nginx -g 'daemon off;'
web:web-look:start:monitor=5:curl -f localhost
db:db-run:start:respawn:live term=ignore
seen:seen-run:start:respawn:/usr/lib/mosha/demo/tick /san/seen
"""
PLAIN = TEXT.replace(":::RESPAWN_TIME:1\n", "")


def test_a_witness_is_the_first_process_of_each_group_that_has_none() -> None:
    table = cltab.parse(witnessed(PLAIN))
    first = {group: table.group(group)[0] for group in table.groups()}
    assert {group: entry.tag for group, entry in first.items()} == {
        "web": "moslab-web", "db": "moslab-db", "seen": "seen-run",
    }
    assert first["web"].command == "/usr/lib/mosha/demo/tick /san/web"
    assert all(first["web"].at(level) for level in ("start", "12"))
    assert not first["web"].at("test")
    assert [entry.tag for entry in table.entries if "moslab" not in entry.tag] == [
        entry.tag for entry in cltab.parse(PLAIN).entries
    ]


def test_commands_are_modelled_by_their_mode() -> None:
    shown = {entry.tag: (entry.mode, entry.command) for entry in cltab.parse(modelled(PLAIN)).entries}
    assert shown == {
        "web-fit": ("test", "run 0.005"), "web-dir": ("wait", "run 0.02"), "web-run": ("respawn", "live"),
        "web-look": ("monitor", "run 0.02"), "db-run": ("respawn", "live term=ignore"), "seen-run": ("respawn", "live"),
    }


def test_modelled_commands_are_those_of_a_shell() -> None:
    text = "a:x:start:respawn:live\na:y:start:wait:run 0.02 exit=3\na:z:start:respawn:run 5 int=ignore term=ignore\n"
    commands = [entry.command for entry in cltab.parse(real(text)).entries]
    assert commands == ["sleep infinity", "sleep 0.02; exit 3", "trap '' INT TERM; sleep 5"]
    assert real(PLAIN.replace("live term=ignore", "true")) == PLAIN.replace("live term=ignore", "true")
    with pytest.raises(UnsupportedError, match="have processes with 'dies=8'"):
        real("a:x:start:respawn:live dies=8\n")


def test_without_a_hactl_all_groups_run() -> None:
    assert groups_of(PLAIN) == ("web", "db", "seen")
    assert wanted(hactl_of(PLAIN, "")) == ("web", "db", "seen")
    assert wanted(hactl_of(PLAIN, "web start\ndb stop\n")) == ("web",)


def test_tables_with_problems_are_refused() -> None:
    with pytest.raises(CannotError, match="cltab:1: "):
        witnessed("web:x\n")
    with pytest.raises(CannotError, match="hactl:1: "):
        hactl_of(PLAIN, "web\n")
