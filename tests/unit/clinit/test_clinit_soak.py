"""Whatever is told, edited and killed: one process of an entry at a time, and nothing is left in the end."""

from __future__ import annotations

import os
import random
import signal

import pytest

from mosha.platform import procscan
from tests.unit.clinit.leashed import wait_until
from tests.unit.clinit.standalone import Standalone

DEAF = "trap '' INT; while :; do sleep 0.05; done"
COMMANDS = (
    "sleep 600", DEAF, "sleep 0.1", "true", "false", "/no/such", "setsid sleep 60 & true", "setsid sleep 61; true",
)
MODES = ("wait", "once", "respawn", "respawn", "test", "off", "monitor=0.05")
QUICKEST = ":::stop:INT 0 TERM 0.05 KILL 0.1\n"


def table(draw: random.Random) -> str:
    if draw.random() < 0.15:
        return draw.choice(("", "web:", "a:b:c:d:e\n", "web:w:start:once:true\n" * 2))
    lines = []
    for group in ("web", "db"):
        for number in range(draw.randrange(4)):
            mode, command = draw.choice(MODES), draw.choice(COMMANDS)
            lines.append(f"{group}:{group}{number}:{draw.choice(('start', '1,start', '1', 'stop'))}:{mode}:{command}\n")
    return "".join(lines)


@pytest.mark.parametrize("seed", range(4))
def test_any_order_of_what_can_happen(alone: Standalone, seed: int) -> None:
    draw = random.Random(seed)
    alone.start("web:w:start:respawn:sleep 600\n", QUICKEST)
    for _ in range(60):
        kind = draw.random()
        if kind < 0.5:
            alone.client.tell(draw.choice(("web", "db")), draw.choice(("start", "1", "stop", "none")))
        elif kind < 0.65:
            alone.write(table(draw), QUICKEST)
        elif kind < 0.75:
            alone.client.read()
        elif kind < 0.85:
            alone.speak(bytes(draw.randrange(256) for _ in range(draw.randrange(60))))
        else:
            victims = [*alone.everything(), *(alone.guardians() if draw.random() < 0.3 else [])]
            if victims:
                try:
                    os.kill(draw.choice(victims), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        mains = [pid for pid in alone.everything() if os_group(pid) == pid]
        tags = [tag for tag in (tag_of(pid) for pid in mains) if tag]
        assert len(tags) == len(set(tags)), f"two of one entry: {sorted(tags)}"
        assert alone.client.runs()
    alone.client.shutdown()
    assert alone.wait() == 0
    wait_until(lambda: not alone.daemons())
    assert alone.everything() == []


def os_group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return -1


def tag_of(pid: int) -> str:
    """Of a process that was started for an entry: its parent is a guardian, which has no tag."""
    process = procscan.process(pid)
    if process is None or process.state == procscan.ZOMBIE or procscan.variable(process.parent, "MOSHA_TAG"):
        return ""
    return procscan.variable(pid, "MOSHA_TAG") or ""
