"""What a connection of MFS can meet on its way through Toxiproxy, and on which of the proxies a link is; without one,
what packets can meet of it (:mod:`moslab.faults.netem`).

Rules:

1. A link from a to b is what a sends to b: questions (the proxy a-b, upstream), and answers (b-a, downstream).
2. Only MFS meets it: probes, migration and virtual addresses pass beside (:mod:`moslab.router`).
3. A toxic's name is the name of the fault, and the stream: the fault is known by what Toxiproxy says it has.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from moslab.errors import CannotError
from moslab.faults.links import Cuts, Link

DELAY, RATE, RESET, SLOW_CLOSE = "delay", "rate", "reset", "slow-close"
"""The kinds, as they are recorded."""
TIME_MAX_S = 600.0
RATE_MAX = 10_000_000
UP, DOWN = "upstream", "downstream"


class Toxic(NamedTuple):
    """``kind`` is that of the record, ``type`` and ``attributes`` are Toxiproxy's; ``said`` is for people."""

    kind: str
    type: str
    attributes: Mapping[str, int]
    said: str = ""


def delay(by_s: float, jitter_s: float = 0.0) -> Toxic:
    """All arrives so much later, give or take the jitter, and in the same order."""
    _check("a delay", by_s)
    if not 0 <= jitter_s <= by_s:
        raise CannotError(f"a jitter is from 0 to the delay, {by_s:g} s, not {jitter_s:g}")
    said = f"{by_s:g} s{f' ± {jitter_s:g} s' if jitter_s else ''}"
    return Toxic(DELAY, "latency", {"latency": _ms(by_s), "jitter": _ms(jitter_s)}, said)


def rate(kbytes_s: int) -> Toxic:
    """Not more than so many thousand bytes a second, on each connection."""
    if not 1 <= kbytes_s <= RATE_MAX:
        raise CannotError(f"a rate is from 1 to {RATE_MAX} kB/s, not {kbytes_s}")
    return Toxic(RATE, "bandwidth", {"rate": int(kbytes_s)}, f"{kbytes_s} kB/s")


def reset() -> Toxic:
    """A connection ends, by a reset if it began after this, with the first that is sent on it."""
    return Toxic(RESET, "reset_peer", {"timeout": 0})


def slow_close(by_s: float) -> Toxic:
    """That a side has closed a connection is told the other so much later."""
    _check("a slow close", by_s)
    return Toxic(SLOW_CLOSE, "slow_close", {"delay": _ms(by_s)}, f"{by_s:g} s")


def as_plan(toxic: Toxic) -> dict[str, Any]:
    """The fields of a plan's ``worsen`` that say the same, in seconds."""
    told = toxic.attributes
    if toxic.kind == DELAY:
        return {"delay": told["latency"] / 1000, **({"jitter": told["jitter"] / 1000} if told["jitter"] else {})}
    if toxic.kind == RATE:
        return {"rate": told["rate"]}
    return {"reset": True} if toxic.kind == RESET else {"slow_close": told["delay"] / 1000}


def of_plan(fault: Mapping[str, Any]) -> list[Toxic]:
    """What that ``worsen`` says, but for loss, which is the packets'; CannotError for what no connection can meet."""
    found = [delay(fault["delay"], fault.get("jitter", 0.0))] if "delay" in fault else []
    found += [rate(fault["rate"])] if "rate" in fault else []
    found += [reset()] if fault.get("reset") else []
    return found + ([slow_close(fault["slow_close"])] if "slow_close" in fault else [])


def places(links: Iterable[Link]) -> list[tuple[Link, str]]:
    """(proxy, as asker and owner; stream) of all that is sent over these links (rule 1)."""
    return [place for a, b in sorted(links) for place in (((a, b), UP), ((b, a), DOWN))]


def toxic_name(fault: str, stream: str) -> str:
    """Rule 3."""
    return f"{fault}.{stream}"


def parse(proxies: Mapping[str, Any]) -> Cuts:
    """The links of each fault, of what Toxiproxy says of its proxies; what is none of ours is left out."""
    found: dict[str, set[Link]] = {}
    for proxy, said in proxies.items():
        pair = re.fullmatch(r"(\d+)-(\d+)", proxy)
        if pair is None:
            continue
        asker, owner = map(int, pair.groups())
        for toxic in said["toxics"]:
            fault, dot, stream = toxic["name"].partition(".")
            if dot and stream == toxic["stream"]:
                found.setdefault(fault, set()).add((asker, owner) if stream == UP else (owner, asker))
    return {fault: frozenset(links) for fault, links in sorted(found.items())}


def _check(what: str, by_s: float) -> None:
    if not 0.001 <= by_s <= TIME_MAX_S:
        raise CannotError(f"{what} is from 0.001 to {TIME_MAX_S:g} s, not {by_s:g}")


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
