"""Rule 17 of :mod:`moslab.history.checkers`: nobody is shot for what several cannot end."""

from __future__ import annotations

from mosha.timing import FORGET_S, STUCK_S
from moslab.history.record import SEEN_LEASES, Gone, History


def check_shots(history: History) -> list[str]:
    """Rule 17."""
    problems = []
    for time_s, node in history.shots:
        seen = [one for one in history.gone if _is_seen(history, one, time_s)]
        own = {one.group for one in seen if one.node == node and one.gone_s >= time_s}
        if not own or not _is_well(history, min(one.end_s for one in seen), time_s):
            continue
        stuck = {one.node for one in seen}
        voters = next(one.voters for one in reversed(history.electorates) if one.time_s <= time_s)
        are_most = any(2 * len(stuck.intersection(all_)) > len(all_) for all_ in (range(1, history.nodes + 1), voters))
        if own <= {one.group for one in seen if one.node != node}:
            problems.append(f"shots: node {node} at {time_s:.4f}, and others were stuck with {', '.join(sorted(own))}")
        elif len(stuck) > 1 and are_most:
            problems.append(f"shots: node {node} at {time_s:.4f}, and nodes {sorted(stuck)} were stuck with something")
    return problems


def _is_seen(history: History, one: Gone, time_s: float) -> bool:
    """Whether all know by then that its node is or was stuck with it."""
    until_s = min(one.gone_s, time_s)
    return until_s > max(one.end_s + STUCK_S + SEEN_LEASES * history.lease_s, time_s - FORGET_S)


def _is_well(history: History, since_s: float, until_s: float) -> bool:
    """Whether nothing was broken meanwhile, and all nodes but those that were shot could reach the voters."""
    shot = {node for time_s, node in history.shots if since_s <= time_s <= until_s}
    return not any(begin <= until_s and since_s <= end for begin, end, _ in history.hampered) and all(
        any(begin <= since_s and until_s <= end for begin, end in spans)
        for pair, spans in history.contacts.items() if not shot.intersection(pair)
    )
