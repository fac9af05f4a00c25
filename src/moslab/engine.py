"""The container engine: found as the docker command finds it, and brought where the machine lets us.

Rules:

1. DOCKER_HOST, else the current docker context, else the default socket. Nothing here assumes that the engine
   shares this machine's kernel, files or addresses.
2. Only the default local engine is ever installed or started, only on Debian or Ubuntu, as root or with a
   sudo that asks nothing, and not with ENGINE=keep.
3. Else the error says what is missing and the one command that brings it.
4. One command at a time brings it: of two daemons that start at once the second takes the first one's socket, and dies.
"""

from __future__ import annotations

import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.context import ContextAPI
from docker.errors import DockerException
from docker.utils import kwargs_from_env

from moslab import host
from moslab.alone import alone
from moslab.errors import CannotError, LabError
from moslab.progress import Progress
from moslab.wait import eventually

DEFAULT_SOCKET = "/var/run/docker.sock"
KNOCK_LIMIT_S = 20
REQUEST_LIMIT_S = 300
"""Long, since a request that is given up goes on in the engine: to remove a container that it is just starting leaves
an endpoint behind in some versions, and then the network can never be removed (seen with 20.10)."""
CONNECTIONS_MAX = 16
START_LIMIT_S = 60.0
BRING_LIMIT_S = host.APT_LIMIT_S + START_LIMIT_S
LOG_FILE = "/var/log/dockerd.log"


@dataclass(frozen=True)
class Where:
    """Where the engine is: its URL, from what we know that, and whether it is this machine's default one."""

    url: str
    source: str
    is_default: bool

    @property
    def socket_path(self) -> str | None:
        """The path of the engine's UNIX socket on this machine, if that is what the URL names."""
        return self.url[len("unix://"):] if self.url.startswith("unix://") else None


def where() -> Where:
    """Where the engine should be, by rule 1."""
    from_env = kwargs_from_env().get("base_url")
    if from_env:
        return Where(str(from_env), "DOCKER_HOST", False)
    context = ContextAPI.kwargs_from_context().get("base_url")
    default = f"unix://{DEFAULT_SOCKET}"
    if context and context != default:
        return Where(str(context), "the docker context", False)
    return Where(default, "the default socket", True)


def connect() -> docker.DockerClient:
    """A client of the engine that answers; CannotError with the reason and the remedy if none does."""
    place = where()
    try:
        if place.socket_path is not None:
            _knock(place.socket_path)
        client = docker.DockerClient.from_env(
            version="auto", timeout=REQUEST_LIMIT_S, max_pool_size=CONNECTIONS_MAX,
            use_ssh_client=place.url.startswith("ssh://"),
        )
        client.ping()
    except (DockerException, OSError) as error:
        raise CannotError(_diagnosis(place, error)) from None
    return client


def _knock(path: str) -> None:
    """Raise the plain OSError of a socket that is missing, forbidden or not served, which the SDK would wrap."""
    with socket.socket(socket.AF_UNIX) as knocking:
        knocking.settimeout(KNOCK_LIMIT_S)
        knocking.connect(path)


def ensure(progress: Progress) -> docker.DockerClient:
    """A client of the engine; where none answers it is installed and started if rule 2 allows it."""
    try:
        return connect()
    except CannotError:
        root = host.as_root()
        if _may_bring() is not None or root is None:
            raise
    with alone(BRING_LIMIT_S, "bring the container engine"):
        if not _answers():
            _bring(root, progress)
    return connect()


def _bring(root: list[str], progress: Progress) -> None:
    if shutil.which("dockerd") is None:
        progress.say("No container engine answers. Installing docker.io (ENGINE=keep forbids that).")
        with progress.stage("apt-get install docker.io"):
            host.apt_install("docker.io", root)
    with progress.stage("start the container engine"):
        if not _answers():
            _start(root)
        eventually(_answers, within_s=START_LIMIT_S, what="the container engine answers", every_s=0.2)


def socket_for_containers(client: docker.DockerClient) -> str:
    """The path of the engine's socket on the engine's own machine, to be bound into a container.

    MOSLAB_ENGINE_SOCKET overrides. Raises CannotError for a rootless engine whose path cannot be known.
    """
    override = os.environ.get("MOSLAB_ENGINE_SOCKET")
    if override:
        return override
    options = client.info().get("SecurityOptions") or []
    if not any("name=rootless" in option for option in options):
        return DEFAULT_SOCKET
    path = where().socket_path
    if path is None:
        raise CannotError(
            "The engine is rootless and elsewhere, so the path of its socket there is not known.\n"
            "Say it: export MOSLAB_ENGINE_SOCKET=/run/user/UID/docker.sock"
        )
    return path


def _answers() -> bool:
    try:
        connect().close()
    except CannotError:
        return False
    return True


def _may_bring() -> str | None:
    """None if rule 2 lets us install and start the engine (but for being root), else why not."""
    if os.environ.get("ENGINE") == "keep":
        return "ENGINE=keep forbids to install or start it"
    if not where().is_default:
        return "it is not this machine's default engine"
    if not host.is_debian():
        return "this is neither Debian nor Ubuntu"
    return None


def _start(root: list[str]) -> None:
    """Start dockerd with what this machine has: systemd, a service script, or as a process of its own."""
    if Path("/run/systemd/system").is_dir():
        host.run_checked([*root, "systemctl", "start", "docker"], limit_s=START_LIMIT_S)
        return
    if Path("/etc/init.d/docker").exists() and shutil.which("service"):
        try:
            host.run_checked([*root, "service", "docker", "start"], limit_s=START_LIMIT_S)
            eventually(_answers, within_s=10, what="the container engine answers", every_s=0.2)
            return
        except LabError:
            pass  # the script wants what a small machine has not; dockerd itself may do without
    _start_alone(root)


def _start_alone(root: list[str]) -> None:
    """Start dockerd as nobody's child: it outlives this command, and a test run that started it has not to reap it."""
    command = f"setsid dockerd >>{LOG_FILE} 2>&1 </dev/null &"
    host.run_checked([*root, "sh", "-c", command], limit_s=START_LIMIT_S)


def _diagnosis(place: Where, error: Exception) -> str:
    """What is missing, and the one command that brings it."""
    if isinstance(error, PermissionError):
        return (
            f"You may not use the container engine at {place.url} (permission denied).\n"
            'Join its group, then log in again: sudo usermod -aG docker "$USER"'
        )
    if not place.is_default:
        return (
            f"No container engine answers at {place.url} (from {place.source}): {str(error)[-200:]}\n"
            f"Start it there, or use this machine's own: "
            f"{'unset DOCKER_HOST' if place.source == 'DOCKER_HOST' else 'docker context use default'}"
        )
    if shutil.which("dockerd") is None:
        return f"There is no container engine on this machine{_but()}.\nInstall one: {_install_command()}"
    systemd = Path("/run/systemd/system").is_dir()
    start = "sudo systemctl start docker" if systemd else "sudo service docker start"
    return f"The container engine does not answer at {place.url}{_but()}.\nStart it: {start}"


def _but() -> str:
    why = _may_bring()
    return f", and {why}" if why else ", and only root may bring it"


def _install_command() -> str:
    if host.is_debian():
        return "sudo apt-get install -y docker.io"
    for tool, command in (
        ("dnf", "sudo dnf install -y moby-engine"),
        ("zypper", "sudo zypper install -y docker"),
        ("pacman", "sudo pacman -S --noconfirm docker"),
        ("apk", "sudo apk add docker"),
        ("brew", "brew install --cask docker"),
    ):
        if shutil.which(tool):
            return command
    return "see https://docs.docker.com/engine/install/"
