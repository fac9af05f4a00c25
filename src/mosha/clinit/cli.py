"""The command ``clinit``, as Cluster::Init had it."""

from __future__ import annotations

import argparse
import socket
import sys
from collections.abc import Sequence

from mosha import __version__
from mosha.arguments import Parser
from mosha.clinit.client import Client, NotRunning
from mosha.clinit.daemon import AlreadyRuns, Daemon
from mosha.clinit.places import DEFAULT_CLTAB, DEFAULT_SOCKET, read
from mosha.clinit.protocol import Answer, BadRequest
from mosha.platform import plain
from mosha.tables.errors import TableErrors


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0 done or begun, 1 refused or failed, 2 wrong usage."""
    plain.escape_output()
    parser = _parser()
    options = parser.parse_args(argv)
    if len(options.words) > (0 if options.daemon or options.kill else 2):
        parser.error(f"too much: {' '.join(options.words)}")
    try:
        exit_code = _run(options)
        plain.flush_output()
        return exit_code
    except BrokenPipeError:
        plain.drop_output()
        return 0
    except (NotRunning, AlreadyRuns, BadRequest, TableErrors, OSError) as error:
        print(f"clinit: {plain.words(error)}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="clinit", description="An init for resource groups. Without options: have a group go to a level.",
        usage="clinit [-c FILE] [-s SOCKET] [-d | -k | -v] [[GROUP] LEVEL]",
        epilog="`clinit LEVEL` is for the group that is named as this host. `clinit` alone: cltab is read again, and "
        "what has changed is taken up. `clinit -v [GROUP [LEVEL]]` shows these only.",
    )
    parser.add_argument("words", nargs="*", metavar="GROUP LEVEL", help=argparse.SUPPRESS)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("-d", dest="daemon", action="store_true", help="be the daemon, in the foreground")
    what.add_argument("-k", dest="kill", action="store_true", help="stop all groups and end the daemon")
    what.add_argument("-v", dest="view", action="store_true", help="show group, level and state of each group")
    parser.add_argument("-c", dest="cltab", metavar="FILE", default=DEFAULT_CLTAB, help=f"default: {DEFAULT_CLTAB}")
    parser.add_argument("-s", dest="socket", metavar="SOCKET", help=f"default: {DEFAULT_SOCKET}, or as cltab says")
    parser.add_argument("--version", action="version", version=f"clinit {__version__}")
    return parser


def _run(options: argparse.Namespace) -> int:
    if options.daemon:
        return Daemon(options.cltab, options.socket).run()
    if options.cltab != DEFAULT_CLTAB and options.socket is None:
        read(options.cltab)              # else a typing error would be a word for the daemon at the usual place
    client = Client(options.cltab, options.socket)
    if options.view:
        return _view(client, *options.words)
    if options.kill:
        return _said(client.shutdown())
    if not options.words:
        return _said(client.read())
    if len(options.words) == 2:
        return _said(client.tell(*options.words))
    return _said(_tell_own(client, options.words[0], socket.gethostname()))


def _tell_own(client: Client, level: str, host: str) -> Answer:
    """The group that is named as this host: with its domain, as in 2003, or else without."""
    short, point, _ = host.partition(".")
    answer = client.tell(host, level) if point else None
    return answer if answer is not None and answer.ok else client.tell(short, level)


def _view(client: Client, group: str | None = None, level: str | None = None) -> int:
    for stat in client.status(group, level):
        print(*stat)
    if not client.runs():
        print("clinit: the daemon does not run, or not for you: this is what it wrote last", file=sys.stderr)
        return 1
    return 0


def _said(answer: Answer) -> int:
    print(answer.text, file=sys.stdout if answer.ok else sys.stderr)
    return 0 if answer.ok else 1
