"""What an observer can read out of the voters' files and the agents' logs; the one place that knows the protocol.

Rules:

1. Nothing here changes anything, or is asked by anything but the observer.
2. What is counted was reached: each name stands for a kind of contention, takeover, recovery, or end of an identity.
3. A node's new life is seen when it first writes into a journal of its own, anywhere: before it can have a process.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Callable

from mosha.clinit.custody import CLOCKS
from mosha.ownership import electorate, journal, marker
from mosha.ownership import identity as identities
from mosha.ownership.journal import Block, Commit, Dead, Released

JOURNAL = ".j."                  # in the name of a file
_JOURNAL = re.compile(r"([0-9]+-[0-9a-f]+)\.j\.([0-9.]+\.[0-9a-f]{32})\.([0-9]+)")

SAID: tuple[tuple[str, re.Pattern[str]], ...] = tuple((name, re.compile(form)) for name, form in (
    ("voter: founded an era", "voter of era .*: founded"),
    ("voter: invited", "voter of era .*: invited"),
    ("voter: copied", "voter of era .*: copied"),
    ("voter: without a marker of its configuration", "no marker of this configuration"),
    ("voter: left out of an era", "another era was founded without"),
    ("voter: rolled back", "this disk is older"),
    ("voter: operator says restored", "an operator said that this disk was restored"),
    ("voter: operator says gone", "an operator said that voters .* are gone"),
    ("voter: operator says found", "an operator said that this voter may found"),
    ("voter: operator says off", "an operator confirmed that voters .* are off"),
    ("voter: operator is overtaken", "this voter founds no era alone"),
    ("voter: operator refused", "refused to found"),
    ("voter: marker is bad", "the marker on this disk is not what was written"),
    ("voter: not an order", "not an order"),
    ("voter: not an era", "founded is refused"),
    ("voter: nobody has named the voters", "nobody has named the voters"),
    ("map: without the own node", "nothing runs here: node .* is not on the map"),
    ("map: without the voters of the configuration", "nothing runs here: the configuration names voters"),
    ("map: without a node whose agent runs", "leaving: node .* is not on the map"),
    ("map: another than that of a guess", "leaving: who votes was a guess"),
    ("voters: to change", "the voters are to be"),
    ("voters: changed", "the voters are .*; those before count no more"),
    ("voters: changed without this one", "the voters have changed without this one"),
    ("voters: a node gets a vote", "this node has a vote now"),
    ("voters: one goes on alone", "was shot: this voter goes on alone"),
    ("voters: wish granted", "voters .*: decided"),
    ("voters: wish refused", "voters .*: (?!decided)"),
    ("void: lease ended", "is void: its lease has ended"),
    ("void: fenced", "is void: it was fenced"),
    ("void: another owner", "is void: .* has another owner"),
    ("void: another era", "is void: the voters are in another era"),
    ("void: clocks apart", "is void: the clocks of this machine"),
    ("move: asked for", r"to be moved to node .*\(an operator\)"),
    ("move: failback", r"to be moved to node .*\(failback\)"),
    ("move: done", ": left to node"),
    ("move: refused", ": not moved"),
    ("drained", "^drained: "),
    ("drained: not any more", "^not drained any more"),
    ("stuck: cannot be ended", ": cannot be ended here: "),
    ("stuck: gives way", "this node gives way: "),
    ("edit: kept", "^conflict: version .* is kept as"),
    ("edit: written while another version came", "^conflict: somebody had .* is kept as"),
    ("edit: two with one number", "stands for different contents"),
))
SEEN: tuple[str, ...] = (
    "journal: next generation", "journal: removed of the living", "journal: removed of the dead",
    "ballot: two in one epoch", "ballot: beaten, and tried again", "ballot: value adopted",
    "takeover: first owner", "takeover: released", "takeover: dead by STOMITH", "takeover: dead by its own node",
    "takeover: expired", "voter: rejoined",
)
RARE: tuple[str, ...] = (
    "void: another era", "voter: rolled back", "voters: changed without this one", "void: fenced",
    "void: another owner", "voter: not an era", "edit: kept", "edit: two with one number",
    "edit: written while another version came", "leash kills: agent gone", "group was adopted again",
    f"leash kills: {CLOCKS}", "stuck: cannot be ended", "stuck: gives way", "voter: operator says off",
    "voter: operator is overtaken",
)
"""Of that only directed plans can be sure."""
NAMES: tuple[str, ...] = tuple(name for name in (*(name for name, _ in SAID), *SEEN) if name not in RARE)


VOID = " is void: "              # whatever the reason


def said(text: str) -> str | None:
    """The name of what an agent logged; None for what is not counted."""
    return next((name for name, form in SAID if form.search(text)), None)


def released(name: str, data: bytes) -> Iterator[tuple[str, str, int]]:
    """(group, token, node) of each release that is about to be appended to the file."""
    if b'"released"' not in data:
        return
    era = name.partition(".")[0]
    for entry in journal.decode(data)[0]:
        if isinstance(entry, Released):
            yield entry.group, f"{era.partition('-')[0]}.{entry.epoch}", identities.node_of(entry.identity)


def voters_of(content: bytes) -> frozenset[int]:
    """Those that a voter's marker names."""
    found = marker.decode(content)
    return frozenset(found.electorate.voters) if found is not None else frozenset()


def waits_for(disks: Sequence[Mapping[str, bytes]], group: str) -> int | None:
    """The node that has the group by what these voters hold of the latest era, as nothing there says that this is over;
    None if there is no such node."""
    markers = [marker.decode(disk.get(marker.NAME, b"")) for disk in disks]
    era = max((found.era for found in markers if found is not None), key=marker.number_of, default="")
    owners: dict[int, str] = {}
    released, dead = 0, set()
    for disk in disks:
        for name in disk:
            if not name.startswith(f"{era}{JOURNAL}"):
                continue
            for entry in journal.decode(disk[name])[0]:
                if isinstance(entry, Dead):
                    dead.add(entry.identity)
                elif entry.group == group and isinstance(entry, Commit):
                    owners[entry.epoch] = entry.identity
                elif entry.group == group and isinstance(entry, Released):
                    released = max(released, entry.epoch)
    epoch = max(owners, default=0)
    return None if epoch <= released or owners[epoch] in dead else identities.node_of(owners[epoch])


class _Register:
    """What was seen of one group in one era: its highest epoch, and who was decided for the one before."""

    __slots__ = ("adopted", "epoch", "owner", "released", "rounds")

    def __init__(self) -> None:
        self.epoch = self.released = 0
        self.owner = ""
        self.rounds: dict[str, int] = {}             # of each identity that had a ballot in this epoch
        self.adopted = False


class Facts:
    """Sees each journal as it is written; ``count(name)`` is called for what was reached, ``elected(era, number,
    voters)`` for each set of voters that is decided, or that a voter counts under."""

    def __init__(self, count: Callable[[str], None], elected: Callable[[int, int, Iterable[int]], None]) -> None:
        self._count, self._elected = count, elected
        self._registers: dict[tuple[str, str], _Register] = {}
        self._owners: dict[str, dict[str, tuple[int, str]]] = {}     # era -> group -> by the highest commit
        self._dead: dict[str, bool] = {}             # identity -> whether its own node said so
        self._lives: dict[int, int] = {}             # node -> number of the latest life that was seen
        self._journals: set[str] = set()
        self._states: dict[int, str] = {}            # node -> state of its voter

    def appends(self, name: str, data: bytes) -> tuple[int | None, tuple[int, frozenset[str]] | None]:
        """Something is written into a file: the node whose next life this shows (rule 3), if it does; and the node that
        says that an earlier life of it is dead, with the groups that it has by decisions for others of its lives."""
        found = _JOURNAL.fullmatch(name)
        if found is None:
            return None, None
        era, writer, generation = found.groups()
        new, buried = self._opened(name, writer, int(generation)), None
        node, owners = identities.node_of(writer), self._owners.setdefault(era, {})
        for entry in journal.decode(data)[0]:
            if isinstance(entry, Dead):
                is_new = entry.identity not in self._dead
                self._dead.setdefault(entry.identity, identities.node_of(entry.identity) == node)
                if is_new and self._dead[entry.identity]:
                    buried = node, frozenset(
                        group for group, (_, owner) in owners.items()
                        if identities.node_of(owner) == node and owner not in self._dead
                    )
                continue
            if entry.group.startswith(electorate.PREFIX):
                self._chosen(era, entry)
                continue
            if isinstance(entry, Commit) and entry.epoch > owners.get(entry.group, (0, ""))[0]:
                owners[entry.group] = entry.epoch, entry.identity
            register = self._registers.setdefault((era, entry.group), _Register())
            if isinstance(entry, Block):
                self._block(register, entry, writer)
            elif isinstance(entry, Commit):
                self._commit(register, entry)
            else:
                register.released = max(register.released, entry.epoch)
        return new, buried

    def removes(self, name: str) -> None:
        """An agent removes a file of its own."""
        found = _JOURNAL.match(name)
        if found is not None:
            writer = found[2]
            is_latest = identities.number_of(writer) == self._lives.get(identities.node_of(writer))
            self._count("journal: removed of the living" if is_latest else "journal: removed of the dead")

    def marked(self, node: int, content: bytes) -> None:
        """A voter's marker is another now."""
        found = marker.decode(content)
        state = found.state if found is not None else ""
        if self._states.get(node) == marker.REJOINING and state == marker.FULL:
            self._count("voter: rejoined")
        if found is not None and state == marker.FULL:
            era, number, voters, _ = found.electorate
            self._elected(era, number, voters)       # also one that went on alone
        self._states[node] = state

    # ---- inside -----------------------------------------------------------------------------------------------

    def _chosen(self, era: str, entry: Block | Commit | Released) -> None:
        chosen = electorate.decided(entry.group, entry.identity) if isinstance(entry, Commit) else None
        if chosen is not None:
            self._elected(marker.number_of(era), *chosen)

    def _opened(self, name: str, writer: str, generation: int) -> int | None:
        if name in self._journals:
            return None
        self._journals.add(name)
        if generation:
            self._count("journal: next generation")
        node, number = identities.node_of(writer), identities.number_of(writer)
        if number <= self._lives.get(node, 0):
            return None
        self._lives[node] = number
        return node

    def _block(self, register: _Register, block: Block, writer: str) -> None:
        if block.epoch < register.epoch:
            return
        if block.epoch > register.epoch:
            self._took_over(register, block)
            register.epoch, register.rounds, register.adopted = block.epoch, {}, False
        last = register.rounds.get(writer)
        if last is None and register.rounds:
            self._count("ballot: two in one epoch")
        elif last is not None and block.mbal[0] > last:
            self._count("ballot: beaten, and tried again")
        register.rounds[writer] = max(last or 0, block.mbal[0])
        if block.bal == block.mbal and block.value != writer and not register.adopted:
            register.adopted = True
            self._count("ballot: value adopted")

    def _took_over(self, register: _Register, block: Block) -> None:
        """On what ground the next epoch was begun."""
        if not register.owner:
            self._count("takeover: first owner")
        elif register.released >= block.epoch - 1:
            self._count("takeover: released")
        elif register.owner in self._dead:
            self._count(f"takeover: dead by {'its own node' if self._dead[register.owner] else 'STOMITH'}")
        else:
            self._count("takeover: expired")

    @staticmethod
    def _commit(register: _Register, commit: Commit) -> None:
        if commit.epoch >= register.epoch:
            register.owner = commit.identity
