"""What tests of engines share: of namespaces, and of both kinds."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Thread
from typing import Callable

from moslab.cluster import Cluster
from moslab.faults.fabric import addresses_of
from moslab.node import Result, run
from moslab.wait import eventually


def processes_of(directory: str | Path) -> list[str]:
    """The processes that have that directory in their command: an engine's, and the first ones of its nodes."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.fsencode(directory) in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:                                      # it has ended
            pass
    return found


SPEAKS = "from socket import *; create_server(('', 99)).accept()[0].recv(1)"
HEARS = """
from socket import *
with create_connection(("{address}", 99), 10) as peer:
    open("/tmp/connected", "w").close()
    peer.settimeout({seconds})
    try:
        print(peer.recv(9))
    except OSError as error:
        print(type(error).__name__)
"""


def hears_nothing_of(cluster: Cluster, node: int, power_off: Callable[[], object], seconds: float) -> None:
    """That node 1, which has a connection to ``node``, is not told in this time that ``power_off`` ended that."""
    one, other, said = cluster.node(1), cluster.node(node), list[Result]()
    assert run(other, ["sh", "-c", f'python3 -c "{SPEAKS}" >/dev/null 2>&1 &']).exit_code == 0
    eventually(lambda: run(other, ["ss", "-lnt"]).stdout, lambda text: ":99 " in text, within_s=20, what="it listens")
    run(one, ["rm", "-f", "/tmp/connected"])
    code = HEARS.format(address=addresses_of(other)[0], seconds=seconds)
    listening = Thread(target=lambda: said.append(run(one, ["python3", "-c", code])))
    listening.start()
    eventually(lambda: run(one, ["test", "-e", "/tmp/connected"]).exit_code, lambda code: code == 0, within_s=20,
               what="node 1 has a connection")
    power_off()
    listening.join()
    assert cluster.node(node).status == "exited"
    assert said == [Result(0, "TimeoutError\n", "")]
