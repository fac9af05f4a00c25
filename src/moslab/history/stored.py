"""A run as JSON, ``history.json``: what happened, what was broken, what was said, and the verdict.

Rules:

1. One file is all that a report needs, from whatever world. All its times are seconds of one clock.
2. Named tuples are objects, sets sorted lists, a key of several numbers is their text; what has no end is null.
3. Who reads it is given nothing that was not checked: each value has the type that the field declares, or a
   HistoryError names its place. A name too many or too few is one, too: another format has another number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from moslab import files
from moslab.errors import CannotError
from moslab.faults.record import Fault
from moslab.history.checkers import INVALID, UNKNOWN, VALID, unseen
from moslab.history.record import History, Line

FORMAT = 4
FILE_BYTES_MAX = 64 << 20
NODES_MAX = 1000
NUMBER_MAX, WHOLE_MAX = 1e12, 2**63
ENDS = ("end_s", "[1]")          # of an interval, and of a span
SHOWN_MAX = 60                   # characters of a value that is refused


class HistoryError(CannotError):
    """A text that is no history; says where and why."""


@dataclass
class Run:
    """All that is known of one run; ``begin_s`` is when what it is about began, which may be after its nodes did."""

    title: str
    world: str
    seed: int | None
    again: str                                               # the command that does it again, if there is one
    failure: str                                             # of the test itself, whatever the verdict is
    verdict: str
    problems: list[str]
    begin_s: float
    history: History
    faults: list[Fault]
    log: list[Line]

    @property
    def outcome(self) -> str:
        """In a word, or of the test and of the history where these are two things."""
        return f"test failed, history {self.verdict}" if self.failure else self.verdict

    @property
    def unseen(self) -> str:
        """The rules about which the verdict says nothing."""
        return unseen(self.history)


def to_json(run: Run) -> str:
    """Rule 2; one line for each fault, each line of the log, and each field of all else."""
    shown: dict[str, str] = {"format": str(FORMAT)}
    for field in fields(run):
        value = getattr(run, field.name)
        if isinstance(value, History):
            lines = [f"  {json.dumps(one.name)}: {_written(getattr(value, one.name))}" for one in fields(value)]
            shown[field.name] = "{\n" + ",\n".join(lines) + "\n }"
        elif field.name in ("faults", "log") and value:
            shown[field.name] = "[\n  " + ",\n  ".join(map(_written, value)) + "\n ]"
        else:
            shown[field.name] = _written(value)
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {value}" for name, value in shown.items()) + "\n}\n"


def from_json(text: str) -> Run:
    """Rule 3."""
    try:
        data = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise HistoryError(f"a history is JSON: {error}") from None
    if not isinstance(data, dict) or data.pop("format", None) != FORMAT:
        raise HistoryError(f'a history is an object with "format": {FORMAT}')
    run: Run = _read(Run, data, "")
    if run.verdict not in (VALID, INVALID, UNKNOWN):
        raise HistoryError(f"verdict: {VALID}, {INVALID} or {UNKNOWN}, not {_short(run.verdict)}")
    if not 0 <= run.history.nodes <= NODES_MAX:
        raise HistoryError(f"history.nodes: from 0 to {NODES_MAX}, not {run.history.nodes}")
    return run


def load(path: Path) -> Run:
    """Of a file; HistoryError names it."""
    return files.load(path, FILE_BYTES_MAX, from_json, HistoryError)


def _written(value: Any) -> str:
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, (set, frozenset)):
        return sorted(map(_plain, value))
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {_key(key): _plain(one) for key, one in value.items()}
    return value


def _key(key: Any) -> str:
    return " ".join(map(str, key)) if isinstance(key, tuple) else str(key)


# ---- reading ------------------------------------------------------------------------------------------------------


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _short(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= SHOWN_MAX else f"{said[:SHOWN_MAX]}…"


def _read(hint: Any, value: Any, where: str) -> Any:
    """The value as what ``hint`` says."""
    if type(None) in get_args(hint):                         # null has no other meaning then
        return None if value is None else _read(get_args(hint)[0], value, where)
    origin = get_origin(hint) or hint
    if isinstance(origin, type) and (is_dataclass(origin) or hasattr(origin, "_fields")):
        return _read_object(origin, value, where)
    return _READERS[origin](get_args(hint), value, where)


def _wrong(where: str, wanted: str, value: Any) -> HistoryError:
    return HistoryError(f"{where or 'all'}: {wanted}, not {_short(value)}")


def _read_object(kind: Any, value: Any, where: str) -> Any:
    hints = get_type_hints(kind)
    if type(value) is not dict:
        raise _wrong(where, "an object", value)
    inside = f"{where}." if where else ""
    for word, names in (("missing", hints.keys() - value), ("unknown", value.keys() - hints)):
        if names:
            raise HistoryError(f"{inside}{_short(sorted(names)[0])[1:-1]} is {word}")
    return kind(**{name: _read(hint, value[name], f"{inside}{name}") for name, hint in hints.items()})


def _read_float(_of: Any, value: Any, where: str) -> float:
    if value is None and where.endswith(ENDS):
        return math.inf
    if type(value) not in (int, float) or not abs(value) < NUMBER_MAX:
        raise _wrong(where, "a number", value)
    return float(value)


def _read_plain(kind: type, said: str) -> Callable[[Any, Any, str], Any]:
    def read(_of: Any, value: Any, where: str) -> Any:
        if type(value) is not kind or (isinstance(value, int) and abs(value) >= WHOLE_MAX):
            raise _wrong(where, said, value)
        return value

    return read


def _read_items(of: Any, value: Any, where: str) -> list[Any]:
    if type(value) is not list:
        raise _wrong(where, "a list", value)
    return [_read(of[0], one, f"{where}[{place}]") for place, one in enumerate(value)]


def _read_set(of: Any, value: Any, where: str) -> set[Any]:
    return set(_read_items(of, value, where))


def _read_frozenset(of: Any, value: Any, where: str) -> frozenset[Any]:
    return frozenset(_read_items(of, value, where))


def _read_tuple(of: Any, value: Any, where: str) -> tuple[Any, ...]:
    if of[-1] is ...:
        return tuple(_read_items(of, value, where))
    if type(value) is not list or len(value) != len(of):
        raise _wrong(where, f"a list of {len(of)}", value)
    return tuple(_read(hint, one, f"{where}[{place}]") for place, (hint, one) in enumerate(zip(of, value)))


def _read_dict(of: Any, value: Any, where: str) -> dict[Any, Any]:
    if type(value) is not dict:
        raise _wrong(where, "an object", value)
    return {_read_key(of[0], key, where): _read(of[1], one, f"{where}[{_short(key)}]") for key, one in value.items()}


def _read_key(hint: Any, key: str, where: str) -> Any:
    if hint is str:
        return key
    words = key.split(" ")
    count = len(get_args(hint)) or 1
    if len(words) != count or not all(word.isascii() and word.isdigit() and len(word) < 10 for word in words):
        raise _wrong(where, "a name of " + ("one number" if count == 1 else f"{count} numbers"), key)
    return tuple(map(int, words)) if get_args(hint) else int(words[0])


_READERS: dict[Any, Callable[[Any, Any, str], Any]] = {
    float: _read_float, int: _read_plain(int, "a whole number"), bool: _read_plain(bool, "true or false"),
    str: _read_plain(str, "a text"), list: _read_items, set: _read_set, frozenset: _read_frozenset,
    tuple: _read_tuple, dict: _read_dict,
}
