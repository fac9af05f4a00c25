"""A run to be shown: three nodes, two groups, and everything that a report has something for."""

from __future__ import annotations

from math import inf

from moslab.faults.record import CUT, OFF, PAUSE, STOP, Fault
from moslab.history.intervals import Interval
from moslab.history.record import (
    INFO,
    OK,
    READ,
    WRITE,
    Elected,
    Gone,
    Held,
    History,
    Life,
    Line,
    Numbered,
    Operation,
    Released,
)
from moslab.history.stored import Run

BAD = "</script><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">\x1b[31m {{data}}"


def made(text: str = "web: given up") -> Run:
    """``text`` is said by a node, and is in the name of the test."""
    history = History(
        nodes=3, electorates=[Elected(0.0, 7, 0, (1, 2, 3))], lease_s=2.5, drift=0.01, end_s=20.0, healed_s=18.0,
        intervals=[
            Interval("web", 1, 7, "1700.1", 1.0, 8.0), Interval("web", 2, 9, "1700.2", 7.5, inf),
            Interval("db", 3, 8, "1700.1", 1.0, 4.0), Interval("db", 3, 11, "1700.1", 4.0, 6.0),
            Interval("db", 2, 12, "", 6.5, 6.75), Interval("db", 2, 13, "1700.2", 7.0, inf),
        ],
        tests={12}, thaws=[(12.0, 3)], stops=[(12.5, 3)], shots=[(8.5, 1)], crashes=[(13.0, 2, "ValueError: x")],
        lives=[Life(0.5, 1)], released=[Released(6.25, "db", "1700.1", 3)], gone=[Gone("db", 3, "1700.1", 6.0, 6.1)],
        contacts={(1, 1): [(0.0, inf)], (1, 2): [(0.0, 5.0), (10.0, inf)], (2, 1): [(0.0, inf)], (2, 2): [(0.0, inf)],
                  (3, 3): [(0.0, inf)], (3, 1): [(0.0, inf)]},
        held=[Held(3.0, "cltab", 1)], numbered=[Numbered(2.0, "cltab", 1, (1,))], final={"cltab": [(1,), (), (1,)]},
        aside={("hactl", 2)}, fenced=frozenset({"db"}), requires={"web": ("db",)}, wanted=["web", "db", "never"],
        waiting={"db": 3}, addresses=[Interval("10.0.0.9", 1, 20, "1700.1", 1.5, 8.0)],
        registers=["web.1"], operations=[
            Operation(1, 2, "web.1", WRITE, 5, OK, 2.0, 2.5), Operation(2, 1, "web.1", READ, None, INFO, 8.25, inf),
        ],
    )
    return Run(
        title=f"test_it[{text}]", world="sim", seed=2**60, again="pytest 'test_it[sim]' --seed=7",
        failure="AssertionError: not elsewhere", verdict="invalid",
        problems=["overlap: web: nodes 1 (epoch 1700.1) and 2 (epoch 1700.2) for 0.5000 s from 7.5000", "it is so"],
        begin_s=1.0, history=history,
        faults=[
            Fault(CUT, (), "1>2 2>1 3>1", 5.0, 10.0), Fault(OFF, (1,), "", 9.5, 15.0),
            Fault(PAUSE, (3,), "", 11.0, 12.0), Fault(STOP, (2,), "agent", 14.0, inf),
            Fault("SIGKILL", (2,), "group web", 16.0, 16.01),
            Fault("weather", (), "everywhere", 16.0, 17.0),
        ],
        log=[Line(0.25, 1, "boots"), Line(6.0, 3, text), Line(7.0, 0, "the world"), Line(7.75, 2, "web: start DONE")],
    )
