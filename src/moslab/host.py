"""The machine that the command runs on: who we are there, and Debian packages."""

from __future__ import annotations

import os
import shutil
import subprocess

from moslab.errors import LabError

APT_LIMIT_S = 900.0
APT = ["apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=120"]


def as_root() -> list[str] | None:
    """What to put before a command so that root runs it without a question; None if that cannot be."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") and _succeeds(["sudo", "-n", "true"]):
        return ["sudo", "-n"]
    return None


def is_debian(os_release: str = "/etc/os-release") -> bool:
    """Whether this is Debian, Ubuntu or one of their children, with apt-get."""
    try:
        with open(os_release, encoding="utf-8", errors="replace") as stream:
            lines = stream.read(65536).splitlines()
    except OSError:
        return False
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    ids = f"{values.get('ID', '')} {values.get('ID_LIKE', '')}".replace('"', "").split()
    return bool({"debian", "ubuntu"} & set(ids)) and shutil.which("apt-get") is not None


def apt_install(package: str, root: list[str]) -> None:
    """Install a Debian package; LabError with apt's last words."""
    environment = ["env", "DEBIAN_FRONTEND=noninteractive"]
    for arguments in (["update"], ["install", "--no-install-recommends", package]):
        run_checked([*root, *environment, *APT, *arguments], limit_s=APT_LIMIT_S)


def run_checked(command: list[str], limit_s: float) -> None:
    """Run a command to its end; LabError with its last lines if it fails or takes longer than ``limit_s``."""
    shown = " ".join(command)
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=limit_s, check=False,
        )
    except subprocess.TimeoutExpired:
        raise LabError(f"`{shown}` did not end within {limit_s:g} s") from None
    except OSError as error:
        raise LabError(f"`{shown}`: {error}") from None
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-8:])
        raise LabError(f"`{shown}` failed with exit code {done.returncode}:\n{last}")


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
