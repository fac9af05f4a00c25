"""``mosha stomith``: the devices by hand. Exit codes: 0 done, 1 failed or unknown, 2 wrong usage or no device."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from datetime import datetime, timezone
from functools import partial
from typing import Any

from mosha import arguments
from mosha.config import Config
from mosha.platform import platforms
from mosha.stomith import history
from mosha.stomith.devices import UNKNOWN
from mosha.stomith.shooting import Answer, Stomith

HISTORY_LINES = 20


def add_to(commands: Any) -> None:
    """The command for :mod:`mosha.cli`."""
    parser = commands.add_parser("stomith", help="switch nodes by the configured devices, test these, see results")
    parser.set_defaults(command=lambda *_: _usage(parser))
    actions = parser.add_subparsers(title="actions", metavar="ACTION")
    for name, function, text in (
        ("off", _off, "switch a node off, by one level after the other until it is off for certain"),
        ("on", _on, "switch a node on, by every device"),
        ("status", _status, "whether a node is on, by what the devices say"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("node", type=arguments.node, metavar="NODE")
        action.set_defaults(command=function)
    action = actions.add_parser("list", help="what the devices list")
    action.set_defaults(command=_list)
    action = actions.add_parser("test", help="ask every device of every level; nothing is switched")
    action.add_argument("node", type=arguments.node, nargs="?", metavar="NODE", help="default: every node of the map")
    action.set_defaults(command=_test)
    action = actions.add_parser("history", help="what was asked from this node, and what the devices said")
    action.add_argument("--lines", type=arguments.count, default=HISTORY_LINES, metavar="N",
                        help="default: %(default)s")
    action.add_argument("--json", action="store_true", help="one object a line, for programs")
    action.set_defaults(command=_history)


def _off(settings: Config, options: argparse.Namespace) -> int:
    stomith = _stomith(settings)
    if stomith is None:
        return 2
    done, answers = stomith.off(options.node)
    _print(answers)
    return _end(done, f"node {options.node} is off", f"node {options.node} is NOT off for certain")


def _on(settings: Config, options: argparse.Namespace) -> int:
    stomith = _stomith(settings)
    if stomith is None:
        return 2
    done, answers = stomith.on(options.node)
    _print(answers)
    return _end(done, f"node {options.node} is on", f"node {options.node}: not every device has switched on")


def _status(settings: Config, options: argparse.Namespace) -> int:
    stomith = _stomith(settings)
    if stomith is None:
        return 2
    state, answers = stomith.status(options.node)
    _print(answers)
    line = f"node {options.node}: {state}"
    return _end(state != UNKNOWN, line, line)


def _list(settings: Config, _: argparse.Namespace) -> int:
    stomith = _stomith(settings)
    if stomith is None:
        return 2
    nodes = _nodes(settings)
    done = _print(stomith.listing(nodes))
    single = sorted({device.name for level in settings.stomith for device in level if not device.shared})
    if single and not nodes:
        print(f"mosha: {', '.join(single)} can be asked for one node at a time only, and there is no map of nodes: "
              "mosha stomith status NODE", file=sys.stderr)
        return 1
    return 0 if done else 1


def _test(settings: Config, options: argparse.Namespace) -> int:
    stomith = _stomith(settings)
    nodes = [options.node] if options.node else _nodes(settings)
    if stomith is None:
        return 2
    if not nodes:
        print("mosha: there is no map of nodes: name a NODE", file=sys.stderr)
        return 2
    done = _print(stomith.test(nodes))
    return _end(done, "every device answers", "not every device can be relied on")


def _history(settings: Config, options: argparse.Namespace) -> int:
    for fields in history.read(settings.var, options.lines):
        print(json.dumps(fields) if options.json else _line(fields))
    return 0


def _line(fields: dict[str, Any]) -> str:
    try:
        when = datetime.fromtimestamp(fields["time"], timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        about = "" if fields["node"] is None else f" {fields['node']}"
        result = "ok" if fields["ok"] else "FAILED"
        words = " ".join(str(fields["words"]).split())
        return (
            f"{when}  {fields['by']:<8}  level {fields['level']} {fields['device']}: {fields['action']}{about}: "
            f"{result} in {fields['seconds']:.1f} s{': ' if words else ''}{words}"
        )
    except (ValueError, TypeError, OverflowError, OSError):
        return f"not understood: {json.dumps(fields)}"


def _stomith(settings: Config) -> Stomith | None:
    if not settings.stomith:
        print("mosha: no `stomith` is configured", file=sys.stderr)
        return None
    return Stomith(settings.shooting, "operator", partial(history.append, settings.var))


def _nodes(settings: Config) -> list[int]:
    try:
        return platforms.of(settings).nodes()
    except OSError:
        return []


def _print(answers: Iterable[Answer]) -> bool:
    """Whether all were good; each is printed when it is there."""
    good = True
    for answer in answers:
        print(answer, flush=True)
        good = good and answer.ok
    return good


def _end(done: bool, good: str, bad: str) -> int:
    print(good if done else bad, file=sys.stdout if done else sys.stderr)
    return 0 if done else 1


def _usage(parser: argparse.ArgumentParser) -> int:
    parser.print_usage(sys.stderr)
    return 2
