"""The wheel alone, in an empty folder with no checkout near: it carries all that a node image is made of."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import docker
import pytest

from moslab.removal import is_anything_left
from tests.container.conftest import COMMAND_LIMIT_S, Lab

pytestmark = pytest.mark.container

ROOT = Path(__file__).parents[2]
SCENARIO = """
def test_owner_is_cut_off(cluster):
    web = cluster.group("web")
    with cluster.cut(web.owner):
        web.wait_running(elsewhere=True, within=10)
    cluster.check()
"""


@pytest.fixture(scope="module")
def moslab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a new virtual environment that has the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv/lib").glob("python3.*/site-packages")
    (folder / "others").mkdir()
    for one in Path(docker.__file__).parents[1].iterdir():
        if "mosha" not in one.name:                          # else what this one says of itself would do for the wheel
            (folder / "others" / one.name).symlink_to(one)
    (site / "dependencies.pth").write_text(f"{folder / 'others'}\n")
    (wheel,) = folder.glob("mosha-*.whl")
    subprocess.run([*pip, "--python", folder / "venv/bin/python", "install", "--no-deps", wheel], check=True)
    return folder / "venv/bin/moslab"


@pytest.mark.long
def test_the_plugin_from_the_wheel(moslab: Path, tmp_path: Path) -> None:
    """In anybody's folder, by its entry point alone, also on workers of xdist: no engine is asked."""
    (tmp_path / "test_failover.py").write_text(SCENARIO)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYT")}
    for more in ((), ("-n2",)):
        done = subprocess.run(
            [moslab.with_name("python"), "-m", "pytest", "--world=sim", "--seed=7", "-v", *more], cwd=tmp_path,
            env=clean, capture_output=True, text=True, timeout=COMMAND_LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        assert "moslab: world sim (asked for), seed 7" in done.stdout
        assert "test_failover.py::test_owner_is_cut_off[sim]" in done.stdout
        assert "1 passed" in done.stdout


def test_a_cluster_from_the_wheel(moslab: Path, lab: Lab, tmp_path: Path) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [moslab, "--cluster", lab.name, *arguments], cwd=tmp_path, env=clean, capture_output=True, text=True,
            timeout=COMMAND_LIMIT_S, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = subprocess.run(
        [moslab.with_name("python"), "-c", "import mosha, moslab, emulator; print(mosha, moslab, emulator)"],
        cwd=tmp_path, env=clean, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(ROOT) not in where.stdout
    assert "What next" in run("up", "3")
    assert "3 running, quorum" in run("status")
    run("down")
    assert not is_anything_left(lab.client, lab.name)
    assert list(tmp_path.iterdir()) == []
