from __future__ import annotations

import io
import shutil
import sys
import tarfile
from pathlib import Path

import pytest

import emulator
from moslab import image, measure


def members(archive: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: member for member in tar}


def test_the_same_content_gives_the_same_bytes() -> None:
    assert image.build_context() == image.build_context()


def test_it_has_what_a_node_is_made_of() -> None:
    names = set(members(image.build_context()))
    assert {
        image.DOCKERFILE, "emulator/image/install", "emulator/image/programs", "emulator/image/inittab",
        "emulator/image/openmosix", "src/mosha/__init__.py", "src/mosha/agent.py", "emulator/daemon.py",
        "emulator/powerswitch/server.py", "src/moslab/demo/programs/tick", "src/moslab/coverage/coveragerc",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", "moslab/cluster.py"))]


def test_programs_can_be_executed_even_from_a_wheel() -> None:
    """Installers need not keep modes: a program is known by its first two bytes."""
    found = members(image.build_context())
    assert found["emulator/image/install"].mode == found["src/moslab/demo/programs/tick"].mode == 0o755
    assert found["src/mosha/agent.py"].mode == 0o644


def test_a_changed_source_changes_the_name_and_other_times_and_owners_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "emulator"
    shutil.copytree(Path(str(emulator.__file__)).parent, package)
    before = image.build_context()
    monkeypatch.setattr(emulator, "__file__", str(package / "__init__.py"))
    assert image.build_context() == before
    (package / "init.py").write_text("changed\n")
    assert image.build_context() != before


def test_every_program_of_the_table_has_its_module() -> None:
    found = members(image.build_context())
    table = (Path(str(emulator.__file__)).parent / "image" / "programs").read_text()
    rows = [line.split() for line in table.splitlines() if line and not line.startswith("#")]
    assert len(rows) > 5
    modules = {name.removeprefix("src/").removesuffix(".py").replace("/", ".") for name in found}
    assert {module for _path, module in rows} <= modules


def test_the_coverage_variant_carries_what_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, under = image.build_context(), "src/moslab/coverage"
    monkeypatch.setenv("MOSLAB_COVERAGE", "1")
    measured = members(image.build_context())
    assert {f"{under}/coveragerc", f"{under}/coverage/__init__.py", f"{under}/coverage/collector.py"} <= set(measured)
    native = [name for name in measured if name.startswith(f"{under}/") and name.endswith(".so")]
    assert bool(native) == (sys.version_info[:2] == measure.PYTHON_OF_IMAGE)
    assert image.build_context() != plain
