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


@pytest.fixture(scope="module")
def moslab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a new virtual environment that has the wheel; its dependencies are those of this one."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    venv.create(folder / "venv", with_pip=False)
    (site,) = (folder / "venv/lib").glob("python3.*/site-packages")
    (site / "dependencies.pth").write_text(str(Path(docker.__file__).parents[1]) + "\n")
    (wheel,) = folder.glob("mosha-*.whl")
    subprocess.run([*pip, "--python", folder / "venv/bin/python", "install", "--no-deps", wheel], check=True)
    return folder / "venv/bin/moslab"


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
