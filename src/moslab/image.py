"""The node image ``mosha-node:<hash>``: its name is the hash of all that it is made of.

Rules:

1. What an image is made of is the installed packages (a checkout or a wheel), named as in the repository: nothing
   else is read. The same content gives the same bytes, hence the same name; an image that exists is never
   built again.
2. Everything goes through the engine's API as a tar stream.
3. One command at a time builds. After a build, this project's images older than an hour go, but for the newest
   ``KEEP`` and those that a container uses.

MOSLAB_COVERAGE=1 gives a variant in which every program of a node measures itself; see :mod:`moslab.measure`.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, ImageNotFound

import emulator
import mosha
import moslab
from moslab import measure
from moslab.alone import alone
from moslab.base import BASE, ensure_base
from moslab.errors import LabError
from moslab.progress import Progress, Stage

YOUNG_S = 3600.0
"""An image younger than this may be about to be used by another command."""
REPOSITORY = "mosha-node"
DOCKERFILE = "emulator/image/Dockerfile"
LABEL = "org.mosha.image=node"
KEEP = 2
BUILD_LIMIT_S = 900
HASH_DIGITS = 12


def ensure_image(client: docker.DockerClient, progress: Progress) -> str:
    """The name of the node image, built if the engine has it not; LabError with the build's last lines."""
    context = build_context()
    tag = hashlib.sha256(BASE.encode() + context).hexdigest()[:HASH_DIGITS]
    name = f"{REPOSITORY}:{tag}"
    if not _has(client, name):
        with alone(BUILD_LIMIT_S, f"build {name}"):
            if not _has(client, name):
                ensure_base(client, progress)
                with progress.stage(f"build {name}") as stage:
                    _build(client, context, name, stage)
                _prune(client)
    return name


def _has(client: docker.DockerClient, name: str) -> bool:
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def build_context() -> bytes:
    """The build's context as a tar archive, the same bytes for the same content."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, mode in sorted(_entries()):
            tar.addfile(_header(name, len(content), mode), io.BytesIO(content))
    return stream.getvalue()


def _entries() -> Iterator[tuple[str, bytes, int]]:
    """(name, content, mode) of each file of the context."""
    yield from _files(_package(mosha), "src/mosha")
    yield from _files(_package(emulator), "emulator")
    for part in ("coverage", "demo/programs"):
        yield from _files(_package(moslab) / part, f"src/moslab/{part}")
    if os.environ.get("MOSLAB_COVERAGE") == "1":
        yield from measure.files("src/moslab/coverage")


def _package(module: Any) -> Path:
    return Path(module.__file__).parent


def _files(root: Path, under: str) -> Iterator[tuple[str, bytes, int]]:
    for path in root.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".pyo"):
            mode = 0o755 if path.read_bytes()[:2] == b"#!" else 0o644  # a wheel keeps no modes
            yield f"{under}/{path.relative_to(root).as_posix()}", path.read_bytes(), mode


def _header(name: str, size: int, mode: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, mode
    return header


def _build(client: docker.DockerClient, context: bytes, name: str, stage: Stage) -> None:
    lines: list[str] = []
    try:
        for message in client.api.build(
            fileobj=io.BytesIO(context), custom_context=True, dockerfile=DOCKERFILE, tag=name, rm=True, forcerm=True,
            decode=True, timeout=BUILD_LIMIT_S,
        ):
            text = str(message.get("stream") or message.get("error") or "").strip()
            if text:
                lines = [*lines[-19:], text]
                stage.detail(text.splitlines()[-1])
            if "error" in message:
                raise LabError("the image does not build:\n" + "\n".join(lines))
    except APIError as error:
        raise LabError(f"the image does not build: {error.explanation or error}") from None


def _prune(client: docker.DockerClient) -> None:
    """Rule 3."""
    before = time.time() - YOUNG_S
    images = [image for image in client.api.images(filters={"label": LABEL}) if int(image["Created"]) < before]
    for image in sorted(images, key=lambda image: int(image["Created"]), reverse=True)[KEEP:]:
        for name in image["RepoTags"] or []:
            if name.startswith(f"{REPOSITORY}:"):
                try:
                    client.api.remove_image(name)
                except APIError:
                    pass  # a container uses it
