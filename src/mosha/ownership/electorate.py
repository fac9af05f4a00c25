"""Electorates: which nodes vote, and the chain in which one set of voters follows another (R20).

Rules:

1. The next electorate differs from the one before by one voter, added or removed, and is decided under the quorum of
   the one before, as the value of the register ``voters/NUMBER``. Majorities of neighbours always meet, so what counts
   under the one and what counts under the other may go on side by side.
2. A voter that knows the next one is *joint*: it counts operations under both. W after it saw a majority of the next
   one joint it *closes* the one before; a voter that was removed has no vote from then on.
3. A voter that saw a majority of its electorate closed copies what these hold and is *settled*: what was counted under
   the one before, anywhere, is now on every settled voter. The next but one may be proposed W after a majority was seen
   to be settled: no lease that was counted under the one before is left.
4. The electorate of an era that is founded is that of the founder. Before that it is a guess, from the configuration
   and the map: era 0. Who meets a voter with a later electorate takes that for its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from mosha.tables.lines import NODE_MAX, is_node

PREFIX = "voters/"
VOTERS_MAX = 7
NUMBER_MAX = 999_999_999         # nobody changes voters so often: a larger one was never written by an agent
ERA_MAX = 999_999_999_999        # its number: mosha.ownership.marker


class Electorate(NamedTuple):
    """``era``: the number of the era; ``before``: the voters before, as long as these count too."""

    era: int
    number: int
    voters: tuple[int, ...]
    before: tuple[int, ...] = ()

    @property
    def quorum(self) -> int:
        return len(self.voters) // 2 + 1

    @property
    def key(self) -> tuple[int, int]:
        """Its place in the chain."""
        return self.era, self.number

    @property
    def group(self) -> str:
        """The register that decides the next one."""
        return f"{PREFIX}{self.number + 1}"

    def is_same(self, other: Electorate) -> bool:
        """Whether it is the same set at the same place, joint or not."""
        return self.number == other.number and self.era == other.era and self.voters == other.voters

    def counts(self, other: Electorate) -> bool:
        """Whether a voter that has this one counts operations under ``other`` (rule 2)."""
        if self.is_same(other):
            return True
        return self.before == other.voters and other.key == (self.era, self.number - 1)

    def next(self, voters: Iterable[int]) -> Electorate:
        """The one that follows, with these voters."""
        return Electorate(self.era, self.number + 1, tuple(sorted(voters)), self.voters)

    def problem_with(self, voters: Iterable[int]) -> str:
        """Why these cannot follow; empty if they can."""
        wanted, mine = set(voters), set(self.voters)
        if len(wanted ^ mine) != 1:
            return f"one voter at a time: they are {list(self.voters)}"
        if not wanted:
            return "the last voter cannot go"
        return "" if len(wanted) <= VOTERS_MAX else f"{VOTERS_MAX} voters are the most"


def named(words: Sequence[str]) -> frozenset[int]:
    """The voters that somebody has named; ValueError says what is wrong with them."""
    for word in words:
        if not is_node(word):
            raise ValueError(f"voters must be node numbers from 1 to {NODE_MAX}, got {word!r}")
        if words.count(word) > 1:
            raise ValueError(f"voters names node {word} twice")
    if not 1 <= len(words) <= VOTERS_MAX:
        raise ValueError(f"voters must name 1 to {VOTERS_MAX} nodes, got {len(words)}")
    return frozenset(map(int, words))


def first(voters: Iterable[int], era: int = 0) -> Electorate:
    """The one with which an era is founded; without one, a guess."""
    return Electorate(era, 0, tuple(sorted(voters)))


def value_of(voters: Iterable[int]) -> str:
    """These voters as the value of a register."""
    return ",".join(map(str, sorted(voters)))


def decided(group: str, value: str) -> tuple[int, frozenset[int]] | None:
    """(number, voters) of a decision on an electorate; None for any other register."""
    if not group.startswith(PREFIX):
        return None
    return int(group[len(PREFIX):]), frozenset(map(int, value.split(",")))


def decode(fields: Any) -> Electorate:
    """From a list out of JSON; ValueError or TypeError for anything else."""
    era, number, voters, before = fields
    found = Electorate(era, number, tuple(voters), tuple(before))
    if not (type(era) is type(number) is int and are_voters(found.voters) and are_voters(found.before)):
        raise ValueError("an electorate has numbers of nodes only")
    if not (0 <= era <= ERA_MAX and 0 <= number <= NUMBER_MAX):
        raise ValueError("no agent has an electorate like that")
    return found


def are_voters(nodes: tuple[Any, ...]) -> bool:
    """Whether these can be voters, in the order in which agents write them; or none."""
    is_sound = len(nodes) <= VOTERS_MAX and all(type(node) is int and 1 <= node <= NODE_MAX for node in nodes)
    return is_sound and nodes == tuple(sorted(set(nodes)))
