"""The same cluster as a plain compose project, for who wants it without Python: ``compose/compose.yaml``.

Rules:

1. Containers, network, volumes and files are made of what the harness itself starts (:mod:`moslab.node`,
   :mod:`moslab.guard`, :mod:`moslab.network`, :mod:`moslab.layout`), translated word by word. A word of the SDK that
   has no translation here is a KeyError: nothing that the harness begins to say is lost silently.
2. What the harness does by its own hand while it starts a cluster is done by the service ``founding``: it draws keys
   and era, and lays down the agents' files, once in the life of the volumes. As compose makes containers anew whenever
   it sees fit, a node's ``/var/mosix-ha`` is a volume: a new container is the same machine with its disk.
3. Added is what makes the cluster visible from outside: the group ``dashboard``, and Toxiproxy before it and before kv.
"""

from __future__ import annotations

import ipaddress
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Callable

from mosha.ownership.marker import make_era
from moslab import demo, guard, image, network, node, toxiproxy
from moslab.layout import Layout, Names

SUBNET = ipaddress.IPv4Network("10.86.81.0/24")
NET, NET_VARIABLE = "10.86.81.", "${MOSHA_NET:-10.86.81}."
ENGINE = "${MOSLAB_ENGINE_SOCKET:-/var/run/docker.sock}"
IMAGE = f"{image.REPOSITORY}:compose"
TOXIPROXY_OFFSET = 3
FRONT = "front"
DASHBOARD_PORT, KV_PORT = 8080, 6379
PORTS = {"DASHBOARD_PORT": DASHBOARD_PORT, "KV_PORT": KV_PORT, "TOXIPROXY_PORT": toxiproxy.API_PORT}
"""On 127.0.0.1 of the engine's machine; the variables change them."""
DASHBOARD = """
# dashboard: a page on the cluster, behind an address that moves with it.
dashboard:dashboard-ip:start:respawn:mosha ip {}
dashboard:dashboard-run:start:respawn:/usr/lib/mosha/demo/dashboard {}
"""

VAR = "var/mosix-ha"
MFS_KEY, POWER_KEY, ERA = b"MFS-KEY", bytes(32), make_era(0, "0" * 8)
"""Stand where the founding puts what it draws."""
KEY_BYTES = 32

FOUND = f"""
# once in the life of the volumes: a disk that is replaced later must not begin in the same era again
[ ! -e /founding/complete ] || exit 0
random() {{ od -An -N{KEY_BYTES} -tx1 /dev/urandom | tr -d ' \\n'; }}
era=$(mosha voters era)
files=$(find /plan -type f)
sed -i "s/^{MFS_KEY.decode()}$/$(random)/; s/^{ERA} /$era /; s/{POWER_KEY.hex()}/$(random)/" $files
cp -a /plan/etc /founding
for disk in /disks/*; do cp -a /plan/{VAR}/. "$disk"; done
touch /founding/complete
"""
BOOT = """
# a new container: the configuration, as from an installer
if [ ! -e /etc/installed ]; then
    cp -a /founding/etc/. /etc
    touch /etc/installed
fi
exec /sbin/mosix-init
"""
OPEN = """
exec "$0" "$@" <<END
serve $(cat /founding/etc/powerswitch.json)
commit
END
"""

HEAD = """\
# A cluster without Python here; compose/README.md says how to use it. Docker Compose 2.23.1 or newer:
#
#     docker compose -f compose/compose.yaml up -d --build
#     docker compose -f compose/compose.yaml down -v
#
# `moslab --cluster {} compose {}` prints it from what the laboratory starts, and a test compares them: change it there.
"""


def render(names: Names, size: int) -> str:
    """The text of compose.yaml for a cluster of ``size`` nodes."""
    layout = Layout(size, SUBNET, MFS_KEY, POWER_KEY, era=ERA)
    files = layout.files(1, _tables(layout))
    nodes = {f"node{number}": _node(names, layout, number) for number in range(1, size + 1)}
    common = {key: value for key, value in nodes["node1"].items() if all(value == n.get(key) for n in nodes.values())}
    own = {name: {key: value for key, value in n.items() if key not in common} for name, n in nodes.items()}
    parts = [
        HEAD.format(names.cluster, size),
        _text({"name": names.network}),
        "# what all nodes are: openMosix, the agent, and what they need of the engine\n"
        "x-node: &node\n" + _text(common, 1),
        "services:\n"
        "  # keys, era and tables, before anything else starts\n"
        + _text({"founding": _founding(names, size, files)}, 1),
        "  # STOMITH: the one container that has the engine's socket\n" + _text({"power": _power(names, layout)}, 1),
        *(f"  {name}:\n    <<: *node\n{_text(rest, 2)}" for name, rest in own.items()),
        "  # the way in from this machine, with whatever Toxiproxy is told to do to it\n"
        + _text({"toxiproxy": _toxiproxy(names, layout)}, 1),
        _text({"networks": {
            "cluster": {
                "name": names.network, "driver": network.DRIVER, "internal": network.INTERNAL,
                "labels": names.labels("network"), "ipam": {"config": [{"subnet": str(layout.subnet)}]},
            },
            FRONT: {"labels": names.labels("network")},
        }}),
        _text({"volumes": {
            "san": {"name": names.san, "labels": names.labels("san")},
            "founding": {"name": names.complete, "labels": names.labels("complete", size=size)},
            **{name: {"name": f"{names.network}-{name}", "labels": names.labels("disk", number)}
               for number, name in enumerate(nodes, 1)},
        }}),
        "# the files of a node; the founding puts in what it draws\n" + _text({"configs": {
            **{_config(path): {"content": _literal(content.decode())} for path, (content, _mode) in files.items()},
            "toxiproxy.json": {"content": _literal(_proxies(layout))},
        }}),
    ]
    return "\n".join(parts).replace(NET, NET_VARIABLE)


def _tables(layout: Layout) -> dict[str, str]:
    """The demo's, and the dashboard."""
    texts = demo.tables(layout.virtual)
    return {
        "cltab": texts["cltab"] + DASHBOARD.format(layout.virtual(1), DASHBOARD_PORT),
        "hactl": texts["hactl"] + "dashboard start\n",
    }


def _node(names: Names, layout: Layout, number: int) -> dict[str, Any]:
    said = _service(names, node.settings(names, number), layout.node(number))
    return {
        "image": IMAGE,
        **said,
        "entrypoint": _script(BOOT),
        "volumes": [*said["volumes"], "founding:/founding:ro", f"node{number}:/{VAR}"],
        "depends_on": {"power": {"condition": "service_started"}, **_FOUNDED},
    }


def _power(names: Names, layout: Layout) -> dict[str, Any]:
    said = _service(names, guard.settings(names, layout.size, ENGINE), layout.power)
    return {
        "image": IMAGE,
        **said,
        "entrypoint": [*_script(OPEN), *said["entrypoint"]],
        "volumes": [*said["volumes"], "founding:/founding:ro"],
        "depends_on": _FOUNDED,
    }


def _founding(names: Names, size: int, files: dict[str, tuple[bytes, int]]) -> dict[str, Any]:
    return {
        "image": IMAGE,
        "build": {"context": "..", "dockerfile": image.DOCKERFILE},
        "container_name": f"{names.network}-founding",
        "labels": names.labels("founding"),
        "network_mode": "none",
        "entrypoint": _script(FOUND),
        "volumes": ["founding:/founding", *(f"node{number}:/disks/node{number}" for number in range(1, size + 1))],
        "configs": [
            {"source": _config(path), "target": f"/plan/{path}", "mode": _Octal(mode)}
            for path, (_content, mode) in files.items()
        ],
    }


def _toxiproxy(names: Names, layout: Layout) -> dict[str, Any]:
    return {
        "image": toxiproxy.IMAGE,
        "container_name": f"{names.network}-toxiproxy",
        "labels": names.labels("client"),
        "command": ["-host=0.0.0.0", "-config=/toxiproxy.json"],
        "networks": {"cluster": {"ipv4_address": str(layout.subnet.network_address + TOXIPROXY_OFFSET)}, FRONT: {}},
        "ports": [f"127.0.0.1:${{{name}:-{port}}}:{port}" for name, port in PORTS.items()],
        "configs": [{"source": "toxiproxy.json", "target": "/toxiproxy.json"}],
    }


def _proxies(layout: Layout) -> str:
    """One for each group that has an address, on that group's own port."""
    return json.dumps([
        {"name": name, "listen": f"0.0.0.0:{port}", "upstream": f"{layout.virtual(number).split('/')[0]}:{port}"}
        for number, (name, port) in enumerate([("kv", KV_PORT), ("dashboard", DASHBOARD_PORT)])
    ], indent=2) + "\n"


_FOUNDED = {"founding": {"condition": "service_completed_successfully"}}


# -- the words of the SDK in those of the compose specification --------------------------------------

def _service(names: Names, settings: dict[str, Any], address: str | None = None) -> dict[str, Any]:
    """Rule 1; with the address in the cluster's network."""
    volumes = {names.san: "san"}
    words: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "name": ("container_name", str),
        "hostname": ("hostname", str),
        "labels": ("labels", dict),
        "entrypoint": ("entrypoint", list),
        "command": ("command", list),
        "devices": ("devices", list),
        "cap_add": ("cap_add", list),
        "cgroupns": ("cgroup", str),
        "security_opt": ("security_opt", list),
        "tmpfs": ("tmpfs", lambda said: [f"{path}:{options}" for path, options in said.items()]),
        "shm_size": ("shm_size", str),
        "ulimits": ("ulimits", lambda said: {u["Name"]: {"soft": u["Soft"], "hard": u["Hard"]} for u in said}),
        "mounts": ("volumes", lambda said: [
            f"{volumes[m['Source']]}:{m['Target']}" if m["Type"] == "volume"
            else {"type": m["Type"], "source": m["Source"], "target": m["Target"]} for m in said
        ]),
        "log_config": ("logging", lambda said: {"driver": said["Type"], "options": said["Config"]}),
    }
    found = {words[key][0]: words[key][1](value) for key, value in settings.items()}
    return found if address is None else {**found, "networks": {"cluster": {"ipv4_address": address}}}


def _script(text: str) -> list[str]:
    return ["/bin/sh", "-ec", _literal(text.lstrip("\n"))]


def _config(path: str) -> str:
    return PurePosixPath(path).name


def _literal(text: str) -> str:
    """A text in which compose replaces nothing."""
    return text.replace("$", "$$")


# -- YAML: as much of it as is needed here -------------------------------------------------------------

class _Octal(int):
    """A file's mode."""


PLAIN = re.compile(r"[A-Za-z/.][\w./-]*")
NOT_STRINGS = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def _text(value: dict[str, Any], depth: int = 0) -> str:
    return textwrap.indent("\n".join(line.rstrip() for line in _lines(value)) + "\n", "  " * depth)


def _lines(value: Any) -> Iterator[str]:
    """A mapping or a sequence, in block style."""
    entries = [("- ", item) for item in value] if isinstance(value, list) else [
        (f"{_scalar(key)}:", item) for key, item in value.items()
    ]
    for head, item in entries:
        is_item = head == "- "
        if isinstance(item, (dict, list)) and item:
            lines = list(_lines(item))
            if is_item:
                yield head + lines[0]
                yield from (f"  {line}" for line in lines[1:])
            else:
                yield head
                yield from (f"  {line}" for line in lines)
        elif isinstance(item, str) and "\n" in item:
            yield f"{head.rstrip()} |" if item.endswith("\n") else f"{head.rstrip()} |-"
            yield from (f"  {line}" for line in item.rstrip("\n").split("\n"))
        else:
            yield f"{head.rstrip()} {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, _Octal):
        return f"0{value:o}"
    if isinstance(value, str) and PLAIN.fullmatch(value) and value.lower() not in NOT_STRINGS:
        return value
    return json.dumps(value)
