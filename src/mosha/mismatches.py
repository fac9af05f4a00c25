"""What cltab and hactl say that each may say alone, and nobody means: for ``mosha check``.

Nothing is refused for it: one table is edited before the other, and a level without entries stops everything.
"""

from __future__ import annotations

from collections.abc import Iterator

from mosha.monitor import PLAN, STOP
from mosha.tables.cltab import OFF, RESPAWN, Cltab
from mosha.tables.hactl import Hactl
from mosha.timing import STOP_LIMIT_S


def of(cltab: Cltab, hactl: Hactl) -> Iterator[str]:
    """One line for each."""
    for group, wanted in hactl.items():
        entries = cltab.group(group)
        if wanted.level == STOP:
            continue
        if not entries:
            yield f"group {group}: hactl wants {wanted.level}, and cltab has no entry of it: nothing would run"
        elif not any(entry.at(wanted.level) and entry.mode != OFF for entry in entries):
            yield f"group {group}: hactl wants {wanted.level}, and cltab has no entry at that level: nothing would run"
    for entry in cltab.entries:
        if entry.mode == RESPAWN and entry.at(STOP):
            yield (f"{entry.tag}: a {RESPAWN} at level {STOP} keeps group {entry.group} on its node until it is "
                   f"stopped after {cltab.policy.stop_limit_s:g} s")
        if entry.mode != OFF and entry.at(PLAN):
            yield f"{entry.tag}: agents of today start nothing at level {PLAN}"
    grace_s = cltab.policy.stop[-1][0]
    if grace_s > STOP_LIMIT_S:
        yield (f"setting stop: KILL comes after {grace_s:g} s, and an agent that ends kills what still lives after "
               f"{STOP_LIMIT_S:g} s")
