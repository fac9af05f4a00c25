"""git, tar, rsync and make at work in a tree of another node; large, sparse and appended files."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.mfs.nodes import MfsNode

LIMIT_S = 120
REPOSITORY = Path(__file__).parents[2]
MIB = 1 << 20


@pytest.fixture
def seen(patient_pair: list[MfsNode]) -> Path:
    """Node 2's tree as node 1 sees it."""
    return patient_pair[0].path(2)


def sh(script: str, folder: Path, **variables: Path) -> str:
    """Run a script that must succeed; what it printed."""
    home = {"HOME": str(folder), "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    given = {name: str(value) for name, value in variables.items()}
    by_make = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")           # `make posix`: the make that is tested is no part of it
    ours = {name: value for name, value in os.environ.items() if name not in by_make}
    done = subprocess.run(
        ["sh", "-ec", script], cwd=folder, env={**ours, **home, **given}, capture_output=True, text=True,
        timeout=LIMIT_S, check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_git(seen: Path, tmp_path: Path) -> None:
    sh(
        """
        git init -q a && cd a
        git config user.name n && git config user.email n@example.org
        cp -r "$SOURCE" files && ln -s files/core.py link && chmod +x files/core.py
        git add -A && git commit -qm first
        git mv files/core.py moved.py && echo more >>moved.py && git commit -qam second
        git checkout -qb other HEAD~1 && echo else >new && git add new && git commit -qm third
        git merge -q --no-edit master || git merge -q --no-edit main
        git gc -q --prune=now && git fsck --full --strict
        test -z "$(git status --porcelain)"
        git clone -q . "$HOME/b" && git clone -q . "$LOCAL/c" && git -C "$LOCAL/c" pull -q
        git worktree add -q "$HOME/w" HEAD~1 && git worktree remove "$HOME/w"
        """,
        seen,
        SOURCE=REPOSITORY / "emulator" / "mfs",
        LOCAL=tmp_path,
    )
    assert sh("git -C a rev-parse HEAD", seen) == sh("git -C c rev-parse HEAD", tmp_path)


def test_tar(seen: Path, tmp_path: Path) -> None:
    sh(
        """
        cp -a "$SOURCE" tree && ln -s nowhere tree/dangling && ln tree/core.py tree/hard && chmod 4711 tree/hard
        truncate -s 5M tree/sparse && touch -d @1000000000.5 tree/hard
        tar -C tree -cf "$LOCAL/one.tar" --sort=name . && mkdir "$LOCAL/out" out
        tar -C "$LOCAL/out" -xf "$LOCAL/one.tar" && tar -C out -xSf "$LOCAL/one.tar"
        tar -C tree -df "$LOCAL/one.tar" && tar -C out -df "$LOCAL/one.tar" && diff -r --no-dereference tree out
        diff -r --no-dereference tree "$LOCAL/out"
        """,
        seen,
        SOURCE=REPOSITORY / "emulator" / "mfs",
        LOCAL=tmp_path,
    )


def test_rsync(seen: Path, tmp_path: Path) -> None:
    shown = sh(
        """
        cp -a "$SOURCE" "$LOCAL/tree" && truncate -s 3M "$LOCAL/tree/sparse"
        rsync -aHS --delete "$LOCAL/tree/" copy
        echo more >>"$LOCAL/tree/core.py" && rm "$LOCAL/tree/link.py" && mkdir "$LOCAL/tree/d"
        rsync -aHS --delete --inplace "$LOCAL/tree/" copy
        rsync -aHc --delete copy/ "$LOCAL/back" && diff -r "$LOCAL/tree" "$LOCAL/back"
        rsync -aHni --delete "$LOCAL/tree/" copy
        """,
        seen,
        SOURCE=REPOSITORY / "emulator" / "mfs",
        LOCAL=tmp_path,
    )
    assert shown == "", "there is nothing left to do"


def test_make(seen: Path) -> None:
    (seen / "main.c").write_text('#include "say.h"\nint main(void) { say(); return 0; }\n')
    (seen / "say.c").write_text('#include <stdio.h>\n#include "say.h"\nvoid say(void) { puts("said"); }\n')
    (seen / "say.h").write_text("void say(void);\n")
    (seen / "Makefile").write_text(
        "said: main.o say.o\n\tcc -o $@ $^\n%.o: %.c say.h\n\tcc -c -o $@ $<\nclean:\n\trm -f *.o said\n"
    )
    assert "cc -o said" in sh("make -j4", seen)
    assert sh("./said", seen) == "said\n"
    assert "up to date" in sh("make", seen)
    sh("until [ say.c -nt say.o ]; do touch say.c; done", seen)
    assert sh("make", seen).split("\n")[:-1] == ["cc -c -o say.o say.c", "cc -o said main.o say.o"]
    sh("make clean", seen)
    assert set(os.listdir(seen)) == {"main.c", "say.c", "say.h", "Makefile"}


def test_a_large_file(seen: Path, patient_pair: list[MfsNode]) -> None:
    script = """
    dd if=/dev/urandom of=large bs=1M count=96 conv=fsync 2>/dev/null
    dd if=large of=copy bs=977k 2>/dev/null && cmp large copy && rm copy
    """
    sh(script, seen)
    digests = []
    for folder in (seen, patient_pair[1].root):
        with (folder / "large").open("rb") as file:
            digest = hashlib.sha256()
            while piece := file.read(MIB):
                digest.update(piece)
        digests.append(digest.digest())
    assert digests[0] == digests[1]


def test_a_sparse_file(seen: Path) -> None:
    with (seen / "sparse").open("w+b", buffering=0) as file:
        file.truncate(8 << 30)
        os.pwrite(file.fileno(), b"middle", 5 << 30)
        assert os.fstat(file.fileno()).st_blocks * 512 < MIB
        data = os.lseek(file.fileno(), 0, os.SEEK_DATA)
        assert data <= 5 << 30 < os.lseek(file.fileno(), data, os.SEEK_HOLE)
        assert os.pread(file.fileno(), 10, (5 << 30) - 2) == b"\0\0middle\0\0"
        assert os.lseek(file.fileno(), 0, os.SEEK_END) == 8 << 30


def test_many_append_to_one_file(seen: Path, patient_pair: list[MfsNode]) -> None:
    """From both nodes, through the shell: no line is lost or torn."""
    script = 'for i in $(seq 100); do echo "$NAME $i line that is written whole" >>log; done'
    writers = [
        subprocess.Popen(["sh", "-ec", script], cwd=node.path(2), env={**os.environ, "NAME": f"{node.number}{turn}"})
        for node in patient_pair
        for turn in "ab"
    ]
    assert [writer.wait(LIMIT_S) for writer in writers] == [0] * 4
    lines = (patient_pair[1].root / "log").read_text().splitlines()
    expected = [f"{n}{t} {i} line that is written whole" for n in (1, 2) for t in "ab" for i in range(1, 101)]
    assert sorted(lines) == sorted(expected)
