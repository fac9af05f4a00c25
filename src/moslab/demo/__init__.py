"""The demonstration: a key-value store behind a virtual address, and a daemon that writes down when it lives."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

HERE = Path(__file__).parent
KV_ADDRESS = "@KV_ADDRESS@"


def tables(virtual: Callable[[int], str]) -> dict[str, str]:
    """The texts of cltab and hactl, by name; ``virtual(n)`` is the n-th virtual address, with its prefix length."""
    texts = {name: (HERE / name).read_text(encoding="utf-8") for name in ("cltab", "hactl")}
    texts["cltab"] = texts["cltab"].replace(KV_ADDRESS, virtual(0))
    return texts
