"""Two networks per node: MFS, probes and migrated processes go on over the one that is whole, and no group moves."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from emulator.mfs.pace import QUICK
from moslab import node
from moslab.faults.links import between
from moslab.journals import read
from moslab.wait import REAL, eventually
from tests.container.conftest import Lab
from tests.container.test_mfs import LIMIT_S, PATH, QUIET, Kept, content, healed, operate, started

SLACK_S = 1.0
WAITS = "while [ ! -e /root/end ]"
GUEST = ["mosrun", "-2", "sh", "-c", f"{WAITS}; do sleep 0.1; done; exit 7"]


def used(lab: Lab) -> list[int]:
    """The requests of node 1 to node 2 over each network."""
    lines = node.run(lab.cluster.node(1), ["cat", "/openmosix/proc/mfs/links"]).stdout.splitlines()
    return [int(line.split()[-1]) for line in lines if line.startswith("2 ")]


def status(lab: Lab) -> str:
    return node.run(lab.cluster.node(1), ["cat", "/openmosix/proc/hpc/nodes/2/status"]).stdout


@pytest.mark.long
def test_all_goes_on_over_the_other_network(lab: Lab) -> None:
    faults = started(lab, replace(QUIET, networks=2))
    owner = read(lab.cluster).owner("tick")
    assert owner is not None
    lives = read(lab.cluster).lives
    kept = Kept(lab, "B", "C", "D", "E")
    kept.waits()
    both = between([1, 2, 3], [1, 2, 3])
    pool = ThreadPoolExecutor(1)
    guest = pool.submit(node.run, lab.cluster.node(1), GUEST, 120.0)
    eventually(lambda: node.run(lab.cluster.node(2), ["pgrep", "-f", WAITS]).exit_code, lambda code: code == 0,
               within_s=LIMIT_S, what="node 2 has the guest")
    cut = faults.cut(both, network=1)                        # the owner of the group, and all others, lose one network
    kept.go()
    kept.waits()
    eventually(lambda: status(lab), lambda seen: seen == "3\n", within_s=LIMIT_S, what="node 2 is up")
    REAL.sleep(QUICK.silence_s + 0.5)                        # for so long a guest could not be without its home
    faults.heal(cut)
    name = lab.moslab("cut", "all", "--from", "all", "--network", "2").partition(":")[0]
    kept.go()
    kept.waits()
    node.run(lab.cluster.node(2), ["touch", "/root/end"])
    assert guest.result(LIMIT_S).exit_code == 7, "it has outlived a cut of each network, one after the other"
    pool.shutdown()
    assert name in lab.moslab("heal", name)
    assert "there is no network 3" in lab.moslab("cut", "1", "--network", "3", exit_code=2)
    one_way = faults.cut({(2, 1)}, network=1)
    kept.go()
    kept.waits()
    faults.heal(one_way)
    whole = faults.cut(between([1], [2]))
    said, took_s = operate(lab, 1, PATH)
    assert (said in ("EAGAIN", "EHOSTUNREACH"), took_s < LIMIT_S) == (True, True)
    assert status(lab) == "1\n"
    faults.heal(whole)
    healed(lab)
    kept.go()
    writes = kept.said()
    assert [result for result, _ in writes] == ["ok"] * 4
    assert max(took_s for _, took_s in writes) < QUICK.reply_s + SLACK_S
    assert content(lab) == "ABCDE"
    assert all(used(lab))
    assert read(lab.cluster).owner("tick") == owner
    assert len(read(lab.cluster).lives) == len(lives), "no group was started anew"
