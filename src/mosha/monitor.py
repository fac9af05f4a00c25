"""What to do about one resource group, given all that is known of it: a pure function, one decision table.

The lifecycle is that of OpenMosix::HA: ``plan`` (contend for the group), ``test`` (is this node fit?), then the level
that hactl names, ``stop`` at the end. Where the owner has said that it will give the group up, the next one tests
ahead. The first row whose condition holds decides; the last row always holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Callable

PLAN, TEST, STOP = "plan", "test", "stop"
SETTLED = frozenset({"DONE", "PASSED", "FAILED"})


class Action(Enum):
    """What the agent is to do."""

    NOTHING = "nothing"
    CLAIM = "contend for ownership"
    TEST_AHEAD = "start a leash that has no token, and tell it the level test"
    OWN = "tell the leash the token"
    RUN_TEST = "tell the level test"
    RUN = "tell the wanted level"
    GIVE_UP = "note that this node is unfit, and tell the level stop"
    RUN_STOP = "tell the level stop, and let the leash end after it"
    RENOUNCE = "give up ownership"
    KILL = "kill everything at once"


@dataclass(frozen=True)
class View:
    """One group as this node sees it."""

    wanted: str | None            # the level that hactl names; None: absent or "stop"
    claimed: bool                    # this node contends for it, or owns it
    held: bool                       # a majority has agreed at some time of this claim
    leased: bool                     # and the lease has not ended
    leash: bool                      # a leash exists: processes may exist
    orphaned: bool = False           # the leash has died, and its processes perhaps not
    unfit: bool = False              # this node failed the group a short while ago
    level: str | None = None      # of the leash
    state: str | None = None
    entries_changed: bool = False    # cltab has other entries for the group than the leash was told
    awaited: bool = False            # its owner has said that it will give it up, and this node comes first
    ahead: bool = False              # the leash was started for that: it has no token, and runs nothing but tests
    fresh: bool = False              # and that was a short while ago

    @property
    def in_vain(self) -> bool:
        """What was tested ahead is of no use any more."""
        return not self.fresh or self.unfit or self.wanted is None or self.held or not (self.claimed or self.awaited)

    @property
    def settled(self) -> bool:
        return self.state in SETTLED

    @property
    def failed(self) -> bool:
        return self.state == "FAILED"


Row = tuple[str, Callable[[View], bool], Action]

TABLE: tuple[Row, ...] = (
    ("outlived its leash", lambda v: v.orphaned, Action.KILL),
    ("tested ahead, and won", lambda v: v.ahead and v.held and v.leased and v.fresh, Action.OWN),
    ("tested ahead in vain", lambda v: v.ahead and v.in_vain, Action.KILL),
    ("failed ahead", lambda v: v.ahead and v.failed, Action.GIVE_UP),
    ("runs without a lease", lambda v: v.leash and not v.ahead and not (v.held and v.leased), Action.KILL),
    ("lost the lease, nothing runs", lambda v: v.held and not v.leased, Action.RENOUNCE),
    ("not ours and not wanted", lambda v: not v.claimed and (v.wanted is None or v.unfit), Action.NOTHING),
    ("soon ours", lambda v: not v.claimed and not v.leash and v.awaited, Action.TEST_AHEAD),
    ("not ours and wanted", lambda v: not v.claimed, Action.CLAIM),
    ("not wanted, nothing runs", lambda v: not v.leash and (v.wanted is None or v.unfit), Action.RENOUNCE),
    ("contending", lambda v: not v.held, Action.NOTHING),
    ("own, nothing runs", lambda v: not v.leash, Action.RUN_TEST),
    ("stopping", lambda v: v.level == STOP, Action.NOTHING),
    ("not wanted", lambda v: v.wanted is None, Action.RUN_STOP),
    ("failed here", lambda v: v.failed, Action.GIVE_UP),
    ("not settled", lambda v: not v.settled, Action.NOTHING),
    ("fit", lambda v: v.level == TEST != v.wanted, Action.RUN),
    ("another level is wanted", lambda v: v.level != v.wanted, Action.RUN),
    ("cltab has changed", lambda v: v.entries_changed, Action.RUN),
    ("as it should be", lambda v: True, Action.NOTHING),
)


def decide(view: View) -> Action:
    """The action of the first row whose condition holds."""
    return next(action for _, condition, action in TABLE if condition(view))


def why(view: View) -> str:
    """The name of that row."""
    return next(name for name, condition, _ in TABLE if condition(view))
