from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest
from docker.context import ContextAPI

from moslab import engine, host
from moslab.errors import CannotError
from moslab.progress import Progress
from moslab.wait import eventually


@pytest.fixture(autouse=True)
def nothing_is_brought(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No engine is found by accident, and a test that would install or start one fails."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("ENGINE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))

    def forbidden(*_arguments: object) -> None:
        pytest.fail("something was to be installed or started")

    monkeypatch.setattr(host, "apt_install", forbidden)
    monkeypatch.setattr(engine, "_start", forbidden)


def default_socket(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    place = engine.Where(f"unix://{path}", "the default socket", True)
    monkeypatch.setattr(engine, "where", lambda: place)
    monkeypatch.setenv("DOCKER_HOST", place.url)


def test_docker_host_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    assert engine.where() == engine.Where("tcp://elsewhere:2375", "DOCKER_HOST", False)
    assert engine.where().socket_path is None


def test_then_the_context_that_docker_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    context = {"base_url": "unix:///home/me/.docker/desktop/docker.sock"}
    monkeypatch.setattr(ContextAPI, "kwargs_from_context", lambda: context)
    assert engine.where() == engine.Where(context["base_url"], "the docker context", False)
    assert engine.where().socket_path == "/home/me/.docker/desktop/docker.sock"


def test_else_the_default_socket() -> None:
    assert engine.where() == engine.Where("unix:///var/run/docker.sock", "the default socket", True)


def test_an_engine_elsewhere_is_never_brought(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(CannotError, match=r"none\.sock \(from DOCKER_HOST\)(.|\n)*unset DOCKER_HOST"):
        engine.ensure(Progress())


def test_keep_forbids_to_bring_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    default_socket(monkeypatch, tmp_path / "none.sock")
    monkeypatch.setattr(host, "as_root", list)
    monkeypatch.setattr(host, "is_debian", lambda: True)
    monkeypatch.setenv("ENGINE", "keep")
    with pytest.raises(CannotError, match="ENGINE=keep forbids"):
        engine.ensure(Progress())


def test_without_root_the_one_command_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    default_socket(monkeypatch, tmp_path / "none.sock")
    monkeypatch.setattr(host, "as_root", lambda: None)
    monkeypatch.setattr(host, "is_debian", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(CannotError, match=r"no container engine(.|\n)*sudo apt-get install -y docker\.io"):
        engine.ensure(Progress())


def test_what_is_installed_and_does_not_run_is_to_be_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    default_socket(monkeypatch, tmp_path / "none.sock")
    monkeypatch.setattr(host, "as_root", lambda: None)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(CannotError, match=r"does not answer(.|\n)*Start it: sudo \w+"):
        engine.ensure(Progress())


def test_on_debian_as_root_it_is_installed_started_and_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    default_socket(monkeypatch, tmp_path / "none.sock")
    done: list[str] = []
    monkeypatch.setattr(host, "as_root", list)
    monkeypatch.setattr(host, "is_debian", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(host, "apt_install", lambda package, root: done.append(package))
    monkeypatch.setattr(engine, "_start", lambda root: done.append("start"))
    monkeypatch.setattr(engine, "_answers", lambda: "start" in done)
    with pytest.raises(CannotError):  # there is still none, behind the fakes
        engine.ensure(Progress())
    assert done == ["docker.io", "start"]
    assert "Installing docker.io" in capsys.readouterr().err


def test_of_two_commands_at_once_one_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    default_socket(monkeypatch, tmp_path / "none.sock")
    started: list[str] = []
    seen = threading.Barrier(2)
    connect = engine.connect

    def start(_root: list[str]) -> None:
        time.sleep(0.3)                  # as a daemon takes to answer
        started.append("dockerd")

    def look() -> docker.DockerClient:
        """Both see that there is none before one of them does anything about it."""
        if threading.current_thread() not in begun:
            begun.add(threading.current_thread())
            seen.wait(10)
        return connect()

    begun: set[threading.Thread] = set()
    monkeypatch.setattr(host, "as_root", list)
    monkeypatch.setattr(host, "is_debian", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(engine, "_start", start)
    monkeypatch.setattr(engine, "connect", look)
    monkeypatch.setattr(engine, "_answers", lambda: bool(started))
    with ThreadPoolExecutor(2) as pool:
        ends = [pool.submit(engine.ensure, Progress()) for _ in range(2)]
    assert [type(end.exception()) for end in ends] == [CannotError] * 2      # there is still none, behind the fakes
    assert started == ["dockerd"]


def test_a_socket_that_is_not_ours_to_use_is_told_from_a_missing_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def knock(_path: str) -> None:
        raise PermissionError(13, "Permission denied")

    default_socket(monkeypatch, tmp_path / "s")
    monkeypatch.setattr(host, "as_root", lambda: None)
    monkeypatch.setattr(engine, "_knock", knock)
    with pytest.raises(CannotError, match=r"permission denied(.|\n)*sudo usermod -aG docker"):
        engine.ensure(Progress())


def test_a_socket_that_nobody_serves_is_no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    default_socket(monkeypatch, path)
    monkeypatch.setattr(host, "as_root", lambda: None)
    with pytest.raises(CannotError):
        engine.ensure(Progress())


class FakeClient:
    def __init__(self, *options: str) -> None:
        self.options = list(options)

    def info(self) -> dict[str, list[str]]:
        return {"SecurityOptions": self.options}


def test_the_socket_for_the_power_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    rootful, rootless = FakeClient("name=seccomp"), FakeClient("name=rootless")
    assert engine.socket_for_containers(rootful) == "/var/run/docker.sock"  # type: ignore[arg-type]
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")
    assert engine.socket_for_containers(rootless) == "/run/user/1000/docker.sock"  # type: ignore[arg-type]
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    with pytest.raises(CannotError, match="MOSLAB_ENGINE_SOCKET"):
        engine.socket_for_containers(rootless)  # type: ignore[arg-type]
    monkeypatch.setenv("MOSLAB_ENGINE_SOCKET", "/there/docker.sock")
    assert engine.socket_for_containers(rootless) == "/there/docker.sock"  # type: ignore[arg-type]


@pytest.mark.parametrize(("text", "is_debian"), [
    ('ID=debian\nVERSION_ID="12"\n', True), ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', True), ("ID=ubuntu\n", True),
    ("ID=fedora\n", False), ('ID="rhel"\nID_LIKE="fedora"\n', False), ("", False),
])
def test_what_counts_as_debian(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, is_debian: bool
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    (tmp_path / "os-release").write_text(text)
    assert host.is_debian(str(tmp_path / "os-release")) is is_debian
    assert host.is_debian(str(tmp_path / "none")) is False


def test_the_command_without_an_engine_ends_with_2_and_no_traceback(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "DOCKER_HOST": f"unix://{tmp_path}/none.sock", "HOME": str(tmp_path)}
    for command in (["up", "3"], ["status"], ["down"], ["kill", "1"]):
        done = subprocess.run([sys.executable, "-m", "moslab", *command], capture_output=True, text=True,
                              env=environment, timeout=60, check=False)
        assert done.returncode == 2, (command, done.stderr)
        assert "none.sock" in done.stderr
        assert "Traceback" not in done.stderr


def test_the_engine_that_is_started_is_not_our_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A child that nobody reaps ends a long test run with a warning: the first CI run failed on that."""
    dockerd = tmp_path / "dockerd"
    dockerd.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid.new\nmv {tmp_path}/pid.new {tmp_path}/pid\nexec sleep 60\n")
    dockerd.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(engine, "LOG_FILE", str(tmp_path / "log"))
    engine._start_alone([])
    eventually((tmp_path / "pid").exists, within_s=20, what="dockerd runs")
    pid = int((tmp_path / "pid").read_text())
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        assert parent != os.getpid()
        assert os.getsid(pid) not in {os.getsid(0), 0}
    finally:
        os.kill(pid, signal.SIGKILL)
