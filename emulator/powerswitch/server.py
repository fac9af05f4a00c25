"""The power switch's daemon, PID 1 of a cluster's first container: ``powerswitchd CLUSTER [ENGINE-SOCKET]``.

Rules:

1. Its standard input is held by the command that starts the cluster. Until that says ``commit``, the end of
   the input means that the command died: everything with the cluster's label is removed, and the daemon
   exits. After the commit the input does not matter.
2. ``serve {"address": …, "port": …, "key": hex}`` on the input opens the switch. No command line has the key.
3. Each step is said in one word on the standard output: guarding, serving, committed, sweeping, swept.
4. The loop never blocks; conversations and the engine's answers are waited for in threads, with a deadline.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

from emulator.powerswitch.engine import Engine, EngineError
from emulator.powerswitch.protocol import Hearing
from emulator.powerswitch.sweep import sweep
from emulator.powerswitch.switch import Switch
from emulator.reactor import Reactor

log = logging.getLogger("powerswitch")

HELLO_LIMIT_S = 2.0
CONVERSATIONS_MAX = 32
INPUT_BYTES_MAX = 8192
SWEEP_LIMIT_S = 300.0
SWEEP_EVERY_S = 0.5
SETTLE_S = 3.0
"""The engine may still carry out what a dead client asked: "gone" means no find for so long."""


class Door:
    """The TCP side: one conversation for each connection, at most ``CONVERSATIONS_MAX`` at a time."""

    def __init__(self, reactor: Reactor, switch: Switch, address: str, port: int, key: bytes) -> None:
        self._reactor, self._switch, self._key = reactor, switch, key
        self._conversations = 0
        self._listener = socket.create_server((address, port), backlog=CONVERSATIONS_MAX)
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        reactor.watch(self._listener.fileno(), select.EPOLLIN, self._accept)

    def close(self) -> None:
        self._reactor.forget(self._listener.fileno())
        self._listener.close()

    def _accept(self, _mask: int) -> None:
        try:
            sock, (peer, _port) = self._listener.accept()
        except BlockingIOError:
            return
        if self._conversations >= CONVERSATIONS_MAX:
            log.warning("%s: refused, %d conversations are open", peer, self._conversations)
            sock.close()
            return
        self._conversations += 1
        self._reactor.in_thread(lambda: self._converse(sock), lambda said: self._ended(peer, said))

    def _converse(self, sock: socket.socket) -> str:
        with sock:
            hearing = Hearing(sock, self._key)
            request = hearing.request(time.monotonic() + HELLO_LIMIT_S)
            answer = self._switch.obey(request)
            hearing.answer(answer, time.monotonic() + HELLO_LIMIT_S)
        return f"{request.command} {'' if request.node is None else request.node}: {answer.text!r}"

    def _ended(self, peer: str, said: object) -> None:
        self._conversations -= 1
        level = logging.INFO if isinstance(said, str) else logging.WARNING
        log.log(level, "%s: %s", peer, said)


class Guard:
    """The input side: opens the door, and sweeps if the input ends before the commit."""

    def __init__(self, reactor: Reactor, engine: Engine, cluster: str, own_id: str, fd: int = 0) -> None:
        self._reactor, self._engine, self._cluster = reactor, engine, cluster
        self._own_id = own_id
        self._fd = fd
        self._input = b""
        self.door: Door | None = None
        self.exit_code = 0
        reactor.watch(fd, select.EPOLLIN, self._read)
        _say("guarding")

    def _read(self, _mask: int) -> None:
        piece = os.read(self._fd, INPUT_BYTES_MAX)
        *lines, self._input = (self._input + piece).split(b"\n")
        try:
            if len(self._input) > INPUT_BYTES_MAX:
                raise ValueError(f"a line of more than {INPUT_BYTES_MAX} bytes")
            for line in lines:
                if line == b"commit":
                    self._reactor.forget(self._fd)
                    _say("committed")
                    return
                self._serve(line)
        except (ValueError, KeyError, OSError) as error:
            log.error("standard input: %s", error)
            piece = b""
        if not piece:
            self._reactor.forget(self._fd)
            self._sweep()

    def _serve(self, line: bytes) -> None:
        word, _, settings = line.partition(b" ")
        if word != b"serve" or self.door:
            raise ValueError(f"expected `serve` once, then `commit`, got {word[:20]!r}")
        values: dict[str, Any] = json.loads(settings)
        switch = Switch(self._engine, self._cluster)
        self.door = Door(
            self._reactor, switch, values["address"], int(values["port"]), bytes.fromhex(values["key"])
        )
        _say("serving")

    def _sweep(self) -> None:
        _say("sweeping")
        if self.door:
            self.door.close()
        self._reactor.in_thread(self._sweep_all, self._swept)

    def _sweep_all(self) -> None:
        """Rounds, until none found anything for ``SETTLE_S``; EngineError after ``SWEEP_LIMIT_S``."""
        now = time.monotonic()
        deadline_s, last_find_s = now + SWEEP_LIMIT_S, now
        found: list[str] = []
        while now < last_find_s + SETTLE_S:
            if now > deadline_s:
                raise EngineError(f"still there after {SWEEP_LIMIT_S:g} s: {', '.join(found)}")
            time.sleep(SWEEP_EVERY_S)  # ahead of the first round too: a container that is just starting ends that first
            try:
                found = sweep(self._engine.request, self._cluster, spare=self._own_id)
            except EngineError as error:
                found = [str(error)]
            now = time.monotonic()
            if found:
                last_find_s = now

    def _swept(self, result: object) -> None:
        if isinstance(result, Exception):
            log.error("sweep: %s", result)
            self.exit_code = 1
        else:
            _say("swept")
        self._reactor.stop()


def _say(word: str) -> None:
    print(word, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; exit code 2 for a wrong call, 1 when a sweep failed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not 1 <= len(arguments) <= 2:
        print("usage: powerswitchd CLUSTER [ENGINE-SOCKET]", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", stream=sys.stderr)
    reactor = Reactor()
    reactor.watch_signals([signal.SIGTERM], lambda _numbers: reactor.stop())
    engine = Engine(arguments[1] if len(arguments) == 2 else "/var/run/docker.sock")
    guard = Guard(reactor, engine, arguments[0], own_id=socket.gethostname())
    reactor.run()
    return guard.exit_code


if __name__ == "__main__":
    sys.exit(main())
