"""The settings of a cltab, ``:::NAME:VALUE``: where clinit keeps its files, and how a group's processes are treated.

====================  ==============================================================================================
socket, clstat, log   files of the stand-alone daemon; an agent has places of its own for them. ``log`` may be
                      ``stderr`` or ``syslog`` too
heartbeat_s           clstat is written anew that often when nothing changes
stop                  signals and the seconds after the beginning at which each is sent: ``INT 0 TERM 5 KILL 15``
fast_exit_s           a ``respawn`` that runs no longer than this has exited fast
fast_exits_max        and after more of these, less one for each longer run, the group has failed
monitor_limit_s       a ``monitor`` that takes longer has failed
test_limit_s          and so has a ``test``
wait_limit_s          and so has a ``wait``, but at level ``stop``; without that it may take as long as it likes
stop_limit_s          and so has a ``wait`` at level ``stop``
units                 of the stand-alone daemon: ``auto``, ``cgroup`` or ``session``, see :mod:`mosha.platform.units`
====================  ==============================================================================================

Other names are somebody else's: nothing is said about them.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple

from mosha.tables.lines import shown

SOCKET, CLSTAT, LOG, UNITS = "socket", "clstat", "log", "units"
STDERR, SYSLOG = "stderr", "syslog"         # where a log goes when it is no path
AUTO, CGROUP, SESSION = "auto", "cgroup", "session"
HOLDS = (AUTO, CGROUP, SESSION)
PATH_BYTES_MAX = 1023
SOCKET_PATH_BYTES_MAX = 107      # sun_path, with the NUL that ends it
SECONDS_MAX = 86_400.0
SECONDS_MIN = 0.01               # the clock of an old kernel steps so
COUNT_MAX = 1000
SIGNALS_MAX = 16
SIGNALS = {name: getattr(signal, f"SIG{name}") for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "KILL")}


class Policy(NamedTuple):
    """How processes are stopped and when a restart is a crash; all times in seconds."""

    stop: tuple[tuple[float, int], ...] = ((0.0, signal.SIGINT), (5.0, signal.SIGTERM), (15.0, signal.SIGKILL))
    """(seconds after the beginning, signal), in order."""
    kill_again_s: float = 1.0
    fast_exit_s: float = 1.0
    fast_exits_max: int = 5
    monitor_limit_s: float = 20.0
    test_limit_s: float = 120.0
    wait_limit_s: float = math.inf
    stop_limit_s: float = 600.0


DEFAULT_POLICY = Policy()


class Settings(NamedTuple):
    """What the settings lines say; None where they say nothing."""

    socket: str | None = None
    clstat: str | None = None
    log: str | None = None
    heartbeat_s: float | None = None
    policy: Policy = DEFAULT_POLICY
    units: str | None = None


def problem_with(name: str, value: str) -> str:
    """What is wrong with one setting; empty if nothing is."""
    if name not in _READERS:
        return ""
    try:
        _READERS[name](value)
    except ValueError as error:
        return f"setting {name}: {error}"
    return ""


def read(values: Mapping[str, str]) -> Settings:
    """All settings, of which :func:`problem_with` says nothing."""
    found = {name: _READERS[name](value) for name, value in values.items() if name in _READERS}
    own = {name: found.pop(name) for name in (SOCKET, CLSTAT, LOG, UNITS, "heartbeat_s") if name in found}
    return Settings(**own, policy=DEFAULT_POLICY._replace(**found))


def seconds(text: str) -> float:
    """A time; raises ValueError with the reason."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not SECONDS_MIN <= value <= SECONDS_MAX:
        raise ValueError(f"{shown(text)} is no time: seconds, {SECONDS_MIN:g} to {SECONDS_MAX:g}")
    return value


def holds(text: str) -> str:
    """How groups are held; raises ValueError with the reason."""
    if text not in HOLDS:
        raise ValueError(f"{shown(text)} is none of {', '.join(HOLDS)}")
    return text


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and int(text) <= COUNT_MAX):
        raise ValueError(f"{shown(text)} is no count: 0 to {COUNT_MAX}")
    return int(text)


def _path(text: str, bytes_max: int = PATH_BYTES_MAX) -> str:
    if not text.strip() or len(text.encode()) > bytes_max:
        raise ValueError(f"{shown(text)} is no path of 1 to {bytes_max} bytes")
    return text


def _socket(text: str) -> str:
    return _path(text, SOCKET_PATH_BYTES_MAX)


def _stop(text: str) -> tuple[tuple[float, int], ...]:
    words = text.replace(",", " ").split()
    names, times = words[::2], words[1::2]
    if len(words) % 2 or not 1 <= len(names) <= SIGNALS_MAX:
        raise ValueError("written SIGNAL SECONDS SIGNAL SECONDS …, as INT 0 TERM 5 KILL 15")
    for name in names:
        if name not in SIGNALS:
            raise ValueError(f"unknown signal {shown(name)}: one of {' '.join(SIGNALS)}")
    if names[-1] != "KILL":
        raise ValueError("the last signal must be KILL: nothing else ends every process")
    after = [0.0 if time == "0" else seconds(time) for time in times]
    if after[0] != 0 or sorted(set(after)) != after:
        raise ValueError("the times must begin with 0 and grow")
    return tuple(zip(after, (int(SIGNALS[name]) for name in names)))


_READERS: dict[str, Callable[[str], Any]] = {
    SOCKET: _socket,
    CLSTAT: _path,
    LOG: _path,
    UNITS: holds,
    "heartbeat_s": seconds,
    "stop": _stop,
    "fast_exit_s": seconds,
    "fast_exits_max": _count,
    "monitor_limit_s": seconds,
    "test_limit_s": seconds,
    "wait_limit_s": seconds,
    "stop_limit_s": seconds,
}
