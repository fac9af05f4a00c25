"""``mosha voters``: what the voters are, and an operator's word where they cannot go on alone.

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

TAKEN_LIMIT_S = 10.0
LOOK_EVERY_S = 0.1


def add_to(commands: Any) -> None:
    """The command for :mod:`mosha.cli`."""
    parser = commands.add_parser("voters", help="the voters as this node sees them; found an era, forget a disk")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=_show)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    action = actions.add_parser(
        "found", help="let this node's voter, which recovers, found an era although voters are missing for good",
    )
    action.add_argument("--without", type=int, nargs="+", required=True, metavar="NODE",
                        help="voters that are gone; they forget all when they come back. Be sure that they do not run")
    action.set_defaults(command=_found)
    action = actions.add_parser("forget", help="this node's disk was restored from a backup: its voter recovers")
    action.set_defaults(command=_forget)


def _show(settings: Config, options: argparse.Namespace) -> int:
    try:
        page = status.read(settings.var, linux.boottime(), openmosix.boot_id())
    except status.NotRunning as error:
        print(f"mosha: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({name: page[name] for name in ("node", "era", "quorum", "voters")}))
        return 0
    print(f"{'VOTER':<7}{'STATE':<12}{'ERA':<22}")
    for voter in page["voters"]:
        print(f"{voter['id']:<7}{voter['state']:<12}{voter['era'] or '-':<22}".rstrip())
    needed = len(page["voters"]) // 2 + 1
    print(f"\nseen from node {page['node']} ({'quorum' if page['quorum'] else 'NO QUORUM'}): "
          f"{needed} of {len(page['voters'])} are needed")
    return 0


def _found(settings: Config, options: argparse.Namespace) -> int:
    return _order(settings, {"do": "found", "without": sorted(set(options.without))})


def _forget(settings: Config, _: argparse.Namespace) -> int:
    return _order(settings, {"do": "forget"})


def _order(settings: Config, order: dict[str, Any]) -> int:
    store = LocalStore(settings.var)
    store.replace(ORDER, json.dumps(order).encode(), durable=True)
    deadline = time.monotonic() + TAKEN_LIMIT_S
    while store.read(ORDER, 0) is not None:
        if time.monotonic() >= deadline:
            print("mosha: no agent has taken the order; the next one on this node will", file=sys.stderr)
            return 1
        time.sleep(LOOK_EVERY_S)
    print("taken; what came of it: mosha voters, and the agent's log")
    return 0
