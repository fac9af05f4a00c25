"""What the other nodes say: their records, read when their slots say that there is news.

Nothing safe depends on a record. What one says was so a moment ago: its node may have died since, or live anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import islice
from typing import Any, Callable

from mosha.ownership.peers import Peers
from mosha.platform import record
from mosha.platform.world import World

Record = Mapping[str, Any]
RECORDS_AT_A_TIME = 8
# what of another's record may change what is done at once, and what of this node's others wait for
FITNESS = ("arbitrator", "leaving", "drained", "calm", "unfit", "stuck", "moving", "ready", "up", "orders", "answers")
URGENT = FITNESS[1:]


class Others:
    """Of the node ``me``. ``heard(node, said, is_news)`` takes each record; ``is_news``: something may be done at once.

    ``peers``, of the present identity, says what is unread; it is to be set before anything else.
    """

    peers: Peers

    def __init__(self, me: int, world: World, limit_s: float, heard: Callable[[int, Record, bool], None]) -> None:
        """``limit_s`` is for one record."""
        self.records: dict[int, Record] = {}
        self.count = 0                               # of the records that were heard
        self.lately: set[int] = set()                # nodes whose record was read since the last beat
        self.givers: set[int] = set()                # nodes that are about to give all up
        self.coming: dict[str, int] = {}             # groups that their owner, this node, moves here
        self._me, self._world, self._limit_s, self._heard = me, world, limit_s, heard
        self._read: dict[int, tuple[str, int]] = {}  # node -> whose record, and which revision, was read
        self._reading: set[int] = set()
        self._unreadable: set[int] = set()           # nodes whose record could not be read since the last beat

    def beat(self) -> None:
        """What could not be read is tried again."""
        self._unreadable.clear()

    def of(self, node: int) -> Record:
        """The latest record of a node; empty if there is none."""
        return self.records.get(node, {})

    def said_by(self, now: float, node: int) -> Record:
        """The same; nothing of a node that is not seen to beat, or lives anew since."""
        said, peer = self.of(node), self.peers.all.get(node)
        is_its = peer is not None and peer.identity == said.get("identity")
        return said if is_its and self.peers.beats(now, node) else {}

    def ask_again(self, node: int) -> None:
        """Read what it says now, whatever its slot says."""
        self._read.pop(node, None)
        self.peers.unread[node] = None

    def read(self) -> None:
        """Read the records of the nodes whose slot says that theirs has changed."""
        for node in list(islice(self.peers.unread, 2 * RECORDS_AT_A_TIME)):
            wanted = self.peers.all[node].said()
            if self._read.get(node) == wanted:
                del self.peers.unread[node]
            elif node not in self._reading | self._unreadable and len(self._reading) < RECORDS_AT_A_TIME:
                self._reading.add(node)
                self._world.submit(node, "said", [], self._limit_s, partial(self._answered, node, wanted))

    def _answered(self, node: int, wanted: tuple[str, int], text: Any, error: OSError | None) -> None:
        self._reading.discard(node)
        said = None if error else record.decode(text)
        if said is None or said.get("identity") != wanted[0] or said.get("revision", 0) < wanted[1]:
            self._unreadable.add(node)
            self.peers.read_later(node)
            return
        before = self.of(node)
        self._read[node], self.records[node] = wanted, said
        self.lately.add(node)
        self.count += 1
        (self.givers.add if said.get("leaving") or said.get("drained") else self.givers.discard)(node)
        self._note_moves(node, said.get("moving"))
        self._heard(node, said, any((said.get(name) or None) != (before.get(name) or None) for name in FITNESS))
        self.read()

    def _note_moves(self, node: int, moving: Any) -> None:
        """Which groups another node moves here."""
        for group in [group for group, owner in self.coming.items() if owner == node]:
            del self.coming[group]
        if isinstance(moving, dict):
            self.coming.update({group: node for group, target in moving.items() if target == self._me})
