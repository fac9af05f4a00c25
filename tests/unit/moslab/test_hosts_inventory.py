"""The inventory of real machines."""

from __future__ import annotations

from pathlib import Path

import pytest

from moslab.errors import UnsupportedError
from moslab.hosts import install
from moslab.hosts.inventory import Inventory, InventoryError, parse, read
from moslab.scenario.hosts import can_be
from moslab.scenario.world import Spec

SOUND = """\
[every]
user = "lab"
key = "key"
off = "fence -a bmc%n -o off"
on = "fence -a bmc%n -o on"

[mosha]
mfsbase = "/mfs"
stomith = "fence_ipmilan -a bmc%n"
"stomith.2" = "fence_apc"
"plug.1" = "A1"
stomith_timeout = 5

[[machine]]
number = 2
address = "10.0.0.2"
port = 2222

[[machine]]
number = 1
address = "10.0.0.1"
ssh = "192.168.0.1"
user = "root"
cut = false
"""
TWO = '[[machine]]\nnumber = 1\naddress = "1.0.0.1"\n[[machine]]\nnumber = 2\naddress = "2.0.0.1"\n'


@pytest.fixture
def inventory(tmp_path: Path) -> Inventory:
    (tmp_path / "lab.toml").write_text(SOUND)
    return read(tmp_path / "lab.toml")


def test_what_every_machine_has_unless_it_says_otherwise(inventory: Inventory, tmp_path: Path) -> None:
    one, two = inventory.machines
    assert (one.number, one.user, one.ssh, one.port, one.cut) == (1, "root", "192.168.0.1", 22, False)
    assert (two.number, two.user, two.ssh, two.port, two.cut) == (2, "lab", "", 2222, True)
    assert one.key == two.key == str(tmp_path / "key")
    assert two.power(two.off) == ["fence", "-a", "bmc2", "-o", "off"]


def test_configuration_of_the_agents(inventory: Inventory) -> None:
    assert inventory.conf(stomith=False) == "mfsbase = /mfs\nstomith_timeout = 5\n"
    files = install.files(inventory, Spec(nodes=2), "r1", "era", {"cltab": "text"})
    conf, mode = files["mosha.conf"]
    assert "stomith.2 = fence_apc\nplug.1 = A1\n" in conf
    assert "varpath = /var/lib/moslab/r1/var\nrundir = /run/moslab/r1\nvoters = 1 2\n" in conf
    assert mode == 0o600                                     # it may have passwords
    assert files["var/cltab"] == ("text", 0o644)


@pytest.mark.parametrize(("text", "problem"), [
    ("nonsense", "Expected"),
    ("[machines]\n", "not machines"),
    ("machine = 3\n", r"\[\[machine\]\] are all"),
    ('[[machine]]\nnumber = 1\naddress = "1.0.0.1"\n', "2 to 64 machines, not 1"),
    (TWO.replace("number = 2", "number = 1"), "two machines have one number"),
    (TWO.replace("2.0.0.1", "1.0.0.1"), "two machines have one address"),
    (TWO.replace("2.0.0.1", "node2"), "an IPv4 address, not 'node2'"),
    (TWO.replace("number = 2", "number = -2"), "from 1 on, not -2"),
    (TWO + 'ssh = "-oProxyCommand=x"\n', "ssh: '-oProxyCommand=x'"),
    ("machine = [1, 2]\n", "are all that there is"),
    (TWO.replace("number = 2", 'number = "2"'), "number: int, not '2'"),
    (TWO.replace("number = 2", "size = 2"), "size: no machine has that"),
    (TWO.replace("number = 2\n", ""), "needs a number"),
    (TWO + 'off = "a"\n', "machine 2: off and on, or neither"),
    (TWO + "off = \"a 'b\"\non = \"c\"\n", "No closing quotation"),
    ('[mosha]\nvarpath = "/x"\n' + TWO, "varpath: that is the laboratory's"),
    ("[mosha]\nmfsbase = [1]\n" + TWO, "mfsbase: a text of one line"),
    ('[mosha]\nmfsbase = "a\\nb"\n' + TWO, "mfsbase: a text of one line"),
])
def test_what_is_wrong_is_said(text: str, problem: str) -> None:
    with pytest.raises(InventoryError, match=problem):
        parse(text, Path())


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match=r"none\.toml: No such file"):
        read(tmp_path / "none.toml")


def test_clusters_that_these_machines_never_make(inventory: Inventory) -> None:
    can_be(inventory, Spec(nodes=2))
    with pytest.raises(UnsupportedError, match="5 nodes: the inventory has 2"):
        can_be(inventory, Spec(nodes=5))
    with pytest.raises(UnsupportedError, match="Toxiproxy"):
        can_be(inventory, Spec(nodes=2, toxiproxy=True))
    with pytest.raises(UnsupportedError, match="shoot nodes"):
        can_be(parse(TWO, Path()), Spec(nodes=2))
    can_be(parse(TWO, Path()), Spec(nodes=2, stomith=False))
