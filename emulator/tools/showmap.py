"""``showmap``: the table that the kernel holds. A failure ends with its errno as exit code."""

from __future__ import annotations

import sys
from errno import EIO

from emulator.table import TableError, parse_config
from emulator.tools import hpcfile
from emulator.tools.hosts import name_of
from emulator.tools.hpcfile import complain


def main() -> int:
    """Run ``showmap``; the exit code."""
    hpcfile.heed_signals()
    try:
        own = hpcfile.read_int("admin/mospe")
    except OSError as error:
        complain(f"Unable to open {hpcfile.path('admin/mospe')}")
        return error.errno or EIO
    print(f"My Node-Id: 0x{own:04x}\n", flush=True)
    try:
        records = parse_config(hpcfile.read("admin/config"))
    except (OSError, TableError) as error:
        complain(f"Unable to read {hpcfile.path('admin/config')}")
        return error.errno or EIO if isinstance(error, OSError) else EIO
    print("Base Node-Id Address          Count")
    print("------------ ---------------- -----")
    for record in records:
        count = "alias" if record.is_alias else str(record.size)
        print(f"0x{record.base:04x}       {name_of(record.address):<16} {count}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
