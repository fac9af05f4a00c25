"""``mosha voters``: what the voters are, another set of them, and an operator's word where they cannot go on alone.

An order is a small file beside the voter's marker; the agent carries it out at its next beat and removes it. Exit
codes: 0 done, 1 it cannot be, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

from mosha import status
from mosha.config import Config
from mosha.ownership.voter import ORDER
from mosha.platform import linux, openmosix
from mosha.platform.store import LocalStore
from mosha.timing import ELECT_LIMIT_S

TAKEN_LIMIT_S = 10.0
LOOK_EVERY_S = 0.1


def add_to(commands: Any) -> None:
    """The command for :mod:`mosha.cli`."""
    parser = commands.add_parser("voters", help="show the voters; add or remove one, found an era, forget a disk")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_show)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    action = actions.add_parser(
        "found", help="let this node's voter, which recovers, found an era although voters are missing for good",
    )
    action.add_argument("--without", type=int, nargs="+", required=True, metavar="NODE",
                        help="voters that are gone; they forget all when they come back. Be sure that they do not run")
    action.set_defaults(command=_found)
    for name, about in ("add", "give this node a vote"), ("remove", "take this node's vote"):
        action = actions.add_parser(name, help=f"{about}; one at a time, the groups run on")
        action.add_argument("node", type=int, metavar="NODE")
        action.set_defaults(command=_elect, adds=name == "add")
    action = actions.add_parser("forget", help="this node's disk was restored from a backup: its voter recovers")
    action.set_defaults(command=_forget)


def _show(settings: Config, options: argparse.Namespace) -> int:
    try:
        page = status.read(settings.var, linux.boottime(), openmosix.boot_id())
    except status.NotRunning as error:
        print(f"mosha: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({name: page[name] for name in ("node", "era", "quorum", "voters", "electorate")}))
        return 0
    print(f"{'VOTER':<7}{'STATE':<12}{'ERA':<22}")
    for voter in page["voters"]:
        print(f"{voter['id']:<7}{voter['state']:<12}{voter['era'] or '-':<22}".rstrip())
    chosen = page["electorate"]["voters"]
    print(f"\nseen from node {page['node']} ({'quorum' if page['quorum'] else 'NO QUORUM'}): "
          f"{len(chosen) // 2 + 1} of {len(chosen)} are needed")
    if page["electorate"]["before"]:
        print(f"the voters are becoming {_list(chosen)}; until then {_list(page['electorate']['before'])} count too")
    elif not page["electorate"]["settled"]:
        print("not settled yet: what was known before is being copied" + (
            ", and until they have met neither of two goes on alone" if len(chosen) == 2 else ""
        ))
    return 0


def _list(voters: list[int]) -> str:
    return ", ".join(map(str, voters))


def _elect(settings: Config, options: argparse.Namespace) -> int:
    """Add or remove one: the wish is for a whole set, so that a second order meanwhile is noticed."""
    try:
        page = status.read(settings.var, linux.boottime(), openmosix.boot_id())
        voters = set(page["electorate"]["voters"])
        if (options.node in voters) == options.adds:
            print(f"node {options.node} {'votes already' if options.adds else 'has no vote'}")
            return 0
        wanted = sorted(voters ^ {options.node})
        name = f"{time.time_ns()}"
        if _order(settings, {"do": "elect", "voters": wanted, "name": name}, quiet=True):
            return 1
        deadline = time.monotonic() + ELECT_LIMIT_S + TAKEN_LIMIT_S
        while time.monotonic() < deadline:
            answer = status.read(settings.var, linux.boottime(), openmosix.boot_id())["electorate"]["answer"]
            if answer[:1] == [name]:
                return _tell(wanted, answer[1])
            time.sleep(LOOK_EVERY_S)
    except status.NotRunning as error:
        print(f"mosha: {error}", file=sys.stderr)
        return 1
    print("mosha: the agent has not answered; see mosha voters, and its log", file=sys.stderr)
    return 1


def _tell(wanted: list[int], problem: str) -> int:
    if problem:
        print(f"mosha: {problem}", file=sys.stderr)
        return 1
    print(f"decided: the voters will be {_list(wanted)}; mosha voters shows how far they are")
    if len(wanted) == 2:
        print("two voters are both needed: the death of either stops every group")
    return 0


def _found(settings: Config, options: argparse.Namespace) -> int:
    return _order(settings, {"do": "found", "without": sorted(set(options.without))})


def _forget(settings: Config, _: argparse.Namespace) -> int:
    return _order(settings, {"do": "forget"})


def _order(settings: Config, order: dict[str, Any], quiet: bool = False) -> int:
    store = LocalStore(settings.var)
    store.replace(ORDER, json.dumps(order).encode(), durable=True)
    deadline = time.monotonic() + TAKEN_LIMIT_S
    while store.read(ORDER, 0) is not None:
        if time.monotonic() >= deadline:
            print("mosha: no agent has taken the order; the next one on this node will", file=sys.stderr)
            return 1
        time.sleep(LOOK_EVERY_S)
    if not quiet:
        print("taken; what came of it: mosha voters, and the agent's log")
    return 0
