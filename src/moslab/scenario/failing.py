"""The store of failing seeds: random scenarios that were not valid, one a line as JSON, the oldest first.

Rules:

1. A line says all that makes its scenario: world, seed, how long, and the cluster. Whatever tests there are, it is the
   same again; in the simulator to the last message.
2. A line goes when its scenario is valid again. There are at most ``CASES_MAX``: who adds one more drops the first.
3. Each change is a new file in the place of the old one. Two sessions at once may lose each other's lines.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from moslab.errors import CannotError
from moslab.scenario.world import Spec

CASES_MAX = 100
FILE_BYTES_MAX = 4 << 20


@dataclass(frozen=True)
class Case:
    """One random scenario; ``for_s`` by the clock of its world."""

    world: str
    seed: int
    for_s: float
    spec: Spec

    def __str__(self) -> str:
        spec = self.spec
        return f"seed {self.seed}: {self.world}, {spec.nodes} nodes, {'STOMITH' if spec.stomith else 'leases only'}"


def load(path: Path) -> list[Case]:
    """Those that are stored; none without a file. CannotError names file and line."""
    if not path.exists():
        return []
    if path.stat().st_size > FILE_BYTES_MAX:
        raise CannotError(f"{path}: more than {FILE_BYTES_MAX} bytes")
    return [_case(line, f"{path}:{place}") for place, line in enumerate(path.read_text("utf-8").splitlines(), 1)]


def add(path: Path, case: Case) -> None:
    """It is the last, now."""
    _write(path, [*(one for one in load(path) if one != case), case][-CASES_MAX:])


def strike(path: Path, case: Case) -> None:
    """It is there no more."""
    _write(path, (one for one in load(path) if one != case))


def _write(path: Path, cases: Iterable[Case]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.{os.getpid()}.new")
    new.write_text("".join(f"{json.dumps(asdict(case))}\n" for case in cases), "utf-8")
    new.replace(path)


def _case(line: str, where: str) -> Case:
    try:
        fields = json.loads(line)
        case = Case(**{**fields, "spec": Spec(**fields["spec"])})
    except (ValueError, TypeError, KeyError) as error:
        raise CannotError(f"{where}: no failing seed: {error}") from None
    for one, kinds in ((case, (str, int, float)), (case.spec, (int, bool, str, str, str, bool, int))):
        for name, kind in zip(one.__dataclass_fields__, kinds):
            if type(getattr(one, name)) is not kind:
                raise CannotError(f"{where}: {name}: {kind.__name__}, not {getattr(one, name)!r:.40}")
    return case
