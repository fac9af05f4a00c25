"""pjdfstest and fsx over ``/mfs/<other>``: what the genuine MFS permits behaves as POSIX says."""

from __future__ import annotations

import grp
import os
import pwd
import re
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from tests.unit.mfs.nodes import MfsNode

LIMIT_S = 500
LESS = Path(__file__).with_name("pjdfstest.less")
TESTS_MIN = 350

PJDFSTEST = """
[features]
rename_ctime = {}
stat_st_birthtime = {}
utimensat = {}
utime_now = {}
[settings]
naptime = 0.01
allow_remount = false
[dummy_auth]
entries = [["%s", "%s"], ["%s", "%s"]]
"""
FSX = """
[weights]
close_open = 1.0
read = 10.0
write = 10.0
mapread = 0.0
mapwrite = 0.0
invalidate = 0.0
truncate = 5.0
fsync = 0.5
fdatasync = 0.5
sendfile = 2.0
copy_file_range = 1.0
"""
"""Without shared mappings (mapread, mapwrite, invalidate), which the genuine MFS does not have."""


def less() -> dict[str, list[str]]:
    """The patterns of the written list, by how such tests end."""
    ends: dict[str, list[str]] = {"failed": [], "skipped": []}
    section = ends["failed"]
    for line in LESS.read_text().splitlines():
        end, colon, _reason = line.partition(": ")
        if colon and end in ends:
            section = ends[end]
        elif line and not line.startswith("#"):
            section.append(line)
    return ends


def matching(names: set[str], patterns: list[str]) -> set[str]:
    return {name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)}


def two_users() -> list[str]:
    """Two users without rights, each with its group."""
    users = [user for user in pwd.getpwall() if user.pw_uid and user.pw_gid][:2]
    return [word for user in users for word in (user.pw_name, grp.getgrgid(user.pw_gid).gr_name)]


@pytest.mark.parametrize("owner", [1, 2], ids=["own", "other"])
def test_pjdfstest(patient_pair: list[MfsNode], tools: Path, tmp_path: Path, owner: int) -> None:
    seen = patient_pair[0].path(owner)
    # its absolute links name its own paths, and a link's path is its owner's: there they lead to the same place
    there = Path(f"{patient_pair[owner - 1].root}{seen}")
    there.parent.mkdir(parents=True)
    there.symlink_to("../" * (len(seen.parts) - 2))
    (seen / "t").mkdir()
    (seen / "t").chmod(0o777)
    config = tmp_path / "config"
    config.write_text(PJDFSTEST % tuple(two_users()))
    command = list(map(str, (tools / "pjdfstest", "-c", config, "-p", seen / "t", "-s", "/dev/shm")))
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    ended = dict(re.findall(r"^(\S+::\S+) +(ok|FAILED|skipped)\b", done.stdout, re.MULTILINE))
    names = set(ended)
    assert len(names) >= TESTS_MIN, done.stdout[-2000:] + done.stderr[-2000:]
    patterns = less()
    for end, word in (("failed", "FAILED"), ("skipped", "skipped")):
        expected = matching(names, patterns[end])
        if end == "failed":
            expected -= matching(names, patterns["skipped"])
        assert {name for name in names if ended[name] == word} == expected, done.stdout
        assert all(matching(names, [pattern]) for pattern in patterns[end]), "a line of the list matches nothing"


@pytest.mark.parametrize("seed", range(4))
def test_fsx(patient_pair: list[MfsNode], tools: Path, tmp_path: Path, seed: int) -> None:
    config = tmp_path / "config"
    config.write_text(FSX)
    path = patient_pair[0].path(2, "fsx")
    command = list(map(str, (tools / "fsx", "-f", config, "-N", 4000, "-S", seed, "-P", tmp_path, path)))
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All operations completed A-OK!" in done.stdout + done.stderr
    assert os.stat(path).st_size == (patient_pair[1].root / "fsx").stat().st_size
