"""The demonstration: a key-value store behind a virtual address, and a daemon that writes down when it lives. For tests
also a register that needs no disk that nodes share, and its clients."""

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


def register(nodes: int) -> str:
    """A cltab with the group ``reg``: a register that is kept on a majority of the nodes' own disks."""
    replicas = " ".join(f"/mfs/{node}/var/register" for node in range(1, nodes + 1))
    return f"reg:reg-run:start:respawn:/usr/lib/mosha/demo/register {replicas}\n"
