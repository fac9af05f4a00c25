"""A file system that is mounted while this program runs.

Rules:

1. mount(8) and umount(8) do it, as they know the helpers of file systems, each within ``COMMAND_LIMIT_S``.
2. Where something is mounted already nothing is mounted: who did it is unknown. What an earlier life of the same group
   has left there, by its record, is unmounted first.
3. There is a record before the mount is made, and as long as it may be there: :mod:`mosha.resources.records`. By it the
   leash of the group ends what a killed process left.
4. TERM or INT unmounts in order. While the mount is in use, this tries again for ``BUSY_LIMIT_S``: other entries of the
   group may be about to end.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from mosha.arguments import Parser
from mosha.platform import mountinfo, plain, procscan
from mosha.platform.mountinfo import Mount
from mosha.resources import records
from mosha.resources.ending import HeldMount
from mosha.resources.errors import CommandError, ResourceError
from mosha.resources.records import Busy, Record
from mosha.resources.signals import Signals

COMMAND_LIMIT_S = 60.0
KILL_LIMIT_S = 1.0
BUSY_LIMIT_S = 30.0
EARLIER_LIMIT_S = 2.0
RETRY_S = 0.1
LOOK_EVERY_S = 1.0
STEP_MIN_S, STEP_MAX_S = 0.001, 0.02
READ_BYTES = 65536


class StuckError(CommandError):
    """The program does not even die: what it did will be seen later."""


def main(argv: Sequence[str] | None = None) -> int:
    """``mosha mount SOURCE DIRECTORY``; the exit status: 0 after TERM or INT, 1 when it cannot be held."""
    options = _options(argv)
    signals = Signals()
    directory = os.path.realpath(options.directory)
    try:
        record = _record(HeldMount(os.environ.get(procscan.MARK, ""), directory, options.source))
        try:
            _mount(options, directory, signals)
            _hold(record, signals)
        except StuckError:
            raise
        except (ResourceError, OSError):
            _let_go(record, EARLIER_LIMIT_S)
            raise
        _let_go(record, BUSY_LIMIT_S)
    except Busy:
        return _fail(f"another process holds {directory}")
    except (ResourceError, OSError) as error:
        return _fail(plain.words(error))
    return 0


def _fail(reason: str) -> int:
    print(f"mosha mount: {reason}", file=sys.stderr)
    return 1


def _record(content: HeldMount) -> Record[HeldMount]:
    """Rules 2 and 3. Raises Busy, ResourceError, OSError."""
    rundir = records.run_directory()
    earlier = records.lock(rundir, content)
    if earlier is not None:
        _let_go(earlier, EARLIER_LIMIT_S)
    if mountinfo.top(mountinfo.read(), content.directory) is not None:
        raise ResourceError(f"something is mounted on {content.directory} already")
    return records.write(rundir, content)


def _mount(options: argparse.Namespace, directory: str, signals: Signals) -> None:
    """Raises CommandError."""
    kind = ["-t", options.type] if options.type else []
    how = ["-o", options.options] if options.options else []
    _run(["mount", *kind, *how, "--", options.source, directory], signals)


def _hold(record: Record[HeldMount], signals: Signals) -> None:
    """Until a signal comes. Raises ResourceError when somebody else has unmounted it."""
    mount = _mounted(record)
    if mount is not None:
        record.update(number=mount.number)
    while not signals.wait(LOOK_EVERY_S):
        if _mounted(record) is None:
            raise ResourceError(f"{record.content.directory} is not mounted any more")


def _let_go(record: Record[HeldMount], limit_s: float) -> None:
    """Unmount it, if it is mounted. Raises CommandError; then the record stays."""
    give_up_s = time.monotonic() + limit_s
    told = False
    while _mounted(record) is not None:
        try:
            _run(["umount", record.content.directory])
        except StuckError:
            raise
        except CommandError as error:
            if time.monotonic() >= give_up_s:
                raise
            if not told:
                told = True
                print(f"mosha mount: {error}, trying again", file=sys.stderr)
            time.sleep(RETRY_S)
    record.remove()


def _mounted(record: Record[HeldMount]) -> Mount | None:
    """Raises ResourceError if something lies over it."""
    mounts = mountinfo.read()
    mount = record.content.find(mounts)
    if mount is not None and mountinfo.top(mounts, mount.directory) != mount:
        raise ResourceError(f"something else is mounted over {mount.directory}")
    return mount


def _run(arguments: list[str], signals: Signals | None = None) -> None:
    """Rule 1; a signal ends it early. Raises CommandError with what the program said first."""
    try:
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            start_new_session=True, env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise CommandError(f"there is no program {arguments[0]!r}") from None
    assert process.stderr is not None
    os.set_blocking(process.stderr.fileno(), False)
    with process.stderr:
        is_late = not _has_ended(process, COMMAND_LIMIT_S, signals)
        if is_late and not _kill(process):
            raise StuckError(f"'{' '.join(arguments)}' cannot be killed")
        if signals is not None and signals.wait(0.0):
            return
        if is_late:
            raise CommandError(f"'{' '.join(arguments)}' took more than {COMMAND_LIMIT_S:g} s")
        if process.returncode != 0:
            said = (process.stderr.read(READ_BYTES) or b"").decode(errors="replace").strip().partition("\n")[0]
            raise CommandError(said.rstrip(".") or f"{arguments[0]}: exit status {process.returncode}")


def _has_ended(process: subprocess.Popen[bytes], limit_s: float, signals: Signals | None) -> bool:
    """Whether it did within the limit, and before a signal."""
    deadline_s = time.monotonic() + limit_s
    step_s = STEP_MIN_S
    while process.poll() is None:
        if time.monotonic() >= deadline_s:
            return False
        if signals is None:
            time.sleep(step_s)
        elif signals.wait(step_s):
            return False
        step_s = min(2 * step_s, STEP_MAX_S)
    return True


def _kill(process: subprocess.Popen[bytes]) -> bool:
    """Whether it is dead, with the helpers that it called."""
    procscan.kill(-process.pid, signal.SIGKILL)
    return _has_ended(process, KILL_LIMIT_S, None)


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="mosha mount", description="Hold a file system mounted while this runs; TERM or INT unmounts it."
    )
    parser.add_argument("source", metavar="SOURCE", help="what to mount, as mount(8) wants it")
    parser.add_argument("directory", metavar="DIRECTORY", help="where")
    parser.add_argument("-t", dest="type", default="", metavar="TYPE", help="of the file system")
    parser.add_argument("-o", dest="options", default="", metavar="OPTIONS", help="of mount(8)")
    return parser.parse_args(argv)
