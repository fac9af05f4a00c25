"""What is found on a disk that is bad, by file and shape: see ``damage`` in :mod:`moslab.faults.plan`.

Rules:

1. It is *detectably* bad (A5 of docs/ownership.md): what has a checksum fails it, or is of a version that this one does
   not know. Of a journal that counts (``written``) one line is bad, whatever the shape, or all of it is lost while its
   writer's slot there tells of it: else nobody can detect that whole lines are not there any more.
2. What a person puts there (an order, an era, a journal of nobody) is not changed, but is there now, damaged as it is.
   No shape of it says anything: a whole ``founded`` on a disk that was wiped would be a lie that nobody can detect.
3. But for ``decided``, whatever the shape: a life before the first one of node 1 was decided to be the owner of each
   group, and other voters, in the epochs in force, as when voters have forgotten what they promised. With that nothing
   is promised; directed plans have it, to see who ends then.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping

from mosha.agent import STATE
from mosha.ownership import electorate, identity, journal, marker, slot
from mosha.ownership.journal import Commit, Dead
from mosha.ownership.marker import Marker
from mosha.ownership.voter import FOUNDED, ORDER
from moslab.faults.plan import DECIDED, LOSSES
from moslab.simulator.kernel import Stream

STRAY = "cltab.copy.before"
CRC_BYTES = 9                    # before each line, with a blank
OTHER_BYTES = 100                # more than an era or the number of a life has
NOBODY_NODE, NOBODY_NUMBER = 9999, 1
LATER_STATE = "a state of a later version"
LATER_ENTRIES = (
    ["an entry of a later version", "g1"], ["commit", "g1", "the first", "1"], ["commit", "g1", 1, ["1"]],
    ["block", "g1", 1, ["1", 1], [0, ""], "", 0], ["dead", 1],
)
LATER_FOUNDED = ("node 1", "1 1", "1 2 3 4 5 6 7 8", "1" + 200 * " ")    # voters


def damage(file: str, shape: str, files: Mapping[str, bytes], draw: Stream, nonce: str) -> tuple[str, bytes | None]:
    """The name of the file, and what lies there; None if it is gone."""
    found = marker.decode(files.get(marker.NAME, b""))
    era = found.era if found is not None and found.era else marker.make_era(1, nonce)
    nobody = identity.make(NOBODY_NODE, NOBODY_NUMBER, nonce)
    names = {
        "voter": marker.NAME, "state": STATE, "counted": slot.COUNTED, "slots": slot.file_name(era, 0), "order": ORDER,
        "founded": FOUNDED, "stray": STRAY, "journal": journal.name(era, nobody, 0),
    }
    put = {
        "order": b'{"name": "a person", "do": "sleep"}', "founded": b"at the beginning of the year\n",
        "stray": b"nothing to do with it\n", "journal": journal.encode(Dead(nobody)),
    }
    if file == DECIDED:
        return _decided(era, files, identity.make(1, 0, nonce))
    if file == "written" and shape in LOSSES and found is not None and (told := _told(found, files)):
        return draw.pick(told), b"" if shape == "empty" else None
    if file == "written":
        name = draw.pick(sorted(name for name in files if journal.writer_of(name, era)) or [names["journal"]])
        return name, _with_bad_line(shape, files.get(name, b""), draw)
    name = names[file]
    content = put.get(file) or files.get(name) or b"nothing\n"
    return name, _LATER[file](content, draw) if shape == "later" and file in _LATER else _spoiled(shape, content, draw)


def _decided(era: str, files: Mapping[str, bytes], loser: str) -> tuple[str, bytes]:
    """Rule 3."""
    latest: dict[str, Commit] = {}
    for name in sorted(files):
        for entry in journal.decode(files[name])[0] if journal.writer_of(name, era) else ():
            if isinstance(entry, Commit) and entry.epoch >= latest.get(entry.group, entry).epoch:
                latest[entry.group] = entry
    others = [
        Commit(group, entry.epoch, "1" if group.startswith(electorate.PREFIX) else loser)
        for group, entry in sorted(latest.items())
    ]
    return journal.name(era, loser, 0), b"".join(map(journal.encode, others))


def _told(found: Marker, files: Mapping[str, bytes]) -> list[str]:
    """The journals of which slots tell, and that are not empty."""
    slots = [
        one for name, content in sorted(files.items()) if name.startswith(f"{found.era}.slots.")
        for one in slot.all_of(content) if one.journal_bytes and one.life == slot.life_of(found.life)
    ]
    told = {journal.name(found.era, one.identity, one.generation) for one in slots}
    return sorted(name for name in told if files.get(name))


def _spoiled(shape: str, content: bytes, draw: Stream) -> bytes:
    if shape == "short" or shape in LOSSES:
        return content[: draw.integer(0, len(content) - 1)]
    if shape == "bits":
        at = draw.integer(0, len(content) - 1)
        return content[:at] + bytes([content[at] ^ (1 << draw.integer(0, 7))]) + content[at + 1 :]
    return bytes(draw.integer(0, 255) for _ in range(max(len(content), OTHER_BYTES)))


def _with_bad_line(shape: str, content: bytes, draw: Stream) -> bytes:
    """A journal that says less, and has no fewer ends of lines."""
    lines = content.split(b"\n")[:-1] or [b"nothing"]
    at = draw.integer(0, len(lines) - 1)
    lines[at] = _spoiled(shape, lines[at], draw)
    return b"\n".join([*lines, b""])


def _line(body: object) -> bytes:
    """As :mod:`mosha.ownership.journal` and the marker have it."""
    text = json.dumps(body, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _later_marker(content: bytes, draw: Stream) -> bytes:
    found = marker.decode(content)
    if found is None:
        return _line(LATER_STATE)
    if draw.chance(0.5):
        return marker.encode(found._replace(state=LATER_STATE))
    fields = json.loads(content.partition(b"\n")[0][CRC_BYTES:])
    fields[Marker._fields.index("electorate")][2] = [f"node {voter}" for voter in found.electorate.voters]
    return _line(fields)


def _misplaced(content: bytes, _draw: Stream) -> bytes:
    """Whole slots, each in the place of another."""
    return content[slot.BYTES :] + content[: slot.BYTES]


_LATER: dict[str, Callable[[bytes, Stream], bytes]] = {
    "voter": _later_marker, "slots": _misplaced, "order": lambda whole, _: whole,
    "journal": lambda whole, draw: whole + _line(draw.pick(LATER_ENTRIES)),
    "founded": lambda _, draw: f"{marker.make_era(1, 'ffffffff')} {draw.pick(LATER_FOUNDED)}\n".encode(),
}
