"""``powerswitch {off|on|status} NODE``, ``powerswitch {list|test}``: the node's side of the power switch.

Exit code 0 only if it was done and seen; 1 if not, with the reason on stderr; 2 for a wrong call. Whatever is
asked may be asked twice, so a connection that breaks is tried anew until ``LIMIT_S``.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from emulator.powerswitch.protocol import COMMANDS, Answer, ProtocolError, Request, converse

CONFIG_FILE = "/etc/powerswitch.json"
CONFIG_BYTES_MAX = 4096
LIMIT_S = 9.5
TRY_EVERY_S = 0.25
USAGE = "usage: powerswitch {off|on|status} NODE | powerswitch {list|test}"


class Config(NamedTuple):
    """Where the switch is, and the key that both sides know."""

    address: str
    port: int
    key: bytes


def load(path: str) -> Config:
    """Read the configuration; OSError, or ValueError naming the file and the reason."""
    with open(path, encoding="utf-8") as stream:
        text = stream.read(CONFIG_BYTES_MAX)
    try:
        values = json.loads(text)
        return Config(str(values["address"]), int(values["port"]), bytes.fromhex(values["key"]))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None
    except KeyError as error:
        raise ValueError(f"{path}: {error} is missing") from None


def ask(config: Config, request: Request, limit_s: float = LIMIT_S) -> Answer:
    """The switch's answer, tried anew on a broken connection until ``limit_s``; OSError or ProtocolError."""
    deadline_s = time.monotonic() + limit_s
    while True:
        try:
            with socket.create_connection(
                (config.address, config.port), timeout=max(0.001, deadline_s - time.monotonic())
            ) as sock:
                return converse(sock, config.key, request, deadline_s)
        except OSError:
            if time.monotonic() + TRY_EVERY_S >= deadline_s:
                raise
        time.sleep(TRY_EVERY_S)


def parse(arguments: Sequence[str]) -> Request:
    """The request of a command line; ValueError with the usage."""
    wants_node = COMMANDS.get(arguments[0]) if arguments else None
    if wants_node is None or len(arguments) != 1 + wants_node:
        raise ValueError(USAGE)
    if not wants_node:
        return Request(arguments[0], None)
    if not (arguments[1].isascii() and arguments[1].isdigit()) or not 1 <= int(arguments[1][:6]) <= 65534:
        raise ValueError(f"powerswitch: {arguments[1]!r} is no node number (1 to 65534)")
    return Request(arguments[0], int(arguments[1]))


def main(argv: Sequence[str] | None = None, config_file: str = CONFIG_FILE) -> int:
    """Run the command line and return its exit code."""
    try:
        request = parse(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        config = load(config_file)
        answer = ask(config, request)
    except (OSError, ValueError, ProtocolError) as error:
        reason = str(error) or type(error).__name__
        print(f"powerswitch: {' '.join(map(str, filter(None, request)))}: {reason}", file=sys.stderr)
        return 1
    if not answer.ok:
        print(f"powerswitch: {answer.text}", file=sys.stderr)
        return 1
    print(answer.text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
