from __future__ import annotations

from pathlib import Path

import pytest

from emulator.inittab import Entry, InittabError, in_runlevel, parse_inittab

IMAGE = Path(__file__).parents[3] / "emulator/image/inittab"


def test_lines_are_entries() -> None:
    text = "# a comment\n\n si::sysinit:/bin/one\npe:2345:wait:setpe -w -f a:b\n"
    assert parse_inittab(text, "inittab") == [
        Entry("si", "", "sysinit", "/bin/one"),
        Entry("pe", "2345", "wait", "setpe -w -f a:b"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nnonsense", "tab:2: expected id:runlevels:action:process, found 1 fields"),
        ("a:2:wait", "tab:1: expected id:runlevels:action:process, found 3 fields"),
        (":2:wait:x", "tab:1: id '' does not have 1 to 4 characters"),
        ("abcde:2:wait:x", "tab:1: id 'abcde' does not have 1 to 4 characters"),
        ("a:2x:wait:x", "tab:1: unknown runlevel 'x'"),
        ("a:2:powerwait:x", "tab:1: unknown action 'powerwait', known are sysinit, wait, once, respawn, off"),
        ("a:2:wait: ", "tab:1: no process"),
        ("a:2:wait:x\nb:2:wait:x\na:3:off:x", "tab:3: id 'a' occurs twice"),
    ],
)
def test_a_bad_line_is_named(text: str, message: str) -> None:
    with pytest.raises(InittabError) as refused:
        parse_inittab(text, "tab")
    assert str(refused.value) == message


def test_a_runlevel_picks_its_entries_and_sysinit_is_first() -> None:
    text = "a:2:once:x\nb:3:once:x\nc::respawn:x\nd:2:off:x\ne:5:sysinit:x\n"
    assert [entry.id for entry in in_runlevel(parse_inittab(text, "tab"), "2")] == ["e", "a", "c"]


def test_the_log_calls_a_process_by_its_program() -> None:
    assert Entry("a", "", "once", "/usr/sbin/openmosixd -x /y").name == "openmosixd"


def test_the_inittab_of_the_image_is_good() -> None:
    entries = in_runlevel(parse_inittab(IMAGE.read_text(), "inittab"), "2")
    assert [(entry.name, entry.action) for entry in entries] == [
        ("sh", "wait"), ("openmosixd", "respawn"), ("timeout", "wait"), ("openmosix", "wait"), ("mosha", "respawn"),
    ]  # fmt: skip
