"""``mosha ip`` on a real kernel: two network namespaces with an Ethernet between them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from mosha.resources import ip
from mosha.resources.arp import sender
from tests.unit.clinit.leashed import Agent
from tests.unit.resources.network import ADDRESS, DEVICE, SNIFFER, Namespace, connect, wait_until

QUICK = ("--valid", "1", "--every", "0.2")


@pytest.fixture
def sides() -> Iterator[tuple[Namespace, Namespace]]:
    here, there = Namespace(), Namespace()
    try:
        connect(here, there)
        yield here, there
    finally:
        here.close()
        there.close()


def end(process: subprocess.Popen[str], signo: int = signal.SIGINT) -> tuple[int, str]:
    """Its exit status and what it said."""
    process.send_signal(signo)
    said = process.communicate(timeout=10)[1]
    return process.returncode, said


def test_the_address_is_up_while_it_runs(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    resource = here.ip_resource("--valid", "2", "--every", "0.3")
    info = wait_until(lambda: here.addresses().get(ADDRESS))
    assert info["label"] == ip.label_of("kv", DEVICE)
    assert 0 < info["valid_life_time"] <= 2
    begin = time.monotonic()
    wait_until(lambda: ADDRESS not in here.addresses() or time.monotonic() > begin + 3)
    assert ADDRESS in here.addresses(), "it was renewed beyond its first lifetime"
    assert end(resource) == (0, "")
    assert ADDRESS not in here.addresses()


def test_it_is_announced_as_request_and_as_reply(sides: tuple[Namespace, Namespace]) -> None:
    here, there = sides
    sniffer = there.popen(sys.executable, "-c", SNIFFER, DEVICE)
    assert sniffer.stdout is not None
    assert sniffer.stdout.readline() == "ready\n"
    resource = here.ip_resource()
    announced: dict[int, bytes] = {}
    while set(announced) != {1, 2}:
        frame = bytes.fromhex(sniffer.stdout.readline())
        found = sender(frame)
        if found is not None and str(found[1]) == ADDRESS:
            assert frame[:6] == b"\xff" * 6
            assert frame[38:42] == found[1].packed, "target and sender are the same address"
            announced[frame[21]] = found[0]
    (link,) = json.loads(here.run("ip", "-json", "link", "show", DEVICE))
    assert {mac.hex(":") for mac in announced.values()} == {link["address"]}
    assert end(resource, signal.SIGTERM) == (0, "")


def test_a_killed_one_leaves_an_address_that_ends_by_itself(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    resource = here.ip_resource(*QUICK)
    wait_until(lambda: ADDRESS in here.addresses())
    end(resource, signal.SIGKILL)
    wait_until(lambda: ADDRESS not in here.addresses(), 3)


@pytest.mark.parametrize("group", ["kv", None])
def test_what_a_killed_one_left_can_be_taken_away(
    sides: tuple[Namespace, Namespace], group: str | None
) -> None:
    here, _ = sides
    resource = here.ip_resource("--valid", "600", "--every", "1")
    wait_until(lambda: ADDRESS in here.addresses())
    end(resource, signal.SIGKILL)
    for name in ("other", group):
        assert ADDRESS in here.addresses()
        here.run(sys.executable, "-c", f"from mosha.resources import ip; ip.remove_left({name!r})")
    assert list(here.addresses()) == ["10.99.0.1"]


@pytest.mark.parametrize("end_of", ["leash", "agent"])
def test_when_a_leash_kills_the_address_is_gone_before_the_leash(
    sides: tuple[Namespace, Namespace], end_of: str
) -> None:
    here, _ = sides
    agent = Agent(*here.enter)
    try:
        code = "import sys; from mosha.resources.ip import main; sys.exit(main(sys.argv[1:]))"
        resource = f"exec {sys.executable} -c '{code}' {ADDRESS}/24 --dev {DEVICE} --valid 600"
        agent.start().tell("start", f"ip:start:respawn:PYTHONPATH={':'.join(sys.path)} {resource}")
        wait_until(lambda: ADDRESS in here.addresses())
        if end_of == "leash":
            agent.do("kill")
            agent.wait("gone")
            assert ADDRESS not in here.addresses()
        else:
            agent.process.kill()
            wait_until(lambda: ADDRESS not in here.addresses(), 3)
    finally:
        agent.end()


def test_an_address_that_somebody_else_has_is_waited_for(sides: tuple[Namespace, Namespace]) -> None:
    here, there = sides
    there.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", DEVICE)
    resource = here.ip_resource(*QUICK)
    assert resource.stderr is not None
    assert f"{ADDRESS} is still held by " in resource.stderr.readline()
    assert ADDRESS not in here.addresses()
    there.run("ip", "addr", "del", f"{ADDRESS}/24", "dev", DEVICE)
    wait_until(lambda: ADDRESS in here.addresses())
    assert end(resource)[0] == 0


def test_waiting_ends_with_a_signal(sides: tuple[Namespace, Namespace]) -> None:
    here, there = sides
    there.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", DEVICE)
    resource = here.ip_resource(*QUICK)
    assert resource.stderr is not None
    resource.stderr.readline()
    assert end(resource, signal.SIGTERM)[0] == 0
    assert ADDRESS not in here.addresses()


def test_one_that_slept_beyond_the_lifetime_does_not_take_the_address_back(
    sides: tuple[Namespace, Namespace],
) -> None:
    here, _ = sides
    resource = here.ip_resource(*QUICK)
    wait_until(lambda: ADDRESS in here.addresses())
    resource.send_signal(signal.SIGSTOP)
    wait_until(lambda: ADDRESS not in here.addresses())
    resource.send_signal(signal.SIGCONT)
    said = resource.communicate(timeout=10)[1]
    assert "not renewed within its lifetime of 1 s" in said
    assert resource.returncode == 1
    assert ADDRESS not in here.addresses()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["10.0.0.300/24"], "ADDRESS/PREFIX"),
        (["10.0.0.1/24", "--valid", "0"], "at least 1 second"),
        (["10.0.0.1/24", "--valid", "2", "--every", "1.5"], "at most half"),
        (["10.0.0.1/24", "--every", "0"], "more than 0"),
    ],
)
def test_bad_arguments_are_told(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ip.main(arguments)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_missing_device_is_told(sides: tuple[Namespace, Namespace]) -> None:
    resource = sides[0].ip_resource("--dev", "none0")
    assert resource.communicate(timeout=10)[1] == "mosha ip: [Errno 19] none0: No such device\n"
    assert resource.returncode == 1


def test_a_label_names_the_group_where_there_is_room() -> None:
    assert ip.label_of("kv", "eth0") == ip.label_of("kv", "eth0") != ip.label_of("web", "eth0")
    assert len(ip.label_of("kv", "enp0s31f6")) == 15
    assert ip.label_of("kv", "enx0011223344") == ""
    assert ip.label_of("", "eth0") == ""
