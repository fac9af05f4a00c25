"""``setpe``: which nodes belong to the cluster, and which of them this one is.

Rules (openmosix-tools 0.3.6, setpe(1)):

1. Success is silent, exit code 0; an error is one genuine line on stderr, exit code 102.
2. A table is checked as a whole before anything is changed.
3. This node is the one at the address of its host name, unless ``-p`` names it.
4. ``-w`` does not change this node's own number; ``-W`` does, and switches openMosix off first.
"""

from __future__ import annotations

import sys

from emulator.table import Record, TableError, addresses_of, nodes_of, parse_config, parse_map, render_config
from emulator.tools import hpcfile
from emulator.tools.hosts import address_of, name_of, own_address
from emulator.tools.hpcfile import complain

ERROR = 102
DISABLED = 3
MAP_BYTES_MAX = 1 << 20
USAGE = """\
Usage: setpe -[w|W] [-n inet] [-c] [-p openMosix-ID] [-g {0|1|2}] [-f {filename|-}]
       setpe -r [-f {filename|-}]
       setpe -off"""
RENUMBER = """\
setpe: The proposed change will modify the current node's mapping,
requiring a full OpenMosix restart, including bringing all processes back home:
If you are sure about the change, use 'setpe -W' (instead of 'setpe -w')."""


class SetpeError(Exception):
    """What ends ``setpe`` with exit code 102; the text is printed as it is."""


def main() -> int:
    """Run ``setpe`` with the arguments of this process; the exit code."""
    hpcfile.heed_signals()
    try:
        return run(sys.argv[1:])
    except SetpeError as error:
        complain(str(error))
    except TableError as error:
        complain(error.genuine or f"setpe: {error}")
    except OSError as error:
        complain(f"setpe: {error.filename or 'openMosix'}: {error.strerror}")
    return ERROR


def run(words: list[str]) -> int:
    if not hpcfile.exists():
        raise SetpeError("Error: this is not OpenMosix!")
    if words == ["-off"]:
        hpcfile.write("admin/mospe", b"0\0")
        return 0
    options = parse_options(words)
    modes = [flag for flag in ("-w", "-W", "-r") if flag in options]
    if len(modes) != 1 or options.get("-n", "inet") != "inet":
        raise SetpeError(USAGE)
    if modes == ["-r"]:
        return show(options.get("-f", "-"))
    configure(options)
    return 0


def parse_options(words: list[str]) -> dict[str, str]:
    """The options and their values; by hand, as getopt would cost half of what a node's setpe costs."""
    options: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        value = "" if word in ("-w", "-W", "-r", "-c") else None
        if word in ("-n", "-p", "-g", "-f"):
            value = next(rest, None)
        if value is None:
            raise SetpeError(USAGE)
        options[word] = value
    return options


def configure(options: dict[str, str]) -> None:
    gateways = options.get("-g")
    if gateways not in (None, "0", "1", "2"):
        raise SetpeError(USAGE)
    records = read_map(options.get("-f", "-"))
    own = own_node(records, options.get("-p"), only_check="-c" in options)
    if "-c" in options:
        return
    current = hpcfile.read_int("admin/mospe")
    if "-W" in options:
        hpcfile.write("admin/mospe", b"0\0")
    elif current not in (0, own):
        raise SetpeError(RENUMBER)
    if gateways is not None:
        hpcfile.write("admin/gateways", gateways.encode() + b"\n")
    hpcfile.write("admin/config", render_config(records))
    hpcfile.write("admin/mospe", b"%d\0" % own)


def read_map(path: str) -> list[Record]:
    if path == "-":
        text, path = sys.stdin.read(MAP_BYTES_MAX + 1), "standard input"
    else:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAP_BYTES_MAX + 1)
    if len(text) > MAP_BYTES_MAX:
        raise SetpeError(f"setpe: {path}: more than {MAP_BYTES_MAX} bytes")
    return parse_map(text, path, address_of)


def own_node(records: list[Record], given: str | None, only_check: bool) -> int:
    """This node's id (rule 3); SetpeError if it is not in the table."""
    if given is not None:
        if hpcfile.is_number(given) and int(given) in nodes_of(records):
            return int(given)
        raise SetpeError("setpe: the table is ok, but I'm not there!")
    address = own_address()
    own = addresses_of(records).get(address)
    if own is not None:
        return own
    if only_check:
        raise SetpeError("setpe: the table is ok, but I'm not there!")
    raise SetpeError(
        f"setpe: the supplied table is well-formatted,\nbut my IP address ({address}) is not there!"
    )


def show(path: str) -> int:
    own = hpcfile.read_int("admin/mospe")
    if own == 0:
        print("OpenMosix is currently disabled")
        return DISABLED
    text = describe(own, parse_config(hpcfile.read("admin/config")))
    if path == "-":
        sys.stdout.write(text)
    else:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return 0


def describe(own: int, records: list[Record]) -> str:
    lines = [f"This is OpenMosix node #{own}", "Network protocol: 2 (AF_INET)"]
    for record in records:
        if record.is_alias:
            lines.append(f"Node {record.base} has an alias: {record.address}")
        else:
            last = record.base + record.size - 1
            lines.append(
                f"OpenMosix range {record.base:>5}-{last:<5} begins at {name_of(record.address)}"
            )
    aliases = sum(record.is_alias for record in records)
    total = f"Total configured: {sum(record.size for record in records)}"
    if aliases:
        total += f"; {aliases} alias" + ("es" if aliases > 1 else "")
    return "\n".join([*lines, total]) + "\n"


if __name__ == "__main__":
    sys.exit(main())
