"""Whether this machine lets nodes be what they must, tried once before the engine says that it is ready.

Rules:

1. What a node needs is done as a node does it: a bridge with a cable, the rules of a cut, a mount of FUSE.
2. OSError names what is missing, so that another world is taken before a cluster is begun. Nothing is left of it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from moslab.faults.links import CHAIN, HEAD, rules
from moslab.namespaces import linux
from moslab.namespaces.boot import ENVIRONMENT, FUSE, ip

TRY_LIMIT_S = 10.0
TRIED = {1: "192.0.2.1", 2: "192.0.2.2"}                     # RFC 5737
FILTER = Path(__file__).with_name("nft")


def check(directory: str) -> None:
    """Rule 2; ``directory`` is empty, and is again."""
    _links()
    _filter(directory)
    _fuse(directory)


def _links() -> None:
    ip(["link add moslab-try type bridge", "link add moslab-a type veth peer name moslab-b",
        "link set moslab-a master moslab-try up", "link del moslab-a", "link del moslab-try"])


def _filter(directory: str) -> None:
    program = shutil.which("nft", path=ENVIRONMENT["PATH"]) or str(FILTER)
    file = Path(directory, "try.nft")
    file.write_text(f"{HEAD}{rules('try', [(1, 2)], TRIED)}delete table {CHAIN.rpartition(' ')[0]}\n", "ascii")
    try:
        done = subprocess.run([program, "-f", str(file)], capture_output=True, text=True, timeout=TRY_LIMIT_S,
                              env=ENVIRONMENT, check=False)
    except subprocess.TimeoutExpired:
        raise OSError(f"{program}: no answer within {TRY_LIMIT_S:g} s") from None
    finally:
        file.unlink()
    if done.returncode:
        raise OSError(f"the packet filter ({program}): {done.stderr.strip() or f'exit code {done.returncode}'}")


def _fuse(directory: str) -> None:
    device = os.environ.get(FUSE, "/dev/fuse")
    fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        linux.mount("moslab-try", directory, "fuse", linux.NOSUID | linux.NODEV,
                    f"fd={fd},rootmode=40000,user_id=0,group_id=0")
        linux.unmount(directory)
    except OSError as error:
        raise OSError(error.errno, f"FUSE cannot be mounted by {device}: {error.strerror}") from None
    finally:
        os.close(fd)
