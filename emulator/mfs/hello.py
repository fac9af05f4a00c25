"""How two nodes make sure of each other before the first frame: challenge and response with the cluster's key.

Rules:

1. The owner speaks first: the service, its version and 32 random bytes. It says nothing more to somebody without
   the key.
2. The asker answers with its node id, the id of the node it wants, its incarnation, 32 random bytes of its own,
   and an HMAC-SHA256 of all that was said.
3. The owner grants with its id, its incarnation, and an HMAC of all that was said; only then are there requests.
4. Each message is a frame: its length in the first four bytes, ``HELLO_MAX`` at most.
5. Service and version are proved with the rest: a proof for one service is none for another. Who speaks another version
   says nothing more, and its log names both.

Frames after that are not authenticated: the cluster's network is trusted as far as that.
"""

from __future__ import annotations

import hmac
import secrets
from struct import Struct
from typing import NamedTuple

from emulator.fuse.protocol import Buffer


class Service(NamedTuple):
    """What a connection is for, and the version of what is said over it."""

    name: bytes
    version: int


FILES = Service(b"MFS\n", 3)
GUESTS = Service(b"GST\n", 4)
"""Its version is that of :mod:`emulator.guests.frames` and :mod:`emulator.guests.job`."""
HELLO_MAX = 128

_CHALLENGE = Struct("=I4sI32s")  # length magic version nonce
_ASK = Struct("=IHHQ32s")  # length asker owner incarnation nonce, then the proof
_GRANT = Struct("=IHHQ")  # length owner zero incarnation, then the proof
_PROOF_BYTES = 32


class Refused(Exception):
    """The other side did not prove what it must, or speaks another version."""


def challenge(service: Service = FILES) -> bytes:
    """The owner's first words."""
    return _CHALLENGE.pack(_CHALLENGE.size, *service, secrets.token_bytes(32))


def ask(
    key: bytes, challenged: Buffer, asker: int, owner: int, incarnation: int, service: Service = FILES
) -> bytes:
    """The asker's answer to a challenge; raises Refused if that is none of this service and version."""
    challenged = bytes(challenged)
    if len(challenged) != _CHALLENGE.size:
        raise Refused("not a challenge")
    _, name, version, _ = _CHALLENGE.unpack(challenged)
    if name != service.name:
        raise Refused(f"it is {name!r}, not {service.name!r}")
    if version != service.version:
        raise Refused(f"it speaks version {version} of {name!r}, not {service.version}")
    length = _ASK.size + _PROOF_BYTES
    said = _ASK.pack(length, asker, owner, incarnation, secrets.token_bytes(32))
    return said + _proof(key, b"ask", challenged + said)


def check_ask(key: bytes, challenged: bytes, asked: Buffer) -> tuple[int, int, int]:
    """(asker, wanted owner, asker's incarnation) of an answer; raises Refused if the proof is wrong."""
    asked = bytes(asked)
    if len(asked) != _ASK.size + _PROOF_BYTES:
        raise Refused("not an MFS hello")
    said = asked[: _ASK.size]
    if not hmac.compare_digest(asked[_ASK.size :], _proof(key, b"ask", challenged + said)):
        raise Refused("wrong key")
    _, asker, owner, incarnation, _ = _ASK.unpack(said)
    return asker, owner, incarnation


def grant(key: bytes, challenged: bytes, asked: Buffer, owner: int, incarnation: int) -> bytes:
    """The owner's last word."""
    said = _GRANT.pack(_GRANT.size + _PROOF_BYTES, owner, 0, incarnation)
    return said + _proof(key, b"grant", challenged + bytes(asked) + said)


def check_grant(key: bytes, challenged: Buffer, asked: bytes, granted: Buffer, owner: int) -> int:
    """The incarnation of ``owner``; raises Refused if the proof is wrong."""
    granted = bytes(granted)
    said = granted[: _GRANT.size]
    proof = _proof(key, b"grant", bytes(challenged) + asked + said)
    if len(granted) != _GRANT.size + _PROOF_BYTES or not hmac.compare_digest(granted[_GRANT.size :], proof):
        raise Refused("wrong key")
    _, who, _, incarnation = _GRANT.unpack(said)
    if who != owner:
        raise Refused(f"node {who} answers for node {owner}")
    return int(incarnation)


def _proof(key: bytes, label: bytes, said: bytes) -> bytes:
    return hmac.digest(key, label + said, "sha256")
