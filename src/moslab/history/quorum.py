"""Rule 2 of :mod:`moslab.history.checkers`: who runs something has been in contact with a majority of voters."""

from __future__ import annotations

from collections.abc import Sequence

from moslab.history.record import Elected, History
from moslab.history.thaws import by_stop, by_thaw

KILL_S = 0.02                    # from a deadline to the last instruction of what is killed


def check_quorum(history: History) -> list[str]:
    """Rule 2. Where nobody saw who votes and who was in contact, as in containers, there is nothing to judge."""
    if not history.electorates:
        return []
    patience_s = history.lease_s / (1 - history.drift) + KILL_S
    spans: dict[int, dict[int, Sequence[tuple[float, float]]]] = {}
    for (node, voter), found in sorted(history.contacts.items()):
        spans.setdefault(node, {})[voter] = found
    in_force = [(chosen, _superseded_s(history, chosen)) for chosen in history.electorates]
    problems = []
    for interval in history.intervals:
        if interval.node in history.elders:
            continue                                 # it has a quorum of its own
        voters = spans.get(interval.node, {})
        news = [*(begin for found in voters.values() for begin, _ in found), *(chosen.time_s for chosen, _ in in_force)]
        begins = [moment for moment in news if interval.begin_s < moment < interval.end_s]
        for moment in [*begins, min(interval.end_s, history.end_s)]:
            last = max(_last_majority(voters, chosen, until_s, moment) for chosen, until_s in in_force)
            is_forgiven = any(by(history, moment, moment, interval) for by in (by_thaw, by_stop))
            if moment - last > patience_s and not is_forgiven:
                problems.append(
                    f"quorum: {interval.group} runs on node {interval.node} at {moment:.4f}, which has had no majority "
                    f"since {last:.4f}"
                )
                break
    return problems


def _superseded_s(history: History, chosen: Elected) -> float:
    """When nothing counts under these voters any more: the next but one of their era is decided only after that."""
    later = (one.time_s for one in history.electorates if one.era == chosen.era and one.number >= chosen.number + 2)
    return min(later, default=float("inf"))


def _last_majority(
    spans: dict[int, Sequence[tuple[float, float]]], chosen: Elected, until_s: float, moment: float
) -> float:
    """When there was contact with a majority of these last, before ``moment`` and while they were in force."""
    lasts = sorted((_last_contact(spans.get(voter, ()), min(moment, until_s)) for voter in chosen.voters), reverse=True)
    last = lasts[len(lasts) // 2] if lasts else chosen.time_s        # of nobody there is no majority
    return last if last > chosen.time_s else float("-inf")


def _last_contact(spans: Sequence[tuple[float, float]], moment: float) -> float:
    """The last time before ``moment`` at which there was contact."""
    return max((min(end, moment) for begin, end in spans if begin < moment), default=float("-inf"))
