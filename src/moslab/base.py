"""The base of the node image, ``debian:bookworm-slim``: there, else pulled, else made here with debootstrap.

Rules:

1. What the engine has is used. A pull is bounded; whatever makes it fail leads to debootstrap.
2. debootstrap works on a tmpfs in a mount and PID namespace of its own and streams the result to the engine,
   so that nothing of it can stay: not after Ctrl-C, not after kill -9.
3. The engine may be elsewhere, if it is of the same architecture.
"""

from __future__ import annotations

import contextlib
import json
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from typing import IO, Any

import docker
from docker.errors import DockerException, ImageNotFound

from moslab import host, layout
from moslab.errors import CannotError, LabError
from moslab.progress import Progress, Stage

BASE = layout.BASE
REPOSITORY, TAG = BASE.split(":")
PULL_LIMIT_S = 600.0
DEBOOTSTRAP_LIMIT_S = 1200
MIRROR = "http://deb.debian.org"

MAKE = f"""
mount -t tmpfs -o mode=755,size=2g base /mnt
debootstrap --variant=minbase bookworm /mnt/root {MIRROR}/debian >&2
cd /mnt/root
cat >etc/apt/sources.list <<END
deb {MIRROR}/debian bookworm main
deb {MIRROR}/debian bookworm-updates main
deb {MIRROR}/debian-security bookworm-security main
END
cat >etc/dpkg/dpkg.cfg.d/docker <<END
force-unsafe-io
path-exclude /usr/share/doc/*
path-include /usr/share/doc/*/copyright
path-exclude /usr/share/man/*
path-exclude /usr/share/locale/*
END
cat >etc/apt/apt.conf.d/docker-clean <<END
DPkg::Post-Invoke {{ "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; }};
APT::Install-Recommends "false";
END
rm -rf var/cache/apt/archives/*.deb var/cache/apt/*.bin var/lib/apt/lists/* var/log/*.log
rm -rf usr/share/man usr/share/locale usr/share/info etc/hostname etc/resolv.conf
find usr/share/doc -type f ! -name copyright -delete
find usr/share/doc -type d -empty -delete
tar --numeric-owner --one-file-system -c .
"""

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}


def ensure_base(client: docker.DockerClient, progress: Progress) -> None:
    """Let the engine have the base image; CannotError if it can neither be pulled nor made."""
    reason = has_or_pulls(client, BASE, progress)
    if not reason:
        return
    root = host.as_root()
    why_not = _cannot_make(client, root)
    if why_not or root is None:
        raise CannotError(
            f"The engine cannot pull {BASE} ({reason}), and it cannot be made here: {why_not}.\n"
            f"Where a registry can be reached: docker pull {BASE}"
        )
    progress.say(f"The engine cannot pull {BASE} ({reason}). Making it with debootstrap.")
    if shutil.which("debootstrap", path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
        with progress.stage("apt-get install debootstrap"):
            host.apt_install("debootstrap", root)
    with progress.stage(f"debootstrap {BASE}") as stage:
        _make(client, root, stage)


def has_or_pulls(client: docker.DockerClient, name: str, progress: Progress) -> str:
    """Let the engine have an image that it has, or can pull; why it cannot, or nothing (rule 1)."""
    try:
        client.images.get(name)
        return ""
    except ImageNotFound:
        pass
    try:
        with progress.stage(f"pull {name}") as stage:
            _pull(client, name, stage)
        return ""
    except LabError as error:
        return str(error) or f"{name} cannot be pulled"


def _pull(client: docker.DockerClient, name: str, stage: Stage) -> None:
    """Pull an image; LabError with the reason, also when it takes longer than ``PULL_LIMIT_S``."""
    deadline_s = time.monotonic() + PULL_LIMIT_S
    repository, _, tag = name.rpartition(":")
    try:
        for message in client.api.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in message:
                raise LabError(str(message["error"]).splitlines()[0])
            stage.detail(f"{message.get('status', '')} {message.get('progress', '')}")
            if time.monotonic() > deadline_s:
                raise LabError(f"not done within {PULL_LIMIT_S:g} s")
    except (DockerException, OSError) as error:
        explanation = getattr(error, "explanation", None) or error
        raise LabError(str(explanation).splitlines()[0]) from None


def _cannot_make(client: docker.DockerClient, root: list[str] | None) -> str | None:
    """None if debootstrap can run here, else why it cannot."""
    if root is None:
        return "debootstrap needs root, or a sudo that asks nothing"
    if not host.is_debian():
        return "this is neither Debian nor Ubuntu"
    return other_machine(client)


def other_machine(client: docker.DockerClient) -> str | None:
    """None if programs of this machine run on the engine's, else why not."""
    engine = str(client.info().get("Architecture", ""))
    engine, here = ARCHITECTURES.get(engine, engine), f"{platform.machine()} {platform.system()}"
    return None if here == f"{engine} Linux" else f"the engine is {engine} Linux and this machine is {here}"


def _make(client: docker.DockerClient, root: list[str], stage: Stage) -> None:
    unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*root, "timeout", str(DEBOOTSTRAP_LIMIT_S), *unshared, "sh", "-ec", MAKE]
    stage.detail("about half a minute")
    with tempfile.TemporaryFile() as log, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
    ) as process:
        assert process.stdout is not None
        try:
            image, failure = import_tar(client, process.stdout, ['CMD ["bash"]']), ""
        except DockerException as error:
            image, failure = None, str(error)
        finally:
            process.stdout.close()  # what still writes gets SIGPIPE
            with contextlib.suppress(PermissionError):  # a terminal's Ctrl-C reaches what sudo runs by itself
                if sys.exc_info()[0]:
                    process.terminate()
        if process.wait(timeout=30) != 0:  # then the engine was given nothing, or half of it
            failure = _tail(log) or failure
        if image and not failure:
            client.api.tag(image, REPOSITORY, TAG)
            return
        if image:
            client.api.remove_image(image, force=True)
        raise LabError(f"debootstrap failed:\n{failure}")


def import_tar(client: docker.DockerClient, tar: Iterable[bytes], changes: list[str]) -> str:
    """Give the engine a file system; returns the image's id. It gets no name before all went well."""
    answer = str(client.api.import_image_from_stream(tar, changes=changes))
    last = json.loads(answer.strip().splitlines()[-1])
    if "status" not in last:
        raise DockerException(f"import: {last.get('error', last)}")
    return str(last["status"])


def _tail(log: IO[Any]) -> str:
    log.seek(0)
    return "\n".join(log.read().decode(errors="replace").splitlines()[-8:])
