"""Bounds; and a node that switches off while a guest is there, or a process away. No ``shared`` nodes beside these."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from emulator.guests import frames
from emulator.guests.frames import Caller, Kind
from emulator.mfs.pace import GENUINE, QUICK
from tests.unit.guests.pair import LONG_S, Pair, tool, wait_until
from tests.unit.guests.test_guest_door import JOB, ask, door
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


def test_there_is_room_for_so_many(patient: Pair) -> None:
    full = (1, "", "Migration Failed: Resource temporarily unavailable\n")
    with patient.away("sleep", "60"), patient.away("sleep", "60"):
        assert patient.mosrun("-2", "true") == full, "at home"
        assert patient.mosrun("-2", "-F", "echo", "at home") == (0, "at home\n", "")
        with door(patient, patient.home.address) as (sock, challenged):
            sock.sendall(ask(challenged))
            assert len(sock.recv(1000)) > 40, "granted"
            caller = Caller(1, "h", 9, 9, 9, 0, 0, [], 0, [], {})
            sock.sendall(b"".join(frames.frame(Kind.START, 0, frames.pack_start(caller, JOB))))
            refusal = frames.parse(memoryview(sock.recv(16, socket.MSG_WAITALL)))
            assert (refusal.kind, refusal.number) == (Kind.REFUSED, errno.EAGAIN), "there"
    patient.no_guests()
    assert patient.mosrun("-2", "true") == (0, "", "")


def test_silence_is_as_long_as_the_time_says() -> None:
    """330 s: keepalive after 150 s, then six times 30 s; observed: 320 to 330 s."""
    assert (QUICK.silence_s, GENUINE.silence_s) == (3.0, 330.0)
    assert QUICK.keepalive_s(10.0) == 0
    silent = (1.0, 150.0, 150.1, 180.0, 181.0, 299.0)
    assert [GENUINE.keepalive_s(silent_s) for silent_s in silent] == [150.0, 150.0, 180.0, 180.0, 210.0, 300.0]
