"""What must hold of every history. Each checker returns what is wrong, in sentences; they know nothing but the history.

Rules:

1. **overlap**: no two nodes run processes of one group at once, tests ahead of the token aside. After the thaw of a
   whole frozen node its processes may execute for the instant that its guardians need; that is measured, and more than
   ``THAW_S`` is wrong. Where its clocks had stood still nothing on that node tells that its lease is over, but voters
   do within ``stop_s``, if it has contact with all of them meanwhile and nothing is broken there; else it has ended at
   the latest one lease after the last voter that knows better has counted something once (2 and 3 bear that too).
   No two nodes have one address of a group at once: that is the same.
2. **quorum**: no process runs on a node that, for longer than a lease, has not been in contact with a majority of
   voters, counted for each voter by itself; nor does one on a node of which no contact is known. Where the voters
   change, contact with a majority of a set counts from when that was decided until the next but one is (ownership.md,
   R20): one that goes on alone is all that there is for everybody from then on, and for nobody before.
3. **epochs**: from one start to the next the token of a group only grows, and no two nodes ever have the same one.
   Nothing but a test runs without one.
4. **released**: when a node says that it gave a group up, no process of it is there, not even a dying one.
5. **edits**: what a node gives the number of a version to has all edits that a majority had in force two leases before
   it began to write that, or settles a conflict with them; no number goes back. At the end each edit is in force, on a
   majority if it ever was so there, or lies aside: not yet taken up, or kept as one that yielded. One that was only on
   disks that were lost is excused.
6. **liveness**: within the bound after the heal every wanted group runs, and it does so at the end; a fenced one may
   wait for a node that was not healed, where nobody can confirm that it is dead, and with it those that require it.
   Nothing is promised where the healed nodes do not agree on who votes.
7. **leak**: the agent's directory does not grow beyond its bound.
8. **crash**: no agent ends by an error of its own.
9. **lives**: when a node says that an earlier life of it is dead nothing that it ran before its present life is there,
   not even a dying process, but of groups that it has by a later decision; a test ahead of a move belongs to no life.
10. **journals**: what was once written into a journal is never overwritten by something else.
11. **fenced**: a fenced group starts on another node only when the node before has given it up, was shot, or has said
    that the life which had it is dead; in another era also when most voters of the one before had forgotten, or were
    given up.
12. **order**: a group starts on a node only if each group that it requires ran somewhere shortly before: what others
    are seen to do may be as old as ``SEEN_LEASES``.
13. **rest**: a healed cluster comes to rest within the bound: for ``rest_s`` before the end no identity of a healed
    node becomes void, and no group starts on another healed node than before, unless its own commands fail or crash.
    What the tables ask for, as a failback, is done by then.
14. **leashes**: no two guardians of one node hold processes of one group at once.
15. **elders**: no agent of today starts a group that one of 2003 on a node in sight has had for a while. What they
    promise each other is no more (docs/upgrading.md): overlaps with a node of 2003 are borne, and it has no quorum,
    token or identity. Among agents of today all is as ever.
16. **linear**: what clients wrote to a register that a group serves, and read there, fits one order: what was
    acknowledged survives whatever happens to its owner (:mod:`moslab.history.linear`).
17. **shots**: where nothing is broken but that killed processes stay, a node is not shot for groups with which others
    were stuck as well, nor while those that were stuck with anything are several, and most of the nodes or voters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Callable

from moslab.history.edits import check_edits
from moslab.history.intervals import EPSILON_S, Interval, Overlap, merged, overlaps
from moslab.history.linear import check_linear
from moslab.history.quorum import check_quorum
from moslab.history.record import SEEN_LEASES, History
from moslab.history.shots import check_shots
from moslab.history.thaws import by_stop, by_thaw

PROBLEMS_MAX = 20
SIGHT_S = 10.0                   # in which an agent of today sees what one of 2003 has: misses, and a slow answer

VALID, INVALID, UNKNOWN = "valid", "invalid", "unknown"


def token(epoch: str) -> tuple[int, ...]:
    """The numbers of a fencing token, to be compared: era, then epoch, or an epoch alone."""
    return tuple(int(number) for number in re.findall(r"\d+", epoch))


def thaw_overlap_s(history: History) -> float:
    """The longest overlap that the thaw of a frozen node has caused."""
    return max(
        (o.duration_s for o in _overlaps(history) if by_thaw(history, o.begin_s, o.end_s, o.first, o.second)),
        default=0.0,
    )


def _overlaps(history: History) -> list[Overlap]:
    return [*overlaps(history.owned()), *overlaps(history.addresses)]


def check_overlap(history: History) -> list[str]:
    """Rule 1."""
    return [
        f"overlap: {found}" for found in _overlaps(history)
        if not any(by(history, found.begin_s, found.end_s, found.first, found.second) for by in (by_thaw, by_stop))
    ]


def check_epochs(history: History) -> list[str]:
    """Rule 3."""
    highest: dict[str, Interval] = {}
    started: set[int] = set()
    problems = []
    for interval in sorted(history.owned(), key=lambda i: (i.begin_s, i.pid)):
        if interval.pid in started:
            continue                                 # it went on after a thaw
        started.add(interval.pid)
        if not interval.epoch:
            problems.append(f"epochs: {interval.group} has none on node {interval.node} at {interval.begin_s:.4f}")
            continue
        before = highest.setdefault(interval.group, interval)
        old, new = token(before.epoch), token(interval.epoch)
        if new < old and by_stop(history, interval.begin_s, interval.begin_s, interval):
            continue
        if new < old:
            problems.append(
                f"epochs: {interval.group} started on node {interval.node} with {interval.epoch} at "
                f"{interval.begin_s:.4f}, after {before.epoch} on node {before.node}"
            )
        elif new == old and interval.node != before.node:
            problems.append(f"epochs: {interval.group} has {new} on nodes {before.node} and {interval.node}")
        else:
            highest[interval.group] = interval
    return problems


def check_released(history: History) -> list[str]:
    """Rule 4."""
    lives = [(g.group, g.node, g.epoch, g.gone_s) for g in history.gone if g.epoch]
    lives += [(i.group, i.node, i.epoch, i.end_s) for i in history.owned()]
    begins = {(i.group, i.node, i.epoch): i.begin_s for i in reversed(history.owned())}
    return [
        f"released: {said.group} given up by node {said.node} at {said.time_s:.4f} in epoch {said.epoch}, "
        f"a process was there until {gone_s:.4f}"
        for said in history.released
        for group, node, epoch, gone_s in lives
        if (group, node) == (said.group, said.node) and token(epoch) <= token(said.epoch)
        and gone_s > said.time_s + EPSILON_S and begins.get((group, node, epoch), 0.0) <= said.time_s
    ]


def check_liveness(history: History) -> list[str]:
    """Rule 6."""
    if history.healed_s is None or history.unfinished or not history.promised:
        return []
    problems = []
    for group in history.wanted:
        if group in history.idle():
            continue
        spans = merged([i for i in history.services() if i.group == group])
        if not spans or spans[-1][1] < history.end_s:
            problems.append(
                f"liveness: {group} does not run at {history.end_s:.1f}, {history.end_s - history.healed_s:.1f} s "
                f"after the heal; it last ran until {spans[-1][1] if spans else 0.0:.4f}"
            )
        elif spans[-1][0] > history.healed_s + history.bound_s:
            problems.append(f"liveness: {group} ran only {spans[-1][0] - history.healed_s:.1f} s after the heal")
    return problems


def check_leak(history: History) -> list[str]:
    """Rule 7."""
    return [
        f"leak: {count} files in the directory of node {node}, more than {history.files_max}"
        for node, count in sorted(history.files.items()) if history.files_max and count > history.files_max
    ] + [
        f"leak: {count} bytes of journals on the voter of node {node}, more than {history.journal_bytes_max}"
        for node, count in sorted(history.journal_bytes.items())
        if history.journal_bytes_max and count > history.journal_bytes_max
    ]


def check_crash(history: History) -> list[str]:
    """Rule 8."""
    return [f"crash: the agent of node {node} at {time_s:.4f}: {text}" for time_s, node, text in history.crashes]


def check_lives(history: History) -> list[str]:
    """Rule 9."""
    problems = []
    for said in history.buried:
        begun = [life.time_s for life in history.lives if life.node == said.node and life.time_s <= said.time_s]
        since_s = max(begun, default=said.time_s)
        ends = [(i.group, i.end_s) for i in history.owned() if i.node == said.node and i.begin_s < since_s]
        ends += [(g.group, g.gone_s) for g in history.gone if g.node == said.node and g.end_s < since_s and g.epoch]
        problems += [
            f"lives: node {said.node} says at {said.time_s:.4f} that its life before is dead, a process of {group} "
            f"from then was there until {end_s:.4f}"
            for group, end_s in ends if end_s > said.time_s + EPSILON_S and group not in said.kept
        ]
    return problems


def check_journals(history: History) -> list[str]:
    """Rule 10."""
    return [
        f"journals: {found.name} on voter {found.voter} is overwritten at {found.time_s:.4f}"
        for found in history.overwritten
    ]


def check_fenced(history: History) -> list[str]:
    """Rule 11."""
    before: dict[str, Interval] = {}
    problems = []
    for interval in sorted(history.owned(), key=lambda one: one.begin_s):
        if interval.group not in history.fenced:
            continue
        last = before.get(interval.group)
        if last is None or last.epoch != interval.epoch:
            before[interval.group] = interval
        if last is None or last.node == interval.node or _is_forgotten(history, last, interval):
            continue
        if not _is_over(history, last, interval.begin_s):
            problems.append(
                f"fenced: {interval.group} starts on node {interval.node} with {interval.epoch} at "
                f"{interval.begin_s:.4f}, and node {last.node}, which had it with {last.epoch}, may go on"
            )
    return problems


def _is_forgotten(history: History, owner: Interval, after: Interval) -> bool:
    """Whether the other era was founded since fewer than a majority knew what was decided in that of the owner."""
    era, *_ = token(owner.epoch)
    lost = {node for time_s, node in history.forgot if time_s < after.begin_s}
    return token(after.epoch)[0] != era and any(
        2 * len({*chosen.voters} - lost) <= len(chosen.voters) for chosen in history.electorates if chosen.era == era
    )


def is_released(history: History, owner: Interval, until_s: float) -> bool:
    """Whether it was said by then that the owner, which began with this, had given the group up."""
    return any(
        (said.group, said.node) == (owner.group, owner.node) and token(said.epoch) >= token(owner.epoch)
        and said.time_s <= until_s for said in history.released
    )


def _is_over(history: History, owner: Interval, until_s: float) -> bool:
    """Whether it is sure by then that it has ended."""
    ends = [*history.shots, *(said[:2] for said in history.buried if owner.group not in said.kept)]
    return is_released(history, owner, until_s) or any(
        node == owner.node and owner.begin_s < time_s <= until_s for time_s, node in ends
    )


def check_order(history: History) -> list[str]:
    """Rule 12."""
    services, seen_s = history.services(), SEEN_LEASES * history.lease_s
    starts: dict[tuple[str, int, str], float] = {}
    first: dict[int, str] = {}                       # guardian -> the token with which the group came to it
    for i in services:
        leash = history.leashes.get(i.pid)
        start = i.group, i.node, i.epoch if leash is None else first.setdefault(leash, i.epoch)
        starts[start] = min(i.begin_s, starts.get(start, i.begin_s))
    return [
        f"order: {group} starts on node {node} with {epoch} at {begin_s:.4f}, and {other}, which it requires, is not up"
        for (group, node, epoch), begin_s in sorted(starts.items()) for other in history.requires.get(group, ())
        if not any(i.group == other and i.begin_s < begin_s < i.end_s + seen_s for i in services)
    ]


def check_rest(history: History) -> list[str]:
    """Rule 13."""
    if history.healed_s is None or history.unfinished or not history.promised:
        return []
    since_s = history.end_s - history.rest_s
    problems = [
        f"rest: an identity of node {node} becomes void at {time_s:.4f}, {time_s - history.healed_s:.1f} s after "
        "the heal" for time_s, node in history.voids if time_s > since_s and node in history.healed
    ]
    before: dict[str, Interval] = {}
    for interval in sorted(history.services(), key=lambda one: one.begin_s):
        last = before.get(interval.group, interval)
        before[interval.group] = interval
        is_move = last.node != interval.node and {last.node, interval.node} <= {*history.healed}
        if is_move and interval.begin_s > since_s and interval.group not in history.restless:
            problems.append(
                f"rest: {interval.group} goes from node {last.node} to {interval.node} at {interval.begin_s:.4f}, "
                f"{interval.begin_s - history.healed_s:.1f} s after the heal"
            )
    return problems


def check_leashes(history: History) -> list[str]:
    """Rule 14."""
    by_leash: dict[tuple[str, int], dict[int, list[Interval]]] = {}
    for i in history.intervals:
        if i.pid in history.leashes:
            by_leash.setdefault((i.group, i.node), {}).setdefault(history.leashes[i.pid], []).append(i)
    problems = []
    for (group, node), found in by_leash.items():
        spans = sorted(span for one in found.values() for span in merged(one))
        problems += [
            f"leashes: two guardians hold {group} on node {node} at {begin_s:.4f}"
            for (_, end_s), (begin_s, _) in zip(spans, spans[1:]) if begin_s < end_s - EPSILON_S
        ]
    return problems


def check_elders(history: History) -> list[str]:
    """Rule 15."""
    problems = []
    theirs = [i for i in history.services() if i.node in history.elders]
    begun: set[tuple[str, int, str]] = set()
    for start in sorted(history.owned(), key=lambda one: one.begin_s) if theirs else ():
        if (start.group, start.node, start.epoch) in begun or start.pid in history.tests:
            continue
        begun.add((start.group, start.node, start.epoch))
        since_s = start.begin_s - SIGHT_S
        problems += [
            f"elders: {start.group} starts on node {start.node} at {start.begin_s:.4f}, and node {one.node}, of 2003 "
            f"and in sight, has had it since {one.begin_s:.4f}"
            for one in theirs if one.group == start.group and one.begin_s < since_s and start.begin_s < one.end_s
            and any(b <= since_s and start.begin_s <= e for b, e in history.contacts.get((start.node, one.node), ()))
        ]
    return problems


CHECKERS: tuple[Callable[[History], list[str]], ...] = (
    check_overlap, check_quorum, check_epochs, check_released, check_edits, check_liveness, check_leak, check_crash,
    check_lives, check_journals, check_fenced, check_order, check_rest, check_leashes, check_elders,
    check_shots,
)


SEEN: Mapping[str, Callable[[History], object]] = {
    "overlap": lambda history: history.intervals or history.addresses,
    "quorum": lambda history: history.electorates,
    "epochs": lambda history: history.intervals,
    "released": lambda history: history.released,
    "edits": lambda history: history.edits or history.numbered or history.final,
    "leak": lambda history: history.files or history.journal_bytes,
    "lives": lambda history: history.buried,
    "journals": lambda history: history.overwritten or history.journal_bytes,
    "fenced": lambda history: history.fenced,
    "order": lambda history: history.requires,
    "rest": lambda history: history.healed_s is not None,
    "leashes": lambda history: history.leashes,
    "elders": lambda history: history.elders,
    "shots": lambda history: history.shots,
    "linear": lambda history: history.registers,
}
"""What a rule is about. A crash is looked for always, and who heals waits for liveness."""


def unseen(history: History) -> str:
    """The rules of which nothing was seen, in a sentence: none happened, or nobody could see it; else empty."""
    found = [rule for rule, seen in SEEN.items() if not seen(history)]
    return f"nothing was seen of: {', '.join(found)}" if found else ""


def judge(history: History) -> tuple[str, list[str]]:
    """The verdict, and at most ``PROBLEMS_MAX`` problems of each checker.

    Unknown: nothing is wrong, but the run was cut short, nothing ever ran that should have, or clients saw too little.
    """
    problems = [problem for check in CHECKERS for problem in check(history)[:PROBLEMS_MAX]]
    broken, undecided = check_linear(history)
    if problems or broken:
        return INVALID, problems + broken[:PROBLEMS_MAX]
    if history.unfinished or undecided:
        return UNKNOWN, [*filter(None, [history.unfinished]), *undecided[:PROBLEMS_MAX]]
    if not history.intervals and history.promised:
        return UNKNOWN, ["no process of any group ever ran"]
    return VALID, []
