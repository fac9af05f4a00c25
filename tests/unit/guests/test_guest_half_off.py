"""A node that switches off while a guest is there, or a process away. (Nodes of its own: no ``shared`` beside them.)"""

from __future__ import annotations

import errno
import os

import pytest

from tests.unit.guests.pair import LONG_S, Pair, tool, wait_until
from tests.unit.hpc.loopback import NETWORK, refused


@pytest.mark.parametrize("which", [0, 1])
def test_half_off(patient: Pair, which: int) -> None:
    """As observed: its own node number, and no nodes; dead to the others."""
    node, other = patient.nodes[which], patient.nodes[1 - which]
    with patient.away("sleep", "60") as process, tool(node, "setpe", "-off") as off:
        wait_until(lambda: os.listdir(node.path("nodes")) == [])
        assert node.read("admin/mospe") == f"{node.number}\n"
        assert node.tool("mosctl", "status") == (0, "", "Node #(null) is not configured\n")
        wait_until(lambda: other.read(f"nodes/{node.number}/status") == "1\n")
        assert refused(lambda: node.write("admin/mospe", b"0\n")) == errno.EBUSY
        assert node.tool("mosrun", f"-{other.number}", "true")[2] == "Migration Failed: No such device or address\n"
        assert other.tool("mosrun", f"-{node.number}", "true")[2] == "Migration Failed: Network is unreachable\n"
        assert (patient.where(process), off.poll()) == (2, None)
        process.terminate()
        assert off.wait(LONG_S) == 0
    assert node.read("admin/mospe") == "0\n"
    node.configure(f"1 {NETWORK}.1 3\n")
    assert other.comes_to_read(f"nodes/{node.number}/status", "3\n")
    assert patient.mosrun("-2", "echo", "again") == (0, "again\n", "")
