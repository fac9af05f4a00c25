"""``mosrun`` and its short forms: run a command at a place, locked or not, with a kind of decay (mosrun(1)).

Rules:

1. The process that becomes the command is locked (or unlocked) first, then its decay is set, then it moves.
2. It is locked where a place is given, or no kind of decay is; ``-l``, ``-L`` and ``-k`` say otherwise.
3. Where it cannot be moved it ends with ``Migration Failed:`` and exit code 1; with ``-F`` it runs where it is.
4. A user may not write ``lock``, and a script cannot be set-uid root: a user's process stays unlocked, which is said
   on stderr. So is a decay that is not taken.
5. One that is not locked and has no place goes where it is best off (:mod:`emulator.hpc.balance`), or stays.
6. At another node it does not become the command, but the command's deputy (:mod:`emulator.guests.deputy`), and ends as
   the command ends there.
"""

from __future__ import annotations

import errno
import os
import sys

from emulator.tools import hpcfile
from emulator.tools.hpcfile import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

USAGE = """\
Usage: mosrun [-{h|openMosix_ID|jID1-ID2[,ID3-ID4]...} [-F]] [-{l|L|k}]
              [-{c|i|n|s|f|[-t tt] [-d dec]} [-{e|E}] [-{r|R}]] [-z] command [arg ...]"""

SHORT_FORMS = {
    "nomig": ["-L"],
    "runhome": ["-h"],
    "cpujob": ["-c"],
    "iojob": ["-i"],
    "nodecay": ["-n"],
    "slowdecay": ["-s"],
    "fastdecay": ["-f"],
}
HOME, ANYWHERE = 0, 0
LOCKS = {"-l": 0, "-L": 1, "-k": None}
DECAYS = {"-c": "cpujob", "-i": "iojob", "-n": "own", "-s": "slow", "-f": "fast", "-t": "own", "-d": "own"}
CARRIED = {"-e": ("exec", 1), "-E": ("execonce", 1), "-r": ("inherit", 1), "-R": ("inherit", 0)}


class UsageError(Exception):
    """Words that are no command line."""


class Job:
    """What the words ask for."""

    def __init__(self, words: list[str]) -> None:
        self.place: int | None = None
        self.anywhere = False
        self.lock: int | None = None
        self.decay: dict[str, int] = {}
        self.own_name = False
        locks: list[str] = []
        rest = iter(words)
        command: list[str] = []
        for word in rest:
            if not word.startswith("-"):
                command = [word, *rest]
            else:
                self._option(word, rest, locks)
        self.program = command[0] if command else ""
        self.arguments = command[1:] if self.own_name else command
        if not self.arguments:
            raise UsageError
        if locks:
            self.lock = LOCKS[locks[-1]]
        elif self.place is not None or not self.decay:
            self.lock = 1

    def _option(self, word: str, rest: Iterator[str], locks: list[str]) -> None:
        if word == "-h":
            self.place = HOME
        elif is_number(word[1:]):
            self.place = int(word[1:])
        elif word.startswith("-j"):
            self.place = one_of(word[2:])
        elif word == "-F":
            self.anywhere = True
        elif word in LOCKS:
            locks.append(word)
        elif word in DECAYS:
            self.decay[DECAYS[word]] = 1
            if word in ("-t", "-d") and not is_number(next(rest, "")):
                raise UsageError
        elif word in CARRIED:
            name, value = CARRIED[word]
            self.decay[name] = value
        elif word == "-z":
            self.own_name = True
        else:
            raise UsageError


def main() -> int:
    """Become the command; the exit code if that fails."""
    hpcfile.heed_interrupt()
    if not hpcfile.exists():
        complain("This is NOT a OpenMosix system!")
        return 1
    try:
        job = Job(words_of(os.path.basename(sys.argv[0]), sys.argv[1:]))
    except UsageError:
        complain(USAGE)
        return 1
    if job.lock is not None:
        try:
            hpcfile.write_process("self", "lock", job.lock)
        except OSError as error:
            complain(f"mosrun: not locked: {error.strerror}")
    for name, value in job.decay.items():
        try:
            hpcfile.write(f"decay/{name}", b"%d\n" % value)
        except OSError as error:
            complain(f"mosrun: no decay as asked: {error.strerror}")
            break
    if job.place is not None:
        try:
            if job.place == HOME:
                be_at_home()
            else:
                run_at(job.place, job.program, job.arguments)
        except OSError as error:
            if not job.anywhere:
                complain(f"Migration Failed: {error.strerror}")
                return 1
    elif job.lock != 1 and is_free():
        try:
            run_at(ANYWHERE, job.program, job.arguments)
        except OSError:  # nothing is said: it may as well be at home
            pass
    return run(job.program, job.arguments)


def be_at_home() -> None:
    """OSError if this process is a guest here: it runs, so it cannot be moved."""
    if hpcfile.read_process("self", "where") != b"0\n":
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def is_free() -> bool:
    """Whether this process may be moved by the balancer."""
    try:
        return hpcfile.read_process("self", "lock") == b"0\n"
    except OSError:
        return False


def words_of(name: str, words: list[str]) -> list[str]:
    """The words of ``mosrun`` that a short form stands for."""
    if name == "runon":
        if not words or not is_number(words[0]):
            raise UsageError
        return ["-" + words[0], *words[1:]]
    return [*SHORT_FORMS.get(name, ()), *words]


def one_of(ranges: str) -> int:
    """One of the nodes in ``A-B,C,...``, at random."""
    nodes: list[int] = []
    for part in ranges.split(","):
        first, _, last = part.partition("-")
        if not is_number(first) or not is_number(last or first):
            raise UsageError
        nodes += range(int(first), int(last or first) + 1)
    if not nodes:
        raise UsageError
    return nodes[int.from_bytes(os.urandom(4), "big") % len(nodes)]


def run_at(node: int, program: str, arguments: list[str]) -> None:
    """Run the command there and end as it ends; return if this node is that node. OSError if that cannot be."""
    from emulator.guests import leaving  # few need it

    try:
        leaving.run_at(node, program, arguments)
    except leaving.NoProgramError as error:
        if node == ANYWHERE:
            raise
        complain(f"{program}: {error.strerror}")
        sys.exit(1)


def run(program: str, arguments: list[str]) -> int:
    """Become the command, with the signals as they were before Python ignored two."""
    hpcfile.heed_signals()
    try:
        os.execvp(program, arguments)
    except OSError as error:
        complain(f"{program}: {error.strerror}")
        return 1


def is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) < 6


if __name__ == "__main__":
    sys.exit(main())
