"""``mosha ip`` on a real kernel: two network namespaces with an Ethernet between them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from mosha.platform import linux
from mosha.resources import deadline, ip, records
from mosha.resources.addresses import HeldAddress
from mosha.resources.arp import sender
from mosha.resources.records import RUN_VARIABLE
from tests.unit.clinit.leashed import Agent
from tests.unit.resources.network import ADDRESS, DEVICE, SNIFFER, Namespace, connect, wait_until

QUICK = ("--valid", "1")
LAG_S = 2.0                      # of a kernel that looks at lifetimes once a second, and of this test


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


def held(here: Namespace, group: str | None = None) -> list[HeldAddress]:
    return records.contents(here.rundir, HeldAddress, group)


def test_the_address_is_up_while_it_runs(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    resource = here.ip_resource("--valid", "2")
    info = wait_until(lambda: here.addresses().get(ADDRESS))
    assert 0 < info["valid_life_time"] <= 2
    assert [(one.group, one.address, one.prefix, one.device) for one in held(here)] == [("kv", ADDRESS, 24, DEVICE)]
    begin = time.monotonic()
    wait_until(lambda: ADDRESS not in here.addresses() or time.monotonic() > begin + 3)
    assert ADDRESS in here.addresses(), "it was renewed beyond its first lifetime"
    assert end(resource) == (0, "")
    assert ADDRESS not in here.addresses()
    assert not held(here)


def leased(here: Namespace, lease_s: float) -> tuple[str, dict[str, str]]:
    """A file as a leash shows its deadline in, and how a command is told of it."""
    file = deadline.place(here.rundir, "kv")
    deadline.put(file, linux.boottime() + lease_s)
    return file, {deadline.VARIABLE: file}


def test_the_lifetime_is_what_is_left_of_the_lease(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    file, environment = leased(here, 30.9)
    resource = here.ip_resource("--valid", "600", **environment)
    info = wait_until(lambda: here.addresses().get(ADDRESS))
    assert 15 < info["valid_life_time"] <= 30
    deadline.put(file, linux.boottime() + 600.9)
    wait_until(lambda: here.addresses()[ADDRESS]["valid_life_time"] > 60)
    assert here.addresses()[ADDRESS]["valid_life_time"] <= 600
    assert end(resource) == (0, "")


def test_it_goes_at_the_deadline_whatever_the_kernel_does(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    _, environment = leased(here, 4.0)
    resource = here.ip_resource(**environment)
    wait_until(lambda: ADDRESS in here.addresses())
    said = resource.communicate(timeout=10)[1]
    assert f"{ADDRESS} may not be here any more" in said
    assert resource.returncode == 1
    assert ADDRESS not in here.addresses()
    assert not held(here)


def test_when_all_else_stands_still_the_kernel_ends_it_about_then(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    file, environment = leased(here, 2.3)
    ends_s = deadline.read(file)
    resource = here.ip_resource(**environment)
    wait_until(lambda: ADDRESS in here.addresses())
    resource.send_signal(signal.SIGSTOP)
    wait_until(lambda: ADDRESS not in here.addresses())
    assert linux.boottime() < ends_s + LAG_S
    resource.send_signal(signal.SIGCONT)
    assert resource.wait(10) == 1


def test_one_that_stood_still_takes_the_address_back_while_the_lease_goes_on(
    sides: tuple[Namespace, Namespace],
) -> None:
    here, _ = sides
    file, environment = leased(here, 4.0)
    resource = here.ip_resource(**environment)
    wait_until(lambda: ADDRESS in here.addresses())
    resource.send_signal(signal.SIGSTOP)
    deadline.put(file, linux.boottime() + 600.0)
    wait_until(lambda: ADDRESS not in here.addresses())
    resource.send_signal(signal.SIGCONT)
    wait_until(lambda: ADDRESS in here.addresses())
    assert end(resource) == (0, "")


def test_a_lease_that_cannot_be_read_gives_no_address(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    resource = here.ip_resource(**{deadline.VARIABLE: "/nowhere/kv"})
    assert "/nowhere/kv" in resource.communicate(timeout=10)[1]
    assert (resource.returncode, ADDRESS in here.addresses(), held(here)) == (1, False, [])


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
    wait_until(lambda: ADDRESS not in here.addresses())


def take_away(here: Namespace, group: str | None) -> bool:
    """In the network namespace of that side."""
    call = f"addresses.remove_left({group!r}, {here.rundir!r})"
    code = f"import sys; from mosha.resources import addresses; sys.exit({call})"
    return subprocess.run([*here.enter, sys.executable, "-c", code], check=False).returncode == 1


@pytest.mark.parametrize("group", ["kv", None])
@pytest.mark.parametrize("name", [DEVICE, "enx0011223344aa"])
def test_what_a_killed_one_left_can_be_taken_away(
    sides: tuple[Namespace, Namespace], group: str | None, name: str
) -> None:
    """Also where the device was given another, long name meanwhile."""
    here, _ = sides
    resource = here.ip_resource("--valid", "600")
    wait_until(lambda: ADDRESS in here.addresses())
    end(resource, signal.SIGKILL)
    if name != DEVICE:
        here.run("ip", "link", "set", DEVICE, "down")
        here.run("ip", "link", "set", DEVICE, "name", name, "up")
    assert take_away(here, "other")
    assert ADDRESS in here.addresses(name)
    assert take_away(here, group)
    assert list(here.addresses(name)) == ["10.99.0.1"]
    assert not held(here)


def test_the_address_of_one_that_does_not_die_is_taken_away_and_is_not_forgotten(
    sides: tuple[Namespace, Namespace],
) -> None:
    here, _ = sides
    resource = here.ip_resource("--valid", "600")
    wait_until(lambda: ADDRESS in here.addresses())
    resource.send_signal(signal.SIGSTOP)
    assert not take_away(here, "kv")
    assert ADDRESS not in here.addresses()
    assert len(held(here)) == 1
    end(resource, signal.SIGKILL)
    assert take_away(here, "kv")
    assert not held(here)


def test_the_next_one_of_the_group_takes_over_what_a_killed_one_left(sides: tuple[Namespace, Namespace]) -> None:
    here, _ = sides
    first = here.ip_resource("--valid", "600")
    wait_until(lambda: ADDRESS in here.addresses())
    end(first, signal.SIGKILL)
    second = here.ip_resource("--valid", "900")
    wait_until(lambda: here.addresses()[ADDRESS]["valid_life_time"] > 600)
    third = here.ip_resource()
    assert third.communicate(timeout=10)[1] == f"mosha ip: another process holds {ADDRESS}\n"
    assert end(second) == (0, "")
    assert ADDRESS not in here.addresses()


@pytest.mark.parametrize("whose", ["of another group", "by hand"])
def test_an_address_that_is_here_already_is_left_alone(sides: tuple[Namespace, Namespace], whose: str) -> None:
    here, _ = sides
    if whose == "by hand":
        here.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", DEVICE)
    else:
        here.ip_resource(group="web")
        wait_until(lambda: ADDRESS in here.addresses())
    resource = here.ip_resource()
    assert resource.communicate(timeout=10)[1] == f"mosha ip: {ADDRESS} is on this machine already\n"
    assert resource.returncode == 1
    assert ADDRESS in here.addresses()


@pytest.mark.parametrize("end_of", ["leash", "agent"])
def test_when_a_leash_kills_the_address_is_gone_before_the_leash(
    sides: tuple[Namespace, Namespace], end_of: str
) -> None:
    here, _ = sides
    agent = Agent(*here.enter, **{RUN_VARIABLE: here.rundir})
    try:
        code = "import sys; from mosha.resources.ip import main; sys.exit(main(sys.argv[1:]))"
        resource = f"exec {sys.executable} -c '{code}' {ADDRESS}/24 --dev {DEVICE}"
        agent.start().tell("start", f"ip:start:respawn:PYTHONPATH={':'.join(sys.path)} {resource}")
        info = wait_until(lambda: here.addresses().get(ADDRESS))
        assert 30 < info["valid_life_time"] <= 60, "it has the lease of the leash"
        if end_of == "leash":
            agent.do("kill")
            agent.wait("gone")
            assert ADDRESS not in here.addresses()
        else:
            agent.process.kill()
            wait_until(lambda: ADDRESS not in here.addresses())
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
    assert f"{ADDRESS} may not be here any more" in said
    assert resource.returncode == 1
    assert ADDRESS not in here.addresses()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["10.0.0.300/24"], "ADDRESS/PREFIX"),
        (["10.0.0.1/24", "--valid", "0"], "at least 1 second"),
        (["fd00::1/64"], "only IPv4"),
    ],
)
def test_bad_arguments_are_told(arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ip.main(arguments)
    assert caught.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_missing_device_is_told(sides: tuple[Namespace, Namespace]) -> None:
    resource = sides[0].ip_resource("--dev", "none0")
    assert resource.communicate(timeout=10)[1] == "mosha ip: none0: No such device\n"
    assert resource.returncode == 1
