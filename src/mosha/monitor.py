"""What to do about one resource group, given all that is known of it: a pure function, one decision table.

The lifecycle is that of OpenMosix::HA: ``plan`` (contend for the group), ``test`` (is this node fit?), then the level
that hactl names, ``stop`` at the end. Where the owner has said that it will give the group up, the next one tests
ahead. What an earlier life of this node left running is this one's while its leash lives. The first row whose condition
holds decides; the last row always holds.
"""

from __future__ import annotations

from enum import Enum
from typing import Callable, NamedTuple

from mosha.remembered import Remembered

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
    RESTART = "note the failure, tell the level stop, and the wanted one again after it"
    HOLD = "leave the group alone"
    RUN_STOP = "tell the level stop, and let the leash end after it"
    RENOUNCE = "give up ownership"
    KILL = "kill everything at once"


class View(NamedTuple):
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
    awaited: bool = False            # its owner has said that it will give it up, or is shot, and this node comes first
    free: bool = False               # nobody has it, and this node could
    ahead: bool = False              # the leash was started for that: it has no token, and runs nothing but tests
    fresh: bool = False              # and that was a short while ago
    planned: bool = False            # those of 2003 are to see it at plan here, before anything is started
    inherited: bool = False          # an earlier life of this node owned the group, and left its leash
    passes: bool = False             # and that may be this life's, as far as is known
    may_restart: bool = False        # it has not failed here so often that it should go elsewhere
    restarting: bool = False         # it is stopped to be started here again
    maintained: bool = False         # hactl wants it to be left alone
    on_hold: bool = False            # the leash was told so
    deaf: bool = False               # the leash has not said in time that it was extended

    @property
    def in_vain(self) -> bool:
        """What was tested ahead is of no use any more."""
        is_idle = self.wanted is None or self.maintained or self.unfit
        is_late = self.held and not (self.planned and self.leased)
        return not self.fresh or is_idle or is_late or not (self.claimed or self.awaited or self.free)

    @property
    def settled(self) -> bool:
        return self.state in SETTLED

    @property
    def failed(self) -> bool:
        return self.state == "FAILED"


Row = tuple[str, Callable[[View], bool], Action]

TABLE: tuple[Row, ...] = (
    ("outlived its leash", lambda v: v.orphaned, Action.KILL),
    ("its leash stands still", lambda v: v.leash and v.deaf, Action.KILL),
    ("of an earlier life, lost", lambda v: v.inherited and v.leash and not v.passes, Action.KILL),
    ("of an earlier life, not known yet", lambda v: v.inherited and v.leash and not v.held, Action.CLAIM),
    ("of an earlier life, no lease yet", lambda v: v.inherited and v.leash and not v.leased, Action.NOTHING),
    ("of an earlier life, ended", lambda v: v.inherited and v.held and not v.leash, Action.RENOUNCE),
    ("tested ahead, and won", lambda v: v.ahead and v.held and v.leased and v.fresh and not v.planned, Action.OWN),
    ("tested ahead in vain", lambda v: v.ahead and v.in_vain, Action.KILL),
    ("failed ahead", lambda v: v.ahead and v.failed, Action.GIVE_UP),
    ("runs without a lease", lambda v: v.leash and not v.ahead and not (v.held and v.leased), Action.KILL),
    ("lost the lease, nothing runs", lambda v: v.held and not v.leased, Action.RENOUNCE),
    ("up, to be left alone", lambda v: v.maintained and v.leash and v.state == "DONE" and not v.on_hold, Action.HOLD),
    ("in maintenance", lambda v: v.maintained, Action.NOTHING),
    ("not ours and not wanted", lambda v: not v.claimed and (v.wanted is None or v.unfit), Action.NOTHING),
    ("soon ours", lambda v: not v.claimed and not v.leash and v.awaited, Action.TEST_AHEAD),
    ("not ours and wanted", lambda v: not v.claimed, Action.CLAIM),
    ("not wanted, nothing runs", lambda v: not v.leash and (v.wanted is None or v.unfit), Action.RENOUNCE),
    ("contending", lambda v: not v.held, Action.NOTHING),
    ("of 2003 are to see it", lambda v: v.planned and (v.ahead or not v.leash), Action.NOTHING),
    ("own, nothing runs", lambda v: not v.leash, Action.RUN_TEST),
    ("not wanted while it restarts", lambda v: v.restarting and v.wanted is None, Action.RUN_STOP),
    ("cannot be stopped", lambda v: v.restarting and v.failed, Action.GIVE_UP),
    ("stopped, to be started again", lambda v: v.restarting and v.settled, Action.RUN),
    ("stopping", lambda v: v.level == STOP, Action.NOTHING),
    ("not wanted", lambda v: v.wanted is None, Action.RUN_STOP),
    ("failed, tried here again", lambda v: v.failed and v.may_restart and v.level != TEST, Action.RESTART),
    ("failed here", lambda v: v.failed, Action.GIVE_UP),
    ("not settled", lambda v: not v.settled, Action.NOTHING),
    ("fit", lambda v: v.level == TEST != v.wanted, Action.RUN),
    ("another level is wanted", lambda v: v.level != v.wanted, Action.RUN),
    ("maintenance is over", lambda v: v.on_hold, Action.RUN),
    ("cltab has changed", lambda v: v.entries_changed, Action.RUN),
    ("as it should be", lambda v: True, Action.NOTHING),
)


def _decide(view: View) -> Action:
    return next(action for _, condition, action in TABLE if condition(view))


decide = Remembered(_decide, 1024).__getitem__       # a group at rest has the view that it had
"""The action of the first row whose condition holds."""


def why(view: View) -> str:
    """The name of that row."""
    return next(name for name, condition, _ in TABLE if condition(view))
