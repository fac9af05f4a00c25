"""One resource group on this node: its leash, what that was told and has reported, and its failures here."""

from __future__ import annotations

from mosha.clinit.custody import Legacy
from mosha.monitor import SETTLED
from mosha.platform.world import Leash, World
from mosha.tables.cltab import Entry


class LocalGroup:
    """What this node has of one group; times in seconds, of the world's clock unless they are for people."""

    leash: Leash | None = None
    entries: tuple[Entry, ...] = ()
    told: str | None = None              # the level that the leash was told last
    level: str | None = None             # that it reports: the old one while it stops that
    state: str | None = None
    since: float = 0.0                   # wall clock, for people
    deadline: float = 0.0                # that the leash was told last
    armed: float = 0.0                   # that it is known to have
    ahead: bool = False                  # the leash was started to test ahead, and has no token
    legacy: Legacy | None = None         # what an earlier life left, until nothing of it is left, or it was given up
    passed_at: float | None = None       # when the test ahead ended well
    on_hold: bool = False                # the leash was told to leave it alone
    finishing: bool = False              # it was told to stop everything, and to end then
    is_populated: bool = False           # a process was started, and the end of all is not known
    failures: int = 0                    # on this node, none of them followed by a long time without
    failed_at: float = 0.0
    restarting: bool = False             # it is stopped to be started here again
    failure: str = ""                    # the last one
    until_wall: int = 0                  # of `unfit_until`, for people
    reason: str = ""                     # why the level that it has has failed
    why: str = ""                        # on what ground this node has it
    unfit_until: float = 0.0
    orphaned: bool = False               # the leash is gone, its processes perhaps not
    killed_at: float | None = None       # when the leash was told to kill everything, or left it to the agent
    stuck: str = ""                      # what is killed and lives on, in words

    @property
    def rests(self) -> bool:
        """Whether nothing of it is there, or what is has come to the level that it was told."""
        if self.leash is None:
            return not self.orphaned
        return self.killed_at is None and not self.ahead and self.level == self.told and self.state in SETTLED

    def forget(self) -> None:
        """Its failures."""
        self.failures, self.unfit_until, self.failure = 0, 0.0, ""

    @classmethod
    def inherited(cls, world: World, leash: Leash, legacy: Legacy) -> LocalGroup:
        """What an earlier life left."""
        found = cls()
        found.leash, found.entries, found.legacy = leash, legacy.entries, legacy
        found.told = found.level = legacy.level
        found.state, found.since = legacy.state or "STARTING", world.wall()
        found.deadline = found.armed = legacy.deadline_s
        found.on_hold, found.is_populated = legacy.on_hold, True
        return found

    @property
    def failed_how(self) -> str:
        """In words, what has failed now."""
        return f"{self.told} failed here{f': {self.reason}' if self.reason else ''}"
