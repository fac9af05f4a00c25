"""Random faults on a cluster, from its seed: in any world, for as long as is wanted.

Rules:

1. A *round* breaks one to three things, each while those before it last, and then heals all: every group must run again
   (:data:`WITHIN_S`), or the history is invalid.
2. What cannot be broken any more, as a node that was shot meanwhile, is left out. What a world never can is, too.
3. Tables that were edited say at the end again what they said at first (:func:`put_back`).
4. Kinds, targets and times are drawn from the seed of the cluster; in containers what they meet is another each time.
"""

from __future__ import annotations

import re
from typing import Callable, Union

from moslab.errors import CannotError, LabError, UnsupportedError
from moslab.faults.plan import BAD_TABLE, SIGNALS
from moslab.faults.record import EDIT, EXHAUSTIBLE
from moslab.faults.toxics import Toxic, delay, rate, reset, slow_close
from moslab.scenario.breach import Breach
from moslab.scenario.cluster import Cluster, Verdict
from moslab.scenario.tables import CLTAB, hactl_of

OVERLAPPING_MAX = 3
PAUSE_MIN_S, PAUSE_MAX_S = 0.2, 5.0
CLOCK_MAX = 0.008                # of the 1 % that leases allow for
JUMPS_S = (-86400.0, -1.0, 1.0, 86400.0)
TABLES = CLTAB, "hactl"
BAD_SHARE = 0.25
Break = Callable[[Cluster], Union[Breach, None]]


def _flap(cluster: Cluster) -> None:
    cluster.flap("one", every=cluster.random.uniform(PAUSE_MIN_S, 1.0), times=cluster.random.randint(1, 4))


def _kill_process(cluster: Cluster) -> None:
    group = cluster.random.choice(cluster.world.groups)
    cluster.kill_process(cluster.random.choice(["agent", f"leash {group}", f"group {group}"]), on=cluster.group(group))


def _end_processes(cluster: Cluster) -> None:
    group = cluster.random.choice(cluster.world.groups)
    cluster.signal_process(f"group {group}", cluster.random.choice(SIGNALS))


def _lose_disk(cluster: Cluster) -> tuple[int, Breach]:
    """It is lost while the node is off, and all others have power: so one a round. If all are lost nobody has tables
    any more, and no group runs. Which node, until it has power again."""
    if cluster.world.off():
        raise LabError("another node is off, and may have lost its disk")
    (node,) = cluster.whom("one")
    off = cluster.kill(node)
    try:
        cluster.lose_disk(node)
    except LabError:
        off.heal()
        raise
    return node, off


def _owner(cluster: Cluster) -> str:
    return f"owner of {cluster.random.choice(cluster.world.groups)}"


def _move(cluster: Cluster) -> None:
    group = cluster.group(cluster.random.choice(cluster.world.groups))
    cluster.move(group, cluster.random.choice(cluster.nodes))


def _worse(*kinds: Toxic) -> Break:
    """One of these, where MFS goes through Toxiproxy."""

    def begin(cluster: Cluster) -> Breach:
        if not cluster.world.spec.toxiproxy:
            raise UnsupportedError("worsen connections")
        return cluster.worsen("one", cluster.random.choice(kinds), one_way=cluster.random.random() < 0.5)

    return begin


def _cut_in_one_network(cluster: Cluster) -> Breach:
    if cluster.world.spec.networks < 2:
        raise UnsupportedError("cut one of several networks")
    return cluster.cut("one", network=cluster.random.randint(1, cluster.world.spec.networks))


def _join(cluster: Cluster) -> Breach:
    """A machine with an empty disk comes onto the map with the heal; until then its number is on nobody's."""
    node, off = _lose_disk(cluster)
    cluster.unmap(node)
    return off


def _edit(cluster: Cluster) -> None:
    """A comment, or a group that prefers a node; now and then what is no table before, until he sees it."""
    (node,), table = cluster.whom("one"), cluster.random.choice(TABLES)
    text = f"# edited {cluster.random.random()}\n{_tables(cluster)[table]}"
    if table != CLTAB:
        group = re.escape(cluster.random.choice(cluster.world.groups))
        text = re.sub(rf"(?m)^{group}\s.*", rf"\g<0> prefer={cluster.random.choice(cluster.nodes)}", text)
    if cluster.random.random() < BAD_SHARE:
        cluster.edit(node, table, BAD_TABLE)
        cluster.sleep(cluster.random.uniform(PAUSE_MIN_S, PAUSE_MAX_S))
    cluster.edit(node, table, text)


def _tables(cluster: Cluster) -> dict[str, str]:
    """What they say at first, by name."""
    spec = cluster.world.spec
    return dict(zip(TABLES, (spec.cltab, hactl_of(spec.cltab, spec.hactl))))


def put_back(cluster: Cluster) -> None:
    """Have each table that was edited say what it said at first, by an edit where the last one was: two at once would
    be a conflict."""
    edited = {fault.detail: fault.nodes for fault in cluster.faults if fault.kind == EDIT}
    for table, nodes in edited.items():
        cluster.edit(nodes, table, _tables(cluster)[table])


BREAKS: dict[str, Break] = {
    "kill one": lambda cluster: cluster.kill("one"),
    "kill an owner": lambda cluster: cluster.kill(_owner(cluster)),
    "kill a minority": lambda cluster: cluster.kill("minority"),
    "kill all": lambda cluster: cluster.kill("all"),
    "reboot one": lambda cluster: cluster.reboot("one"),
    "reboot an owner": lambda cluster: cluster.reboot(_owner(cluster)),
    "lose a disk": lambda cluster: _lose_disk(cluster)[1],
    "freeze one": lambda cluster: cluster.pause("one"),
    "freeze an owner": lambda cluster: cluster.pause(_owner(cluster)),
    "cut one off": lambda cluster: cluster.cut("one"),
    "cut an owner off": lambda cluster: cluster.cut(_owner(cluster), power=cluster.random.random() < 0.5),
    "cut one off, one way": lambda cluster: cluster.cut("one", one_way=True),
    "cut a minority off": lambda cluster: cluster.cut("minority"),
    "cut halves apart": lambda cluster: cluster.cut("half"),
    "ring of majorities": lambda cluster: cluster.ring(),
    "cut one off in one of two networks": _cut_in_one_network,
    "links flap": _flap,
    "kill a process": _kill_process,
    "end the processes of a group": _end_processes,
    "stop an agent": lambda cluster: cluster.stop_process("agent", on=_owner(cluster)),
    "stop a leash": lambda cluster: cluster.stop_process(f"leash {cluster.random.choice(cluster.world.groups)}"),
    "restart an agent": lambda cluster: cluster.restart_agent("one"),
    "files fail": lambda cluster: cluster.disturb("one", error=cluster.random.random()),
    "files hang": lambda cluster: cluster.disturb("one", hang=cluster.random.uniform(0.01, 0.5)),
    "a disk is full": lambda cluster: cluster.disturb("one", full=True),
    "memory or descriptors are exhausted": lambda cluster: cluster.exhaust("one", cluster.random.choice(EXHAUSTIBLE)),
    "outlets are broken": lambda cluster: cluster.break_outlet("all", cluster.random.choice(["fails", "lies", "slow"])),
    "a clock drifts": lambda cluster: cluster.slew_clock("one", cluster.random.uniform(-CLOCK_MAX, CLOCK_MAX)),
    "a wall clock jumps": lambda cluster: cluster.jump_clock("one", cluster.random.choice(JUMPS_S)),
    "one is off the map": lambda cluster: cluster.unmap("one"),
    "a new machine joins": _join,
    "drain one": lambda cluster: cluster.drain("one"),
    "move a group": _move,
    "edit a table": _edit,
    "connections are late": _worse(delay(0.05, 0.02), delay(0.4, 0.3), delay(2.0)),
    "connections are slow": _worse(rate(1), rate(20)),
    "connections break": _worse(reset()),
    "connections close late": _worse(slow_close(0.5), slow_close(5.0)),
    "packets are lost": lambda cluster: cluster.lose("one", cluster.random.uniform(0.01, 0.3)),
}


def chaos(cluster: Cluster, for_s: float, say: Callable[[str], None] = lambda _text: None) -> Verdict:
    """Rounds until so much time of the world has passed; then the judgement. It ends early when a round does badly, and
    tables stay as they are then."""
    end_s = cluster.world.now_s() + for_s
    broken = 0
    while cluster.world.now_s() < end_s:
        broken += _round(cluster, say)
        verdict = cluster.judge()
        if not verdict:
            return verdict
    if not broken:
        raise CannotError(f"chaos: nothing was broken in {for_s:g} s")
    put_back(cluster)
    return cluster.audit()


def _round(cluster: Cluster, say: Callable[[str], None]) -> int:
    """How much of it could be done."""
    done = 0
    for _ in range(cluster.random.randint(1, OVERLAPPING_MAX)):
        name = cluster.random.choice(sorted(BREAKS))
        try:
            breach = BREAKS[name](cluster)
        except UnsupportedError:
            continue
        except LabError as error:                            # rule 2
            say(f"{name}: not now: {error}")
        except AssertionError as error:                      # it runs nowhere, so it has no owner
            say(f"{name}: not now: {str(error).splitlines()[0]}")
        else:
            done += 1
            say(f"{name}{f': {breach.what}' if breach is not None else ''}")
        cluster.sleep(cluster.random.uniform(PAUSE_MIN_S, PAUSE_MAX_S))
    return done
