"""``mosha tell``, ``move``, ``drain``, ``maintenance``, ``clear``, ``why`` and ``history``: what operators want of the
agents.

Exit codes: 0 done, 1 it cannot be, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from contextlib import suppress
from typing import Any, Callable

from mosha import arguments, events, status
from mosha.aside import FILE_BYTES_MAX
from mosha.config import Config
from mosha.ordering import Refused, give, page, turn, wait
from mosha.orders import CLEAR, DRAIN, MOVE, UNDRAIN
from mosha.platform import plain
from mosha.platform.store import LocalStore
from mosha.replication import EDIT, GOOD, made
from mosha.tables import cltab, hactl
from mosha.tables.clstat import DONE, PASSED
from mosha.tables.errors import TableErrors
from mosha.tables.lines import NAME_RULE, is_name, listed, shown
from mosha.timing import MOVE_LIMIT_S, ORDER_LIMIT_S, STOP_LIMIT_S
from mosha.why import explain

COMMANDED = ".hactl.before"        # what a command replaced


def add_to(commands: Any) -> None:
    """The commands for :mod:`mosha.cli`."""
    told = commands.add_parser("tell", help="have a group go to a level, somewhere: hactl says so from then on")
    told.add_argument("group", metavar="GROUP")
    told.add_argument("level", metavar="LEVEL")
    told.set_defaults(command=run, action=_tell)
    move = commands.add_parser("move", help="move a group to a node, which tests it first; it stays there")
    move.add_argument("group", metavar="GROUP")
    move.add_argument("node", type=arguments.node, metavar="NODE")
    move.set_defaults(command=run, action=_move)
    drain = commands.add_parser(
        "drain", help="let a node give up its groups, but those in maintenance, and take none, until --off",
    )
    drain.add_argument("node", type=arguments.node, nargs="?", metavar="NODE", help="default: this one")
    drain.add_argument("--off", action="store_true", help="it may have groups again")
    drain.set_defaults(command=run, action=_drain)
    maintenance = commands.add_parser(
        "maintenance", help="leave groups alone: they run on, and nobody looks, starts, stops or moves them",
    )
    maintenance.add_argument("state", choices=("on", "off"), metavar="on|off")
    maintenance.add_argument("groups", nargs="*", metavar="GROUP", help="default: all that hactl names")
    maintenance.set_defaults(command=run, action=_maintenance)
    why = commands.add_parser("why", help="why a group runs where it runs, or why nowhere, node by node")
    why.add_argument("group", metavar="GROUP")
    why.set_defaults(command=run, action=_why)
    history = commands.add_parser("history", help="what this node saw: groups that moved and failed, nodes that died")
    history.add_argument("group", nargs="?", metavar="GROUP", help="of this group alone")
    history.add_argument("-n", type=arguments.count, default=events.EVENTS_MAX, metavar="COUNT",
                         help="the latest so many")
    history.add_argument("--json", action="store_true", help="for programs: one event a line")
    history.set_defaults(command=run, action=_history)
    clear = commands.add_parser("clear", help="forget failures: a node that failed a group may have it again")
    clear.add_argument("group", nargs="?", default="", metavar="GROUP", help="default: all groups")
    clear.set_defaults(command=run, action=_clear)


def run(settings: Config, options: argparse.Namespace) -> int:
    """One of them; the exit code."""
    try:
        options.action(settings, options)
    except (status.NotRunning, Refused) as error:
        print(f"mosha: {error}", file=sys.stderr)
        return 1
    return 0


def tell(settings: Config, group: str, level: str) -> None:
    """An edit of hactl, which is validated, replicated and shown like any other.

    Returns when the agent of this node has taken it up. Raises Refused, NotRunning, TableErrors, OSError.
    """
    for what, name in (("group", group), ("level", level)):
        if not is_name(name):
            raise Refused(f"bad {what} {shown(name)}: {NAME_RULE}")

    def changed(text: str, table: hactl.Hactl) -> str:
        _check_level(settings, table, group, level)
        return hactl.with_level(text, group, level)

    _edit(settings, changed)


def _check_level(settings: Config, table: hactl.Hactl, group: str, level: str) -> None:
    """That there is such a group, and that it has such a level: nothing of it would run, anywhere. Whatever cltab says
    it may be told to stop. Raises Refused."""
    known = _cltabs(settings)
    entries = [entry for one in known for entry in one.group(group)]
    if not entries and group not in table:
        names = listed(sorted(_named(settings))) or "none"
        raise Refused(f"no such group: {group}; neither cltab nor hactl names it; there are: {names}")
    if level == hactl.STOP or not known or any(entry.at(level) for entry in entries):
        return
    has = f"there are: {listed(cltab.levels_of(entries, hactl.STOP))}" if entries else "cltab has no entry of it"
    raise Refused(f"group {group} has no level {level}, so nothing of it would run; {has}")


def _cltabs(settings: Config) -> list[cltab.Cltab]:
    """What is in force here, and what was written to be; those that are right."""
    found = []
    for name in (f"cltab{GOOD}", "cltab"):
        with suppress(TableErrors, OSError):
            found += [cltab.parse(text) for text in [_text(settings, name)] if text]
    return found


def _named(settings: Config) -> set[str]:
    """The groups of cltab and hactl, as far as these are right."""
    groups = {name for one in _cltabs(settings) for name in one.groups()}
    with suppress(TableErrors, OSError):
        groups.update(hactl.parse(_text(settings, hactl.NAME)))
    return groups


def _tell(settings: Config, options: argparse.Namespace) -> None:
    tell(settings, options.group, options.level)
    print(f"{options.group} goes to level {options.level}: mosha why {options.group}")


def _move(settings: Config, options: argparse.Namespace) -> None:
    found = page(settings)
    group = _group(found, options.group)
    _check_node(found, options.node)
    if group["owner"] is None:
        raise Refused(f"{options.group} runs nowhere, so there is nothing to move; mosha why {options.group}")
    if group["owner"] == options.node:
        print(f"{options.group} is on node {options.node} already")
        return
    _give(settings, MOVE_LIMIT_S + STOP_LIMIT_S, do=MOVE, group=options.group, node=options.node)
    print(f"node {group['owner']} has given {options.group} up in favour of node {options.node}")

    def there(shown: dict[str, Any]) -> bool | None:
        now = _group(shown, options.group)
        is_up = now["state"] in (DONE, PASSED) and now["level"] == now["wanted"]
        return True if now["owner"] == options.node and is_up else None

    if not wait(settings, there, ORDER_LIMIT_S):
        raise Refused(f"it has not come up there within {ORDER_LIMIT_S:g} s: mosha why {options.group}")
    print(f"it runs on node {options.node}")


def _drain(settings: Config, options: argparse.Namespace) -> None:
    found = page(settings)
    node = options.node or found["node"]
    _check_node(found, node)
    _give(settings, ORDER_LIMIT_S, do=UNDRAIN if options.off else DRAIN, group="", node=node)
    if options.off:
        print(f"node {node} may have groups again; those that run elsewhere stay there")
        return

    def left(shown: dict[str, Any]) -> list[str] | None:
        has = [group for group in shown["groups"] if group["owner"] == node]
        return [group["name"] for group in has] if all(group["maintenance"] for group in has) else None

    stays = wait(settings, left, STOP_LIMIT_S + ORDER_LIMIT_S)
    if stays is None:
        raise Refused(f"node {node} takes no groups any more, and has not stopped its own: see its log")
    has = "has no group but what is in maintenance" if stays else "has no group"
    print(f"node {node} is drained: it {has}, and takes none until `mosha drain {node} --off`")
    if stays:
        print(f"left as they are until `mosha maintenance off {' '.join(stays)}`: {', '.join(stays)}")


def _maintenance(settings: Config, options: argparse.Namespace) -> None:
    """An edit of hactl, which is validated, replicated and shown like any other."""
    wanted, groups = options.state == "on", set(options.groups)

    def changed(text: str, table: hactl.Hactl) -> str:
        strangers = sorted(groups - set(table))
        if strangers:
            raise Refused(f"hactl names no group {', '.join(strangers)}")
        groups.update(() if groups else table)
        return hactl.edited(text, groups, hactl.MAINTENANCE, wanted)

    _edit(settings, changed)

    def told(shown: dict[str, Any]) -> bool | None:
        mine = [group for group in shown["groups"] if group["name"] in groups]
        settled = all(group["on_hold"] is wanted for group in mine if group["state"] == "DONE")
        return True if settled and all(group["maintenance"] is wanted for group in mine) else None

    if not wait(settings, told, ORDER_LIMIT_S):
        raise Refused(f"hactl says so, and not all agents have followed within {ORDER_LIMIT_S:g} s: mosha status")
    print(f"maintenance is {options.state}: {', '.join(sorted(groups))}")


def _text(settings: Config, table: str) -> str:
    return _content(settings, table, FILE_BYTES_MAX).decode("utf-8", "surrogateescape")


def _content(settings: Config, name: str, bytes_max: int) -> bytes:
    """Of a file of the agent; nothing where there is none. Who only reads makes nothing, and puts nothing aside. Raises
    OSError."""
    try:
        return plain.read(settings.var / name, bytes_max)
    except FileNotFoundError:
        return b""


def _edit(settings: Config, changed: Callable[[str, hactl.Hactl], str]) -> None:
    """Write hactl anew, and wait until the agent has taken that up, or something newer that says the same; another
    command here waits so long. Raises Refused, NotRunning, TableErrors, OSError."""
    file, store = f"{settings.var / hactl.NAME}", LocalStore(settings.var, "command")
    with turn(settings):
        text = _text(settings, hactl.NAME)
        wanted = changed(text, hactl.parse(text, file))
        number = _version(page(settings))            # somebody must be there to replicate it
        if wanted == text:
            return
        hactl.parse(wanted, file)
        before, after = (one.encode("utf-8", "surrogateescape") for one in (text, wanted))
        store.replace(f"{hactl.NAME}{EDIT}", made(before, after))
        is_there = store.supplant(hactl.NAME, after, COMMANDED)
        if is_there and store.read(COMMANDED, FILE_BYTES_MAX) != before:
            is_there = False
            store.rename(COMMANDED, hactl.NAME)
        if not is_there:
            raise Refused(f"somebody saved {file} at this instant, and nothing is done: say it again")
        # a page may be older than the edit
        if not wait(settings, lambda shown: _version(shown) > number or None, ORDER_LIMIT_S):
            raise Refused(f"hactl says so, and the agent has not followed within {ORDER_LIMIT_S:g} s: see its log")
        now = _text(settings, hactl.NAME)
        if changed(now, hactl.parse(now, file)) != now:
            raise Refused("another edit of hactl came at this instant, and this one is not in force (mosha status): "
                          "say it again")


def _version(shown: dict[str, Any]) -> int:
    number: int = shown["tables"][hactl.NAME][0]
    return number


def _why(settings: Config, options: argparse.Namespace) -> None:
    found = page(settings)
    if not any(known.group(options.group) for known in _cltabs(settings)):
        _group(found, options.group)
    print("\n".join(explain(found, options.group)))


def _history(settings: Config, options: argparse.Namespace) -> None:
    """Also while no agent runs."""
    content = _content(settings, events.FILE, events.BYTES_MAX)
    all_found = events.read(content)
    known = {one["group"] for one in all_found} - {""} | _named(settings)
    if options.group is not None and options.group not in known:
        raise Refused(f"no such group: {options.group}; there are: {listed(sorted(known)) or 'none'}")
    found = [one for one in all_found if options.group in (None, one["group"])]
    for event in found[-options.n:]:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event["time"]))
        group = f"{event['group']}: " if event["group"] else ""
        print(json.dumps(event) if options.json else f"{clock}  {group}{event['what']}")


def _clear(settings: Config, options: argparse.Namespace) -> None:
    if options.group:
        _group(page(settings), options.group)
    answers = _give(settings, ORDER_LIMIT_S, do=CLEAR, group=options.group, node=0)
    print(f"done on nodes {', '.join(sorted(answers, key=int))}")


def _give(settings: Config, takes_s: float, **order: Any) -> dict[str, str]:
    """Raises Refused with what the first of the nodes said that did not do it."""
    def answer(shown: dict[str, Any], name: str) -> dict[str, str] | None:
        return next((found for given, found in shown["orders"].items() if given.endswith(f".{name}")), None)

    answers = give(settings, answer, takes_s, **order)
    problems = [f"node {node}: {text}" for node, text in sorted(answers.items(), key=lambda one: int(one[0])) if text]
    if problems:
        raise Refused("; ".join(problems))
    return answers


def _check_node(shown: dict[str, Any], number: int) -> None:
    if number not in [node["id"] for node in shown["nodes"]]:
        raise Refused(f"node {number} is not on the map")


def _group(shown: dict[str, Any], name: str) -> dict[str, Any]:
    for group in shown["groups"]:
        if group["name"] == name:
            assert isinstance(group, dict)
            return group
    names = [group["name"] for group in shown["groups"]]
    raise Refused(f"there is no group {name}; there are: {listed(names) or 'none'}")
