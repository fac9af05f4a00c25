"""What is refused as a list of faults, and with which words."""

from __future__ import annotations

import json

import pytest

from emulator.mfs.fault import FAULTS_MAX, KINDS, FaultError, parse, render


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"do": "delay", "seconds": 1}, "faults are a list"),
        ([{"do": "hang"}] * (FAULTS_MAX + 1), "faults are a list of at most"),
        ([3], "fault 1: do is one of"),
        ([{"do": []}], "fault 1: do is one of"),
        ([{"do": "hang"}, {"do": "hang", "seconds": 3}], "fault 2: hang has no 'seconds'"),
        ([{"do": "short"}], "fault 1: short needs bytes"),
        ([{"do": "delay", "seconds": 0}], "fault 1: seconds is above 0"),
        ([{"do": "delay", "seconds": "1"}], "fault 1: seconds is above 0"),
        ([{"do": "error", "errno": 5}], "fault 1: errno is the name of an errno, not 5"),
        ([{"do": "error", "errno": "ENONSENSE"}], "fault 1: errno is the name of an errno"),
        ([{"do": "hang", "reader": True}], "fault 1: reader is the id of a node"),
        ([{"do": "hang", "reader": 0}], "fault 1: reader is the id of a node"),
        ([{"do": "hang", "path": "var"}], "fault 1: path is an absolute pattern"),
        ([{"do": "hang", "on": ["release"]}], "fault 1: on is a list of access, create"),
        ([{"do": "hang", "on": []}], "fault 1: on is a list of"),
        ([{"do": "torn", "bytes": 1, "on": ["read"]}], "fault 1: on is a list of write"),
        ([{"do": "hang", "times": -1}], "fault 1: times is a number from 0 on"),
        ([{"do": "short", "bytes": 1.5}], "fault 1: bytes is a number from 0 on"),
        ([{"do": "hang", "chance": 2}], "fault 1: chance is from 0 to 1"),
        ([{"do": "hang", "done": 1}], "fault 1: done is true or false"),
    ],
)
def test_wrong_lists(given: object, reason: str) -> None:
    with pytest.raises(FaultError, match=reason):
        parse(json.dumps(given))


def test_what_is_given_comes_back_with_a_count() -> None:
    given: list[dict[str, object]] = [
        {"do": "full"},
        {"do": "error", "errno": "EIO", "on": ["read"], "reader": 3, "path": "*/f", "chance": 0.5},
    ]
    assert json.loads(render(parse(json.dumps(given)))) == [{**one, "met": 0} for one in given]
    assert parse("") == parse("[]") == []


def test_every_kind_can_be_given() -> None:
    values = {"seconds": 1, "errno": "EIO", "bytes": 3, "done": True}
    for name, kind in KINDS.items():
        parse(json.dumps([{"do": name, **{key: values[key] for key in kind.needs | kind.may}}]))
