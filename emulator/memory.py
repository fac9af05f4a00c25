"""What openMosix knows until the next boot: a genuine kernel does not forget its map when a process dies.

The file lies where a boot empties it. It holds the node's id and the configuration as ``admin/config`` shows it; no
file means off. One that cannot be read whole is as good as none.
"""

from __future__ import annotations

import logging
import os

from emulator.membership import Membership
from emulator.table import TableError, parse_config, render_config

log = logging.getLogger(__name__)


def keep(membership: Membership, path: str) -> None:
    """Configure ``membership`` as the file says, and have the file follow every later change."""
    remembered = _read(path)
    if remembered is not None:
        mospe, config = remembered
        try:
            membership.configure(mospe, parse_config(config))
        except (TableError, ValueError) as error:
            log.warning("openMosix: %s: %s", path, error)
    membership.on_change(lambda: _write(membership, path))


def _read(path: str) -> tuple[int, bytes] | None:
    try:
        with open(path, "rb") as file:
            number, _, config = file.read().partition(b"\n")
    except FileNotFoundError:
        return None
    return (int(number), config) if number.isdigit() else None


def _write(membership: Membership, path: str) -> None:
    if not membership.mospe:
        if os.path.exists(path):
            os.unlink(path)
        return
    temporary = f"{path}.new"
    with open(temporary, "wb") as file:
        file.write(b"%d\n%s" % (membership.mospe, render_config(membership.records)))
    os.replace(temporary, path)
