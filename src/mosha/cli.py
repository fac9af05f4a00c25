"""The command ``mosha``: without arguments it is the agent, as an inittab's respawn entry starts it.

What only other commands need is imported by these: an agent is away for as long as its own start takes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Callable

from mosha import config
from mosha.platform import plain
from mosha.tables.errors import TableErrors

if TYPE_CHECKING:
    import argparse

WATCH_S = 1.0
_SETTING = "setting_"            # before the names of the settings among the options


def run_main() -> None:
    """The entry of ``mosha.pyz``, which ignores what a function returns."""
    sys.exit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 wrong usage or configuration."""
    plain.escape_output()
    arguments = list(sys.argv[1:] if argv is None else argv)
    program = _program(arguments[0]) if arguments else None
    if program is not None:
        return program(arguments[1:])
    options = _parser().parse_args(arguments) if arguments else None
    try:
        settings = config.load(options.config, _given(options)) if options is not None else config.load()
        if options is None:
            return _run(settings)
        command: Callable[[config.Config, argparse.Namespace], int] = options.command
        exit_code = command(settings, options)
        plain.flush_output()
        return exit_code
    except TableErrors as errors:
        for problem in errors.errors:
            print(problem, file=sys.stderr)
        return 2
    except BrokenPipeError:
        plain.drop_output()
        return 0
    except OSError as error:
        print(f"mosha: {plain.words(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _program(name: str) -> Callable[[Sequence[str]], int] | None:
    """What needs no configuration: programs of groups, and the stand-alone init."""
    if name == "ip":
        from mosha.resources import ip

        return ip.main
    if name == "mount":
        from mosha.resources import mount

        return mount.main
    if name == "clinit":
        from mosha.clinit import cli as clinit

        return clinit.main
    return None


def _parser() -> argparse.ArgumentParser:
    from mosha import __version__, arguments, check, operate, voters
    from mosha.stomith import commands as stomith

    parser = arguments.Parser(
        prog="mosha", description="High availability for an openMosix cluster: a cluster-wide init.",
        epilog="Without a command: run the agent in the foreground. `mosha ip --help` and `mosha mount --help` tell of "
        "resources, `mosha clinit --help` of an init for one machine.",
    )
    parser.add_argument("--version", action="version", version=f"mosha {__version__}")
    parser.add_argument("--config", metavar="FILE", help=f"default: {config.DEFAULT_FILE}, if there is one")
    settings = parser.add_argument_group(
        "settings", "As in the configuration file, before which they come; so do variables, MOSHA_MFSBASE … .",
    )
    for name in config.NAMES:
        settings.add_argument(f"--{name.replace('_', '-')}", metavar="VALUE", dest=f"{_SETTING}{name}")
    parser.set_defaults(command=_run)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    shown = commands.add_parser("status", help="groups and nodes as this node sees them")
    shown.add_argument("--json", action="store_true", help="for programs")
    shown.add_argument("--watch", action="store_true", help="again every second until interrupted")
    shown.set_defaults(command=_status)
    operate.add_to(commands)
    check.add_to(commands)
    stomith.add_to(commands)
    voters.add_to(commands)
    commands.add_parser("ip", help="hold a virtual IP address while it runs", add_help=False)
    commands.add_parser("mount", help="hold a file system mounted while it runs", add_help=False)
    commands.add_parser("clinit", help="an init for the resource groups of this machine alone", add_help=False)
    return parser


def _given(options: argparse.Namespace) -> Iterator[config.Given]:
    """The settings among the options."""
    for name in config.NAMES:
        text = getattr(options, f"{_SETTING}{name}")
        if text is not None:
            yield config.Given(f"--{name.replace('_', '-')}", name, text)


def _run(settings: config.Config, _: argparse.Namespace | None = None) -> int:
    from mosha.ha import run

    return run(settings)


def _status(settings: config.Config, options: argparse.Namespace) -> int:
    import json
    import time

    from mosha import status
    from mosha.platform import linux, openmosix

    while True:
        try:
            page = status.read(settings.var, linux.boottime(), openmosix.boot_id())
        except status.NotRunning as error:
            print(f"mosha: {error}", file=sys.stderr)
            return 1
        text = json.dumps(page) if options.json else status.table(page)
        if not options.watch:
            print(text)
            return 0
        print(text if options.json else f"\033[H\033[2J{text}", flush=True)
        time.sleep(WATCH_S)
