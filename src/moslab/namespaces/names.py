"""What the engine and the program that has it say to each other."""

from __future__ import annotations

SOCKET = "docker.sock"
READY, STAY = b"ready\n", b"stay\n"
