"""Two machines in network namespaces on one bridge, with MFS between them, and the file systems it is compared with.

Rules:

1. It runs inside namespaces of its own (mounts, processes, network), which end with it: nothing is left, whatever
   happens. Nothing is ever removed inside: what is mounted there shows the root of this machine.
2. Machine 1 uses; machine 2 owns. Both run ``openmosixd`` as a node does, and machine 2 an sshd.
3. All file systems show the root of one machine, with the same files in ``FILES``, and none of them caches anything.
4. A cut is silent: machine 2's cable is off the bridge.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

from moslab.errors import LabError
from moslab.wait import eventually

BRIDGE = "lab"
FILES = Path("/srv")
ADDRESS = "10.0.0."
USER, OWNER = 1, 2
READY_S = 15.0
CALL_S = 30.0
PROGRAMS = ("ip", "mount", "nsenter", "ssh-keygen", "sshfs", "taskset", "unshare")
SOURCE = Path(__file__).parents[3]
PROGRAM = "import sys; sys.path.insert(0, sys.argv.pop(1)); from {module} import main; sys.exit(main())"
UNCACHED = "dir_cache=no,entry_timeout=0,attr_timeout=0,negative_timeout=0"
SSH = "StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,GlobalKnownHostsFile=/dev/null,LogLevel=ERROR"
SSHD = """\
ListenAddress {address}
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
PidFile none
StrictModes no
UsePAM no
Subsystem sftp internal-sftp
"""


def python() -> str:
    """What a node runs: the system's own Python, else this one."""
    return shutil.which("python3", path="/usr/bin") or sys.executable


class Machine:
    """One machine: a network namespace that a sleeping process holds, and openmosixd in it."""

    def __init__(self, number: int, folder: Path, table: Path, key: Path) -> None:
        self.number = number
        self.address = f"{ADDRESS}{number}"
        self.mfs, self.proc = folder / f"mfs{number}", folder / f"proc{number}"
        self.mfs.mkdir()
        self.proc.mkdir()
        self._log = folder / f"log{number}"
        self._table = table
        self._core = str(sorted(os.sched_getaffinity(0))[-number % len(os.sched_getaffinity(0))])
        self._environment = {
            **os.environ, "OPENMOSIX_PROC": str(self.proc), "OPENMOSIX_MFS": str(self.mfs), "OPENMOSIX_KEY": str(key),
            "OPENMOSIX_MAP": str(table), "OPENMOSIX_STATE": str(folder / f"state{number}"),
            "OPENMOSIX_UNSYNCED": str(folder / f"unsynced{number}"),
        }
        self._holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        eventually(self._is_apart, within_s=READY_S, what="a network namespace", every_s=0.01)
        call("ip", "link", "add", self.cable, "type", "veth", "peer", "eth0", "netns", str(self._holder.pid))
        self.plug()
        for words in (
            ("addr", "add", f"{self.address}/24", "dev", "eth0"), ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            call(*self.inside("ip", *words))

    @property
    def cable(self) -> str:
        return f"cable{self.number}"

    def plug(self) -> None:
        """Connect it."""
        call("ip", "link", "set", self.cable, "master", BRIDGE, "up")

    def unplug(self) -> None:
        """Cut it off."""
        call("ip", "link", "set", self.cable, "nomaster")

    def inside(self, *words: str) -> list[str]:
        """The command as one of this machine, which has one core."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "taskset", "-c", self._core, *words]

    def program(self, module: str, *words: str) -> list[str]:
        """A program of openMosix as one of this machine, started as on a node."""
        return self.inside(python(), "-IS", "-c", PROGRAM.format(module=module), str(SOURCE), *words)

    def start(self) -> None:
        """Start openmosixd and configure it."""
        with self._log.open("wb") as log:
            subprocess.Popen(self.program("emulator.daemon"), env=self._environment, stderr=log)
        eventually((self.proc / "hpc/admin/mospe").exists, within_s=READY_S, what=f"openmosixd ({self._log})")
        words = ("-w", "-p", str(self.number), "-f", str(self._table))
        call(*self.program("emulator.tools.setpe", *words), environment=self._environment)

    def _is_apart(self) -> bool:
        return os.readlink(f"/proc/{self._holder.pid}/ns/net") != os.readlink("/proc/self/ns/net")


class Laboratory:
    """All of it. The files are in ``folder``, which is on a disk; what is mounted is in another, in memory."""

    def __init__(self, folder: Path, peers: Path) -> None:
        self._peers = peers
        call("mount", "--bind", str(folder), str(FILES))
        call("mount", "-t", "tmpfs", "tmpfs", "/run")    # sshd wants /run/sshd; nobody outside sees it
        self.folder = folder = Path("/run/lab")
        folder.mkdir()
        call("ip", "link", "set", "lo", "up")
        call("ip", "link", "add", BRIDGE, "type", "bridge")
        call("ip", "link", "set", BRIDGE, "up")
        table, key = folder / "map", folder / "cluster-key"
        table.write_text(f"1 {ADDRESS}1 2\n")
        key.write_bytes(secrets.token_bytes(32))
        self.user, self.owner = (Machine(number, folder, table, key) for number in (USER, OWNER))
        self.user.start()
        self.owner.start()
        self.own, self.other = (self.user.mfs / str(number) / FILES.name for number in (USER, OWNER))
        self.passthrough = self._passthrough()
        self.sshfs = self._sshfs()
        eventually(self.other.is_dir, within_s=READY_S, what=f"{self.other}")

    def _passthrough(self) -> Path:
        """libfuse's own example in C, without any cache, and with one thread: then it is fastest."""
        point = self._point("passthrough_ll")
        program = str(self._peers / "passthrough_ll")
        subprocess.Popen(self.user.inside(program, "-f", "-s", "-o", "source=/,cache=never", str(point)))
        eventually(lambda: os.path.ismount(point), within_s=READY_S, what=program)
        return point / FILES.name

    def _sshfs(self) -> Path:
        point, keys = self._point("sshfs"), self.folder / "ssh"
        keys.mkdir(mode=0o700)
        for name in ("host", "key"):
            call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name))
        (keys / "config").write_text(SSHD.format(address=self.owner.address, folder=keys))
        os.mkdir("/run/sshd", 0o755)
        self._add_user("sshd")
        sshd = str(self._peers / "openssh/usr/sbin/sshd")
        subprocess.Popen(self.owner.inside(sshd, "-D", "-f", str(keys / "config")), stderr=subprocess.DEVNULL)
        options = f"{UNCACHED},{SSH},IdentityFile={keys}/key"
        source = f"root@{self.owner.address}:/"
        command = self.user.inside("sshfs", source, str(point), "-o", options)

        def mounted() -> bool:
            done = subprocess.run(command, capture_output=True, timeout=CALL_S, check=False)
            return done.returncode == 0    # it is not while sshd does not listen yet

        eventually(mounted, within_s=READY_S, what="sshfs")
        return point / FILES.name

    def _add_user(self, name: str) -> None:
        """Have a user, for whoever is inside."""
        try:
            pwd.getpwnam(name)
        except KeyError:
            users = self.folder / "passwd"
            users.write_text(f"{Path('/etc/passwd').read_text(encoding='utf-8')}{name}:x:65533:65534::/run/sshd:/bin/false\n")
            call("mount", "--bind", str(users), "/etc/passwd")

    def _point(self, name: str) -> Path:
        point = self.folder / name
        point.mkdir()
        return point


def call(*words: str, environment: dict[str, str] | None = None) -> str:
    """What a command prints; LabError if it fails."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=CALL_S, env=environment, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        raise LabError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def missing() -> list[str]:
    """The programs that this machine has not."""
    return [name for name in PROGRAMS if shutil.which(name) is None]
