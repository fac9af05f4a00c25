"""Devices on paper: what is run, what is written to it, what is refused."""

from __future__ import annotations

import re

import pytest

from mosha.stomith.devices import (
    OFF,
    ON,
    UNKNOWN,
    Call,
    CannotError,
    Device,
    FenceAgent,
    parse_level,
    parse_plugs,
    redact,
)


def device(text: str, plugs: dict[int, str] | None = None) -> Device:
    (found,) = parse_level(text, plugs or {})
    return found


@pytest.mark.parametrize(
    ("text", "argv"),
    [
        ("/sbin/kill-node", ("/sbin/kill-node", "3")),                                  # 2003
        ("sw off %n", ("sw", "off", "3")),
        ("sw %a", ("sw", "off", "3")),
        ("sw --action=%a --host=node%n.lab 100%%", ("sw", "--action=off", "--host=node3.lab", "100%")),
        ("sh -c 'a %n && b'", ("sh", "-c", "a 3 && b")),
        ("sw %a --plug %p", ("sw", "off", "--plug", "3")),
        ("fence_apc -a pdu -o %a -n %n", ("fence_apc", "-a", "pdu", "-o", "off", "-n", "3")),
    ],
)
def test_commands(text: str, argv: tuple[str, ...]) -> None:
    assert device(text).call(OFF, 3) == Call(argv)


def test_a_command_without_an_action_can_only_switch_off() -> None:
    found = device("/sbin/kill-node")
    assert not found.tells_status
    with pytest.raises(CannotError, match="can only switch off"):
        found.call("status", 3)


def test_a_list_is_asked_of_what_is_one_device_for_all() -> None:
    assert device("sw %a %n").call("list", None).argv == ("sw", "list")
    assert device("sw %a %n").shared
    assert not device("ssh bmc%n power %a").shared
    assert device("fence:fence_apc ip=pdu").shared
    assert not device("fence:fence_ipmilan ip=10.0.0.%n").shared
    assert device("fence:fence_apc ip=pdu port=%p").call("list", None).stdin == "action=list\nip=pdu\n"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("fence:fence_apc ip=pdu", ["action=off", "nodename=3", "ip=pdu", "plug=3"]),
        ("fence:fence_apc ip=pdu plugs=3:7;4:8", ["action=off", "nodename=3", "ip=pdu", "plug=7"]),
        ("fence:fence_apc ip=pdu port=%p plugs='3:rack 7'", ["action=off", "nodename=3", "ip=pdu", "port=rack 7"]),
        ("fence:fence_ipmilan ip=10.0.0.%n lanplus=1", ["action=off", "nodename=3", "ip=10.0.0.3", "lanplus=1"]),
        ("fence:fence_ipmilan ip=%p plugs=3:10.9.8.7", ["action=off", "nodename=3", "ip=10.9.8.7"]),
        ("fence:fence_virt nodename=host%n 'password=a b=c'",
         ["action=off", "nodename=host3", "password=a b=c"]),
    ],
)
def test_fence_agents(text: str, lines: list[str]) -> None:
    call = device(text).call(OFF, 3)
    assert len(call.argv) == 1
    assert call.stdin.splitlines() == lines
    assert call.stdin.endswith("\n")


def test_a_node_without_a_plug_is_not_shot_through_another_ones() -> None:
    for found in (device("fence:fence_apc ip=pdu", {4: "8"}), device("sw off %p", {4: "8"}),
                  device("fence:fence_apc ip=pdu plugs=4:8", {3: "1"})):
        assert found.call(OFF, 4)
        with pytest.raises(CannotError, match="no plug is given for node 3"):
            found.call(OFF, 3)
    assert device("fence:fence_ipmilan ip=bmc%n", {4: "8"}).call(OFF, 3), "this one needs no plug"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a device is missing"),
        ("a &&", "a device is missing"),
        ("'' %n", "a device is missing"),
        ("&& a", "a device is missing"),
        ("a 'b", "no closing quotation"),
        ("a %x", "%x means nothing"),
        ("a 100%", "% means nothing"),
        ("sw%n off", "must be the same for all nodes"),
        ("fence:", "without a program"),
        ("fence:x off", "options of x are name=value"),
        ("fence:x 1=2", "options of x are name=value"),
        ("fence:x action=off", "action of x is not an option here"),
        ("fence:x option=reboot", "option of x is not an option here"),
        ("fence:x ip=a ip=b", "ip of x is given twice"),
        ("fence:x ip=%a", "%a means nothing"),
        ("fence:x ip=a plug=7", "would do the same for every node"),
        ("fence:x ip=a%n plugs=3:7", "plugs of x are not used"),
        ("fence:x plugs=", "NODE:PLUG"),
        ("fence:x plugs=3", "NODE:PLUG"),
        ("fence:x plugs=0:7", "NODE:PLUG"),
        ("fence:x plugs=3:7;3:8", "node 3 has two plugs"),
        ("fence_apc ip=pdu password=geheim", "is written fence:fence_apc"),
        ("/usr/sbin/fence_apc ip=pdu", "is written fence:/usr/sbin/fence_apc"),
        (" && ".join("abcdefghi"), "at most 8 devices"),
        ("a" * 5000, "longer than 4096"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)) as raised:
        parse_level(text, {})
    assert "geheim" not in str(raised.value)


def test_a_level_is_a_sequence() -> None:
    assert [found.name for found in parse_level("fence:fence_a ip=%n && /sbin/b %n&&", {})[:1]] == ["fence_a"]
    assert [found.name for found in parse_level("fence:fence_a ip=%n && /sbin/b %n", {})] == ["fence_a", "b"]


def test_plugs() -> None:
    assert parse_plugs("3:7; 4:a:b;") == {3: "7", 4: "a:b"}


@pytest.mark.parametrize(
    ("code", "words", "state"),
    [(0, "on", ON), (0, "node 3 is\nOFF.\n", OFF), (0, "", UNKNOWN), (0, "perhaps", UNKNOWN), (2, "off", UNKNOWN),
     (1, "off", UNKNOWN), (None, "off", UNKNOWN), (-9, "on", UNKNOWN)],
)
def test_the_state_by_a_command(code: int | None, words: str, state: str) -> None:
    assert device("sw %a %n").state(code, words) == state


@pytest.mark.parametrize(
    ("code", "state"), [(0, ON), (2, OFF), (1, UNKNOWN), (3, UNKNOWN), (-15, UNKNOWN), (None, UNKNOWN)]
)
def test_the_state_by_a_fence_agent(code: int | None, state: str) -> None:
    assert device("fence:x").state(code, "a warning\nStatus: OFF\n") == state


@pytest.mark.parametrize("words", [
    "", "Usage: fence_x [options]\n\nfence_x: error: no such option: --plug", "sh: 1: Syntax error: \"(\" unexpected",
    "Status: ON", "last Status: OFF was long ago",
])
def test_wrong_usage_is_not_off(words: str) -> None:
    """Exit code 2 is that of optparse, of shells, and of fence agents that were asked wrongly."""
    assert device("fence:x").state(2, words) == UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        "fence:fence_apc password=geheim", "fence:fence_apc passwd=geheim", "fence:fence_x snmp_priv_passwd=geheim",
        "fence:fence_aws secret_key=geheim", "sw --password geheim %n", "sw --password=geheim", "sw API_TOKEN=geheim",
    ],
)
def test_secrets_are_not_seen(text: str) -> None:
    found = device(text)
    assert redact(found, "cannot log in as root, geheim") == "cannot log in as root, ***"
    assert "geheim" not in repr(found)


def test_a_script_that_finds_the_password_is_no_secret() -> None:
    assert device("fence:fence_apc password_script=/etc/pw").secrets == ()


METADATA = """<?xml version="1.0" ?>
<parameters>
	<parameter name="ip" unique="0" required="1" obsoletes="ipaddr">
	<parameter unique="0" name='ipaddr' deprecated="1"><parameter name="plug"/><parameter name="power_timeout"/>
"""


@pytest.mark.parametrize(("options", "metadata", "said"), [
    ("ip=10.0.0.%n power-timeout=3", METADATA, ""),
    ("ipaddr=pdu", METADATA, ""),
    ("ip=pdu port=%p geheim=geheim", METADATA, "it does not know port, geheim, and would ignore that"),
    ("ip=pdu", METADATA.replace("plug", "nodename"), "it does not know plug"),
    ("ip=pdu nodename=%n", METADATA, "it does not know nodename"),
    ("ip=10.0.0.5", f"{METADATA}<parameter name='port_as_ip'>", "ignores plug without port_as_ip=1"),
    ("ip=10.0.0.%n plug=%p", f"{METADATA}<parameter name='port_as_ip'>", ""),
    ("port_as_ip=1 plug=10.0.0.%n", f"{METADATA}<parameter name='port_as_ip'>", ""),
    ("whatever=%n", "no parameters are told", ""),
])
def test_what_an_agent_would_ignore_is_found_in_its_metadata(options: str, metadata: str, said: str) -> None:
    found = device(f"fence:fence_apc {options}")
    assert isinstance(found, FenceAgent)
    ignored = found.ignored(metadata)
    assert ignored.startswith(said) if said[:2] == "it" else said in ignored
    assert bool(said) is bool(ignored)
    assert "=geheim" not in ignored
