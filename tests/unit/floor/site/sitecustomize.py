"""Takes away from every Python process what a real openMosix node has not: Linux 2.4.26, a static interpreter.

It is a site file: an interpreter with this directory on its PYTHONPATH reads it first. The variable MOSHA_FLOOR says
what the process is. ``node``: all of this. ``harness``, the tests themselves: they may have namespaces, to play nodes
in.

1. By seccomp, for the process and all that it starts: threads, epoll and its kin, pidfd, waitid, child subreapers; on a
   node also namespaces. They fail as they do there.
2. By shims: ``dir_fd``, sub-second file times, clocks finer than 10 ms, CLOCK_BOOTTIME, sleeps below 20 ms, and on a
   node /proc/self/cgroup and mountinfo.
3. Without ctypes, when it has been of use here for the last time.

Numbers of system calls are those of x86-64.
"""

from __future__ import annotations

import builtins
import errno
import os
import platform
import struct
import sys
import time
from typing import Any

TICK_NS = 10_000_000
SLEEP_MIN_S = 0.02
HIDDEN = ("/proc/self/cgroup", "/proc/self/mountinfo", "/proc/self/ns", "/sys")
ARCHITECTURE, AUDIT_ARCH = "x86_64", 0xC000003E

CLONE, CLONE3, PRCTL = 56, 435, 157
ABSENT = {
    "epoll_create": 213, "epoll_wait": 232, "epoll_ctl": 233, "epoll_pwait": 281, "epoll_create1": 291, "waitid": 247,
    "inotify_init": 253, "inotify_init1": 294, "signalfd": 282, "signalfd4": 289, "timerfd_create": 283, "eventfd": 284,
    "eventfd2": 290, "renameat2": 316, "memfd_create": 319, "copy_file_range": 326, "pidfd_send_signal": 424,
    "pidfd_open": 434, "clone3": CLONE3, "close_range": 436, "pidfd_getfd": 438,
}
NAMESPACES = {"unshare": 272, "setns": 308}
CLONE_THREAD, CLONE_NEW = 0x00010000, 0x7E020000
PR_SET_CHILD_SUBREAPER = 36

LD_W_ABS, JEQ_K, JSET_K, RET_K = 0x20, 0x15, 0x45, 0x06      # linux/bpf_common.h
ALLOW, ERRNO = 0x7FFF0000, 0x00050000                        # linux/seccomp.h
NR_AT, ARCH_AT, ARG0_AT = 0, 4, 16                           # in struct seccomp_data
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2


def program(is_node: bool) -> list[tuple[int, int, int, int]]:
    """The filter. Each jump is over what follows it directly."""
    code = [
        (LD_W_ABS, 0, 0, ARCH_AT), (JEQ_K, 1, 0, AUDIT_ARCH), (RET_K, 0, 0, ERRNO | errno.ENOSYS),
        (LD_W_ABS, 0, 0, NR_AT),
    ]
    for number in {**ABSENT, **(NAMESPACES if is_node else {})}.values():
        code += [(JEQ_K, 0, 1, number), (RET_K, 0, 0, ERRNO | errno.ENOSYS)]
    refused = [(CLONE, JSET_K, CLONE_THREAD, errno.EAGAIN), (PRCTL, JEQ_K, PR_SET_CHILD_SUBREAPER, errno.EINVAL)]
    if is_node:
        refused.append((CLONE, JSET_K, CLONE_NEW, errno.EINVAL))
    for number, test, value, error in refused:
        code += [
            (JEQ_K, 0, 4, number), (LD_W_ABS, 0, 0, ARG0_AT), (test, 0, 1, value), (RET_K, 0, 0, ERRNO | error),
            (LD_W_ABS, 0, 0, NR_AT),
        ]
    return code + [(RET_K, 0, 0, ALLOW)]


def take_calls_away(is_node: bool) -> None:
    """Rule 1; for ever. Raises OSError."""
    import ctypes

    if platform.machine() != ARCHITECTURE:
        raise OSError(errno.ENOSYS, f"the filter is for {ARCHITECTURE}")
    code = program(is_node)
    text = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    head = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(text)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(PR_SET_SECCOMP, MODE_FILTER, head, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter of system calls can be set")


def take_descriptors_of_directories_away() -> None:
    def without(call: Any) -> Any:
        def refuse(*arguments: Any, **named: Any) -> Any:
            if any(named.get(name) is not None for name in ("dir_fd", "src_dir_fd", "dst_dir_fd")):
                raise NotImplementedError("dir_fd unavailable on this platform")
            return call(*arguments, **named)

        return refuse

    for call in list(os.supports_dir_fd):
        name = call.__name__
        if name in ("stat", "lstat") or getattr(os, name, None) is not call:
            continue
        shim = without(call)
        for kind in (os.supports_fd, os.supports_follow_symlinks, os.supports_effective_ids):
            if call in kind:
                kind.add(shim)
        setattr(os, name, shim)
    os.supports_dir_fd.clear()


def round_file_times() -> None:
    """Whole seconds, as on ext2, tmpfs and MFS there."""

    def rounding(call: Any) -> Any:
        def rounded(*arguments: Any, **named: Any) -> os.stat_result:
            if named.get("dir_fd") is not None:
                raise NotImplementedError("dir_fd unavailable on this platform")
            fields, more = call(*arguments, **named).__reduce__()[1]
            for name in ("st_atime", "st_mtime", "st_ctime"):
                more[name] = float(int(more[name]))
                more[f"{name}_ns"] = int(more[name]) * 1_000_000_000
            return os.stat_result(fields, more)

        return rounded

    for name in ("stat", "lstat", "fstat"):
        call = getattr(os, name)
        shim = rounding(call)
        for kind in (os.supports_fd, os.supports_follow_symlinks):
            if call in kind:
                kind.add(shim)
        setattr(os, name, shim)


def coarsen_clocks() -> None:
    """Steps of 10 ms, since the boot; CLOCK_BOOTTIME and CLOCK_MONOTONIC_RAW are later inventions."""
    exact, sleep = time.clock_gettime_ns, time.sleep
    modern = {getattr(time, name, -1) for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC_RAW")}

    def clock_gettime_ns(clock: int) -> int:
        if clock in modern:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        now_ns = exact(clock)
        return now_ns - now_ns % TICK_NS if clock == time.CLOCK_MONOTONIC else now_ns

    time.clock_gettime_ns = clock_gettime_ns
    time.clock_gettime = lambda clock: clock_gettime_ns(clock) / 1e9
    time.monotonic_ns = lambda: clock_gettime_ns(time.CLOCK_MONOTONIC)
    time.monotonic = lambda: clock_gettime_ns(time.CLOCK_MONOTONIC) / 1e9
    time.sleep = lambda seconds: sleep(max(SLEEP_MIN_S, float(seconds)))


def hide_files() -> None:
    """What is not there cannot be opened."""

    def hiding(call: Any) -> Any:
        def shown(path: Any, *arguments: Any, **named: Any) -> Any:
            if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith(HIDDEN):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            return call(path, *arguments, **named)

        return shown

    builtins.open = hiding(builtins.open)
    os.open = hiding(os.open)


def main(what: str) -> None:
    take_calls_away(what == "node")
    sys.modules["ctypes"] = None  # type: ignore[assignment]
    take_descriptors_of_directories_away()
    round_file_times()
    coarsen_clocks()
    if what == "node":
        hide_files()


if os.environ.get("MOSHA_FLOOR"):
    main(os.environ["MOSHA_FLOOR"])
