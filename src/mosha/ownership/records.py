"""Everything that was read in this era's journals, on whatever voter: one register for each group, and who is dead.

Rules:

1. What is known only grows. Of a group only the highest epoch matters: its blocks, and the highest that is committed.
2. Two commits of one epoch show that voters have forgotten what they promised, and R19 did not notice (A5). Then the
   greater identity is the later owner, for whoever reads both, in whatever order: the other one ends, as by a later
   epoch (R6), and the group runs on where it is. What the other one releases frees nothing, and nobody is the heir: who
   has read another release may have another one. Of two electorates none can be told to be right: ``disputed`` says
   so, and who knows it ends, and owns nothing in this era any more (R6). It is said once.
"""

from __future__ import annotations

from collections.abc import Iterable

from mosha.ownership import identity as identities
from mosha.ownership.electorate import PREFIX
from mosha.ownership.journal import NOBODY, Block, Commit, Dead, Entry, Fact, Number, Released


class Register:
    """What is known of one group. ``changed_at``: when something of it was last news here. ``is_decree``: it has no
    owner, but one value that is decided once and for all, as that of an electorate. ``disputed_epoch``: rule 2."""

    __slots__ = (
        "blocks", "changed_at", "disputed_epoch", "epoch", "is_decree", "owner", "owner_epoch", "released_epoch",
        "releases",
    )

    def __init__(self, is_decree: bool = False) -> None:
        self.is_decree = is_decree
        self.epoch = 0                              # the highest in any block or commit
        self.blocks: dict[str, Block] = {}          # of that epoch, by processor, which is an identity
        self.owner = ""                             # the identity, or value, of the highest commit
        self.owner_epoch = 0
        self.released_epoch = 0                     # the highest
        self.releases: dict[str, str] = {}          # of that epoch: who released it -> whom that named as the next
        self.disputed_epoch = 0
        self.changed_at = 0.0

    @property
    def undecided(self) -> bool:
        """Whether the highest epoch was begun, and nobody is known to have been decided for it (R10)."""
        return self.epoch > self.owner_epoch

    @property
    def released(self) -> bool:
        return self.was_released(self.owner_epoch, self.owner)

    @property
    def heir(self) -> str:
        """Whom the owner named as the next; empty for nobody."""
        if self.released_epoch != self.owner_epoch or self.disputed_epoch == self.owner_epoch:
            return ""
        return next((heir for one, heir in self.releases.items() if self._may_release(one, self.owner)), "")

    def was_released(self, epoch: int, owner: str) -> bool:
        """Whether that owner of the epoch is known to have given it up, or anybody a later one."""
        if self.released_epoch != epoch:
            return self.released_epoch > epoch
        return any(self._may_release(one, owner) for one in self.releases)

    def _may_release(self, identity: str, owner: str) -> bool:
        """Whether what it released is that owner's: another life of the node may have inherited that (R9), but for an
        epoch that is disputed, where that may be the other owner."""
        if identity == owner or self.disputed_epoch == self.released_epoch:
            return identity == owner
        return identities.node_of(identity) == identities.node_of(owner)

    def is_left_to(self, identity: str) -> bool:
        """Whether the next epoch, of which nothing is known, was left to this identity by the owner (R12)."""
        return self.epoch == self.owner_epoch == self.released_epoch and self.heir == identity

    def is_held_by(self, identity: str) -> bool:
        """Whether it was decided for this whole identity, with no later epoch known, and was not released (R8)."""
        return self.is_owned_by(identity) and self.epoch == self.owner_epoch

    def is_owned_by(self, identity: str) -> bool:
        """The same, whatever was begun since (R6)."""
        return self.owner == identity and not self.released

    def highest_promise(self) -> Number:
        return max((block.mbal for block in self.blocks.values()), default=NOBODY)

    def accepted(self) -> str:
        """The value of the highest ballot that anybody accepted in this epoch; empty for none (R12)."""
        best = max(self.blocks.values(), key=lambda block: block.bal, default=None)
        return best.value if best is not None and best.bal > NOBODY else ""


class Records:
    """The registers by group, the dead identities, and when each identity was first seen. ``disputed``: the register of
    an electorate that was decided twice; empty for none."""

    def __init__(self) -> None:
        self.disputed = ""
        self.registers: dict[str, Register] = {}
        self.dead: dict[str, None] = {}
        self.first_seen: dict[str, float] = {}
        self._log: list[str] = []

    def take_log(self) -> list[str]:
        """What is to be logged, once."""
        lines, self._log = self._log, []
        return lines

    def register(self, group: str) -> Register:
        found = self.registers.get(group)
        if found is None:
            found = self.registers[group] = Register(group.startswith(PREFIX))
        return found

    def see(self, identity: str, now: float) -> None:
        """Note when an identity was seen anywhere for the first time (R13)."""
        if identity not in self.first_seen:
            self.first_seen[identity] = now

    def needed(self, facts: Iterable[Fact]) -> list[Fact]:
        """Those that who knows nothing yet has to read: of the latest epochs, and that their owners are dead."""
        owners = {register.owner for register in self.registers.values()}
        return [
            fact for fact in facts
            if (fact.identity in owners if isinstance(fact, Dead)
                else fact.epoch >= self.register(fact.group).owner_epoch)
        ]

    def merge(self, entry: Entry, writer: str, now: float) -> bool:
        """Take one entry in; whether it was news."""
        if isinstance(entry, Dead):
            news = entry.identity not in self.dead
            self.dead[entry.identity] = None
            return news
        register = self.register(entry.group)
        if isinstance(entry, Block):
            news = self._block(register, entry, writer)
        else:
            if not register.is_decree:
                self.see(entry.identity, now)
            news = self._commit(register, entry) if isinstance(entry, Commit) else self._released(register, entry)
        if news:
            register.changed_at = now
        return news

    @staticmethod
    def _block(register: Register, block: Block, writer: str) -> bool:
        if block.epoch < register.epoch:
            return False
        if block.epoch > register.epoch:
            register.epoch, register.blocks = block.epoch, {}
        known = register.blocks.get(writer)
        if known is not None and known.seq >= block.seq:
            return False
        register.blocks[writer] = block
        return True

    def _commit(self, register: Register, commit: Commit) -> bool:
        if commit.epoch == register.owner_epoch and commit.identity != register.owner:
            self._dispute(register, commit)
            if register.is_decree:
                return False
        if (commit.epoch, commit.identity) <= (register.owner_epoch, register.owner):
            return False
        register.owner, register.owner_epoch = commit.identity, commit.epoch
        if commit.epoch > register.epoch:
            register.epoch, register.blocks = commit.epoch, {}
        return True

    def _dispute(self, register: Register, commit: Commit) -> None:
        """Rule 2: say it."""
        if register.is_decree:
            self.disputed = commit.group
        if register.disputed_epoch < commit.epoch:
            register.disputed_epoch = commit.epoch
            self._log.append(
                f"epoch {commit.epoch} of {commit.group} was decided twice, for {register.owner} and for "
                f"{commit.identity}: a voter has forgotten what it promised, as when its disk is an older copy"
                + ("" if register.is_decree else "; say `mosha voters forget` on that node")
            )

    @staticmethod
    def _released(register: Register, released: Released) -> bool:
        if register.is_decree or released.epoch < register.released_epoch:
            return False
        if released.epoch > register.released_epoch:
            register.released_epoch, register.releases = released.epoch, {}
        news = released.identity not in register.releases
        register.releases.setdefault(released.identity, released.heir)
        return news
