"""A command in a machine.

Rules:

1. It is started, and heard to its end, by a process of its own, which has the caller's connection, and says how the
   command ended before it lets go of that: who sees the end of what was said may ask for the code.
2. It is in the machine's namespaces, and ends with them.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from dataclasses import dataclass

from emulator.child import detach, quiet
from moslab.namespaces import linux
from moslab.namespaces.boot import ENVIRONMENT
from moslab.namespaces.child import execute, limit
from moslab.namespaces.http import UPGRADED, Answer
from moslab.namespaces.machine import Machine
from moslab.streams import HEADER

READ_BYTES = 1 << 16
KILLED = 128


@dataclass
class Command:
    """A command in a machine; ``result`` is a pipe for its exit code while it runs."""

    machine: Machine
    words: list[str]
    result: int = -1
    exit_code: int | None = None

    def look(self) -> None:
        """Whether it has ended; who was to say so may have been killed."""
        if self.result >= 0 and select.select([self.result], [], [], 0)[0]:
            self.exit_code = (os.read(self.result, 1) or bytes([KILLED + signal.SIGKILL]))[0]
            self.close()

    def close(self) -> None:
        if self.result >= 0:
            os.close(self.result)
        self.result = -1

    def start(self, connection: socket.socket | None) -> None:
        """Start it; what it says goes to the connection, in frames, which is no longer the caller's."""
        self.result, says = os.pipe()
        if not os.fork():
            try:
                _hear(self, connection, says)
            finally:
                os._exit(0)
        os.close(says)
        if connection is not None:
            connection.close()


def _hear(command: Command, connection: socket.socket | None, says: int) -> None:
    """Start the command in the machine, hand on what it says, and say how it ended (rule 1)."""
    machine, words = command.machine, command.words
    machine.await_begun()
    first = machine.pid
    quiet([says, *([connection.fileno()] if connection is not None else [])])
    (out_r, out_w), (err_r, err_w) = os.pipe(), os.pipe()
    places = [(f"/proc/{first}/ns/{name}", kind) for name, kind in (
        ("net", linux.NEWNET), ("uts", linux.NEWUTS), ("ipc", linux.NEWIPC), ("mnt", linux.NEWNS),
    )]
    try:
        linux.enter(f"/proc/{first}/ns/pid", linux.NEWPID)
        pid = os.fork()                                      # ENOMEM where its first process is dead, and there still
    except OSError as error:                                 # it has lost its power just now
        if connection is not None:
            connection.sendall(Answer(409, {"message": f"container {machine.name} is ending: {error}"}).encoded())
        return
    if not pid:
        try:
            null = os.open(os.devnull, os.O_RDONLY)
            held = [(os.open(path, os.O_RDONLY), kind) for path, kind in places]
            for fd, kind in held:
                linux.enter(f"/proc/self/fd/{fd}", kind)
            limit(machine.limits)
            detach(null, out_w, err_w)
            execute(words, ENVIRONMENT)
        except BaseException as error:  # noqa: BLE001 - nothing of the engine may go on in this process
            os.write(2, f"{words[0]}: {error}\n".encode())
        finally:
            os._exit(KILLED - 1)
    os.close(out_w)
    os.close(err_w)
    _hand_on({out_r: 1, err_r: 2}, connection)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(says, bytes([code if code >= 0 else KILLED - code]))


def _hand_on(streams: dict[int, int], connection: socket.socket | None) -> None:
    """Until all have ended; who no longer listens is no reason to stop."""
    send = connection.sendall if connection is not None else (lambda _data: None)
    try:
        send(UPGRADED)
    except OSError:
        pass
    while streams:
        for fd in select.select(list(streams), [], [])[0]:
            piece = os.read(fd, READ_BYTES)
            if not piece:
                del streams[fd]
                continue
            try:
                send(HEADER.pack(streams[fd], len(piece)) + piece)
            except OSError:
                pass
