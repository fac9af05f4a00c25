from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from emulator.boot import BootError, bind_boot_id, mac_of, neighbour_commands, not_fresh
from tests.unit.hpc.loopback import may_mount

ROOT = Path(__file__).parents[3]


def in_namespaces(script: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """Run a shell script, as root, in new namespaces; all in them is gone afterwards."""
    may_mount()
    return subprocess.run(
        ["unshare", *flags, "sh", "-ec", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
    )


def test_every_node_computes_the_same_mac_addresses() -> None:
    assert mac_of("172.18.0.101") == "02:6d:ac:12:00:65"
    assert neighbour_commands("10.0.0.2", ["10.0.0.1", "10.0.0.2", "10.0.0.33"]).splitlines() == [
        "link set dev eth0 address 02:6d:0a:00:00:02",
        "neighbour replace 10.0.0.1 lladdr 02:6d:0a:00:00:01 dev eth0 nud permanent",
        "neighbour replace 10.0.0.33 lladdr 02:6d:0a:00:00:21 dev eth0 nud permanent",
    ]


NETWORK = """
    ip link add eth0 type veth peer name other
    ip address add 10.77.0.1/16 dev eth0
    ip link set eth0 up
    hostname boot-test
    echo 10.77.0.1 boot-test > {folder}/hosts
    mount --bind {folder}/hosts /etc/hosts
    echo 1 10.77.0.1 {count} > {folder}/map
    OPENMOSIX_MAP={folder}/map $PYTHON -c 'from emulator.boot import fix_neighbours; fix_neighbours()'
    ip -o link show eth0 | sed 's,.*link/ether \\([^ ]*\\) .*,\\1,'
    ip neighbour show nud permanent | sort -V
"""


@pytest.mark.parametrize("count", [32, 40])
def test_a_large_map_gets_permanent_neighbours(tmp_path: Path, count: int) -> None:
    script = NETWORK.format(folder=tmp_path, count=count)
    done = in_namespaces(script, "--net", "--mount", "--uts", "--propagation", "private")
    assert done.returncode == 0, done.stderr
    address, *neighbours = done.stdout.splitlines()
    if count == 32:
        assert not address.startswith("02:6d")
        assert neighbours == []
    else:
        assert address == "02:6d:0a:4d:00:01"
        assert len(neighbours) == 39
        assert neighbours[0].strip() == "10.77.0.2 dev eth0 lladdr 02:6d:0a:4d:00:02 PERMANENT"


def test_each_boot_has_an_id_of_its_own() -> None:
    script = """
        mount -t tmpfs none /run
        cat /proc/sys/kernel/random/boot_id
        for boot in 1 2; do
            $PYTHON -c 'from emulator.boot import bind_boot_id; print(bind_boot_id())'
            cat /proc/sys/kernel/random/boot_id
            umount /proc/sys/kernel/random/boot_id
        done
    """
    done = in_namespaces(script, "--mount", "--propagation", "private")
    assert done.returncode == 0, done.stderr
    machine, first, bound_first, second, bound_second = done.stdout.split()
    assert (first, second) == (bound_first, bound_second)
    assert len({machine, first, second}) == 3
    assert len(first) == 36


def test_a_boot_id_that_cannot_be_bound_ends_the_boot(tmp_path: Path) -> None:
    with pytest.raises(BootError, match=r"cannot bind .*boot_id over /none/here: No such file or directory"):
        bind_boot_id(str(tmp_path), "/none/here")
    with pytest.raises(BootError, match=r"cannot write .*/absent/boot_id: No such file or directory"):
        bind_boot_id(str(tmp_path / "absent"), "/none/here")


def test_what_is_no_tmpfs_is_named() -> None:
    assert not_fresh("none /run tmpfs rw 0 0\nshm /dev/shm tmpfs rw 0 0\n") == []
    assert not_fresh("none /run tmpfs rw 0 0\n/dev/sda /run ext4 rw 0 0\n") == ["/run", "/dev/shm"]
