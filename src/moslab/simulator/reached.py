"""What a whole run reached, read off its history: that it happened, not that its plan could have had it."""

from __future__ import annotations

from collections.abc import Iterator

from mosha.timing import F
from moslab.history.checkers import is_released
from moslab.history.intervals import Interval, merged
from moslab.history.record import History
from moslab.simulator.draw import MANY
from moslab.simulator.installed import uneven
from moslab.simulator.run import Result

LATE_LEASES = 2                  # beyond expiry: who waits for longer was held back
NAMES = (
    "takeover", "takeover under one voter", "takeover among ten nodes and more", "groups run where nobody had founded",
    "an arbitrator's vote was needed",
    "fenced group was held back from an expired owner", "fenced group waits at the end",
    "group waited for one that it requires", "nothing is promised but safety",
)


def reached(result: Result) -> dict[str, int]:
    """How often each of :data:`NAMES`, and what of uneven clusters was met by a group that ran."""
    plan, history = result.plan, result.history
    services = sorted(history.services(), key=lambda one: one.begin_s)
    owners = {(i.group, i.node) for i in services}
    takeovers = len(owners) - len({group for group, _ in owners})
    needed = _needed(history, services, {*plan.voters()}, {*plan.arbitrators})
    counts = (
        takeovers, takeovers * (len(plan.voters()) == 1), takeovers * (plan.nodes >= MANY[0]),
        len(services) * (not plan.founded), needed, _held_back(history, services),
        len(history.waiting), _waited(history, services), int(not history.promised),
    )
    return {
        **dict(zip(NAMES, counts)), **{name: count * bool(services) for name, count in uneven(plan).items()},
    }


def _needed(history: History, services: list[Interval], voters: set[int], arbitrators: set[int]) -> int:
    """How many processes ran for longer than a lease out of contact with a majority of voters but for arbitrators."""
    def has(one: Interval, voter: int) -> bool:
        end_s, spans = min(one.end_s, history.end_s), history.contacts.get((one.node, voter), ())
        return any(begin < end_s and end_s - history.lease_s <= end for begin, end in spans)

    if not arbitrators or len(voters) == 1:
        return 0
    lasting = [one for one in services if min(one.end_s, history.end_s) - one.begin_s > history.lease_s]
    return sum(1 for one in lasting if sum(has(one, voter) for voter in voters - arbitrators) <= len(voters) // 2)


def _changes(services: list[Interval]) -> Iterator[tuple[Interval, Interval]]:
    """Of each group the last process on a node, and the first on the next."""
    before: dict[str, Interval] = {}
    for one in services:
        last = before.get(one.group)
        if last is not None and last.node != one.node:
            yield last, one
        before[one.group] = one


def _held_back(history: History, services: list[Interval]) -> int:
    """How often a fenced group was not started anew though the lease of its last owner was over for long."""
    late_s = (F + LATE_LEASES) * history.lease_s
    return sum(
        1 for last, after in _changes(services)
        if last.group in history.fenced and after.begin_s - last.end_s > late_s
        and not is_released(history, last, after.begin_s)
    )


def _waited(history: History, services: list[Interval]) -> int:
    """How often a group began only when one that it requires had begun, of two that were both away before."""
    groups = {one.group for one in services}
    spans = {group: merged([one for one in services if one.group == group]) for group in groups}
    count = 0
    for group, others in history.requires.items():
        for (_, before_s), (begin_s, _) in zip([(0.0, 0.0), *spans.get(group, [])], spans.get(group, [])):
            first = [begin for other in others for begin, _ in spans.get(other, []) if before_s < begin <= begin_s]
            count += bool(first)
    return count
