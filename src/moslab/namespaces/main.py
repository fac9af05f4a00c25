"""The engine as a process, which ``own`` starts.

Rules:

1. The first process goes into namespaces of users, mounts, processes, network, IPC and names, and waits; the second one
   is the first there, the engine. When it ends the kernel ends all that it has begun. It dies with the first one.
2. It lives as long as its standard input is open; after ``stay`` there, until its last machine, network and volume go.
3. DIRECTORY has the socket, and is locked as long as one of the two lives; the first one removes it.
4. It is ready only when what nodes need was tried (:mod:`moslab.namespaces.ground`).
5. Root keeps all users and groups, else the user is root inside, and there is no other.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import shutil
import signal
import sys

from emulator.reactor import Reactor
from moslab.namespaces import ground, linux
from moslab.namespaces.api import Api
from moslab.namespaces.engine import Engine
from moslab.namespaces.http import listen
from moslab.namespaces.names import READY, SOCKET, STAY

ALL_IDS = f"0 0 {2**32 - 1}\n"
LINGER_S = 3.0
"""Whoever has removed the last of it may look once more."""
KINDS = linux.NEWUSER | linux.NEWNS | linux.NEWPID | linux.NEWNET | linux.NEWIPC | linux.NEWUTS


def isolate() -> None:
    """Rule 5; OSError where the machine does not let this user have it."""
    pid, uid, gid = os.getpid(), os.geteuid(), os.getegid()
    reader, writer = os.pipe()
    helper = os.fork()
    if not helper:
        code = 1
        try:
            os.close(writer)
            os.read(reader, 1)
            if uid:
                _write(f"/proc/{pid}/setgroups", "deny")
            _write(f"/proc/{pid}/uid_map", f"0 {uid} 1\n" if uid else ALL_IDS)
            _write(f"/proc/{pid}/gid_map", f"0 {gid} 1\n" if uid else ALL_IDS)
            code = 0
        finally:
            os._exit(code)
    os.close(reader)
    linux.unshare(KINDS)
    os.close(writer)
    if os.waitpid(helper, 0)[1]:
        raise OSError("no users can be had in a user namespace")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def serve(directory: str) -> None:
    """The second process (rule 1)."""
    linux.unshare(linux.NEWNS)
    linux.mount("", "/", flags=linux.PRIVATE | linux.RECURSIVE)
    linux.mount("proc", "/proc", "proc", linux.NOSUID | linux.NODEV | linux.NOEXEC)
    state = f"{directory}/state"
    os.mkdir(state)
    linux.mount("state", state, "tmpfs", linux.NOSUID, "mode=700")
    ground.check(state)
    reactor = Reactor()
    stays: list[bool] = []

    def ends() -> None:
        if stays and engine.is_empty:
            reactor.stop()

    engine = Engine(reactor, state, f"{directory}/{SOCKET}", lambda: reactor.call_later(LINGER_S, ends))

    def told(_mask: int) -> None:
        given = os.read(0, 64)
        if given == STAY:
            stays.append(True)
        else:
            reactor.stop()
        reactor.forget(0)

    reactor.watch(0, select.EPOLLIN, told)
    reactor.watch_signals([signal.SIGCHLD, signal.SIGTERM], lambda numbers: (
        reactor.stop() if signal.SIGTERM in numbers else engine.reap()
    ))
    listen(reactor, f"{directory}/{SOCKET}", Api(engine))
    os.write(1, READY)
    reactor.run()


def main(directory: str) -> int:
    """Be the first process (rule 1)."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s")
    os.umask(0o022)                                          # a node's files are for all of its users
    lock = os.open(directory, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        isolate()
        second = os.fork()
        if not second:
            code = 1
            try:
                linux.die_with_parent()
                serve(directory)
                code = 0
            except OSError as error:
                print(error, file=sys.stderr, flush=True)
            finally:
                os._exit(code)
        os.close(0)
        os.close(1)
        return os.waitstatus_to_exitcode(os.waitpid(second, 0)[1])
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(directory, ignore_errors=True)
