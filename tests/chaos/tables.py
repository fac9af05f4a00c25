"""Tables and times of the scenarios."""

from __future__ import annotations

from moslab.layout import lease_s

LEASE_S = lease_s(5)
LEASES_S = 2 * LEASE_S           # in which whatever could move has moved
RUN = "{0}:{0}-run:start:respawn:sleep infinity\n"
WEB = "web:web-fit:test:test:test -d /\n" + RUN.format("web")
TWO = RUN.format("web") + "db:db-dir:start:wait:true\n" + RUN.format("db")
FOUR = "".join(map(RUN.format, ("a", "b", "c", "d")))
STUBBORN = "web:web-run:start:respawn:trap '' TERM INT; while :; do sleep 1; done\n"
