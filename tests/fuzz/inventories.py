"""The inventory of real machines: the packet filter and ssh can be told of it, or an error says what is wrong."""

from __future__ import annotations

import ipaddress
from pathlib import Path

from moslab.hosts.inventory import InventoryError, parse
from moslab.hosts.link import ssh
from tests.fuzz.target import Target


def check_inventory(data: bytes) -> None:
    try:
        inventory = parse(data.decode("utf-8", "replace"), Path("/lab"))
    except InventoryError as error:
        assert str(error)
        return
    assert list(inventory.numbers) == sorted({*inventory.numbers})
    for machine in inventory.machines:
        ipaddress.IPv4Address(machine.address)
        assert not ssh(machine)[-1].startswith("-")
        assert all(isinstance(word, str) for word in machine.power(machine.off))
    assert all(" = " in line for line in inventory.conf(stomith=True).splitlines())


GOOD = """\
[every]
off = "fence %n"
on = "fence %a"
[mosha]
stomith = "fence"
[[machine]]
number = 1
address = "10.0.0.1"
[[machine]]
number = 2
address = "10.0.0.2"
ssh = "lab2"
port = 2222
cut = false
"""
SEEDS = (GOOD.encode(), b"machine = [1]\n", b'[every]\nnumber = 1\naddress = "1.1.1.1"\n[[machine]]\n[[machine]]\n')
WORDS = (b"[every]", b"[mosha]", b"[[machine]]", b"number = ", b"address = ", b'"10.0.0.1"', b'ssh = "-x"', b"off = ",
         b"\"'", b"\\n", b"-1", b"[]", b"{}", b"true", b"1e9")
TARGETS = (Target("inventory", check_inventory, SEEDS, WORDS, share=0.1),)
