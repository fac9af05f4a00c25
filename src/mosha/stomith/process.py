"""One call of a device's program, or function: bounded in time, output and processes.

Rules:

1. The program runs in a session of its own. When its time is up it is killed with all that came from it, also what
   left the session: the program is made the subreaper of its descendants (Linux 3.4), and all carry a mark.
2. It ends with whoever called it (prctl PDEATHSIG): a shot that nobody waits for is not taken.
3. All output is read, the last ``words_bytes_max`` bytes are kept. What outlives the program, in its process group
   or on its output, is not waited for; the process group is killed.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from functools import partial
from typing import Callable, NamedTuple, Union

from mosha.platform import linux, procscan
from mosha.stomith.devices import Call
from mosha.stomith.forked import Forked

MARK = "MOSHA_SHOT"
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Searched too: devices' programs lie there, and an agent that init started may have another PATH."""
WORDS_BYTES_MAX = 2000
READ_BYTES = 65536
KILL_LIMIT_S = 0.5
STEP_MIN_S, STEP_MAX_S = 0.001, 0.02
LOOKS_EMPTY = 2
Child = Union["subprocess.Popen[bytes]", Forked]


class Ended(NamedTuple):
    """How a call ended. ``code`` is None when it did not end by itself, or was not started: ``words`` say why."""

    code: int | None
    words: str
    seconds: float


def path() -> str:
    """Where programs are searched."""
    return f"{os.environ.get('PATH') or os.defpath}:{SBIN}"


def run(call: Call, limit_s: float, words_bytes_max: int = WORDS_BYTES_MAX) -> Ended:
    """Run it; this blocks at most for ``limit_s`` and what killing takes (``KILL_LIMIT_S``, twice)."""
    began_s = time.monotonic()
    mark = os.urandom(16).hex()
    try:
        child = _start(call, partial(_prepare, os.getpid()), {"PATH": path(), "LC_ALL": "C", MARK: mark})
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Ended(None, f"{call.argv[0]}: {reason}", time.monotonic() - began_s)
    ended = False
    try:
        _say(child, call.stdin)
        words, ended = _listen(child, began_s + limit_s, words_bytes_max)
    finally:
        if ended:
            procscan.kill(-child.pid, signal.SIGKILL)
        else:
            _kill(child.pid, mark)
        code = _reap(child)
    seconds = time.monotonic() - began_s
    said = words.decode("utf-8", "replace").strip()
    if not ended:
        return Ended(None, f"no end within {limit_s:g} s, killed{': ' if said else ''}{said}", seconds)
    return Ended(code, said, seconds)


def _start(call: Call, prepare: Callable[[], None], environment: Mapping[str, str]) -> Child:
    """Raises OSError, ValueError, SubprocessError."""
    if call.function is not None:
        return Forked(call.function, prepare, environment)
    return subprocess.Popen(
        call.argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, cwd="/",
        start_new_session=True, preexec_fn=prepare, env={**os.environ, **environment},  # noqa: PLW1509 - no threads here
    )


def _prepare(caller: int) -> None:
    """In the child: rules 1 and 2; nor is it deaf to what the agent is deaf to."""
    for signo in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(signo, signal.SIG_DFL)
    linux.set_pdeathsig(signal.SIGKILL)
    linux.set_subreaper()
    if os.getppid() != caller:
        os._exit(1)


def _say(child: Child, text: str) -> None:
    """Options are smaller than a pipe's buffer: this does not block. Who does not read them is not an error."""
    if child.stdin is None:
        return
    try:
        os.write(child.stdin.fileno(), text.encode("utf-8", "surrogateescape"))
    except BrokenPipeError:
        pass
    finally:
        child.stdin.close()


def _listen(child: Child, deadline_s: float, bytes_max: int) -> tuple[bytes, bool]:
    """The last output, and whether the program ended before the deadline; it is not reaped."""
    assert child.stdout is not None
    fd = child.stdout.fileno()
    os.set_blocking(fd, False)
    kept, is_open, step_s = b"", True, STEP_MIN_S
    while True:
        has_ended = _has_ended(child.pid)           # before the last look at the output
        wait_s = 0.0 if has_ended else max(0.0, min(step_s, deadline_s - time.monotonic()))
        if select.select([fd] if is_open else [], [], [], wait_s)[0]:
            piece = _read(fd)
            is_open = piece != b""
            kept = _last(kept + piece, bytes_max)
        elif has_ended:
            return kept, True
        if time.monotonic() >= deadline_s:
            return kept, has_ended
        step_s = min(2 * step_s, STEP_MAX_S)


def _last(said: bytes, bytes_max: int) -> bytes:
    """What is kept; it begins with a whole line, or word: half a secret would not be recognized as one."""
    if len(said) <= bytes_max:
        return said
    end = said[-bytes_max:]
    return end.partition(b"\n")[2] or end.partition(b" ")[2]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, READ_BYTES)
    except OSError:
        return b""


def _has_ended(pid: int) -> bool:
    """Without collecting it: its pid is still needed."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except OSError as error:
        if error.errno != errno.ENOSYS:              # Linux 2.6.9 has it
            raise
        child = procscan.process(pid)
        return child is not None and child.state == procscan.ZOMBIE


def _kill(pid: int, mark: str) -> None:
    """Rule 1: stopped first, so that nothing new comes from it; it dies last, so that what came from it is found."""
    procscan.kill(pid, signal.SIGSTOP)
    deadline_s = time.monotonic() + KILL_LIMIT_S
    empty = 0
    while empty < LOOKS_EMPTY and time.monotonic() < deadline_s:
        others = _others(pid, mark)
        empty = 0 if others else empty + 1
        for signo in (signal.SIGSTOP, signal.SIGKILL):       # a script that waits for another one must not go on first
            for other in others:
                procscan.kill(other, signo)
        if others:
            time.sleep(STEP_MIN_S)
    procscan.kill(-pid, signal.SIGKILL)
    procscan.kill(pid, signal.SIGKILL)


def _others(pid: int, mark: str) -> set[int]:
    table = procscan.processes()
    found = {p.pid for p in procscan.descendants(table, pid)} | {p.pid for p in table.values() if p.session == pid}
    found.update(procscan.find(f"{MARK}={mark}".encode()))
    return {other for other in found - {pid} if other in table and table[other].state != procscan.ZOMBIE}


def _reap(child: Child) -> int | None:
    """The exit code; None for one that even SIGKILL does not end in time (state D)."""
    assert child.stdout is not None
    child.stdout.close()
    try:
        return child.wait(KILL_LIMIT_S)
    except subprocess.TimeoutExpired:
        return None
