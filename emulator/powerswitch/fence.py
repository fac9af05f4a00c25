"""``fence_powerswitch``: the power switch for those who speak to it as to ClusterLabs' fence agents.

Options on standard input, ``name=value``, one a line: ``action`` (off, on, reboot, status, monitor, list, metadata) and
``plug``, ``port`` or ``nodename``, the node's number. Exit code 0 done (status: on), 1 failed, 2 status: off.
"""

from __future__ import annotations

import sys
from typing import TextIO

from emulator.powerswitch.client import CONFIG_FILE, ask, load, parse
from emulator.powerswitch.protocol import ProtocolError

INPUT_CHARACTERS_MAX = 65536
STEPS = {
    "off": ["off"], "on": ["on"], "reboot": ["off", "on"], "status": ["status"], "monitor": ["test"], "list": ["list"],
}
METADATA = """\
<?xml version="1.0" ?>
<resource-agent name="fence_powerswitch" shortdesc="The power switch of an emulated openMosix cluster">
<parameters>
<parameter name="action"><content type="string" default="reboot"/></parameter>
<parameter name="plug" required="1"><content type="string"/></parameter>
</parameters>
<actions>
""" + "".join(f'<action name="{name}"/>\n' for name in (*STEPS, "metadata")) + "</actions>\n</resource-agent>"


def options(stream: TextIO) -> dict[str, str]:
    """What is given; of a name that is given twice the last counts, what is no option is not heard."""
    lines = (line.strip() for line in stream.read(INPUT_CHARACTERS_MAX).splitlines())
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def main(config_file: str = CONFIG_FILE) -> int:
    """Do what standard input says, and return the exit code."""
    given = options(sys.stdin)
    action = given.get("action", "reboot").lower()
    if action == "metadata":
        print(METADATA)
        return 0
    plug = given.get("plug") or given.get("port") or given.get("nodename") or ""
    try:
        if action not in STEPS:
            raise ValueError(f"there is no action {action[:40]!r}")
        for command in STEPS[action]:
            answer = ask(load(config_file), parse([command] if action in ("monitor", "list") else [command, plug]))
            if not answer.ok:
                raise ValueError(answer.text)
    except (OSError, ValueError, ProtocolError) as error:
        print(f"fence_powerswitch: {action} {plug}: {error or type(error).__name__}", file=sys.stderr)
        return 1
    if action == "list":
        print("\n".join(f"{line.split()[0]}," for line in answer.text.splitlines()))
    else:
        print(f"Status: {answer.text.upper()}" if action == "status" else f"Success: {answer.text}")
    return 2 if action == "status" and answer.text == "off" else 0


if __name__ == "__main__":
    sys.exit(main())
