"""The agent as one file: `make mosha.pyz`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mosha import __version__

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "src/moslab/demo"


@pytest.fixture(scope="module")
def pyz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "Makefile", copy)
    shutil.copytree(ROOT / "src/mosha", copy / "src/mosha", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(["make", "-C", copy, "mosha.pyz", f"PYTHON={sys.executable}"], check=True, capture_output=True)
    return copy / "mosha.pyz"


def pythons() -> list[str]:
    """Every interpreter of a supported version on the PATH and, where pyenv is, its own."""
    names = [f"python3.{minor}" for minor in range(9, 15)]
    found = [path for path in (shutil.which(name) for name in names) if path and "shims" not in path]
    return sorted({*found, *map(str, Path.home().glob(".pyenv/versions/3.*/bin/python3")), sys.executable})


def supported(python: str) -> bool:
    asked = subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 9))"], check=False)
    return asked.returncode == 0


def test_it_runs_wherever_there_is_a_python(pyz: Path) -> None:
    asked = [python for python in pythons() if supported(python)]
    assert asked
    for python in asked:
        shown = subprocess.run([python, pyz, "--version"], capture_output=True, text=True, check=True)
        assert shown.stdout == f"mosha {__version__}\n"


def test_it_is_executable_and_has_the_whole_agent(pyz: Path) -> None:
    good = subprocess.run([pyz, "check", DEMO / "hactl"], capture_output=True, text=True, check=False)
    assert (good.returncode, good.stderr) == (0, "")
    bad = pyz.parent / "cltab"
    bad.write_text("web:web-run:start:respwan:true\n")
    refused = subprocess.run([pyz, "check", bad], capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"{bad}:1: ")
    with zipfile.ZipFile(pyz) as archive:
        packed = {name for name in archive.namelist() if name.endswith(".py") and name != "__main__.py"}
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/mosha").rglob("*.py")}
    assert packed == sources
