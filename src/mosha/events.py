"""What this node saw happen: groups that came, went and failed, nodes that died and returned; for ``mosha history``.

Events are the differences between one page of the agent and the next. The latest ``EVENTS_MAX`` are kept in the file
``history``, one JSON object a line, over boots too. Nothing is decided by them.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Callable

from mosha.platform.world import Store

FILE = "history"
EVENTS_MAX = 500
BYTES_MAX = 512 * 1024
TIME_MAX_S = 2.0 ** 40           # of a clock that people can be shown
Page = Mapping[str, Any]


class Events:
    """``wall()`` is what people's clocks say."""

    def __init__(self, store: Store, wall: Callable[[], float]) -> None:
        self._store, self._wall = store, wall
        self._seen: Page = {}
        self._is_written = True
        self._all: deque[dict[str, Any]] = deque(read(store.read(FILE, BYTES_MAX) or b""), EVENTS_MAX)

    def note(self, page: Page) -> None:
        """A page that may differ from the one before. Raises OSError where the file cannot be written; the next page
        has that tried again."""
        new = list(changes(self._seen, page)) if self._seen else [("", f"the agent of node {page['node']} began")]
        self._seen = page
        time_s = round(self._wall(), 3)
        self._all.extend({"time": time_s, "group": group, "what": what} for group, what in new)
        if new or not self._is_written:
            self._is_written = False
            self._store.replace(FILE, "".join(f"{json.dumps(event)}\n" for event in self._all).encode())
            self._is_written = True


def read(content: bytes) -> list[dict[str, Any]]:
    """The events of such a file; what is none is left out."""
    found = []
    for line in content.decode("utf-8", "replace").splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and _is_time(event.get("time")) and "what" in event:
            found.append({"time": event["time"], "group": str(event.get("group", "")), "what": str(event["what"])})
    return found[-EVENTS_MAX:]


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= TIME_MAX_S


def changes(before: Page, page: Page) -> Iterator[tuple[str, str]]:
    """(group or nothing, what happened), from one page to the next."""
    if before["quorum"] != page["quorum"]:
        yield "", "quorum" if page["quorum"] else "NO QUORUM: nothing runs here"
    overtaken = page.get("electorate", {}).get("overtaken")
    if overtaken and not before.get("electorate", {}).get("overtaken"):
        yield "", overtaken
    nodes = {node["id"]: _state(node) for node in before["nodes"]}
    for node in page["nodes"]:
        old, new = nodes.pop(node["id"], "not on the map"), _state(node)
        if old != new:
            yield "", f"node {node['id']}: {old} -> {new}"
    for gone in nodes:
        yield "", f"node {gone}: not on the map any more"
    failed = {node["id"]: node["failures"] for node in before["nodes"]}
    for node in page["nodes"]:
        yield from _failures(node, failed.get(node["id"], {}))
    groups = {group["name"]: group for group in before["groups"]}
    for group in page["groups"]:
        yield from _of_group(groups.get(group["name"], {}), group)
    for name, answers in page["orders"].items():
        if name not in before["orders"]:
            texts = [f"node {node}: {text or 'done'}" for node, text in answers.items()]
            yield "", f"order {name}: {', '.join(texts)}"


def _of_group(old: Page, new: Page) -> Iterator[tuple[str, str]]:
    name = new["name"]
    if old.get("moving") != new["moving"] and new["moving"] is not None:
        yield name, f"is to move from node {new['owner']} to node {new['moving']}"
    if new.get("stuck") and not old.get("stuck"):
        yield name, f"node {new['owner']}: cannot be ended: {new['stuck']}"
    if (old.get("owner"), old.get("level"), old.get("state")) == (new["owner"], new["level"], new["state"]):
        return
    if new["owner"] is None:
        yield name, "runs nowhere" if new["state"] == "WAITING" else "is stopped"
        return
    why = f" ({new['why']})" if new["why"] and (old.get("owner") != new["owner"] or not old.get("why")) else ""
    yield name, f"node {new['owner']}: {new['level']} {new['state']}{why}"
    if new["state"] == "FAILED" and new["reason"]:
        yield name, f"node {new['owner']}: failed: {new['reason']}"


def _failures(node: Page, before: Page) -> Iterator[tuple[str, str]]:
    for group, now in node["failures"].items():
        if now["count"] != before.get(group, {}).get("count"):
            times = "once" if now["count"] == 1 else f"{now['count']} times"
            yield group, f"node {node['id']} has failed it {times}: {now['why']}"


def _state(node: Page) -> str:
    return f"{node['state']}{', drained' if node['drained'] else ''}"
