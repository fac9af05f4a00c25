"""hastat: what runs where, as one Perl expression in the layout of Data::Dump, as OpenMosix::HA wrote it.

``{ kv => { 2 => { level => "start", state => "DONE" } } }``: group, node, level and state. Keys are sorted; a
hash of more than 60 characters gets a line for each key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Union

LINE_CHARACTERS_MAX = 60
INDENT = "  "

_Dump = Union[str, Mapping[str, "_Dump"]]
_BARE_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|0|[1-9][0-9]{0,8}", re.ASCII)


def render(groups: Mapping[str, Mapping[int, tuple[str, str]]]) -> str:
    """The text for {group: {node: (level, state)}}; valid Perl for any text."""
    return _dump({
        group: {
            str(node): {"level": level, "state": state}
            for node, (level, state) in sorted(nodes.items())
        }
        for group, nodes in sorted(groups.items())
    }) + "\n"


def _dump(value: _Dump) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if not value:
        return "{}"
    keys = list(value)
    if not all(_BARE_KEY.fullmatch(key) for key in keys):
        keys = [_quoted(key) for key in keys]
    items = list(zip(keys, map(_dump, value.values())))
    line = "{ " + ", ".join(f"{key} => {text}" for key, text in items) + " }"
    if len(line) <= LINE_CHARACTERS_MAX and "\n" not in line:
        return line
    width = max(map(len, keys))
    lines = [f"{key:<{width}} => {text},".replace("\n", "\n" + INDENT) for key, text in items]
    return "{\n" + "".join(f"{INDENT}{line}\n" for line in lines) + "}"


def _quoted(text: str) -> str:
    """A Perl string literal in double quotes: nothing in it is interpolated."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in '\\"$@':
        return "\\" + character
    if " " <= character <= "~":
        return character
    return f"\\x{{{ord(character):x}}}"
