"""Random faults on a cluster, from its seed: in any world, for as long as is wanted.

Rules:

1. A *round* breaks one to three things, each while those before it last, and then heals all: every group must run again
   (:data:`WITHIN_S`), or the history is invalid.
2. What cannot be broken any more, as a node that was shot meanwhile, is left out. What a world never can is, too.
3. Kinds, targets and times are drawn from the seed of the cluster; in containers what they meet is another each time.
"""

from __future__ import annotations

from typing import Callable, Union

from moslab.errors import CannotError, LabError, UnsupportedError
from moslab.faults.plan import SIGNALS
from moslab.faults.record import EXHAUSTIBLE
from moslab.faults.toxics import Toxic, delay, rate, reset, slow_close
from moslab.scenario.breach import Breach
from moslab.scenario.cluster import Cluster, Verdict

OVERLAPPING_MAX = 3
PAUSE_MIN_S, PAUSE_MAX_S = 0.2, 5.0
CLOCK_MAX = 0.008                # of the 1 % that leases allow for
JUMPS_S = (-86400.0, -1.0, 1.0, 86400.0)
Break = Callable[[Cluster], Union[Breach, None]]


def _flap(cluster: Cluster) -> None:
    cluster.flap("one", every=cluster.random.uniform(PAUSE_MIN_S, 1.0), times=cluster.random.randint(1, 4))


def _kill_process(cluster: Cluster) -> None:
    group = cluster.random.choice(cluster.world.groups)
    cluster.kill_process(cluster.random.choice(["agent", f"leash {group}", f"group {group}"]), on=cluster.group(group))


def _end_processes(cluster: Cluster) -> None:
    group = cluster.random.choice(cluster.world.groups)
    cluster.signal_process(f"group {group}", cluster.random.choice(SIGNALS))


def _lose_disk(cluster: Cluster) -> Breach:
    """It is lost while the node is off, and all others have power: so one a round. If all are lost nobody has tables
    any more, and no group runs."""
    if cluster.world.off():
        raise LabError("another node is off, and may have lost its disk")
    (node,) = cluster.whom("one")
    off = cluster.kill(node)
    try:
        cluster.lose_disk(node)
    except LabError:
        off.heal()
        raise
    return off


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


BREAKS: dict[str, Break] = {
    "kill one": lambda cluster: cluster.kill("one"),
    "kill an owner": lambda cluster: cluster.kill(_owner(cluster)),
    "kill a minority": lambda cluster: cluster.kill("minority"),
    "kill all": lambda cluster: cluster.kill("all"),
    "reboot one": lambda cluster: cluster.reboot("one"),
    "reboot an owner": lambda cluster: cluster.reboot(_owner(cluster)),
    "lose a disk": _lose_disk,
    "freeze one": lambda cluster: cluster.pause("one"),
    "freeze an owner": lambda cluster: cluster.pause(_owner(cluster)),
    "cut one off": lambda cluster: cluster.cut("one"),
    "cut an owner off": lambda cluster: cluster.cut(_owner(cluster), power=cluster.random.random() < 0.5),
    "cut one off, one way": lambda cluster: cluster.cut("one", one_way=True),
    "cut a minority off": lambda cluster: cluster.cut("minority"),
    "cut halves apart": lambda cluster: cluster.cut("half"),
    "ring of majorities": lambda cluster: cluster.ring(),
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
    "drain one": lambda cluster: cluster.drain("one"),
    "move a group": _move,
    "connections are late": _worse(delay(0.05, 0.02), delay(0.4, 0.3), delay(2.0)),
    "connections are slow": _worse(rate(1), rate(20)),
    "connections break": _worse(reset()),
    "connections close late": _worse(slow_close(0.5), slow_close(5.0)),
    "packets are lost": lambda cluster: cluster.lose("one", cluster.random.uniform(0.01, 0.3)),
}


def chaos(cluster: Cluster, for_s: float, say: Callable[[str], None] = lambda _text: None) -> Verdict:
    """Rounds until so much time of the world has passed; then the judgement. It ends early when a round does badly."""
    end_s = cluster.world.now_s() + for_s
    broken = 0
    while cluster.world.now_s() < end_s:
        broken += _round(cluster, say)
        verdict = cluster.judge()
        if not verdict:
            return verdict
    if not broken:
        raise CannotError(f"chaos: nothing was broken in {for_s:g} s")
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
