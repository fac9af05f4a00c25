"""A modelled agent of 2003, OpenMosix::HA with Cluster::Init; ``tests/veteran.py`` is one with real processes.

Rules:

1. In each cycle it does for each group the first row that holds of what the nodes show that are up by one look, as the
   programs of 2003 were seen to. Cycles become longer and shorter as theirs did; what is read of others, at one
   instant, is as it lies there.
2. A group that is told a level stops what is of others: INT, TERM and KILL, looked at once a second. Then it runs
   what is of this one, in order, and each respawn again that has ended.
3. With less than 60 % of the nodes up that were up before it stops everything.
4. Its tables are those that its disk had when it began: nobody edits where such a node is.
"""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from mosha.tables import clstat, cltab, hactl
from mosha.tables.clstat import CONFIGURED, DONE, FAILED, PASSED, STARTING, STOPPING, GroupStat
from mosha.tables.cltab import OFF, ONCE, RESPAWN, TEST, WAIT, Entry
from mosha.tables.errors import TableErrors
from moslab.simulator.process import Member, Process

if TYPE_CHECKING:
    from moslab.simulator.node import Node

CLSTAT = "clstat"
TICK_S, CHECK_S = 0.1, 1.0
STOPS = ((0.0, signal.SIGINT), (5.0, signal.SIGTERM), (15.0, signal.SIGKILL))
QUORUM, LOST_S = 0.6, 30.0
BALANCE = 1.5
SETTLED = (DONE, PASSED, FAILED)


class Group:
    """One group of its clinit, in the place of a guardian: its processes have no token and no deadline."""

    def __init__(self, node: Node, name: str, entries: tuple[Entry, ...]) -> None:
        self.node, self.group, self.number = node, name, node.cluster.new_guardian()
        self.alive = True
        self.level, self.shown, self.state = "", "", CONFIGURED
        self.members: dict[int, Member] = {}
        self._entries = {entry.tag: entry for entry in entries}
        self._since_s = self._check_s = 0.0
        self._sent = 0
        self._todo: list[Entry] = []
        self._ran: dict[str, int] = {}               # tag -> the exit status of what was waited for
        self._awaited = ""

    def tell(self, level: str) -> None:
        """Rule 2."""
        if level != self.level:
            now = self.node.kernel.now
            self.shown = self.shown or level
            self.level, self.state = level, STOPPING
            self._since_s, self._check_s, self._sent = now, now + CHECK_S, 0

    def step(self) -> None:
        """Go on as far as that goes now."""
        now = self.node.kernel.now
        if self.state == STOPPING:
            self._stop(now)
        elif self.state == STARTING:
            self._start()
        for tag, entry in self._entries.items():
            if entry.mode == RESPAWN and self.state == DONE and entry.at(self.level) and not self._has(tag):
                self._run(entry)

    def _stop(self, now: float) -> None:
        leaving = [one for one in self.members.values() if not self._entries[one.tag].at(self.level)]
        while self._sent < len(STOPS) and now >= self._since_s + STOPS[self._sent][0]:
            for member in leaving:
                member.signal(STOPS[self._sent][1])
            self._sent += 1
        if now >= self._check_s:
            self._check_s = now + CHECK_S
            if not leaving:                          # a process that was killed is there until it is gone
                self.state, self.shown, self._ran, self._awaited = STARTING, self.level, {}, ""
                self._todo = [entry for entry in self._entries.values() if entry.at(self.level)]

    def _start(self) -> None:
        while not self._awaited or not self._has(self._awaited):
            if not self._todo:
                tests = [self._ran.get(one.tag) == 0 for one in self._entries.values() if one.at(self.level)
                         and one.mode == TEST]
                self.state = FAILED if not all(tests) else PASSED if tests else DONE
                return
            entry = self._todo.pop(0)
            if entry.mode in (WAIT, TEST) or (entry.mode in (ONCE, RESPAWN) and not self._has(entry.tag)):
                self._run(entry)
                self._awaited = entry.tag if entry.mode in (WAIT, TEST) else ""

    def _run(self, entry: Entry) -> None:
        assert entry.mode != OFF
        member = Member(self, entry.tag, self.level, "", entry.command, entry.mode == TEST)
        self.members[member.pid] = member
        self.node.trace(f"{self.group}/{entry.tag} starts at {self.level}, by 2003")

    def _has(self, tag: str) -> bool:
        return any(member.tag == tag for member in self.members.values())

    def adopt(self, member: Member) -> None:
        """What one of the group left behind: 2003 knows only what it has started itself, so no plan has any."""

    def ended(self, member: Member, status: int) -> None:
        """A process is gone."""
        self.members.pop(member.pid, None)
        if member.main:
            self._ran[member.tag] = status


class Elder(Process):
    """Of one boot of a node."""

    __slots__ = ("_cycle_s", "_draw", "_groups", "_quorate", "_tables", "_wanted")

    def __init__(self, node: Node) -> None:
        super().__init__(node)
        files = node.disk.files
        self._tables = cltab.parse(files["cltab"].decode())
        self._wanted = hactl.levels(hactl.parse(files["hactl"].decode()))
        self._groups: dict[str, Group] = {}
        self._draw = node.cluster.stream(f"elder/{node.number}/{node.boot}")
        self._cycle_s, self._quorate = 1.0, 0

    def begin(self) -> None:
        self.node.disk.remove(CLSTAT)
        self.at(self.node.kernel.now + TICK_S, self._tick)
        self.at(self.node.kernel.now + 1.0, self._cycle)

    def _tick(self, _: None) -> None:
        before = self._text()
        for group in self._groups.values():
            group.step()
        text = self._text()
        if text != before or CLSTAT not in self.node.disk.files:
            self.node.disk.replace(CLSTAT, text.encode(), durable=False)
        self.at(self.node.kernel.now + TICK_S, self._tick)

    def _text(self) -> str:
        return clstat.render(GroupStat(one.group, one.shown, one.state) for one in self._groups.values())

    def _cycle(self, _: None) -> None:
        node = self.node
        up = [one for one in node.map if one == node.number or node.cluster.in_contact(node.number, one)]
        pause_s = 0.0
        if len(up) < QUORUM * self._quorate:
            node.count("elder lost its quorum")
            for group in self._groups.values():
                group.tell(hactl.STOP)
            pause_s = LOST_S
        else:
            self._quorate = len(up)
            active = self._active(up)
            for name in sorted({*active, *self._wanted}):
                self._scan(name, active.get(name, {}), self._wanted.get(name, ""), len(up))
        self.at(node.kernel.now + max(1.0, float(int(self._cycle_s)), pause_s), self._cycle)

    def _active(self, up: list[int]) -> dict[str, dict[int, GroupStat]]:
        """What is active where; a file that cannot be read is skipped, however old the others are."""
        found: dict[str, dict[int, GroupStat]] = {}
        for number in up:
            content = self.node.cluster.nodes[number].disk.files.get(CLSTAT, b"")
            try:
                stats = clstat.parse(content.decode())
            except TableErrors:
                continue
            for stat in stats:
                if stat.state != CONFIGURED and (stat.level, stat.state) != (hactl.STOP, DONE):
                    found.setdefault(stat.name, {})[number] = stat
        return found

    def _scan(self, name: str, where: dict[int, GroupStat], wanted: str, count: int) -> None:
        """Rule 1."""
        mine, next_s, order = where.get(self.node.number), 5.0, ""
        _, level, state = mine or GroupStat(name, "", "")
        if level and (not wanted or len(where) > 1):
            self._cycle_s += self._draw.integer(0, 9) if wanted else 0
            self.node.count("elder yields a group")
            order = hactl.STOP
        elif (level, state) in (("test", PASSED), ("test", DONE)):
            order = wanted
        elif (level, state) == ("test", FAILED):
            order = hactl.STOP
        elif (level, state) == ("plan", DONE):
            order = "test"
        elif wanted not in ("", hactl.STOP) and not where:
            next_s, order = 10.0, "plan" if self._draw.random() < BALANCE / count else ""
        elif level and state in SETTLED and level != wanted:
            order = wanted
        elif not level or state in SETTLED:
            next_s = count
        if level == wanted and state == DONE:
            self.node.count("elder runs a group")
        self._cycle_s = (self._cycle_s + next_s) / 2
        if order:
            group = self._groups.setdefault(name, Group(self.node, name, self._tables.group(name)))
            group.tell(order)
