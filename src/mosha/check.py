"""``mosha check``: everything that is wrong with a configuration, and the times that follow from it.

With files: these tables only. Without: this node's tables, the STOMITH devices, and the bounds.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any, NamedTuple

from mosha import mismatches, novelties, recovery, status
from mosha.config import SHARED_DIRECTORY, UNUSED, Config, file_of
from mosha.ownership import marker
from mosha.ownership.marker import Marker
from mosha.platform import linux, openmosix, plain, platforms, shared_directory
from mosha.stomith import process
from mosha.stomith.devices import OFF, CannotError
from mosha.tables import cltab, hactl
from mosha.tables.errors import TableErrors
from mosha.tables.lines import TABLE_BYTES_MAX
from mosha.timing import Bound

STALLS = (
    "nobody is probed in a shared directory: a node whose beats stay away for {:g} s, as on a slow way to the file "
    "server, is shot; with longer beats (beat = 2, lease = 10) it takes more"
)


class Found(NamedTuple):
    """What is wrong stops something; a warning is for somebody to think about."""

    problems: list[str]
    warnings: list[str]


def add_to(commands: Any) -> None:
    """The command for :mod:`mosha.cli`."""
    parser = commands.add_parser("check", help="say everything that is wrong with the configuration, and its times")
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="cltab, or hactl if that is in its name; default: both of this node",
    )
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument(
        "--2003", action="store_true", dest="with_2003",
        help="also what nodes with OpenMosix::HA of 2003 do not know; so it is without, while one is on the map",
    )
    parser.set_defaults(command=run)


def run(settings: Config, options: argparse.Namespace) -> int:
    """Print it; 0 if nothing is wrong, else 1."""
    files = [Path(name) for name in options.files] or [settings.var / "cltab", settings.var / "hactl"]
    found = Found([], [])
    for file in files:
        table(file, found)
    found.warnings.extend(together(files))
    if options.with_2003 or (not options.files and _has_elders(settings)):
        for file in files:
            found.warnings.extend(unknown_in_2003(file))
        found.warnings.extend(novelties.of_settings(settings) if not options.files else ())
    if not options.files:
        found.warnings.extend(f"{name} means nothing here: {UNUSED[name]}" for name in settings.unused)
        platform(settings, found)
        stomith(settings, file_of(options.config), found)
        voters(settings, found)
        fenced(settings, found)
    if options.json:
        print(json.dumps(page(settings, files, found)))
    else:
        for problem in found.problems:
            print(problem, file=sys.stderr)
        for warning in found.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        if not found.problems:
            print(f"{', '.join(map(str, files))}: ok")
        if not options.files:
            found_by = [one.line() for one in services(files)]
            print("\n".join(["", _who_votes(settings), *levels(settings), "", *bounds(settings), *found_by]))
    return 1 if found.problems else 0


def table(file: Path, found: Found) -> None:
    """What is wrong with one table."""
    try:
        text = _text(file)
        groups = list(hactl.parse(text, str(file))) if _is_hactl(file) else cltab.parse(text, str(file)).groups()
    except TableErrors as errors:
        found.problems.extend(map(str, errors.errors))
    except OSError as error:
        found.problems.append(f"{file}: {error.strerror}")
    else:
        if not text.strip():
            found.warnings.append(f"{file}: empty: an agent that has a table keeps that; without one nothing runs")
        elif not groups:
            found.warnings.append(f"{file}: it names no group: nothing would run")


def together(files: list[Path]) -> list[str]:
    """What one cltab and one hactl say together, where both are right."""
    return [line for pair in _pairs(files) for line in mismatches.of(*pair)]


def services(files: list[Path]) -> list[recovery.Recovery]:
    """What follows from one cltab and one hactl for services that fail."""
    return [one for pair in _pairs(files) for one in recovery.of(*pair)]


def _pairs(files: list[Path]) -> list[tuple[cltab.Cltab, hactl.Hactl]]:
    """The two tables, if there is one of each, and both are right."""
    try:
        texts = {_is_hactl(file): _text(file) for file in files}
        return [(cltab.parse(texts[False]), hactl.parse(texts[True]))] if len(files) == 2 else []
    except (TableErrors, OSError, KeyError):
        return []                                    # said already, or not one of each


def unknown_in_2003(file: Path) -> list[str]:
    """What agents of 2003 do not know of one table."""
    find = novelties.of_hactl if _is_hactl(file) else novelties.of_cltab
    try:
        return find(_text(file), str(file))
    except OSError:
        return []                                    # said already


def _text(file: Path) -> str:
    """Of a table, or what somebody writes into a pipe; a little more than may be in one, at most. Raises OSError."""
    with open(os.open(file, plain.READING), "rb") as stream:
        is_pipe = stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
        os.set_blocking(stream.fileno(), True)
        content = stream.read(TABLE_BYTES_MAX + 1)
    if is_pipe and not content:
        raise OSError(errno.EINVAL, "nobody writes into this pipe")
    return content.decode("utf-8", "surrogateescape")


def _is_hactl(file: Path) -> bool:
    return "hactl" in file.name


def _has_elders(settings: Config) -> bool:
    """Whether the agent that runs here knows of a node of 2003 on the map."""
    try:
        return bool(status.read(settings.var, linux.boottime(), openmosix.boot_id()).get("elders"))
    except status.NotRunning:
        return False


def platform(settings: Config, found: Found) -> None:
    """What is wrong with a shared directory."""
    if settings.platform != SHARED_DIRECTORY:
        return
    try:
        platforms.of(settings).whois()
        found.warnings.extend(filter(None, [shared_directory.ground(settings.shared).warning]))
    except OSError as error:
        found.problems.append(error.strerror or str(error))
    if settings.stomith:
        found.warnings.append(STALLS.format(settings.timing.suspect_s))


def stomith(settings: Config, file: str, found: Found) -> None:
    """What is wrong with the devices as far as it is seen without asking them."""
    nodes = _nodes(settings)
    for number, level in enumerate(settings.stomith, 1):
        for device in level:
            where = f"stomith level {number}, {device.name}"
            if shutil.which(device.program, path=process.path()) is None:
                found.problems.append(f"{where}: {device.program} is not there, or cannot be executed")
            if not device.tells_status:
                found.warnings.append(f"{where}: can only switch off, so it cannot be tested (no %a in the command)")
            for node in nodes:
                try:
                    device.call(OFF, node)
                except CannotError as error:
                    found.problems.append(f"{where}: {error}")
    if any(device.secrets for level in settings.stomith for device in level) and _others_read(file):
        found.warnings.append(f"{file} contains a secret and can be read by others: chmod 600 {file}")
    if not settings.stomith:
        found.warnings.append("no STOMITH: a dead node's groups wait for the end of its lease, and a hung one's too")


def voters(settings: Config, found: Found) -> None:
    """What the voters cannot survive."""
    nodes, known = _nodes(settings), in_force(settings)
    chosen = _voters(settings)
    strangers = sorted(settings.voters.union(known) - set(nodes)) if nodes else []
    if strangers:
        found.problems.append(f"voters {strangers} are not on the map {nodes}")
    if known and settings.voters and settings.voters != set(known):
        found.warnings.append(
            f"voters {known} are in force here ({settings.var / marker.NAME}), and not {sorted(settings.voters)}, as "
            "the configuration says: with those only a new cluster begins. Name there who votes now"
        )
    if len(chosen) == 1 and len(nodes) > 1:
        found.warnings.append(
            f"one voter, {chosen[0]}: its death stops every group, wherever that runs; of three voters one may die"
        )
    elif len(chosen) == 2 and not settings.stomith:
        found.warnings.append(
            f"two voters, {chosen[0]} and {chosen[1]}: both are needed, so the death of either stops every group. "
            "A third one helps (a machine that runs no groups will do: arbitrator = yes), or STOMITH"
        )
    elif len(chosen) == 2:
        found.warnings.append(
            f"two voters, {chosen[0]} and {chosen[1]}: one goes on when it has shot the other; after both were off "
            "both are needed. A third one helps; a machine that runs no groups will do (arbitrator = yes). The node "
            f"that owns nothing waits {settings.stomith_delay_s:g} s (stomith_delay) before it shoots, the one with "
            "the higher number twice as long if neither owns anything: that must be longer than the switch takes, "
            "or a mutual cut turns both off"
        )


def in_force(settings: Config) -> list[int]:
    """The voters that this node's disk knows of; none before an era is founded, or where it has no whole marker."""
    known = _marker(settings)
    return list(known.electorate.voters) if known is not None and known.electorate.era else []


def _marker(settings: Config) -> Marker | None:
    """That of this node's disk, if it is there and whole."""
    try:
        return marker.decode(plain.read(settings.var / marker.NAME, marker.BYTES_MAX))
    except OSError:
        return None


def _voters(settings: Config) -> list[int]:
    """Those in force, else those with which a new cluster begins."""
    return in_force(settings) or sorted(settings.voters_of(frozenset(_nodes(settings))))


def fenced(settings: Config, found: Found) -> None:
    """Groups that nothing here could free."""
    try:
        table = hactl.parse(_text(settings.var / "hactl"))
    except (TableErrors, OSError):
        return                                       # said already
    if not settings.stomith:
        found.warnings.extend(
            f"group {group} is fenced and there is no STOMITH: after a death it waits until that node is back"
            for group in sorted(hactl.with_flag(table, "fenced"))
        )


def _who_votes(settings: Config) -> str:
    """Who votes, and who says so."""
    where = "as this node's disk has it" if in_force(settings) else (
        "as the configuration names them" if settings.voters else "the lowest numbers of the map: nobody has named them"
    )
    return f"voters: {', '.join(map(str, _voters(settings))) or 'none'} ({where})"


def levels(settings: Config) -> list[str]:
    """One line for each level of devices."""
    if not settings.stomith:
        return ["STOMITH: none"]
    tries = "once" if not settings.stomith_retries else f"up to {1 + settings.stomith_retries} times"
    names = [" && ".join(device.name for device in level) for level in settings.stomith]
    return [
        *(f"STOMITH level {number}: {name}" for number, name in enumerate(names, 1)),
        f"each device {tries}, {settings.stomith_timeout_s:g} s each, "
        f"{'and its status is looked at' if settings.stomith_verify else 'and believed'}",
        f"a node that cannot end a group is {_stuck(settings)} (stuck)",
    ]


def _stuck(settings: Config) -> str:
    return f"shot {settings.stuck_s:g} s after SIGKILL" if settings.stuck_s else "never shot for that"


def bounds(settings: Config) -> list[str]:
    """One line for each time."""
    return [f"{b.name:<22}  {b.formula:<35}  {b.seconds:>7.3f} s  {b.meaning}" for b in _bounds(settings)]


def page(settings: Config, files: list[Path], found: Found) -> dict[str, Any]:
    """The same for programs."""
    return {
        "ok": not found.problems,
        "files": [str(file) for file in files],
        "problems": found.problems,
        "warnings": found.warnings,
        "voters": _voters(settings),
        "stomith": {
            "levels": [[device.name for device in level] for level in settings.stomith],
            "timeout_s": settings.stomith_timeout_s,
            "retries": settings.stomith_retries,
            "verify": settings.stomith_verify,
            "stuck_s": settings.stuck_s,
        },
        "bounds": [
            {"name": b.name, "formula": b.formula, "s": round(b.seconds, 3), "meaning": b.meaning}
            for b in _bounds(settings)
        ],
        "services": [one.said() for one in services(files)],
    }


def _bounds(settings: Config) -> list[Bound]:
    is_pair, known = len(_voters(settings)) == 2, _marker(settings)
    return settings.timing.bounds(
        settings.shot_limit_s if settings.stomith else None, settings.stomith_delay_s if is_pair else None,
        is_alone=known is not None and bool(known.absent),
    )


def _nodes(settings: Config) -> list[int]:
    """The map; empty where there is none."""
    try:
        return platforms.of(settings).nodes()
    except OSError:
        return []


def _others_read(file: str) -> bool:
    try:
        return bool(os.stat(file).st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
