"""The public image of Toxiproxy: there, else pulled, else made here of its sources, with Go, under the same name."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import docker
from docker.errors import DockerException

from moslab.base import has_or_pulls, import_tar, other_machine
from moslab.errors import CannotError, LabError
from moslab.layout import archive
from moslab.progress import Progress, Stage

VERSION = "2.12.0"
REPOSITORY = "ghcr.io/shopify/toxiproxy"
IMAGE = f"{REPOSITORY}:{VERSION}"
API_PORT = 8474
SOURCES = f"github.com/Shopify/toxiproxy/v2/cmd/server@v{VERSION}"
CHANGES = ['ENTRYPOINT ["/toxiproxy"]', 'CMD ["-host=0.0.0.0"]', f"EXPOSE {API_PORT}", "ENV LOG_LEVEL=info"]
"""As in the public image."""
BUILD_LIMIT_S = 900.0


def ensure_toxiproxy(client: docker.DockerClient, progress: Progress) -> None:
    """Let the engine have the image; CannotError if it can neither be pulled nor made."""
    reason = has_or_pulls(client, IMAGE, progress)
    if not reason:
        return
    why_not = "there is no Go (1.24 or newer) here" if shutil.which("go") is None else other_machine(client)
    if why_not:
        raise CannotError(
            f"The engine cannot pull {IMAGE} ({reason}), and it cannot be made here: {why_not}.\n"
            f"Where a registry can be reached: docker pull {IMAGE}"
        )
    progress.say(f"The engine cannot pull {IMAGE} ({reason}). Making it with Go.")
    with progress.stage(f"go install {SOURCES}") as stage:
        _make(client, stage)


def _make(client: docker.DockerClient, stage: Stage) -> None:
    """LabError with Go's last lines."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOBIN": folder}
        stage.detail("about a minute")
        try:
            done = subprocess.run(
                ["go", "install", SOURCES], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, text=True, errors="replace", timeout=BUILD_LIMIT_S, check=False,
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"go install {SOURCES} did not end within {BUILD_LIMIT_S:g} s") from None
        if done.returncode:
            raise LabError("\n".join([f"go install {SOURCES} failed:", *done.stdout.splitlines()[-8:]]))
        program = Path(folder, "server").read_bytes()
    try:
        made = import_tar(client, iter([archive({"toxiproxy": (program, 0o755)})]), CHANGES)
        client.api.tag(made, REPOSITORY, VERSION)
    except DockerException as error:
        raise LabError(f"the engine does not take {IMAGE}: {error}") from None
