"""What a node and the power switch say to each other: three lines of JSON over TCP, then the connection ends.

Rules:

1. The switch speaks first, with a challenge that it never uses again. The request carries a challenge of the
   node's own, and a proof: HMAC-SHA256, with the cluster's key, over both challenges and the whole request.
2. The answer carries a proof over both challenges, the request and the answer. So no side believes a line
   that was recorded, changed, meant for another request, or made without the key.
3. A line has at most ``LINE_BYTES_MAX`` bytes, and every conversation has one deadline.

::

    switch  {"switch": 1, "challenge": hex}
    node    {"command": "off", "node": 3, "challenge": hex, "proof": hex}
    switch  {"ok": true, "text": "off", "proof": hex}
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import socket
import time
from typing import Any, NamedTuple

PORT = 5429
VERSION = 1
LINE_BYTES_MAX = 4096
CHALLENGE_BYTES = 32
COMMANDS = {"off": True, "on": True, "status": True, "list": False, "test": False}
"""Each command, and whether it takes a node number."""


class ProtocolError(Exception):
    """What the other side said is not what it may say."""


class Request(NamedTuple):
    """What is asked of the switch; ``node`` is None for the commands that take none."""

    command: str
    node: int | None

    def check(self) -> Request:
        """This request; ProtocolError if there is no such command or its node is missing, or is none."""
        if self.command not in COMMANDS:
            raise ProtocolError(f"unknown command {str(self.command)[:40]!r}")
        if COMMANDS[self.command] != (type(self.node) is int and 1 <= self.node <= 65534):
            needs = "needs a node number" if COMMANDS[self.command] else "takes no node number"
            raise ProtocolError(f"{self.command} {needs}, got {str(self.node)[:40]}")
        return self


class Answer(NamedTuple):
    """What the switch did and saw (``ok``), or why it could not."""

    ok: bool
    text: str


def challenge() -> str:
    return secrets.token_hex(CHALLENGE_BYTES)


def prove(key: bytes, *said: object) -> str:
    """The proof, in hex, that whoever knows ``key`` said this."""
    return hmac.new(key, json.dumps(said).encode(), hashlib.sha256).hexdigest()


def is_proof(given: object, key: bytes, *said: object) -> bool:
    return isinstance(given, str) and given.isascii() and hmac.compare_digest(given, prove(key, *said))


def send(sock: socket.socket, deadline_s: float, **message: Any) -> None:
    """Send one line before ``deadline_s`` (monotonic); OSError, or TimeoutError when it passed."""
    sock.settimeout(_left_s(deadline_s))
    sock.sendall(json.dumps(message).encode() + b"\n")


def receive(sock: socket.socket, deadline_s: float) -> dict[str, Any]:
    """One line, before ``deadline_s`` (monotonic).

    Raises OSError (TimeoutError past the deadline), or ProtocolError for a line that is too long, cut off or
    no JSON object.
    """
    line = bytearray()
    while not line.endswith(b"\n"):
        sock.settimeout(_left_s(deadline_s))
        piece = sock.recv(LINE_BYTES_MAX + 1 - len(line))
        if not piece:
            raise ProtocolError(f"the connection ended after {len(line)} bytes of a line")
        line += piece
        if len(line) > LINE_BYTES_MAX:
            raise ProtocolError(f"a line of more than {LINE_BYTES_MAX} bytes")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        raise ProtocolError("a line that is not JSON") from None
    if not isinstance(message, dict):
        raise ProtocolError("a line that is not a JSON object")
    return message


def converse(sock: socket.socket, key: bytes, request: Request, deadline_s: float) -> Answer:
    """The node's side: ask, and believe the answer only with its proof.

    Raises OSError (TimeoutError past ``deadline_s``, monotonic) and ProtocolError.
    """
    hello = receive(sock, deadline_s)
    theirs, mine = hello.get("challenge"), challenge()
    if hello.get("switch") != VERSION or not isinstance(theirs, str):
        raise ProtocolError("this is no power switch of this version")
    said = (theirs, mine, request.command, request.node)
    send(sock, deadline_s, command=request.command, node=request.node, challenge=mine,
         proof=prove(key, "node", *said))
    reply = receive(sock, deadline_s)
    answer = Answer(reply.get("ok") is True, str(reply.get("text")))
    if not is_proof(reply.get("proof"), key, "switch", *said, *answer):
        raise ProtocolError(f"an answer without proof: {answer.text[:80]}")
    return answer


class Hearing:
    """The switch's side of one conversation: :meth:`request`, then :meth:`answer`."""

    def __init__(self, sock: socket.socket, key: bytes) -> None:
        self._sock = sock
        self._key = key
        self._said: tuple[object, ...] = ()

    def request(self, deadline_s: float) -> Request:
        """What is asked; OSError, or ProtocolError for what is malformed or without proof."""
        mine = challenge()
        send(self._sock, deadline_s, switch=VERSION, challenge=mine)
        message = receive(self._sock, deadline_s)
        said = (mine, message.get("challenge"), message.get("command"), message.get("node"))
        if not isinstance(said[1], str) or not is_proof(message.get("proof"), self._key, "node", *said):
            send(self._sock, deadline_s, ok=False, text="refused: wrong key")
            raise ProtocolError("a request without proof")
        self._said = said
        return Request(message["command"], message["node"]).check()

    def answer(self, answer: Answer, deadline_s: float) -> None:
        send(self._sock, deadline_s, ok=answer.ok, text=answer.text,
             proof=prove(self._key, "switch", *self._said, *answer))


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the conversation's deadline passed")
    return left_s
