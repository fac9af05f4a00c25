"""``--attach``: tests on a cluster that is up already, as somebody else has begun it.

Rules:

1. It is neither begun nor removed here, whatever comes of a test; it is healed before and after each, as any other.
2. A test that asks for what it has not is skipped by that name. What a test does not say is as it is: the groups are
   those that write a journal.
3. What a test leaves fails it: nodes, tables, mounts, rules of cuts, processes that stand still or were nowhere before,
   core dumps. Whatever a test began gets ``GONE_LIMIT_S`` to end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mosha import config
from moslab.cluster import Cluster
from moslab.errors import LabError, UnsupportedError
from moslab.faults.fabric import read_file
from moslab.layout import checked_name, lease_s
from moslab.namespaces.own import engine_of
from moslab.node import run
from moslab.scenario.docker import DockerWorld
from moslab.wait import eventually

GONE_LIMIT_S = 10.0
LOOK_EVERY_S = 0.5
CONF = "/etc/mosha.conf"
LOOK = r"""
for table in cltab hactl; do echo "$table: $(md5sum </var/mosix-ha/$table)"; done
awk '{print "mount: " $2}' /proc/mounts
grep '^add rule' /etc/cuts.nft 2>/dev/null | sed 's/^/cut: /'
find / -xdev -maxdepth 3 -type f -name 'core*' -size +64k -not -path '/proc/*' | sed 's/^/core dump: /'
for stat in /proc/[0-9]*/stat; do
    read -r line 2>/dev/null <"$stat" || continue
    pid=${stat#/proc/} pid=${pid%/stat} rest=${line##*) }
    words=$(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") && [ -n "$words" ] || continue
    case ${rest%% *} in Z) continue ;; T|t) echo "stands still: $words" ;; esac
    echo "process: $words"
done
"""
"""What of a node must be as it was."""
EVERYWHERE = ("process: ",)      # of which it does not matter where it is
OWN = "for table in cltab"       # of this very look


class Attached:
    """The cluster of that name; CannotError if it does not run."""

    def __init__(self, name: str) -> None:
        self.cluster = Cluster(engine_of(checked_name(name)), name)
        self.cluster.size()
        self._before: frozenset[str] = frozenset()
        self._is_lent = False

    def lend(self, wanted: Mapping[str, Any]) -> DockerWorld:
        """For one test, which asks for that (rule 2)."""
        if self._is_lent:
            raise UnsupportedError("make two clusters of the one that is attached")
        world = DockerWorld.attach(self.cluster)
        self._check(world, wanted)
        world.settle()
        self._before = self._seen()
        self._is_lent = True
        return world

    def left(self) -> list[str]:
        """Rule 3; it may be lent again."""
        self._is_lent = False
        try:
            eventually(self._changed, lambda changed: not changed, within_s=GONE_LIMIT_S, what="all is as it was",
                       every_s=LOOK_EVERY_S)
        except LabError:
            return self._changed()
        return []

    def close(self) -> None:
        """The connection; the cluster stays."""
        self.cluster.client.close()

    # -- inside ------------------------------------------------------------------------------------

    def _check(self, world: DockerWorld, wanted: Mapping[str, Any]) -> None:
        nodes = self.cluster.nodes()
        conf = config.parse(read_file(nodes[min(nodes)], CONF).decode(), CONF)
        has = {"nodes": len(nodes), "stomith": bool(conf.stomith), "toxiproxy": world.spec.toxiproxy}
        for name, value in has.items():
            if wanted.get(name, value) != value:
                raise UnsupportedError(f"have {name}={wanted[name]}: the cluster that is attached has {value}")
        given = [name for name in ("cltab", "hactl") if name in wanted]
        if given:
            raise UnsupportedError(f"give the cluster that is attached another {given[0]}")
        profile = wanted.get("profile")
        if profile and lease_s(len(nodes), profile) != conf.timing.lease_s:
            raise UnsupportedError(f"have profile={profile}: the cluster that is attached has another lease")

    def _changed(self) -> list[str]:
        now = self._seen()
        return [*(f"left: {one}" for one in sorted(now - self._before)),
                *(f"gone: {one}" for one in sorted(self._before - now) if not one.startswith(EVERYWHERE))]

    def _seen(self) -> frozenset[str]:
        found = set()
        for node, container in self.cluster.nodes().items():
            found.add(f"node {node}: {container.status}")
            lines = run(container, ["sh", "-c", LOOK]).stdout.splitlines() if container.status == "running" else []
            found |= {line if line.startswith(EVERYWHERE) else f"node {node}: {line}"
                      for line in lines if OWN not in line}
        return frozenset(found)
