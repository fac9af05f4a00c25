from __future__ import annotations

import signal

import pytest

from mosha.tables import settings
from mosha.tables.settings import DEFAULT_POLICY, Policy, Settings

INT, TERM, KILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL


def test_nothing_said_is_the_default() -> None:
    assert settings.read({"note": "of somebody else"}) == Settings(policy=DEFAULT_POLICY)


def test_all_is_read() -> None:
    found = settings.read({
        "socket": "/s", "clstat": "/c", "log": "/l", "heartbeat_s": "3", "stop": "TERM 0, KILL 2.5",
        "fast_exit_s": "0.5", "fast_exits_max": "0", "monitor_limit_s": "60", "test_limit_s": "7",
        "wait_limit_s": "8", "stop_limit_s": "9",
        "units": "session",
    })
    policy = Policy(
        stop=((0.0, TERM), (2.5, KILL)), fast_exit_s=0.5, fast_exits_max=0, monitor_limit_s=60, test_limit_s=7,
        wait_limit_s=8, stop_limit_s=9,
    )
    assert found == Settings("/s", "/c", "/l", 3.0, policy, "session")


def test_what_was_in_2003_is_what_a_stop_is_without_a_setting() -> None:
    assert settings.read({"stop": "INT 0 TERM 5 KILL 15"}).policy == DEFAULT_POLICY


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("stop", "", "written SIGNAL"),
        ("stop", "INT", "written SIGNAL"),
        ("stop", "BOO 0 KILL 1", "unknown signal 'BOO'"),
        ("stop", "INT 0 TERM 5", "the last signal must be KILL"),
        ("stop", "INT 1 KILL 2", "must begin with 0"),
        ("stop", "INT 0 TERM 5 KILL 5", "must begin with 0 and grow"),
        ("stop", "INT 0 TERM x KILL 5", "'x' is no time"),
        ("stop", "INT 0 " * 20 + "KILL 5", "written SIGNAL"),
        ("fast_exits_max", "-1", "'-1' is no count"),
        ("fast_exits_max", "1001", "'1001' is no count"),
        ("fast_exits_max", "\u0663", "is no count"),
        ("heartbeat_s", "inf", "'inf' is no time"),
        ("heartbeat_s", "0", "'0' is no time"),
        ("units", "both", "'both' is none of auto, cgroup, session"),
        ("socket", "", "'' is no path"),
        ("socket", "/" + "x" * 107, "is no path of 1 to 107 bytes"),
        ("log", "/" + "x" * 1023, "is no path of 1 to 1023 bytes"),
    ],
)
def test_what_is_wrong_is_said(name: str, value: str, reason: str) -> None:
    assert reason in settings.problem_with(name, value)


def test_nothing_is_said_of_what_is_right_or_unknown() -> None:
    assert settings.problem_with("stop", "KILL 0") == ""
    assert settings.problem_with("colour", "\0") == ""
