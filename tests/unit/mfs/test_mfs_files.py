"""What programs do with files of another node, and of their own, through ``/mfs``."""

from __future__ import annotations

import fcntl
import mmap
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.unit.hpc.loopback import wait_until
from tests.unit.mfs.nodes import MfsNode, Nodes, failing

DAY_S = 86400
SPECIALS = {"here", "home", "lastexec", "magic", "selected"}


@pytest.fixture(params=[1, 2], ids=["own", "other"])
def there(request: pytest.FixtureRequest, patient_pair: list[MfsNode]) -> Path:
    """A directory seen from node 1: its own through ``/mfs/1``, or node 2's."""
    return patient_pair[0].path(request.param)


def test_root_lists_all_configured_nodes_dead_or_alive(patient_pair: list[MfsNode]) -> None:
    mfs = patient_pair[0].mfs
    assert set(os.listdir(mfs)) == SPECIALS | {"1", "2", "3"}
    state = os.stat(mfs)
    assert (state.st_ino, state.st_mode, state.st_nlink) == (65538, stat.S_IFDIR | 0o555, 1)
    assert {os.stat(mfs / name).st_dev for name in "123"} == {state.st_dev}
    assert [os.stat(mfs / name).st_ino for name in "123"] == [1, 2, 3]
    for name in SPECIALS:
        link = os.lstat(mfs / name)
        assert (link.st_mode, link.st_size, link.st_ino) == (stat.S_IFLNK | 0o555, 1, 1)
        assert os.readlink(mfs / name) == "1"


def test_selected_is_what_the_process_has_selected(patient_pair: list[MfsNode]) -> None:
    one, two = patient_pair
    selected = one.mfs / "selected"
    one.tell(f"selected {os.getpid()} 2")
    assert (os.readlink(selected), os.lstat(selected).st_ino, os.lstat(selected).st_size) == ("2", 2, 1)
    assert subprocess.check_output(["readlink", selected]) == b"1\n", "another process, another choice"
    (two.root / "f").write_text("two")
    assert (selected / "f").read_text() == "two"
    one.tell(f"selected {os.getpid()} 77")
    assert failing(lambda: os.stat(selected)) == "ENOENT"
    one.tell(f"selected {os.getpid()} 0")
    assert os.readlink(selected) == "1"
    for name in SPECIALS:
        (one.mfs / name / name).write_text(name)
        assert (one.root / name).read_text() == name


def test_where_a_guest_is_led(patient_pair: list[MfsNode]) -> None:
    """It is here, and was made a command here; what it selected begins as its home."""
    one, _ = patient_pair
    one.tell(f"home {os.getpid()} 2")
    leads = {"here": "1", "home": "2", "lastexec": "1", "magic": "1", "selected": "2"}
    assert {name: os.readlink(one.mfs / name) for name in SPECIALS} == leads
    one.tell(f"selected {os.getpid()} 3")
    assert os.readlink(one.mfs / "selected") == "3"


def test_unmapped_names_do_not_exist(patient_pair: list[MfsNode]) -> None:
    mfs = patient_pair[0].mfs
    assert failing(lambda: os.stat(mfs / "4")) == "ENOENT"
    assert failing(lambda: os.stat(mfs / "foo")) == "ENOENT"
    assert failing(lambda: os.stat(mfs / "02")) == "ENOENT"
    assert failing(lambda: os.mkdir(mfs / "77")) == "ENOENT"
    assert failing(lambda: os.open(mfs / "zz", os.O_CREAT | os.O_WRONLY)) == "ENOENT"
    assert failing(lambda: os.rmdir(mfs / "2")) == "EPERM"


def test_write_read_append_truncate(there: Path) -> None:
    file = there / "file"
    file.write_bytes(b"hello\n")
    with file.open("ab") as appended:
        appended.write(b"world\n")
    assert file.read_bytes() == b"hello\nworld\n"
    os.truncate(file, 3)
    assert (file.read_bytes(), file.stat().st_size) == (b"hel", 3)
    with file.open("r+b") as opened:
        opened.seek(10)
        opened.write(b"x")
        opened.truncate(12)
    assert file.read_bytes() == b"hel\0\0\0\0\0\0\0x\0"


def test_big_files_whole(there: Path) -> None:
    content = os.urandom(5 << 20)
    (there / "big").write_bytes(content)
    assert (there / "big").read_bytes() == content


def test_shell_commands(there: Path, patient_pair: list[MfsNode]) -> None:
    script = """set -e
    echo one > a; echo two >> a; cp a b; mkdir d; mv b d/c; ln d/c e; ln -s d/c f; cat f
    test "$(ls)" = "a
d
e
f"
    rm -r d; test ! -e f; cat e; touch -d @1 a; test "$(stat -c %Y a)" = 1; rm a e f; sync .
    """
    done = subprocess.run(["sh", "-c", script], cwd=there, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("one\ntwo\none\ntwo\n", "")
    assert os.listdir(there) == []


def test_two_appenders_lose_nothing(patient_pair: list[MfsNode]) -> None:
    script = "import sys\nwith open(sys.argv[1], 'ab', 0) as f:\n for i in range(200): f.write(b'%03d\\n' % i)"
    paths = [patient_pair[0].path(2, "log"), patient_pair[1].path(2, "log")]
    writers = [subprocess.Popen([sys.executable, "-c", script, path]) for path in paths]
    assert [writer.wait(20) for writer in writers] == [0, 0]
    assert sorted(paths[0].read_text().split()) == sorted(f"{i:03}" for i in range(200) for _ in "ab")


def test_between_nodes_nothing_is_renamed_or_linked(patient_pair: list[MfsNode], tmp_path: Path) -> None:
    mine, other = patient_pair[0].path(1), patient_pair[0].path(2)
    (mine / "a").write_text("a")
    assert failing(lambda: os.rename(mine / "a", other / "a")) == "EXDEV"
    assert failing(lambda: os.link(mine / "a", other / "a")) == "EXDEV"
    assert failing(lambda: os.rename(mine / "a", tmp_path / "a")) == "EXDEV"
    assert failing(lambda: os.rename(mine / "a", patient_pair[0].mfs / "a")) == "EXDEV"
    subprocess.run(["mv", mine / "a", other / "b"], check=True)
    assert (patient_pair[1].root / "b").read_text() == "a"
    assert os.listdir(mine) == []


def test_exclusive_names_are_atomic_at_the_owner(there: Path) -> None:
    def make() -> int:
        return os.open(there / "lock", os.O_CREAT | os.O_EXCL)

    os.close(make())
    assert failing(make) == "EEXIST"
    os.mkdir(there / "d")
    assert failing(lambda: os.mkdir(there / "d")) == "EEXIST"
    (there / "d/x").touch()
    assert failing(lambda: os.rmdir(there / "d")) == "ENOTEMPTY"
    (there / "new").write_text("new")
    os.rename(there / "new", there / "lock")
    assert (there / "lock").read_text() == "new"


def test_rename_flags(there: Path) -> None:
    (there / "a").write_text("a")
    (there / "b").write_text("b")
    subprocess.run(["mv", "-n", "a", "b"], cwd=there, check=False)
    assert (there / "a").read_text() == "a"
    assert (there / "b").read_text() == "b"


def test_attributes(there: Path) -> None:
    file = there / "f"
    file.touch()
    os.chmod(file, 0o640)
    os.chown(file, 12, 34)
    os.utime(file, ns=(5 * 10**9 + 7, -3 * 10**9 + 1))
    state = file.stat()
    assert stat.S_IMODE(state.st_mode) == 0o640
    assert (state.st_uid, state.st_gid, state.st_atime_ns, state.st_mtime_ns) == (
        12,
        34,
        5 * 10**9 + 7,
        -3 * 10**9 + 1,
    )
    os.symlink("nowhere", there / "l")
    os.chown(there / "l", 5, 6, follow_symlinks=False)
    os.utime(there / "l", ns=(10**9, 2 * 10**9), follow_symlinks=False)
    state = os.lstat(there / "l")
    assert (state.st_uid, state.st_gid, state.st_mtime_ns) == (5, 6, 2 * 10**9)
    assert os.access(file, os.R_OK)
    assert not os.access(file, os.X_OK)


def test_times_are_of_the_owners_clock(nodes: Nodes) -> None:
    """Node 2's is a day ahead: nothing that node 1 does there has a time of node 1, unless it says which."""
    one, two = nodes.nodes[1], nodes.nodes[2]
    one.start(nodes.table, quick_s=10.0)
    two.start(nodes.table, quick_s=10.0, ahead_s=DAY_S)
    file, folder = one.path(2, "f"), one.path(2, "d")
    file.write_text("made")
    folder.mkdir()
    (folder / "f").touch()
    paths = [file, folder, folder / "f"]
    times = [getattr(path.stat(), name) for path in paths for name in ("st_atime", "st_mtime", "st_ctime")]
    assert {round((at - time.time()) / DAY_S, 2) for at in times} == {1.0}

    def shows(change: Callable[[], object]) -> tuple[int, int]:
        """How many days ahead the times of reading and of writing are after it."""
        os.utime(file, (0, 0))
        change()
        now_s, state = time.time(), file.stat()
        return round((state.st_atime - now_s) / DAY_S), round((state.st_mtime - now_s) / DAY_S)

    ago = round(-time.time() / DAY_S)
    assert shows(lambda: None) == (ago, ago), "what is said is as it was said"
    assert shows(lambda: file.open("a").close()) == (ago, ago)
    assert shows(lambda: file.write_text("more")) == (ago, 1)
    assert shows(lambda: os.truncate(file, 5)) == (ago, 1)
    assert shows(lambda: os.utime(file)) == (1, 1)
    assert shows(lambda: subprocess.run(["touch", "-a", file], check=True)) == (1, ago)
    assert shows(lambda: subprocess.run(["touch", "-m", file], check=True)) == (ago, 1)


def test_umask_is_the_callers(there: Path) -> None:
    before = os.umask(0o27)
    try:
        os.mkdir(there / "d")
        (there / "f").touch()
    finally:
        os.umask(before)
    assert stat.S_IMODE((there / "d").stat().st_mode) == 0o750
    assert stat.S_IMODE((there / "f").stat().st_mode) == 0o640


def test_inode_numbers_of_two_nodes_differ(patient_pair: list[MfsNode]) -> None:
    (patient_pair[0].root / "f").touch()
    os.link(patient_pair[0].root / "f", patient_pair[1].root / "f")
    mine, other = patient_pair[0].path(1, "f").stat(), patient_pair[0].path(2, "f").stat()
    assert mine.st_ino != other.st_ino
    os.link(patient_pair[1].root / "f", patient_pair[1].root / "g")
    assert patient_pair[0].path(2, "g").stat().st_ino == other.st_ino
    assert {entry.name: entry.inode() for entry in os.scandir(patient_pair[0].path(2))} == dict.fromkeys(
        "fg", other.st_ino
    )


def test_other_nodes_changes_are_seen_at_once(patient_pair: list[MfsNode]) -> None:
    seen = patient_pair[0].path(2, "f")
    for turn in range(20):
        (patient_pair[1].root / "f").write_text(str(turn))
        assert seen.read_text() == str(turn)
    with seen.open("rb", buffering=0) as opened:
        assert opened.read() == b"19"
        (patient_pair[1].root / "f").write_text("longer than before")
        assert os.fstat(opened.fileno()).st_size == 18
        assert opened.seek(0, os.SEEK_END) == 18
        assert os.pread(opened.fileno(), 100, 0) == b"longer than before"
    assert seen.stat().st_mtime_ns == (patient_pair[1].root / "f").stat().st_mtime_ns, "times are the owner's"
    (patient_pair[1].root / "f").unlink()
    assert not seen.exists()
    (patient_pair[1].root / "f").mkdir()
    assert seen.is_dir()


def test_open_file_survives_unlink_and_rename(there: Path) -> None:
    with (there / "f").open("w+") as opened:
        opened.write("kept")
        opened.flush()
        os.rename(there / "f", there / "g")
        os.unlink(there / "g")
        opened.seek(0)
        assert opened.read() == "kept"
        assert os.fstat(opened.fileno()).st_nlink == 0


def test_many_entries(there: Path, patient_pair: list[MfsNode]) -> None:
    names = {f"a rather long name of a file {number}" for number in range(1500)}
    owner = patient_pair[int(there.name) - 1]
    for name in names:
        (owner.root / name).touch()
    assert set(os.listdir(there)) == names
    with os.scandir(there) as entries:
        assert all(entry.is_file() for entry in entries)


def test_more_files_than_descriptors(there: Path, patient_pair: list[MfsNode]) -> None:
    """More files known and open directories than the server keeps descriptors for."""
    owner = patient_pair[int(there.name) - 1]
    for number in range(1500):
        (owner.root / f"d{number}").mkdir()
        (owner.root / f"d{number}" / "f").write_text(str(number))
    kept = [os.open(there / f"d{number}", os.O_PATH) for number in range(1500)]
    try:
        for number, directory in enumerate(kept):
            with open(f"/proc/self/fd/{directory}/f", encoding="ascii") as file:
                assert file.read() == str(number)
        (owner.root / "d0").rename(owner.root / "elsewhere")
        (owner.root / "d0").mkdir()
        assert failing(lambda: os.stat("f", dir_fd=kept[0])) == "ESTALE"
    finally:
        for directory in kept:
            os.close(directory)


def test_a_node_that_may_have_few_descriptors(nodes: Nodes) -> None:
    """Who opens too many files gets no more; all else goes on, others' work too."""
    owner = nodes.nodes[2]
    owner.start(nodes.table, quick_s=10.0, within=("prlimit", "--nofile=256:256"))
    for asker in (1, 3):
        nodes.nodes[asker].start(nodes.table, quick_s=10.0)
    names = [f"f{number}" for number in range(300)]
    for name in names:
        (owner.root / name).write_text(name)
    there = nodes.nodes[1].mfs / "2"
    assert [(there / name).read_text() for name in names] == names
    files: list[int] = []
    try:
        assert failing(lambda: files.extend(os.open(there / name, os.O_RDONLY) for name in names)) == "EMFILE"
        assert [(there / name).stat().st_size for name in names] == [len(name) for name in names]
        assert failing(lambda: os.open(nodes.nodes[3].mfs / "2/f0", os.O_RDONLY)) == "EMFILE"
        assert "callback failed" not in owner.log.read_text()
    finally:
        for file in files:
            os.close(file)
    assert len(files) > 30

    def opens() -> bool:
        with suppress(OSError):  # until the first one is closed there, too
            return (nodes.nodes[3].mfs / "2/f0").read_text() == "f0"
        return False

    wait_until(opens)


def test_special_files_are_refused(there: Path, patient_pair: list[MfsNode]) -> None:
    owner = patient_pair[int(there.name) - 1]
    os.mkfifo(owner.root / "fifo")
    os.mknod(owner.root / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    assert set(os.listdir(there)) == {"fifo", "device"}
    assert failing(lambda: os.stat(there / "fifo")) == "EACCES"
    assert failing(lambda: os.stat(there / "device")) == "EACCES"
    assert failing(lambda: os.open(there / "fifo", os.O_RDONLY | os.O_CREAT)) == "EACCES"
    assert failing(lambda: os.mkfifo(there / "x")) == "EPERM"
    os.mknod(there / "regular", stat.S_IFREG | 0o600)
    directory = os.open(there, os.O_PATH)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as sock:
        assert failing(lambda: sock.bind(f"/proc/self/fd/{directory}/s")) == "EPERM"
    os.close(directory)


def test_proc_and_nested_mfs_are_refused(nodes: Nodes) -> None:
    for number in (1, 2):
        node = nodes.nodes[number]
        node.mfs.rmdir()
        node.mfs = node.root / "mfs"
        node.mfs.mkdir()
        (node.root / "proc").mkdir()
        subprocess.run(["mount", "-t", "proc", "proc", node.root / "proc"], check=True)
    try:
        one, _ = nodes.start(1, 2)
        for owner in (1, 2):
            assert set(os.listdir(one.path(owner))) == {"mfs", "proc"}
            assert set(os.listdir(one.path(owner, "mfs"))) == SPECIALS | {"1", "2", "3"}
            assert one.path(owner, "mfs").is_dir()
            assert failing(partial(os.stat, one.path(owner, "mfs/2"))) == "EACCES"
            assert failing(partial(os.stat, one.path(owner, "mfs/here"))) == "EACCES"
            assert failing(partial(os.stat, one.path(owner, "proc/1"))) == "EACCES"
            assert failing(partial(os.open, one.path(owner, "mfs/x"), os.O_CREAT)) == "EACCES"
            assert failing(partial(os.rmdir, one.path(owner, "mfs"))) == "EBUSY"
            (nodes.nodes[owner].root / "out").symlink_to("/mfs/3")
            assert failing(partial(os.stat, one.path(owner, "out"))) == "EACCES"
            (nodes.nodes[owner].root / "out").unlink()
    finally:
        nodes.stop()
        for number in (1, 2):
            subprocess.run(["umount", nodes.nodes[number].root / "proc"], check=True)


def test_absolute_and_climbing_links_stay_on_the_node(patient_pair: list[MfsNode]) -> None:
    root, seen = patient_pair[1].root, patient_pair[0].path(2)
    (root / "etc").mkdir()
    (root / "etc/name").write_text("two")
    (root / "a").symlink_to("/etc/name")
    (root / "etc/b").symlink_to("../../../etc/name")
    (root / "etc/c").symlink_to("../etc/name")
    assert (seen / "a").read_text() == (seen / "etc/b").read_text() == (seen / "etc/c").read_text() == "two"
    assert os.readlink(seen / "a") == f"{seen}/etc/name"
    assert os.readlink(seen / "etc/c") == "../etc/name"
    (seen / "d").symlink_to("/etc/name")
    assert os.readlink(root / "d") == "/etc/name"


def test_a_link_that_is_too_long_with_its_node(there: Path) -> None:
    for length, end in ((4095 - len(str(there)), "ok"), (4096 - len(str(there)), "ENAMETOOLONG")):
        (there / end).symlink_to("/" + "x" * (length - 1))
    assert len(os.readlink(there / "ok")) == 4095
    assert failing(lambda: os.readlink(there / "ENAMETOOLONG")) == "ENAMETOOLONG"


def test_statfs_and_attributes_beyond(there: Path) -> None:
    (there / "f").touch()
    for path in (there, there / "f", there.parent):
        assert failing(partial(os.statvfs, path)) == "ENOSYS"
    assert failing(lambda: os.setxattr(there / "f", "user.x", b"1")) in ("EOPNOTSUPP", "ENOTSUP")


def test_mmap_private_yes_shared_no(there: Path) -> None:
    (there / "f").write_bytes(b"mapped")
    with (there / "f").open("r+b") as opened:
        with mmap.mmap(opened.fileno(), 6, flags=mmap.MAP_PRIVATE) as mapped:
            assert mapped[:] == b"mapped"
        assert failing(lambda: mmap.mmap(opened.fileno(), 6, flags=mmap.MAP_SHARED)) == "ENODEV"


def test_programs_can_be_run(there: Path) -> None:
    program = there / "program"
    program.write_text("#!/bin/sh\necho ran\n")
    assert failing(lambda: subprocess.run([program], check=False)) == "EACCES"
    program.chmod(0o755)
    assert subprocess.check_output([program]) == b"ran\n"


def test_locks_are_local_to_the_asking_node(patient_pair: list[MfsNode]) -> None:
    (patient_pair[1].root / "f").touch()
    one, two = patient_pair[0].path(2, "f").open("r+"), patient_pair[1].path(2, "f").open("r+")
    again = patient_pair[0].path(2, "f").open("r+")
    with one, two, again:
        fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert failing(lambda: fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)) == "EAGAIN"
        fcntl.lockf(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        code = "import fcntl, sys; fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB)"
        other = subprocess.run([sys.executable, "-c", code, again.name], stderr=subprocess.PIPE, text=True, check=False)
        assert "BlockingIOError" in other.stderr, "another process of the same node"


def test_synchronous_writes_and_fsync(there: Path) -> None:
    with open(os.open(there / "f", os.O_WRONLY | os.O_CREAT | os.O_SYNC), "wb", buffering=0) as opened:
        assert opened.write(b"x" * 100_000) == 100_000
        os.fsync(opened.fileno())
        os.fdatasync(opened.fileno())
    directory = os.open(there, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    assert (there / "f").stat().st_size == 100_000


AS_100 = """import os, sys, errno
os.setgroups([]); os.setgid(100); os.setuid(100); os.chdir(sys.argv[1])
def said(call):
    try: call()
    except OSError as error: return errno.errorcode[error.errno]
    return "ok"
print(said(lambda: open("secret")), said(lambda: open("new", "w")), said(lambda: open("free/mine", "w")),
      said(lambda: os.stat("closed/x")), said(lambda: os.listdir("closed")), said(lambda: os.chmod("free", 0)),
      said(lambda: os.unlink("secret")), said(lambda: os.utime("writable")),
      said(lambda: os.utime("writable", (1, 1))), said(lambda: open("suid", "a").write("x")))
"""


def test_rights_are_the_callers(there: Path, patient_pair: list[MfsNode]) -> None:
    owner = patient_pair[int(there.name) - 1]
    (owner.root / "secret").write_text("s")
    (owner.root / "secret").chmod(0o600)
    (owner.root / "free").mkdir()
    (owner.root / "free").chmod(0o777)
    (owner.root / "closed").mkdir(0o700)
    (owner.root / "closed/x").touch()
    for name, mode in (("writable", 0o666), ("suid", 0o4777)):
        (owner.root / name).touch()
        (owner.root / name).chmod(mode)
    said = subprocess.check_output([sys.executable, "-c", AS_100, there], text=True).split()
    assert said == ["EACCES", "EACCES", "ok", "EACCES", "EACCES", "EPERM", "EACCES", "ok", "EPERM", "ok"]
    made = (owner.root / "free/mine").stat()
    assert (made.st_uid, made.st_gid) == (100, 100)
    assert stat.S_IMODE((owner.root / "suid").stat().st_mode) == 0o777
    (there / "roots").touch()
    assert (owner.root / "roots").stat().st_uid == 0


def test_mount_ends_with_the_process(nodes: Nodes) -> None:
    (one,) = nodes.start(1)
    directory = os.open(one.path(1), os.O_RDONLY)
    one.stop(signal.SIGTERM)
    assert os.listdir(one.mfs) == []
    assert failing(lambda: os.listdir(directory)) in ("ECONNABORTED", "ENOTCONN")
    os.close(directory)


def test_mount_of_a_killed_process_is_replaced(nodes: Nodes) -> None:
    (one,) = nodes.start(1)
    process = one.process
    assert process is not None
    process.kill()
    process.wait()
    assert failing(lambda: os.listdir(one.mfs)) == "ENOTCONN"
    one.start(nodes.table)
    assert "1" in os.listdir(one.mfs)
    one.stop()
    assert not os.path.ismount(one.mfs)
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def test_what_is_mounted_again_is_not_given_the_answers_of_before(pair: list[MfsNode]) -> None:
    """The kernel numbers each mount's requests from the start, and a peer knows by the number what it has answered."""
    one, two = pair
    for name in "abcdefgh":
        (two.root / name).write_text(name)
    for name in "abcd":
        assert one.path(2, name).read_text() == name
    kept = one.path(2, "a").open("rb")
    subprocess.run(["umount", "-l", one.mfs], check=True)
    kept.close()
    one.tell("mount")
    for name in "efgh":
        assert one.path(2, name).read_text() == name
        one.path(2, name).write_text(2 * name)
    assert [(two.root / name).read_text() for name in "abcdefgh"] == [*"abcd", "ee", "ff", "gg", "hh"]
    assert (one.control / "asked").read_text().count("2 lookup") == 1, "the counters go on"
