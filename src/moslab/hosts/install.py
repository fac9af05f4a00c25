"""What a machine is given for a run: the agent of this installation, its tables, and a witness for each group.

All of it lies below :func:`home`, which is no directory of an installed agent, and goes with the run.
"""

from __future__ import annotations

import base64
import io
import zipfile
from importlib import resources
from pathlib import Path

import mosha
from mosha.ownership.voter import FOUNDED, installation
from moslab.hosts.inventory import Inventory
from moslab.hosts.keeper import HOME, RUNS
from moslab.layout import beat_s, lease_s
from moslab.scenario.world import Spec

PROGRAM = """\
#!/usr/bin/python3 -IS
import sys
sys.path.insert(0, "{home}/lib")
from mosha.cli import main
sys.exit(main())
"""
FILE, SECRET, EXECUTABLE = 0o644, 0o600, 0o755
TICK = "bin/tick"
JOURNALS = "san"                 # of this boot: a symbolic link, which the keeper makes
TABLES = "var"


def home(run: str) -> str:
    """The directory of a run, on every machine."""
    return f"{HOME}/{run}"


def witness(run: str) -> str:
    """The command of a group's witness (:mod:`moslab.scenario.tables`); no loss of power takes what it has written."""
    return f"{home(run)}/{TICK} {home(run)}/{JOURNALS}/{{}} sync"


def archive() -> str:
    """The agent, and what the keeper reads journals and finds processes with: a ZIP in Base64."""
    stream = io.BytesIO()
    root = Path(mosha.__file__).parent
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(root.rglob("*.py")):
            packed.write(path, f"mosha/{path.relative_to(root).as_posix()}")
        for name, package in (("reader.py", "moslab"), ("inside.py", "moslab.faults")):
            packed.writestr(name, resources.files(package).joinpath(name).read_text(encoding="utf-8"))
    return base64.b64encode(stream.getvalue()).decode()


def files(inventory: Inventory, spec: Spec, run: str, era: str, tables: dict[str, str]) -> dict[str, tuple[str, int]]:
    """Text and mode of each file below :func:`home`; the same on all machines."""
    beat, lease = beat_s(spec.nodes, spec.profile), lease_s(spec.nodes, spec.profile)
    voters = inventory.voters
    conf = (
        f"{inventory.conf(spec.stomith)}varpath = {home(run)}/{TABLES}\nrundir = {RUNS}/{run}\n"
        f"voters = {' '.join(map(str, voters))}\nbeat = {beat:g}\nlease = {lease:g}\n"
    )
    tick = resources.files("moslab.demo").joinpath("programs/tick").read_text(encoding="utf-8")
    return {
        "mosha.conf": (conf, SECRET),
        "bin/mosha": (PROGRAM.format(home=home(run)), EXECUTABLE),
        TICK: (tick, EXECUTABLE),
        f"{TABLES}/{FOUNDED}": (f"{installation(era, voters)}\n", FILE),
        **{f"{TABLES}/{name}": (text, FILE) for name, text in tables.items()},
    }
