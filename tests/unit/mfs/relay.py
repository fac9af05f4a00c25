"""A network between two nodes, as a TCP relay at an address of its own, that can be cut in either direction."""

from __future__ import annotations

import select
import socket
import threading
import time

PIECE_BYTES = 1 << 16
LOOK_S = 0.02


class Relay:
    """What comes to ``place`` goes to ``target``. What a direction that is cut would carry stays where it is."""

    def __init__(self, place: tuple[str, int], target: tuple[str, int], source: str = "") -> None:
        """``source`` is the address from which it comes to the target."""
        self.there = self.back = True
        self._target, self._source = target, (source, 0)
        self._sock = socket.create_server(place)
        self._sock.setblocking(False)
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._ends = threading.Event()
        self._rounds = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self, there: bool = True, back: bool = True) -> None:
        """Cut what goes there, what comes back, or both, until heal(); nothing more is carried after the return."""
        self.there, self.back = not there, not back
        begun = self._rounds
        while self._rounds < begun + 2:
            time.sleep(0.001)

    def heal(self) -> None:
        """Carry all again, also what waits."""
        self.there = self.back = True

    def close(self) -> None:
        """End it, with all its connections."""
        self._ends.set()
        self._thread.join()
        for pair in self._pairs:
            _close(pair)
        self._sock.close()

    def _run(self) -> None:
        while not self._ends.is_set():
            self._rounds += 1
            carried = {asker: owner for asker, owner in self._pairs if self.there}
            carried |= {owner: asker for asker, owner in self._pairs if self.back}
            ready, _, _ = select.select([*carried, *[self._sock] * self.there], [], [], LOOK_S)
            for sock in ready:
                if sock is self._sock:
                    self._accept()
                else:
                    self._carry(sock, carried[sock])

    def _accept(self) -> None:
        asker, _ = self._sock.accept()
        try:
            self._pairs.append((asker, socket.create_connection(self._target, source_address=self._source)))
        except OSError:
            asker.close()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            data = source.recv(PIECE_BYTES)
            if data:
                sink.sendall(data)
                return
        except OSError:
            pass
        for pair in [pair for pair in self._pairs if source in pair]:
            self._pairs.remove(pair)
            _close(pair)


def _close(pair: tuple[socket.socket, socket.socket]) -> None:
    for sock in pair:
        sock.close()
