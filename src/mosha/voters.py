"""``mosha voters``: what the voters are, another set of them, the era of a new cluster, and an operator's word.

Rules:

1. An order is for the agent that runs: :mod:`mosha.ordering`.
2. What no agent runs for is done at once, under the agent's lock: an installer's era, and a restored disk that forgets.
   The disk of another machine (``--root``) has no agent here.
3. Exit codes: 0 done, 1 it cannot be, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
from contextlib import closing
from math import ceil
from typing import Any

from mosha import arguments, status
from mosha.agent import STATE
from mosha.config import OPENMOSIX, Config
from mosha.lives import AlreadyRuns, Life
from mosha.ordering import Refused, give, page
from mosha.ownership import marker
from mosha.ownership.disk_paxos import DISPUTED
from mosha.ownership.marker import NONE
from mosha.ownership.voter import FOUNDED, FOUNDED_BYTES_MAX, NO_VOTE, installation, installed
from mosha.platform import linux, platforms
from mosha.platform.store import LocalStore
from mosha.timing import ELECT_LIMIT_S

DAY_S = 86400.0                      # an era is installed within a day: it is for new disks, and used once
INSTALLER = """For an installer, before any agent of a new cluster has started:

  era=$(mosha voters era)                       once, anywhere
  mosha voters install "$era" 1 2 3             on every node, or with --root DIR for each disk: the same voters

The cluster then starts as soon as a majority of voters is there. Without this it waits until all voters are there that
`voters` in the configuration names, and founds an era by itself; where that names none, until an operator says so
(found). A disk that is replaced later gets none: its voter recovers by itself."""


def add_to(commands: Any) -> None:
    """The command for :mod:`mosha.cli`."""
    parser = commands.add_parser(
        "voters", help="show the voters; add or remove one, found an era, forget a disk", epilog=INSTALLER,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(command=run, action=_show)
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    action = actions.add_parser(
        "found", help="let this node's voter, which recovers, found an era: nobody has named voters, or some are gone",
    )
    action.add_argument("--without", type=arguments.node, nargs="+", default=[], metavar="NODE",
                        help="voters that are gone; they forget all when they come back. Be sure that they do not run")
    action.add_argument("--confirm-off", action="store_true",
                        help="of two voters: I have seen for myself that the other one is switched off, it stays so "
                        "until the file `voter` is removed from its disk, and no other nodes were given votes while "
                        "this one was away. This node's voter forgets, and founds an era alone")
    action.set_defaults(action=_found)
    for name, about in ("add", "give this node a vote"), ("remove", "take this node's vote"):
        action = actions.add_parser(name, help=f"{about}; one at a time, the groups run on")
        action.add_argument("node", type=arguments.node, metavar="NODE")
        action.set_defaults(action=_elect, adds=name == "add")
    action = actions.add_parser("forget", help="this node's disk was restored from a backup: its voter recovers")
    action.set_defaults(action=_forget)
    action = actions.add_parser("era", help="print a new era, in which the disks of a new cluster begin")
    action.set_defaults(action=_era)
    action = actions.add_parser("install", help="let this empty disk begin in that era")
    action.add_argument("era", metavar="ERA", type=_checked_era, help="from `mosha voters era`, the same on all nodes")
    action.add_argument("voters", metavar="VOTER", type=int, nargs="+", help="who votes, the same on all nodes")
    action.add_argument("--root", metavar="DIR", help="where the node's disk is mounted (default: /)")
    action.add_argument("--replace", action="store_true",
                        help="also where another era, or other voters, were installed: no agent has begun from these")
    action.set_defaults(action=_install)


def run(settings: Config, options: argparse.Namespace) -> int:
    """One action; the exit code."""
    try:
        options.action(settings, options)
    except (status.NotRunning, AlreadyRuns, Refused) as error:
        print(f"mosha: {error}", file=sys.stderr)
        return 1
    return 0


def new_era() -> str:
    """An era for the disks of a new cluster: the same for all of them."""
    return marker.make_era(int(time.time()), secrets.token_hex(4))


def _show(settings: Config, options: argparse.Namespace) -> None:
    shown = page(settings)
    next_at = shown["electorate"].pop("next_at", 0.0)
    wait_s = shown["electorate"]["wait_s"] = None if next_at is None else max(0, ceil(next_at - linux.boottime()))
    if options.json:
        print(json.dumps({name: shown[name] for name in ("node", "era", "quorum", "voters", "electorate")}))
        return
    print(f"{'VOTER':<7}{'STATE':<12}{'ERA':<22}")
    for voter in shown["voters"]:
        print(f"{voter['id']:<7}{voter['state']:<12}{voter['era'] or '-':<22}".rstrip())
    chosen = shown["electorate"]["voters"]
    print(f"\nseen from node {shown['node']} ({'quorum' if shown['quorum'] else 'NO QUORUM'}): "
          f"{len(chosen) // 2 + 1} of {len(chosen)} are needed")
    print(_limits(settings, chosen), end="")
    if shown["electorate"].get("disputed"):
        print(f"nothing runs: {DISPUTED}")
    if shown["electorate"]["before"]:
        print(f"the voters are becoming {_list(chosen)}; until then {_list(shown['electorate']['before'])} count too")
    elif not shown["electorate"]["settled"]:
        print("not settled yet: what was known before is being copied" + (
            ", and until they have met neither of two goes on alone" if len(chosen) == 2 else ""
        ))
    if wait_s != 0:
        until = "until that is settled" if wait_s is None else f"for another {wait_s} s"
        print(f"no other change of the voters {until}")


def _limits(settings: Config, voters: list[int]) -> str:
    """What two cannot survive, in a line; nothing of others."""
    if len(voters) != 2:
        return ""
    if settings.stomith:
        return "of two voters one goes on when it has shot the other; after both were off both are needed\n"
    return "two voters are both needed: the death of either stops every group\n"


def _list(voters: list[int]) -> str:
    return ", ".join(map(str, voters))


def _elect(settings: Config, options: argparse.Namespace) -> None:
    """Add or remove one: the wish is for a whole set, so that a second order meanwhile is noticed."""
    voters = set(page(settings)["electorate"]["voters"])
    if (options.node in voters) == options.adds:
        print(f"node {options.node} {'votes already' if options.adds else 'has no vote'}")
        return
    wanted = sorted(voters ^ {options.node})
    _order(settings, takes_s=ELECT_LIMIT_S, do="elect", voters=wanted)
    print(f"decided: the voters will be {_list(wanted)}; mosha voters shows how far they are")
    print(_limits(settings, wanted), end="")


def _found(settings: Config, options: argparse.Namespace) -> None:
    gone = sorted(set(options.without))
    if options.confirm_off:
        _go_alone(settings, gone)
        return
    _order(settings, do="found", without=gone)
    whom = f"without {_list(gone)} when all others are" if gone else "when all voters are"
    print(f"accepted: an era is founded {whom} there; mosha voters shows it")


def _go_alone(settings: Config, off: list[int]) -> None:
    """Raises Refused also where a node answers that is said to be off; the agent refuses where its files do."""
    up = [node for node in off if _is_up(settings, node)]
    if up:
        raise Refused(f"node {up[0]} answers: it is not off")
    _order(settings, do="found", without=off, are_off=True)
    print(f"accepted, as you confirm that node {_list(off)} is off: this voter forgets, and founds an era alone if "
          f"nothing is heard of node {_list(off)} meanwhile; mosha voters shows it. Before that node is switched on "
          f"again, remove {settings.var / marker.NAME} from its disk")


def _is_up(settings: Config, node: int) -> bool:
    """Whether the node answers a probe."""
    try:
        return platforms.of(settings).probe(node)
    except OSError:
        return False


def _forget(settings: Config, _: argparse.Namespace) -> None:
    """By the agent, or for one that does not run: its disk must not count before it has begun."""
    try:
        life = Life(settings.rundir)
    except AlreadyRuns:
        _order(settings, do="forget")
    else:
        _forget_now(LocalStore(settings.var))
        life.close()
    print("accepted: this voter recovers; mosha voters shows it")


def _forget_now(store: LocalStore) -> None:
    found = marker.decode(store.read(marker.NAME, marker.BYTES_MAX) or b"")
    if found is None:
        raise Refused("nothing to forget: this disk has no marker of a voter")
    if found.state == NONE:
        raise Refused(NO_VOTE)
    store.replace(marker.NAME, marker.encode(marker.forgotten(found, secrets.token_hex(16))), durable=True)


def _order(settings: Config, takes_s: float = 0.0, **order: Any) -> None:
    """Rule 1. Raises Refused with the agent's reason, NotRunning."""
    def answer(shown: dict[str, Any], name: str) -> str | None:
        found: list[str] = shown["electorate"]["answer"]
        return found[1] if found[:1] == [name] else None

    problem = give(settings, answer, takes_s, **order)
    if problem:
        raise Refused(problem)


def _era(_: Config, __: argparse.Namespace) -> None:
    print(new_era())


def _checked_era(text: str) -> str:
    if not marker.is_era(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no era ({marker.ERA_FORM}); `mosha voters era` makes one")
    return text


def _install(settings: Config, options: argparse.Namespace) -> None:
    """Only on a disk that no agent has had: a voter that has counted something must never begin empty in its era."""
    if options.root is not None:
        if settings.platform != OPENMOSIX:
            raise Refused(f"--root is for the disk of a node; here the nodes share {settings.shared}")
        if not os.path.isdir(options.root):
            raise Refused(f"no directory: {options.root}")
        settings = settings._replace(root=options.root)
    age_s = time.time() - marker.number_of(options.era)
    if abs(age_s) > DAY_S:
        raise Refused(
            f"{options.era} was made {abs(age_s) / DAY_S:.0f} days {'ago' if age_s > 0 else 'from now'}, by this "
            "machine's clock. For a new cluster make a new one; a disk that was replaced needs none, its voter recovers"
        )
    content = installation(options.era, options.voters)
    try:
        installed(content)
    except ValueError as error:
        raise Refused(str(error)) from None
    if options.root is not None:
        _install_now(settings, content, options.replace)
    else:
        with closing(Life(settings.rundir)):
            _install_now(settings, content, options.replace)
    print(f"{settings.var / FOUNDED}: {content}")


def _install_now(settings: Config, content: str, replaces: bool) -> None:
    store = LocalStore(settings.var)
    used = sorted({marker.NAME, STATE}.intersection(store.list()))
    if used:
        raise Refused(
            f"{settings.var / used[0]} is there: an agent has run with this disk. "
            "For a cluster that begins anew the directory must be empty, on all nodes"
        )
    before = (store.read(FOUNDED, FOUNDED_BYTES_MAX) or b"").decode("ascii", "replace").strip()
    if before not in ("", content) and not replaces:
        raise Refused(
            f"{settings.var / FOUNDED} is there already: {before}. Nodes that began from that, and others from "
            f"{content}, would be two clusters: install on all nodes anew, with --replace, if no agent has begun on any"
        )
    store.replace(FOUNDED, f"{content}\n".encode(), durable=True)
    if before not in ("", content):
        print(f"replaced: {before}")
