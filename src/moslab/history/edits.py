"""Rule 5 of :mod:`moslab.history.checkers`: no edit of a table is lost, and none goes back."""

from __future__ import annotations

from moslab.history.record import HEARD_LEASES, Held, History, Numbered


def check_edits(history: History) -> list[str]:
    """Rule 5."""
    problems = [
        f"edits: version {back.before} of {back.table} on node {back.node} became {back.number} at {back.time_s:.4f}"
        for back in history.went_back
    ]
    problems += [
        f"edits: node {numbered.node} gave a number to {numbered.edits} of {numbered.table} at {numbered.time_s:.4f}, "
        f"and a majority had had {held.number} in force since {held.time_s:.4f}"
        for numbered in history.numbered for held in history.held if _is_outdated(history, numbered, held)
    ]
    held = {(held.table, held.number) for held in history.held}
    for edit in history.edits if history.final else ():
        one, final = (edit.table, edit.number), history.final[edit.table]
        there = sum(1 for edits in final if edit.number in edits)
        if there <= (len(final) // 2 if one in held else 0) and one not in history.aside | history.lost:
            problems.append(
                f"edits: edit {edit.number} of {edit.table}, made on node {edit.node} at {edit.time_s:.4f}, is lost; "
                f"the nodes end with {final}"
            )
    return problems


def _is_outdated(history: History, numbered: Numbered, held: Held) -> bool:
    """Whether that was held for so long, and what got a number was made of something from before it. Of what was in
    conflict with it somebody may make the next version, and settle that."""
    table = [one for one in history.numbered if one.table == numbered.table]
    if held.table != numbered.table or held.number in numbered.edits or (held.table, held.number) in history.lost:
        return False
    made_of = max((set(one.edits) for one in table if set(one.edits) < set(numbered.edits)), key=len, default=set())
    first: set[int] = next((set(one.edits) for one in table if held.number in one.edits), set())
    return made_of <= first and held.time_s < numbered.time_s - HEARD_LEASES * history.lease_s
