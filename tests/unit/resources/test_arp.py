from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from mosha.resources import arp

MAC = bytes.fromhex("020000000001")
ADDRESS = IPv4Address("10.0.0.200")


def test_an_announcement_has_the_bytes_of_rfc_826() -> None:
    assert arp.packet(arp.REQUEST, MAC, ADDRESS, arp.NOBODY, ADDRESS).hex() == (
        "ffffffffffff" "020000000001" "0806"
        "0001" "0800" "06" "04" "0001"
        "020000000001" "0a0000c8" "000000000000" "0a0000c8"
    )


def test_who_sent_a_packet() -> None:
    assert arp.sender(arp.packet(arp.REPLY, MAC, ADDRESS, arp.BROADCAST, ADDRESS)) == (MAC, ADDRESS)


@pytest.mark.parametrize("damage", [slice(14, 16), slice(16, 18), slice(18, 19), slice(30, None)])
def test_what_is_no_arp_for_ipv4_says_nothing(damage: slice) -> None:
    frame = bytearray(arp.packet(arp.REQUEST, MAC, ADDRESS, arp.NOBODY, ADDRESS))
    frame[damage] = b"" if damage.stop is None else bytes(damage.stop - damage.start)
    assert arp.sender(bytes(frame)) is None
