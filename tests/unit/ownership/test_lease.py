"""The lease of an identity: R5."""

from __future__ import annotations

import pytest

from mosha.ownership.lease import Lease

L = 2.5


def leased(quorum: int = 2) -> Lease:
    lease = Lease(quorum, L)
    lease.writes(10.0)
    return lease


def test_there_is_none_before_a_quorum_has_counted() -> None:
    lease = leased()
    assert not lease.is_valid(10.1)
    assert not lease.is_void(10.1)
    lease.counted(10.1, 1, 10.0)
    lease.counted(10.1, 1, 10.05)
    assert lease.end is None
    assert not lease.is_valid(10.1)
    lease.counted(10.2, 2, 10.0)
    assert lease.end == 10.0 + L
    assert lease.is_valid(10.2)


def test_a_quorum_of_one() -> None:
    lease = leased(1)
    lease.counted(10.1, 7, 10.0)
    assert lease.end == 10.0 + L


def test_it_lasts_from_the_issue_of_the_qth_latest_write() -> None:
    lease = leased()
    for now, voter, began, end in [
        (10.1, 1, 10.0, None), (10.1, 2, 10.0, 12.5), (10.6, 3, 10.5, 12.5), (10.7, 3, 10.6, 12.5),
        (10.9, 1, 10.5, 13.0),
    ]:
        lease.counted(now, voter, began)
        assert lease.end == end


def test_a_late_completion_counts_for_its_own_write_only() -> None:
    lease = leased()
    for now, voter, began in [(10.1, 1, 10.0), (10.1, 2, 10.0), (11.1, 1, 11.0), (11.6, 1, 11.5)]:
        lease.counted(now, voter, began)
    lease.counted(12.0, 2, 10.5)
    assert lease.end == 10.5 + L
    lease.counted(12.1, 2, 10.2)
    assert lease.end == 10.5 + L, "never shorter"


def test_a_completion_at_its_end_is_too_late() -> None:
    lease = leased()
    lease.counted(10.1, 1, 10.0)
    lease.counted(10.1, 2, 10.0)
    lease.counted(12.5, 1, 12.4)
    lease.counted(12.5, 2, 12.4)
    assert lease.end == 12.5
    assert lease.is_void(12.5)
    assert not lease.is_valid(12.5)


def test_once_void_it_is_void_for_ever() -> None:
    lease = leased()
    assert lease.is_void(12.5)
    lease.counted(12.4, 1, 12.3)
    lease.counted(12.4, 2, 12.3)
    assert lease.is_void(12.4)
    assert lease.end is None


@pytest.mark.parametrize(("at", "comes"), [(12.49, True), (12.5, False)])
def test_the_first_one_must_come_within_l_of_the_first_write(at: float, comes: bool) -> None:
    lease = leased()
    lease.writes(12.4)
    lease.counted(at, 1, 12.4)
    lease.counted(at, 2, 12.4)
    assert lease.is_valid(at) is comes


def test_what_wrote_nothing_has_nothing_to_lose() -> None:
    assert not Lease(1, L).is_void(1e9)
