"""cltab and hactl on every node: which version is the newest, and what an edit by hand makes of it.

The plain file stays plain; beside it lies ``NAME.version``: a counter, a checksum of the content, and the beginnings
of the checksums of the ``BEFORE_MAX`` versions before, that before it first. A version is never chosen by a clock.

Rules:

1. An edit is a content other than the checksum says. It is taken up only if it parses; then it gets the number after
   the highest one known. This only once the numbers of a majority of voters were asked for and are known, with a lease
   that is valid just before the number is written, and if what was edited is the newest version: one of a node that
   lives, or has just said so. An edit of an older one, or of a content that never had a number, yields to the newest.
2. A content that does not parse, or a file that is missing, is reported and ignored; the last good one stays in force,
   here and elsewhere. It is kept as ``NAME.good``, for the agent's next life. Where that is missing as well the disk
   was lost under the agent: it writes back what it has in force, with its number.
3. A higher number wins, and nothing else is taken from another node. What it replaces is kept as ``NAME.previous``.
   What of that is no part of it, as the number was not made of it, is a conflict too: an edit that yields, or a version
   that others knew nothing of. Its text is kept and reported until somebody has settled that: :mod:`mosha.aside`.
4. Two contents with one number are a conflict: reported, and neither is taken by anybody until one of them is edited
   again.
5. Somebody may save what he opened before another version was taken here. A command says what its text was made of
   (``NAME.edit``); of any other edit only the lines tell. One with no line of what the taken version brought undoes
   it. If it has something that this took away as well, or this took nothing away, it is an edit of the older version
   and yields, unless it is exactly that. Else it is taken up, and what it undoes is kept as in rule 3. Judged by the
   last ``REPLACED_MAX`` texts that others' versions replaced here. The edit made again after it yielded is meant so.
6. A table may be read while somebody writes it. So an edit that takes something away, or whose last line has no end, is
   taken up only after it has stood still for ``SETTLE_S``; one in a file that somebody has open to write (``cat >>``)
   after ``OPEN_S``, or when that is closed, if the machine tells; and a file that is empty is none.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from typing import Any, Callable, Generic, NamedTuple, TypeVar

from mosha.aside import FILE_BYTES_MAX, KEPT_MAX, Aside, checksum_of
from mosha.platform.world import Store
from mosha.tables.errors import TableErrors

VERSION_BYTES_MAX = 4096
NUMBER_MAX = 10 ** 15        # nobody edits a table so often: a larger one was never written by an agent
BEFORE_MAX = 32              # so many versions later it is still known what was made of which
BEFORE_DIGITS = 12           # of each of their checksums
REPLACED_MAX = 8             # in memory, each with its table
EDIT_BYTES_MAX = 256
SETTLE_S, OPEN_S = 10.0, 60.0
GOOD = ".good"               # of a table's name: what is in force, which other nodes fetch
EDIT = ".edit"               # of a table's name: two checksums, of what a command read and of what it wrote
T = TypeVar("T")


def _nothing(_before: object, _after: object) -> Sequence[str]:
    return ()


def _always(*_of: object) -> bool:
    return True


class Version(NamedTuple):
    """One version of a table: number 0 means that it was never numbered. ``before``: see the head of the module."""

    number: int
    checksum: str
    before: str = ""

    def next(self, number: int, checksum: str) -> Version:
        """What an edit makes of it."""
        before = [one[:BEFORE_DIGITS] for one in (self.checksum, *self.before.split(",")) if one]
        return Version(number, checksum, ",".join(before[:BEFORE_MAX]))

    def has(self, checksum: str) -> bool:
        """Whether it is that content, or is known to have been made of it."""
        before = [one[:BEFORE_DIGITS] for one in self.before.split(",")]
        return checksum == self.checksum or checksum[:BEFORE_DIGITS] in before


class Replica(Generic[T]):
    """One table of this node. ``parse`` raises TableErrors on bad content; ``directory`` is what messages say;
    ``taken_away(before, after)`` names what the one has and the other has not; ``is_here(node)``: it lives."""

    def __init__(
        self, store: Store, name: str, parse: Callable[[str, str], T], empty: T, directory: object = ".",
        taken_away: Callable[[T, T], Sequence[str]] = _nothing, is_here: Callable[[int], bool] = _always,
    ) -> None:
        self.name = name
        self.table: T = empty
        self.version = Version(0, "")
        self.loaded = False                          # a good content was read at some time
        self.waits = False                           # an edit here has no number for want of others' numbers
        self._store, self._parse, self._taken_away, self._is_here = store, parse, taken_away, is_here
        self._replaced: list[tuple[bytes, T]] = []   # what others' versions replaced here, the latest last: rule 5
        self._unsettled = ("", 0.0)                  # a content that may be half of one, and since when it lies there
        self._path = f"{directory}/{name}"
        self.good = f"{name}{GOOD}"
        self._aside, self._edit = Aside(store, name, directory), f"{name}{EDIT}"
        self._bytes = b""                            # the content that `table` was read from
        self.checksum = ""                           # of that
        self._refused = ""                           # of the content that was last reported as bad
        self._others: dict[int, Version] = {}
        self._known_newest: frozenset[Version] | None = None     # of all; None: to be found anew
        self._refusing: set[int] = set()
        self._reported: dict[str, str] = {}          # of each kind of problem what was said last
        self._looked = False
        self._read_version()

    def heard(self, node: int, said: Any) -> None:
        """Another node's record says which version it has."""
        version = _version(said)
        if version is not None and self._others.get(node) != version:
            self._others[node], self._known_newest = version, None

    def said(self) -> list[Any]:
        """What this node's record says of its version."""
        return _said(self.version)

    @property
    def text(self) -> str:
        """What is in force."""
        return _text(self._bytes)

    @property
    def kept(self) -> list[str]:
        """The files with edits that are in no version: rule 3."""
        return self._aside.kept

    def conflict(self) -> bool:
        """Whether the highest number that is here stands for two contents."""
        return len(self._newest()) > 1

    def wanted_from(self) -> int | None:
        """A node that has a newer version, if there is exactly one such content; not before the first :meth:`look`.
        Raises OSError where the number of a content that is here cannot be written."""
        version = self._wanted()
        if not self._looked or version is None:
            return None
        if version.checksum == self.checksum:
            self._number(version)                    # the same content was numbered elsewhere
            return None
        sources = [node for node, other in self._others.items() if other == version and self._is_here(node)]
        willing = [node for node in sources if node not in self._refusing]
        if not willing:
            self._refusing.clear()                   # all of them once more
        return (willing or sources)[0]

    def refused(self, node: int) -> None:
        """The node did not give the version that it says it has; others are asked first."""
        self._refusing.add(node)

    def look(self, may_number: bool, now: float = 0.0, still: Callable[[], bool] = _always) -> list[str]:
        """Read the local file, take an edit up; gives what is to be logged. ``may_number``: see rule 1, and ``still``
        whether that is so after a write, which takes what it takes. Raises OSError where that fails."""
        lines = self._aside.look()
        self._looked, self.waits = True, False
        if not self.loaded:
            self._load_good()
        return [*lines, *self._look(may_number, now, still)]

    def take(self, node: int, text: str) -> list[str]:
        """Replace the local file by another node's, if that is the newest version still; returns what is to be logged.
        Raises OSError."""
        version = self._wanted()
        if version is None or self._others.get(node) != version:
            return []
        content = text.encode("utf-8", "surrogateescape")
        if checksum_of(content) != version.checksum:
            self.refused(node)                       # it changed meanwhile, or somebody spoilt it
            return []
        try:
            table = self._parse(text, f"{self.name} of node {node}")
        except TableErrors as errors:
            return self._report("foreign", f"{errors.errors[0]}: not taken")
        lines, is_there = self._supplant(version, content)
        if not is_there:
            return lines
        if self.loaded:
            self._replaced = [*self._replaced, (self._bytes, self.table)][-REPLACED_MAX:]
        self._load(table, content)
        self._number(version)
        return [*lines, f"{self.name} is now version {version.number}, from node {node}"]

    # ---- inside -----------------------------------------------------------------------------------------------

    def _look(self, may_number: bool, now: float, still: Callable[[], bool]) -> list[str]:
        try:
            content = self._content(self.name)
        except OSError as error:
            if error.errno == errno.ENOENT and self.loaded and self._store.read(self.good, 0) is None:
                return self._write_back()
            force = "the last good one stays" if self.loaded else "nothing is"
            return self._report("unreadable", f"{self._path}: {error.strerror} ({force} in force)")
        self._reported.pop("unreadable", None)
        checksum = checksum_of(content)
        if self.loaded and checksum == self.version.checksum:
            return self._conflict_report()
        if checksum == self._refused:
            return []
        try:
            table = self._parse(_text(content), self._path)
        except TableErrors as errors:
            self._refused = checksum
            force = f"the last good {self.name} stays" if self.loaded else "nothing is"
            return [f"{error} ({force} in force)" for error in errors.errors]
        doubt = self._doubt(table, content, now)
        if doubt:
            return self._report("unsettled", f"{self._path}: {doubt}")
        self._reported.pop("unsettled", None)
        is_newest = self.version in self._newest()
        lines: list[str] = []
        if may_number and is_newest and self.checksum == self.version.checksum:
            is_older, undoes = self._judge(table, content)
            if is_older:
                return self._yield()
            if undoes:
                what = f"version {self.version.number} of {self.name}"
                lines = self._aside.keep([self._bytes], f"{what} was undone by what was edited here")
        before, highest = self._made_of(checksum), self._highest()
        if not self.loaded or (may_number and is_newest):
            self._load(table, content)
        if checksum == self.version.checksum or not (may_number and is_newest and still()):
            self.waits = is_newest and checksum != self.version.checksum
            return lines
        first = highest == 0 and before.checksum != ""            # what it was before the edit is version 1 elsewhere
        self._number(before.next(highest + (2 if first else 1), checksum))
        self._store.remove(self._edit)
        return [*lines, f"{self.name} is now version {self.version.number}, edited here"]

    def _supplant(self, version: Version, content: bytes) -> tuple[list[str], bool]:
        """Put the version's content there, and keep what is there and no part of it (rule 3), also if it came just now;
        what is to be logged, and whether that content is there."""
        why = f"version {version.number} of {self.name} was not made of what was edited here"
        lines = self._aside.free()
        lies = self._lying()
        before = self._store.read(self._aside.previous, FILE_BYTES_MAX)
        lines += self._aside.keep([one for one in (lies, self._bytes) if self._is_apart(version, one)], why)
        is_there = self._store.supplant(self.name, content, self._aside.previous)
        aside = self._aside.put()
        if aside not in (lies, before) and self._is_apart(version, aside):
            lines += self._aside.keep([aside], why, 2 * KEPT_MAX)
        if not is_there:
            lines.append(f"{self._path} was saved while version {version.number} was put there; that comes once more")
        return lines, is_there

    def _lying(self) -> bytes:
        """What is in the table's place; nothing where that is no file."""
        try:
            return self._store.read(self.name, FILE_BYTES_MAX) or b""
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return b""

    def _is_apart(self, version: Version, content: bytes) -> bool:
        """Whether it is no part of that version."""
        checksum = checksum_of(content)
        is_edit = self.version.number > 0 and checksum not in (self.version.checksum, version.checksum)
        return is_edit or not version.has(checksum)

    def _yield(self) -> list[str]:
        """What is in force is put back over an edit of an older version: rule 5."""
        self._replaced.clear()
        self._store.remove(self._edit)
        return self._supplant(self.version, self._bytes)[0]

    def _judge(self, table: T, content: bytes) -> tuple[bool, bool]:
        """Whether this is an edit of an older version than what is in force, and whether it undoes that: rule 5."""
        said = (self._store.read(self._edit, EDIT_BYTES_MAX) or b"").decode("ascii", "replace").split()
        if said[1:] == [checksum_of(content)] and self.version.has(said[0]):
            return said[0] != self.version.checksum, False
        is_older = undoes = False
        lines, in_force = set(content.splitlines()), set(self._bytes.splitlines())
        gone = set(self._taken_away(self.table, table))
        for text, replaced in self._replaced:
            was = set(text.splitlines())
            brought, took = in_force - was, was - in_force
            is_back = bool(took & lines)
            are_gone = took or gone.issuperset(self._taken_away(self.table, replaced))
            if are_gone and not brought & lines and (brought or is_back):
                undoes = True
                is_older = is_older or is_back or not took
        return is_older and content not in [text for text, _ in self._replaced], undoes

    def _made_of(self, checksum: str) -> Version:
        """What somebody who edited this content had before him."""
        if self.version.number or self.checksum in ("", checksum):
            return self.version
        return Version(0, self.checksum)

    def _wanted(self) -> Version | None:
        """A newer version than this node's, if there is exactly one such content."""
        newest = self._newest()
        return None if len(newest) > 1 or self.version in newest else next(iter(newest))

    def _doubt(self, table: T, content: bytes, now: float) -> str:
        """Why this may be half of what somebody writes (rule 6); empty for nothing."""
        if self.loaded and not content.strip():
            return "empty; the last good one stays in force"
        gone = self._taken_away(self.table, table) if self.loaded else ()
        is_open = self._store.is_being_written(self.name)
        if not is_open and not gone and (content.endswith(b"\n") or not self.loaded):
            return ""
        checksum = checksum_of(content)
        if self._unsettled[0] != checksum:
            self._unsettled = checksum, now
            self._reported.pop("unsettled", None)
        limit_s = OPEN_S if is_open else SETTLE_S
        if now >= self._unsettled[1] + limit_s:
            return ""
        if is_open:
            return f"somebody has it open to write: taken up when that is closed, or has stood still for {limit_s:g} s"
        what = f"without {', '.join(gone)}" if gone else "its last line has no end"
        return f"{what}: taken up when it has stood still for {limit_s:g} s, as it may be half written"

    def _load(self, table: T, content: bytes) -> None:
        self._take_up(table, content)
        self._store.replace(self.good, content, durable=True)

    def _take_up(self, table: T, content: bytes) -> None:
        self.table, self.loaded, self._bytes, self._refused = table, True, content, ""
        self.checksum = checksum_of(content)

    def _write_back(self) -> list[str]:
        for name in (self.good, self.name):
            self._store.replace(name, self._bytes, durable=True)
        self._number(self.version)
        return [f"{self._path} and {self.good} were gone, and are as they were in force"]

    def _load_good(self) -> None:
        """Begin with what an earlier life had in force, numbered or not yet, if it left a whole copy of that."""
        try:
            content = self._content(self.good)
            if self.version.checksum in ("", checksum_of(content)):
                self._take_up(self._parse(_text(content), self.good), content)
            replaced = self._store.read(self._aside.previous, FILE_BYTES_MAX)
            if replaced is not None:
                self._replaced = [(replaced, self._parse(_text(replaced), self._aside.previous))]
        except (OSError, TableErrors):
            pass

    def _newest(self) -> frozenset[Version]:
        """The highest number that this node has, or one that lives, with all its contents."""
        if self._known_newest is None:
            self._known_newest = _newest_of([*self._others.values(), self.version])
        if self._known_newest == {self.version}:
            return self._known_newest
        return _newest_of([*(said for node, said in self._others.items() if self._is_here(node)), self.version])

    def _highest(self) -> int:
        """The highest number that anybody ever had, as far as is known here."""
        return max(version.number for version in (*self._others.values(), self.version))

    def _content(self, name: str) -> bytes:
        content = self._store.read(name, FILE_BYTES_MAX)
        if content is None:
            raise OSError(errno.ENOENT, "No such file or directory")
        if len(content) > FILE_BYTES_MAX:
            raise OSError(errno.EFBIG, f"larger than {FILE_BYTES_MAX} bytes")
        return content

    def _number(self, version: Version) -> None:
        """Nothing has this version before it is written: where that fails it is tried again."""
        self._store.replace(f"{self.name}.version", json.dumps(_said(version)).encode() + b"\n", durable=True)
        self.version, self._known_newest = version, None

    def _read_version(self) -> None:
        try:
            said = json.loads(self._store.read(f"{self.name}.version", VERSION_BYTES_MAX) or b"")
        except (OSError, ValueError, RecursionError):
            return                                   # never numbered, or torn: as good as never
        self.version = _version(said) or self.version

    def _conflict_report(self) -> list[str]:
        if not self.conflict():
            self._reported.pop("conflict", None)
            return []
        newest = sorted(self._newest(), key=lambda version: version.checksum)
        sides = {v.checksum[:8]: [n for n, o in self._others.items() if o == v] for v in newest}
        return self._report("conflict", f"{self.name} version {self.version.number} stands for different contents: "
                            f"{sides}; edit one of them again")

    def _report(self, kind: str, text: str) -> list[str]:
        if self._reported.get(kind) == text:
            return []
        self._reported[kind] = text
        return [text]


def _newest_of(known: Sequence[Version]) -> frozenset[Version]:
    highest = max(version.number for version in known)
    return frozenset({version.checksum: version for version in known if version.number == highest}.values())


def _said(version: Version) -> list[Any]:
    return [version.number, version.checksum, version.before]


def _version(said: Any) -> Version | None:
    """What :func:`_said` said; None for anything else."""
    if not isinstance(said, list) or len(said) != 3:
        return None
    number, checksum, before = said
    if type(number) is not int or not 0 <= number <= NUMBER_MAX:
        return None
    if not isinstance(checksum, str) or not isinstance(before, str):
        return None
    if len(checksum) + len(before) > VERSION_BYTES_MAX // 2:
        return None
    return Version(number, checksum, before)


def made(before: bytes, after: bytes) -> bytes:
    """What a command writes into ``NAME.edit`` before it puts ``after`` there."""
    return f"{checksum_of(before)} {checksum_of(after)}\n".encode()


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")
