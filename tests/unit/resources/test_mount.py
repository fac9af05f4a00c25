"""``mosha mount`` on a real kernel, in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mosha.platform import mountinfo
from mosha.platform.mountinfo import Mount
from mosha.resources import ending, records
from mosha.resources.ending import HeldMount
from mosha.resources.records import RUN_VARIABLE, Busy
from tests.unit.clinit.leashed import Agent
from tests.unit.resources.network import Namespace, wait_until

MOUNT = "import sys; from mosha.resources.mount import main; sys.exit(main(sys.argv[1:]))"
REMOVE = "from mosha.resources import remove_left; print(remove_left({group!r}, {rundir!r}, 5.0, {cut}))"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a loop device needs root")


class Node(Namespace):
    """A mount namespace with a run directory, and a directory to mount on."""

    def __init__(self, path: Path) -> None:
        super().__init__("mount")
        self.rundir, self.directory, self.image = str(path / "run"), path / "on", path / "image"
        self.directory.mkdir()

    def mounts(self) -> list[Mount]:
        return mountinfo.parse(Path(f"/proc/{self.pid}/mountinfo").read_bytes())

    def mounted(self) -> Mount | None:
        return mountinfo.top(self.mounts(), str(self.directory))

    def records(self) -> list[HeldMount]:
        return records.contents(self.rundir, HeldMount, None)

    def resource(self, *arguments: str, group: str = "kv") -> subprocess.Popen[str]:
        arguments = arguments or ("-t", "tmpfs", "none", str(self.directory))
        environment = {"MOSHA_GROUP": group, RUN_VARIABLE: self.rundir}
        return self.popen(sys.executable, "-c", MOUNT, *arguments, **environment)

    def hold(self, *arguments: str, group: str = "kv") -> subprocess.Popen[str]:
        """One that has mounted."""
        resource = self.resource(*arguments, group=group)
        wait_until(lambda: any(record.number is not None for record in self.records()))
        return resource

    def remove_left(self, group: str | None, cut: bool = True) -> bool:
        return self.run(sys.executable, "-c", REMOVE.format(group=group, rundir=self.rundir, cut=cut)) == "True\n"

    def format(self) -> tuple[str, ...]:
        """Make a file system in a file; how it is mounted."""
        with self.image.open("wb") as stream:
            stream.truncate(16 << 20)
        subprocess.run(["mkfs.ext4", "-q", str(self.image)], check=True)
        return "-t", "ext4", "-o", "loop", str(self.image), str(self.directory)

    def shell(self, script: str) -> str:
        return self.run("sh", "-ec", script)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    one = Node(tmp_path)
    try:
        yield one
    finally:
        one.close()


def end(process: subprocess.Popen[str], signo: int = signal.SIGTERM) -> tuple[int, str]:
    """Its exit status and what it said."""
    process.send_signal(signo)
    said = process.communicate(timeout=10)[1]
    return process.returncode, said


# ---- the holder -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_it_is_mounted_while_it_runs(node: Node, signo: int) -> None:
    resource = node.hold("-t", "tmpfs", "-o", "size=64k,noexec", "none", str(node.directory))
    mount = node.mounted()
    assert mount is not None
    assert node.records() == [HeldMount("kv", str(node.directory), "none", mount.number)]
    assert "noexec" in node.shell(f"grep {node.directory} /proc/self/mountinfo")
    assert end(resource, signo) == (0, "")
    assert node.mounted() is None
    assert node.records() == []


def test_the_end_waits_for_who_uses_it(node: Node) -> None:
    resource = node.hold()
    user = node.popen("sh", "-c", f"cd {node.directory}; echo in; exec sleep 60")
    assert user.stdout is not None
    assert user.stdout.readline() == "in\n"
    resource.terminate()
    assert resource.stderr is not None
    assert "busy, trying again" in resource.stderr.readline()
    assert node.mounted() is not None
    user.kill()
    assert resource.wait(10) == 0
    assert node.mounted() is None


def test_where_something_is_mounted_nothing_is_mounted(node: Node) -> None:
    node.run("mount", "-t", "tmpfs", "other", str(node.directory))
    resource = node.resource()
    said = resource.communicate(timeout=10)[1]
    assert said == f"mosha mount: something is mounted on {node.directory} already\n"
    assert resource.returncode == 1
    mount = node.mounted()
    assert mount is not None
    assert mount.source == "other"
    assert node.records() == []


def test_what_an_earlier_life_left_is_unmounted_first(node: Node) -> None:
    end(node.hold(), signal.SIGKILL)
    stranger = node.resource(group="web")
    assert "already" in stranger.communicate(timeout=10)[1]
    node.shell(f"touch {node.directory}/old")
    resource = node.resource()
    wait_until(lambda: node.mounted() and not node.shell(f"ls {node.directory}"))
    assert end(resource) == (0, "")
    assert node.mounted() is None


def test_one_holds_it_and_no_second(node: Node) -> None:
    resource = node.hold()
    second = node.resource()
    assert second.communicate(timeout=10)[1] == f"mosha mount: another process holds {node.directory}\n"
    assert second.returncode == 1
    assert end(resource) == (0, "")


@pytest.mark.parametrize(
    ("source", "directory", "reason"),
    [("/nowhere/image", "on", "/nowhere/image"), ("none", "missing", "mount point does not exist")],
)
def test_what_cannot_be_mounted_is_told(node: Node, source: str, directory: str, reason: str) -> None:
    kind = "tmpfs" if source == "none" else "ext4"
    resource = node.resource("-t", kind, source, str(node.directory.parent / directory))
    said = resource.communicate(timeout=10)[1]
    assert resource.returncode == 1
    assert said.startswith("mosha mount: mount: ")
    assert reason in said
    assert said.count("\n") == 1
    assert node.records() == []


def test_a_signal_ends_a_mount_that_takes_long(node: Node) -> None:
    slow = node.directory.parent / "mount"
    slow.write_text("#!/bin/sh\ntouch $0.began\nsleep 60\n")
    slow.chmod(0o755)
    path = f"{slow.parent}:{os.environ['PATH']}"
    resource = node.popen(
        sys.executable, "-c", MOUNT, "none", str(node.directory), PATH=path, MOSHA_GROUP="kv", MOSHA_RUN=node.rundir
    )
    wait_until(Path(f"{slow}.began").exists)
    assert len(node.records()) == 1, "there is a record before the mount"
    assert end(resource) == (0, "")
    assert node.records() == []


def test_a_mount_that_somebody_else_ends_is_told(node: Node) -> None:
    resource = node.hold()
    node.run("umount", str(node.directory))
    assert resource.communicate(timeout=10)[1] == f"mosha mount: {node.directory} is not mounted any more\n"
    assert resource.returncode == 1
    assert node.records() == []


# ---- what is left ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ["kv", None])
def test_what_a_killed_one_left_can_be_taken_away(node: Node, group: str | None) -> None:
    end(node.hold(), signal.SIGKILL)
    assert node.remove_left("other")
    assert node.mounted() is not None
    assert node.remove_left(group)
    assert node.mounted() is None
    assert node.records() == []


@pytest.mark.parametrize("cut", [False, True])
def test_an_interpreter_without_ctypes_asks_umount(node: Node, cut: bool) -> None:
    end(node.hold(), signal.SIGKILL)
    code = "from mosha.platform import linux; linux._umount2 = None; " + REMOVE
    assert node.run(sys.executable, "-c", code.format(group="kv", rundir=node.rundir, cut=cut)) == "True\n"
    assert node.mounted() is None


def test_one_that_runs_by_hand_is_no_groups(node: Node) -> None:
    resource = node.resource(group="")
    wait_until(node.mounted)
    assert node.remove_left(None)
    assert node.mounted() is not None
    assert end(resource) == (0, "")


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("user", ["process", "mount"])
def test_one_that_is_in_use_is_detached(node: Node, user: str, cut: bool) -> None:
    end(node.hold(), signal.SIGKILL)
    if user == "process":
        process = node.popen("sh", "-c", f"cd {node.directory}; echo in; exec sleep 60")
        assert process.stdout is not None
        assert process.stdout.readline() == "in\n"
    else:
        node.shell(f"mkdir {node.directory}/d; mount -t tmpfs inner {node.directory}/d")
    assert node.remove_left("kv", cut)
    assert node.mounted() is None
    assert node.records() == []


def test_a_mount_over_it_is_nobody_elses_to_end(node: Node) -> None:
    end(node.hold(), signal.SIGKILL)
    node.run("mount", "-t", "tmpfs", "other", str(node.directory))
    assert not node.remove_left("kv")
    node.run("umount", str(node.directory))
    assert node.remove_left("kv")
    assert node.mounted() is None


def test_a_later_mount_of_somebody_else_stays(node: Node) -> None:
    end(node.hold(), signal.SIGKILL)
    node.shell(f"umount {node.directory}; mount -t tmpfs a /mnt; mount -t tmpfs other {node.directory}")
    mount = node.mounted()
    assert mount is not None
    (content,) = node.records()
    record = records.lock(node.rundir, content)
    assert record is not None
    record.update(number=mount.number + 1)           # numbers are used again
    record.close()
    assert node.remove_left("kv")
    assert node.mounted() == mount
    assert node.records() == []


def test_who_does_not_end_in_time_is_left_and_the_record_tells(node: Node) -> None:
    record = records.write(node.rundir, HeldMount("kv", str(node.directory), "none", 1))
    assert not ending.remove_left("kv", node.rundir, 1.0, True), "somebody holds it"
    record.close()
    began_s = time.monotonic()
    assert not ending._bounded(lambda: bool(signal.sigwait([signal.SIGUSR2])), 0.1)
    assert ending._bounded(lambda: True, 1.0)
    assert not ending._bounded(lambda: False, 1.0)
    assert time.monotonic() < began_s + 5
    assert ending.remove_left("kv", node.rundir, 1.0, True)


# ---- the leash ------------------------------------------------------------------------------------------------


@pytest.fixture
def agent(node: Node) -> Iterator[Agent]:
    one = Agent(*node.enter, **{RUN_VARIABLE: node.rundir})
    try:
        yield one
    finally:
        one.end()


def run(node: Node, agent: Agent, *arguments: str, more: str = "", lease_s: float = 60.0) -> None:
    command = " ".join(arguments or ("-t", "tmpfs", "none", str(node.directory)))
    holder = f"PYTHONPATH={':'.join(sys.path)} exec {sys.executable} -c '{MOUNT}' {command}"
    agent.start(lease_s).tell("start", f"m:start:respawn:{holder}", *([more] if more else []))
    wait_until(lambda: any(record.number is not None for record in node.records()))


@pytest.mark.parametrize("end_of", ["lease", "leash", "agent"])
def test_the_mount_ends_with_the_lease(node: Node, agent: Agent, end_of: str) -> None:
    run(node, agent, lease_s=3.0 if end_of == "lease" else 60.0)
    if end_of == "agent":
        agent.process.kill()
        wait_until(lambda: node.mounted() is None)
        return
    if end_of == "leash":
        agent.do("kill")
    agent.wait("empty")
    agent.wait("gone")
    assert node.mounted() is None
    assert node.records() == []


def test_a_stop_in_order_ends_it_though_its_holder_was_killed(node: Node, agent: Agent) -> None:
    user = f"cd {node.directory} && trap : INT TERM; while :; do sleep 1; done"
    run(node, agent, more=f"u:start:respawn:while ! grep -q {node.directory} /proc/mounts; do :; done; {user}")
    os.kill(agent.pid_of("m"), signal.SIGSTOP)
    agent.do("tell", "stop", "")
    agent.do("finish")
    assert agent.wait("gone")["status"] == 0
    assert node.mounted() is None


def test_the_agent_is_told_of_a_mount_that_cannot_be_ended(node: Node, agent: Agent) -> None:
    run(node, agent)
    node.run("mount", "-t", "tmpfs", "other", str(node.directory))
    agent.do("kill")
    agent.wait("left")
    agent.wait("gone")
    node.run("umount", str(node.directory))
    assert node.remove_left(agent.group)


# ---- file systems with a device -------------------------------------------------------------------------------


@needs_root
def test_a_stop_in_order_writes_everything(node: Node) -> None:
    how = node.format()
    resource = node.hold(*how)
    node.shell(f"echo late > {node.directory}/late")
    assert end(resource) == (0, "")
    node.run("mount", *how)
    assert node.shell(f"cat {node.directory}/late") == "late\n"


@needs_root
@pytest.mark.parametrize("in_use", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_after_a_kill_the_file_system_writes_nothing(node: Node, cut: bool, in_use: bool) -> None:
    """What was synced is there, what was not only if it was not cut; and nobody can write any more."""
    how = node.format()
    resource = node.hold(*how)
    node.shell(f"cd {node.directory}; echo synced > a; sync -f a; echo late > late")
    go = node.directory.parent / "go"
    script = f"cd {node.directory}; echo in; while [ ! -e {go} ]; do sleep 0.05; done; echo more > more"
    user = node.popen("sh", "-c", script if in_use else "echo in")
    assert user.stdout is not None
    assert user.stdout.readline() == "in\n"
    end(resource, signal.SIGKILL)
    assert node.remove_left("kv", cut)
    assert node.mounted() is None
    assert node.records() == []
    go.touch()
    assert ("cannot create more" in user.communicate(timeout=10)[1]) == in_use
    wait_until(lambda: str(node.image) not in node.run("losetup", "-a"))
    node.run("mount", *how)
    assert node.shell(f"ls {node.directory}").split() == ["a", *([] if cut else ["late"]), "lost+found"]
    assert node.shell(f"cat {node.directory}/a") == "synced\n"


@needs_root
def test_a_file_system_that_others_use_is_not_cut(node: Node) -> None:
    resource = node.hold(*node.format())
    node.run("mount", "--bind", str(node.directory), "/mnt")
    end(resource, signal.SIGKILL)
    assert node.remove_left("kv")
    assert node.mounted() is None
    assert node.shell("echo on > /mnt/on; sync -f /mnt/on; cat /mnt/on") == "on\n"


@needs_root
def test_one_that_cannot_be_cut_and_is_in_use_has_not_ended(node: Node) -> None:
    """As ext2: detached, it may write back later."""
    how = node.format()
    subprocess.run(["mkfs.ext2", "-q", "-F", str(node.image)], check=True)
    resource = node.hold("-t", "ext2", *how[2:])
    user = node.popen("sh", "-c", f"cd {node.directory}; echo in; exec sleep 60")
    assert user.stdout is not None
    assert user.stdout.readline() == "in\n"
    end(resource, signal.SIGKILL)
    assert not node.remove_left("kv")
    assert node.mounted() is None
    assert not node.remove_left("kv")
    user.kill()
    wait_until(lambda: node.remove_left("kv"))
    assert node.records() == []


FUSE = """
import ctypes, os, sys, time
fd = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
assert ctypes.CDLL(None, use_errno=True).mount(b"dead", sys.argv[1].encode(), b"fuse", 0, options) == 0
print("mounted", flush=True)
time.sleep(60)
"""


@needs_root
@pytest.mark.skipif(not Path("/dev/fuse").exists(), reason="there is no /dev/fuse")
def test_a_server_that_does_not_answer_is_not_waited_for(node: Node) -> None:
    """Nor by a process that waits for it: it gets an error."""
    records.write(node.rundir, HeldMount("kv", str(node.directory), "dead")).close()
    server = node.popen(sys.executable, "-c", FUSE, str(node.directory))
    assert server.stdout is not None
    assert server.stdout.readline() == "mounted\n"
    waiting = node.popen("ls", str(node.directory))
    began_s = time.monotonic()
    assert node.remove_left("kv")
    assert time.monotonic() < began_s + 2
    assert node.mounted() is None
    assert waiting.wait(10) != 0


# ---- parts ----------------------------------------------------------------------------------------------------

MOUNTINFO = rb"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 8:16 / /srv/a\040b rw master:1 - xfs /dev/sdb rw
31 30 0:40 / /srv/a\040b rw - tmpfs none rw
32 22 8:1 /home /mnt rw - ext4 /dev/sda1 rw
not a line
"""


def test_mountinfo_is_understood() -> None:
    mounts = mountinfo.parse(MOUNTINFO)
    assert [mount.number for mount in mounts] == [22, 30, 31, 32]
    assert mounts[1] == Mount(30, 22, "8:16", "/srv/a b", "xfs", "/dev/sdb")
    assert mountinfo.top(mounts, "/srv/a b") == mounts[2]
    assert mountinfo.top(mounts, "/srv") is None
    assert [mountinfo.is_alone(mounts, mount) for mount in mounts] == [False, True, True, False]


def test_records(tmp_path: Path) -> None:
    rundir = str(tmp_path)
    assert records.contents(rundir, HeldMount, None) == []
    outer, inner, other = HeldMount("kv", "/srv", "a"), HeldMount("kv", "/srv/in", "b"), HeldMount("web", "/srv", "a")
    held = [records.write(rundir, content) for content in (outer, inner, other)]
    assert sorted(records.contents(rundir, HeldMount, "kv"), key=lambda one: one.what) == [outer, inner]
    assert len(records.contents(rundir, HeldMount, None)) == 3
    with pytest.raises(Busy):
        records.lock(rundir, outer)
    with pytest.raises(Busy):
        records.write(rundir, outer)
    held[0].update(number=7)
    with pytest.raises(Busy):
        records.lock(rundir, outer)
    held[0].close()
    again = records.lock(rundir, outer)
    assert again is not None
    assert again.content.number == 7
    again.remove()
    assert records.lock(rundir, outer) is None
    Path(rundir, "mounts", "strange").write_text(json.dumps({"group": "kv"}))
    assert records.contents(rundir, HeldMount, "kv") == [inner]
    for record in held[1:]:
        record.close()
