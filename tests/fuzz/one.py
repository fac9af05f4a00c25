"""One target under atheris (libFuzzer), in a process of its own: ``python -m tests.fuzz.one NAME OPTIONS``."""

from __future__ import annotations

import logging
import sys

import atheris

with atheris.instrument_imports(include=["mosha", "emulator"]):
    from tests.fuzz.registry import TARGETS


def main() -> None:
    logging.disable()
    target = TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target.check)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
