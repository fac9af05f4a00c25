"""A history as JSON, for who looks at a run after it."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from moslab.history.record import History

FORMAT = 1


def to_json(history: History) -> str:
    """One line for each field; named tuples are objects, sets sorted lists, and what has no end is null."""
    shown = {field.name: _plain(getattr(history, field.name)) for field in fields(history)}
    lines = [f" {json.dumps(name)}: {json.dumps(value, allow_nan=False)}" for name, value in shown.items()]
    return "\n".join(["{", f' "format": {FORMAT},', ",\n".join(lines), "}"]) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) != float("inf") else None
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
