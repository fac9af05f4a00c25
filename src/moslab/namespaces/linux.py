"""The system calls of namespaces, which Python has since 3.12 only, or not at all. Each raises OSError.

They are made with the interpreter's lock held, and the process that makes them has one thread: ``fork`` is safe then.
"""

from __future__ import annotations

import ctypes
import os
import signal

NEWNS, NEWUTS, NEWIPC, NEWUSER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
NEWPID, NEWNET = 0x20000000, 0x40000000
"""unshare(2), setns(2)."""
READ_ONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
"""mount(2)."""
_DETACH = 2
_PDEATHSIG = 1
_libc = ctypes.PyDLL(None, use_errno=True)


def _checked(failed: int, what: str) -> None:
    if failed:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)


def unshare(kinds: int) -> None:
    """Have new namespaces of these kinds."""
    _checked(_libc.unshare(kinds), "namespaces")


def enter(path: str, kind: int) -> None:
    """Go into the namespace that is at ``path``."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(fd, kind), path)
    finally:
        os.close(fd)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    words = (os.fsencode(word) if word else None for word in (source, target, kind))
    source_, target_, kind_ = words
    _checked(_libc.mount(source_, target_, kind_, ctypes.c_ulong(flags), options.encode() or None), target)


def unmount(target: str) -> None:
    """Take a mount away, and what is below it, even if it is in use."""
    _checked(_libc.umount2(os.fsencode(target), _DETACH), target)


def change_root(root: str) -> None:
    """Have that mount as the root, and nothing of what was there before."""
    os.chdir(root)
    _checked(_libc.pivot_root(b".", b"."), root)
    _checked(_libc.umount2(b".", _DETACH), root)
    os.chdir("/")


def die_with_parent() -> None:
    """Be killed when the parent ends; one that has ended before is not noticed: look after."""
    _checked(_libc.prctl(_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")


def name_host(name: str) -> None:
    """Of this UTS namespace."""
    given = name.encode()
    _checked(_libc.sethostname(given, ctypes.c_size_t(len(given))), name)


def fork_as_init() -> int:
    """fork(2); the child is the first process of a new PID namespace."""
    unshare(NEWPID)
    pid = os.fork()
    if pid:
        enter("/proc/self/ns/pid", NEWPID)                   # only the first child is to be in the new one
    return pid
