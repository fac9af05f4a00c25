"""Runs on a machine as root, ``python3 -IS -c LAUNCH BYTES RUN NODE``: it keeps the agent there, and ends everything.

It hears requests, one line of JSON each, and answers each with one (:meth:`Keeper.answer`). All that is on the
machine is below ``/var/lib/moslab/RUN`` and ``/run/moslab/RUN``, in the table ``inet moslab`` of nftables, and in
processes that have ``MOSLAB_RUN=RUN`` in their environment.

Rules:

1. **Dead man's timer.** When its input ends, or nothing was heard for ``SILENCE_S``, the laboratory is gone: all of
   this is healed and removed. So it is when that is asked for, and when the keeper crashes or is killed: the guard
   that does it is another process, its parent.
2. One laboratory at a time has a machine: the lock ends with the guard. What an earlier one could not remove, as the
   machine lost its power, is removed first.
3. The agent is started again when it ends, as by an init. What it says is written down with the time.
4. Journals are of a boot, as their times are.
"""

from __future__ import annotations

import base64
import fcntl
import importlib
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
from typing import Any

SILENCE_S = 60.0
HANG_S = 180
LOCK_LIMIT_S = 45.0
COMPILE_LIMIT_S = 120.0
ENDS_IN_S, KILLED_IN_S = 20.0, 10.0
LOOK_EVERY_S = 0.05
RESPAWN_S = 0.5                  # from one beginning of the agent to the next, at least
LINE_BYTES_MAX = 64 << 20
LOG_BYTES_MAX = 4 << 20
OUTPUT_BYTES_MAX = 16 << 20
HOME, RUNS, LOCK = "/var/lib/moslab", "/run/moslab", "/run/moslab.lock"
TABLE = "inet moslab"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
BOOT_ID = "/proc/sys/kernel/random/boot_id"


def read(path: str) -> bytes:
    """A small file; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError:
        return b""


def boot() -> str:
    """Of this boot and no other."""
    return read(BOOT_ID).decode().strip()


# ---- the end --------------------------------------------------------------------------------------------------------


def marked(run: str) -> list[int]:
    """The processes of a run."""
    wanted = f"MOSLAB_RUN={run}".encode()
    return [int(name) for name in os.listdir("/proc")
            if name.isdigit() and wanted in read(f"/proc/{name}/environ").split(b"\0")]


def agents() -> set[int]:
    """The processes of agents, whoever's, and of their commands."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()
            and any(word.endswith(b"bin/mosha") for word in read(f"/proc/{name}/cmdline").split(b"\0")[:4])}


def send(pids: list[int], signo: int) -> None:
    """A signal to all that are still there."""
    for pid in pids:
        try:
            os.kill(pid, signo)
        except ProcessLookupError:
            pass


def is_gone(run: str, within_s: float, signo: int = 0) -> bool:
    """Whether no process of the run is there, within that time; the signal is sent at each look."""
    deadline_s = time.monotonic() + within_s
    while left := marked(run):
        if time.monotonic() > deadline_s:
            return False
        send(left, signo)
        time.sleep(LOOK_EVERY_S)
    return True


def nft(text: str) -> str:
    """Apply rules; what is wrong."""
    try:
        done = subprocess.run(["nft", "-f", "-"], input=text.encode(), capture_output=True, timeout=20, check=False,
                              env={"PATH": PATH})
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nft: {error}"
    return done.stderr.decode(errors="replace").strip() if done.returncode else ""


def clean(run: str) -> None:
    """Heal and remove all of a run; the agent ends in order, if it can."""
    nft(f"add table {TABLE}\ndelete table {TABLE}\n")
    send(marked(run), signal.SIGCONT)
    agent = read(f"{RUNS}/{run}/agent.pid")
    send([pid for pid in marked(run) if agent == str(pid).encode()], signal.SIGTERM)
    if not is_gone(run, ENDS_IN_S if agent else 0.0):
        is_gone(run, KILLED_IN_S, signal.SIGKILL)
    for path in (f"{RUNS}/{run}", f"{HOME}/{run}"):
        shutil.rmtree(path, ignore_errors=True)
    for path in (RUNS, HOME):
        try:
            os.rmdir(path)
        except OSError:                                      # another run's
            pass


# ---- while the laboratory is there ----------------------------------------------------------------------------------


class Refused(Exception):
    """What a request cannot have; the text is the answer."""


class Command:
    """One that runs for the laboratory, which waits for the answer."""

    def __init__(self, number: int, words: list[str], limit_s: float, environment: dict[str, str]) -> None:
        self.number, self.deadline_s = number, time.monotonic() + limit_s
        self._out, self._err = tempfile.TemporaryFile(), tempfile.TemporaryFile()    # noqa: SIM115
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err,
                                         env=environment, start_new_session=True)

    def result(self) -> dict[str, Any] | None:
        """When it has ended; Refused if it does not in time."""
        code = self._process.poll()
        if code is None and time.monotonic() < self.deadline_s:
            return None
        with self._out as out, self._err as err:
            if code is None:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
                raise Refused("it did not end in time, and was killed")
            for file in (out, err):
                file.seek(0)
            return {"code": code, **{name: file.read(OUTPUT_BYTES_MAX).decode(errors="replace")
                                     for name, file in (("out", out), ("err", err))}}


class Keeper:
    """See the rules."""

    def __init__(self, run: str, node: str, source: int = 0) -> None:
        self.run, self.node, self.input = run, node, source
        self.home = f"{HOME}/{run}"
        self.journals = f"{self.home}/journals/{boot()}"
        self.environment = {"PATH": f"{self.home}/bin:{PATH}", "MOSHA_CONFIG": f"{self.home}/mosha.conf",
                            "MOSLAB_RUN": run}
        self.agent: subprocess.Popen[bytes] | None = None
        self.is_wanted, self.began_s = False, 0.0
        self.commands: list[Command] = []
        self.heard_s = time.monotonic()
        self.said: dict[int, bytes] = {}                     # by the end of a pipe: the line that is not whole yet

    # -- its loop ----------------------------------------------------------------------------------

    def keep(self) -> None:
        """Returns when the laboratory is gone, or says so (rule 1)."""
        heard = b""
        while True:
            signal.alarm(HANG_S)                             # by which it is killed if it hangs in what follows
            ready, _, _ = select.select([self.input, *self.said], [], [], LOOK_EVERY_S)
            if self.input not in ready and time.monotonic() > self.heard_s + SILENCE_S:
                return
            for fd in ready:
                data = os.read(fd, 1 << 20)
                if fd == self.input:
                    heard += data
                    if not data or len(heard) > LINE_BYTES_MAX:
                        return
                else:
                    self.hear_agent(fd, data)
            while b"\n" in heard:
                line, _, heard = heard.partition(b"\n")
                self.heard_s = time.monotonic()
                if not self.obey(json.loads(line)):
                    return
            self.look_after()

    def obey(self, request: dict[str, Any]) -> bool:
        """False: it is over."""
        if request["do"] == "end":
            return False
        if request["do"] != "alive":
            try:
                answer = self.answer(request)
            except Refused as refused:
                answer = {"refused": str(refused)}
            except (OSError, ValueError, zipfile.BadZipFile) as error:
                answer = {"refused": f"{type(error).__name__}: {error}"}
            if answer is not None:
                self.say(request["id"], answer)
        return True

    def say(self, number: int, answer: dict[str, Any]) -> None:
        text = json.dumps({**answer, "id": number, "now": time.monotonic(), "boot": boot()}).encode() + b"\n"
        while text:
            text = text[os.write(1, text):]

    def look_after(self) -> None:
        """Rule 3, and commands that have ended."""
        is_gone = self.agent is None or self.agent.poll() is not None
        if self.is_wanted and is_gone and time.monotonic() > self.began_s + RESPAWN_S:
            self.begin_agent()
        for command in list(self.commands):
            try:
                answer = command.result()
            except Refused as refused:
                answer = {"refused": str(refused)}
            if answer is not None:
                self.commands.remove(command)
                self.say(command.number, answer)

    # -- the agent ---------------------------------------------------------------------------------

    def begin_agent(self) -> None:
        self.began_s = time.monotonic()
        read_end, write_end = os.pipe()
        self.said[read_end] = b""
        os.makedirs(f"{RUNS}/{self.run}", exist_ok=True)
        self.agent = subprocess.Popen([f"{self.home}/bin/mosha"], stdin=subprocess.DEVNULL, stdout=write_end,
                                      stderr=write_end, env=self.environment, cwd="/", start_new_session=True)
        os.close(write_end)
        with open(f"{RUNS}/{self.run}/agent.pid", "w", encoding="ascii") as file:
            file.write(str(self.agent.pid))

    def hear_agent(self, fd: int, data: bytes) -> None:
        lines = (self.said[fd] + data).split(b"\n")
        self.said[fd] = lines.pop()[:4096]
        log = f"{self.home}/log"
        with open(log, "ab") as file:
            file.writelines(f"{time.monotonic()} {boot()} ".encode() + line + b"\n" for line in lines)
            if file.tell() > LOG_BYTES_MAX:
                if os.path.exists(f"{log}.old"):
                    self.write("log.forgotten", "", 0o644)
                os.replace(log, f"{log}.old")
        if not data:
            del self.said[fd]
            os.close(fd)

    # -- requests ----------------------------------------------------------------------------------

    def answer(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """What is asked for; None: later. Refused, OSError, ValueError say why not."""
        do = request["do"]
        if do == "clock":
            return {}
        if do == "check":
            return {"missing": self.missing(request["mfsbase"], request["hpcbase"], request["nodes"], request["cut"])}
        if do == "install":
            self.install(request["archive"], request["files"])
            return {}
        if do == "begin":
            self.begin()
            return {}
        if do == "look":
            return {"looks": self.looks(request["whole"])}
        if do == "signal":
            return {"pids": self.signal(request["role"], request["signals"])}
        if do == "cut":
            return self.cut(request["rules"], request["sources"])
        if do == "write":
            self.write(request["path"], request["text"], 0o644)
            return {}
        if do == "read":
            log = b"".join(map(read_whole, (f"{self.home}/log.old", f"{self.home}/log")))
            return {"log": log.decode(errors="replace"), "is_whole": not os.path.exists(f"{self.home}/log.forgotten"),
                    "files": len(os.listdir(f"{self.home}/var"))}
        if do == "run":
            self.commands.append(Command(request["id"], request["words"], request["limit"], self.environment))
            return None
        raise Refused(f"a keeper does not {do}")

    def missing(self, mfsbase: str, hpcbase: str, nodes: list[int], cut: bool) -> list[str]:
        """What this machine would need, in words."""
        found = [
            (not cut or shutil.which("nft", path=PATH) is not None, "nft, or `cut = false` in the inventory"),
            (os.path.isdir(f"{hpcbase}/nodes"), f"{hpcbase}: openMosix, or its emulation, at work"),
            (os.path.isdir(f"{mfsbase}/{self.node}"), f"{mfsbase}/{self.node}: MFS mounted, and a node {self.node}"),
        ]
        missing = [what for is_there, what in found if not is_there]
        if not missing:
            mapped = sorted(int(name) for name in os.listdir(f"{hpcbase}/nodes") if name.isdigit())
            if mapped != nodes:
                missing.append(f"a map of just the inventory's nodes: it has {mapped}")
        others = agents() - set(marked(self.run))
        return missing + [f"to have no other agent: process {pid} is one" for pid in sorted(others)[:1]]

    def install(self, archive: str, files: dict[str, tuple[str, int]]) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        with zipfile.ZipFile(io.BytesIO(base64.b64decode(archive))) as packed:
            packed.extractall(f"{self.home}/lib")
        for path, (text, mode) in files.items():
            self.write(path, text, mode)
        subprocess.run(["/usr/bin/python3", "-IS", "-m", "compileall", "-q", f"{self.home}/lib"], check=False,
                       timeout=COMPILE_LIMIT_S, capture_output=True)

    def begin(self) -> None:
        """Run the agent from now on; what it says and witnesses is of this boot (rule 4)."""
        if not os.path.isdir(f"{self.home}/lib"):
            raise Refused("nothing is installed: the laboratory was gone for too long, and all was removed")
        os.makedirs(self.journals, exist_ok=True)
        san = f"{self.home}/san"
        if os.path.islink(san):
            os.unlink(san)
        os.symlink(self.journals, san)
        self.is_wanted = True

    def looks(self, whole: bool) -> dict[str, Any]:
        """What :mod:`moslab.reader` says of the journals: of all boots, or of what runs now."""
        reader = self.module("reader")
        boots = sorted(os.listdir(f"{self.home}/journals")) if whole else [boot()]
        looks = {}
        for one in boots:
            directory = f"{self.home}/journals/{one}"
            looks[one] = {"lives": reader.lives(directory, whole), "freezes": reader.freezes(directory),
                          "forgotten": reader.forgotten(directory), "now": time.monotonic()}
        return looks

    def signal(self, role: str, signals: list[int]) -> list[int]:
        """To a role (:mod:`moslab.faults.inside`), or none; their pids."""
        inside = self.module("inside")
        inside.FREEZES = f"{self.journals}/{inside.FREEZES.rpartition('/')[2]}"
        pids: list[int] = inside.act(self.node, role, signals)
        return pids

    def cut(self, rules: str, addresses: list[str]) -> dict[str, Any]:
        """Have these rules and no others. Refused for one that would cut the laboratory off."""
        laboratory = os.environ.get("SSH_CONNECTION", "").split(" ")[0]
        if laboratory in addresses:
            raise Refused(f"{laboratory} is where the laboratory speaks from: give it another address (`ssh`)")
        problem = nft(rules)
        if problem:
            raise Refused(problem)
        return {}

    def write(self, path: str, text: str, mode: int) -> None:
        """A file of the run, at once."""
        whole = os.path.join(self.home, path)
        os.makedirs(os.path.dirname(whole), exist_ok=True)
        with open(f"{whole}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(f"{whole}.new", mode)
        os.replace(f"{whole}.new", whole)

    def module(self, name: str) -> Any:
        if f"{self.home}/lib" not in sys.path:
            sys.path.insert(0, f"{self.home}/lib")
        return importlib.import_module(name)


def read_whole(path: str) -> bytes:
    """A log; empty if there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(2 * LOG_BYTES_MAX)
    except FileNotFoundError:
        return b""


# ---- processes ------------------------------------------------------------------------------------------------------


def lock() -> bool:
    """Rule 2; the descriptor stays open."""
    fd = os.open(LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    deadline_s = time.monotonic() + LOCK_LIMIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline_s:
                return False
            time.sleep(LOOK_EVERY_S)


def guard(run: str, node: str) -> int:
    """The parent: outlives the keeper, whatever ends that, and then cleans (rule 1)."""
    for signo in IGNORED:
        signal.signal(signo, signal.SIG_IGN)
    if not lock():
        print(f"another laboratory has had this machine for {LOCK_LIMIT_S:g} s", file=sys.stderr)
        return 3
    for other in os.listdir(HOME) if os.path.isdir(HOME) else []:
        if other != run:
            clean(other)
    pid = os.fork()
    if pid == 0:
        for signo in IGNORED:                                # else the agent, too, would ignore them
            signal.signal(signo, signal.SIG_DFL)
        try:
            Keeper(run, node).keep()
        except BaseException:                                # noqa: BLE001  (the guard's code is not for the child)
            traceback.print_exc()
        os._exit(0)
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)
    os.waitpid(pid, 0)
    clean(run)
    return 0


if __name__ == "__main__":
    sys.exit(guard(sys.argv[2], sys.argv[3]))
