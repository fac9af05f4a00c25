"""A node's record: one checksummed block that is rewritten in place, so that readers can keep it open.

The block is a header line ``mosha1 LENGTH CRC32`` and LENGTH bytes of JSON. One writer, any number of readers. A
reader that meets a write half done sees a wrong checksum: the record is then "not read", never "empty".

It has at most ``BYTES_MAX`` bytes. One that would have more is written without the first of ``LEFT_OUT``, then without
the first two, and so on, and says in ``lacks`` what is not in it. Nothing safe depends on any of them: what people read
goes first, then what only makes moves and starts quicker. A hactl within its bounds needs no more than the first two.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from mosha.tables.lines import is_whole

NAME = "beat"
BYTES_MAX = 65536
_MAGIC = "mosha1"
SINCE = "since"                  # with why and reason: of each group what only people read
LEFT_OUT = (
    "failures", SINCE, "orders", "answers", "ready", "kept", "moving", "unfit", "up", "suspects", "groups", "tables",
)
_NEEDED = ("level", "state", "on_hold")
_TYPES: Mapping[str, type[Any]] = {
    "identity": str, "era": str, "boot": str, "revision": int, "arbitrator": bool, "leaving": bool, "suspects": list,
    "unfit": list, "ready": list, "up": list, "stuck": dict, "stuck_on": dict, "groups": dict, "tables": dict,
}


def encode(record: dict[str, Any]) -> bytes:
    """The block of a record, as much as there is room for; raises ValueError if what is left fits neither, which no
    record of an agent does."""
    block = _block(record)
    for number, name in enumerate(LEFT_OUT, 1):
        if len(block) <= BYTES_MAX:
            return block
        record = {**_without(record, name), "lacks": LEFT_OUT[:number]}
        block = _block(record)
    if len(block) > BYTES_MAX:
        raise ValueError(f"record of {len(block)} bytes is over the limit of {BYTES_MAX}")
    return block


def _block(record: dict[str, Any]) -> bytes:
    body = json.dumps(record, separators=(",", ":")).encode()
    return f"{_MAGIC} {len(body)} {zlib.crc32(body):08x}\n".encode() + body


def _without(record: dict[str, Any], name: str) -> dict[str, Any]:
    if name != SINCE:
        return {key: value for key, value in record.items() if key != name}
    groups = record.get("groups", {})
    return {**record, "groups": {
        group: {key: said[key] for key in _NEEDED if key in said} for group, said in groups.items()
    }}


@lru_cache(maxsize=256)
def decode(block: bytes) -> Mapping[str, Any] | None:
    """The record of a block, or None if it is not one, whole, unharmed and :func:`sound <_is_sound>`. The same block is
    read again and again."""
    header, newline, rest = block.partition(b"\n")
    words = header.split(b" ")
    if not newline or len(words) != 3 or words[0] != _MAGIC.encode():
        return None
    size = words[1].decode("ascii", "replace")
    if not is_whole(size, 0, BYTES_MAX):
        return None
    body = rest[: int(size)]
    if len(body) != int(size) or f"{zlib.crc32(body):08x}".encode() != words[2]:
        return None
    try:
        record = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and _is_sound(record) else None


def _is_sound(record: dict[str, Any]) -> bool:
    """Whether what it has of the fields that others act on is of the right types; it may lack some, and have more."""
    for name, kind in _TYPES.items():
        if not isinstance(record.get(name, kind()), kind):
            return False
    groups = record.get("groups", {}).values()
    return (
        all(isinstance(group, str) for group in record.get("unfit", []))
        and all(type(node) is int for node in record.get("suspects", []))
        and all(isinstance(text, str) for text in record.get("stuck", {}).values())
        and all(isinstance(nodes, list) for nodes in record.get("stuck_on", {}).values())
        and all(type(node) is int for nodes in record.get("stuck_on", {}).values() for node in nodes)
        and all(isinstance(group, dict) and _is_group(group) for group in groups)
    )


def _is_group(group: dict[str, Any]) -> bool:
    return all(isinstance(group.get(name, ""), str) for name in ("level", "state", "since"))
