"""What clients and the daemon say to each other: one line of JSON each way, then the connection ends.

Rules:

1. A request is an object with ``do``: ``tell`` (with ``group`` and ``level``), ``read`` or ``shutdown``; nothing else.
2. No bytes make :func:`request` do anything but return a request or raise :class:`BadRequest`.
3. An answer is an object with ``ok`` and ``text``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NamedTuple

from mosha.tables.lines import NAME_RULE, is_name, shown

REQUEST_BYTES_MAX = 4096
ANSWER_BYTES_MAX = 65536
TELL, READ, SHUTDOWN = "tell", "read", "shutdown"
FIELDS = {TELL: {"do", "group", "level"}, READ: {"do"}, SHUTDOWN: {"do"}}


class BadRequest(ValueError):
    """Not one of the requests; ``str`` says what is wrong."""


@dataclass(frozen=True)
class Request:
    """``group`` and ``level`` are names, and those of a tell."""

    do: str
    group: str = ""
    level: str = ""


class Answer(NamedTuple):
    """``ok``: it is being done."""

    ok: bool
    text: str


def encoded(request: Request) -> bytes:
    """The line of a request."""
    fields = {"do": request.do, "group": request.group, "level": request.level}
    return json.dumps({name: fields[name] for name in sorted(FIELDS[request.do])}).encode() + b"\n"


def request(line: bytes) -> Request:
    """The request of one line; see rule 2."""
    found = _object(line)
    do = found.get("do")
    if not isinstance(do, str) or do not in FIELDS:
        raise BadRequest(f"what is to be done must be one of {', '.join(FIELDS)}")
    if found.keys() != FIELDS[do]:
        raise BadRequest(f"{do} has the fields {', '.join(sorted(FIELDS[do]))}")
    for name, value in found.items():
        if not isinstance(value, str) or not is_name(value):
            raise BadRequest(f"bad {name} {shown(str(value))}: {NAME_RULE}")
    return Request(**found)


def answer_line(answer: Answer) -> bytes:
    """The line of an answer, cut to fit."""
    text = answer.text.encode("ascii", "backslashreplace").decode()
    return json.dumps({"ok": answer.ok, "text": text[: ANSWER_BYTES_MAX // 8]}).encode() + b"\n"


def answer(line: bytes) -> Answer:
    """The answer of one line. Raises BadRequest."""
    found = _object(line)
    ok, text = found.get("ok"), found.get("text")
    if not isinstance(ok, bool) or not isinstance(text, str):
        raise BadRequest("not an answer")
    return Answer(ok, text)


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise BadRequest("not a line of JSON") from None
    if not isinstance(found, dict):
        raise BadRequest("not an object of JSON")
    return found
