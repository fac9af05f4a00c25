"""The image of a node, from its Dockerfile, on this machine's own programs.

Rules:

1. COPY and RUN are done as they are written, RUN in an overlay of the system directories. What installs packages is
   left out: the packages are this machine's.
2. A node's root is the image's; its system directories (``SYSTEM``) are those of this machine with the image's files
   over them, which nobody can change. From ``/etc`` a copy is taken, as far as it can be read.
3. Where there is no nftables there is iptables: a program that takes what the laboratory tells ``nft`` (``nft``
   beside this file).
"""

from __future__ import annotations

import io
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

from moslab.namespaces import linux
from moslab.namespaces.boot import ENVIRONMENT, bind
from moslab.namespaces.child import limit

SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr")
WRITTEN = ("usr/bin", "usr/sbin", "usr/lib", "sbin")
"""Where the image has files: these directories are made anew over this machine's, whose owner a user has not got."""
PLACES = {"tmp": 0o1777, "var/tmp": 0o1777, "run": 0o755, "proc": 0o755, "sys": 0o755, "dev": 0o755, "root": 0o700,
          "var/lib": 0o755, "var/log": 0o755, "etc/init.d": 0o755}
ETC_BYTES_MAX = 1 << 20
RUN_LIMIT_S = 300.0
INSTALLS = "apt-get"
NFT = "usr/sbin/nft"


def overlay(lower: str, upper: str, work: str, target: str) -> None:
    """An overlay as it is possible in a user namespace; without ``upper`` nobody can change it."""
    options = f"lowerdir={lower},userxattr" + (f",upperdir={upper},workdir={work}" if upper else "")
    linux.mount("overlay", target, "overlay", 0 if upper else linux.READ_ONLY, options)


class Image:
    """``root``: what a node's root begins with; ``system``: the system directories, mounted."""

    def __init__(self, known: str, name: str, folder: str) -> None:
        self.id, self.name = known, name
        self._folder = Path(folder)
        self.root, self.system = f"{folder}/root", f"{folder}/system"
        self._layer = f"{folder}/layer"

    def build(self, context: bytes, dockerfile: str) -> None:
        """Make it; OSError, ValueError with what went wrong."""
        for path in (self.root, self.system, self._layer, f"{self._folder}/work", f"{self._folder}/building"):
            os.makedirs(path)
        _copy_etc(Path(self.root, "etc"))
        for place, mode in PLACES.items():
            os.makedirs(f"{self.root}/{place}", exist_ok=True)
            os.chmod(f"{self.root}/{place}", mode)
        os.symlink("../run", f"{self.root}/var/run")         # relative: the engine looks at it from outside
        self._build(context, dockerfile)
        for name in self._directories():
            overlay(f"{self._layer}/{name}:/{name}", "", "", self._made(f"{self.system}/{name}"))

    def _build(self, context: bytes, dockerfile: str) -> None:
        building, mounted = f"{self._folder}/building", []
        linux.mount(self.root, building, flags=linux.BIND)
        try:
            for name in SYSTEM:
                if os.path.islink(f"/{name}"):
                    os.symlink(os.readlink(f"/{name}"), f"{self.root}/{name}")
            for name in WRITTEN:
                if name.partition("/")[0] in self._directories():
                    self._made(f"{self._layer}/{name}")
            for name in self._directories():
                work = self._made(f"{self._folder}/work/{name}")
                overlay(f"/{name}", self._made(f"{self._layer}/{name}"), work, self._made(f"{building}/{name}"))
                mounted.append(f"{building}/{name}")
            bind("/dev/null", f"{building}/dev/null")
            mounted.append(f"{building}/dev/null")
            self._follow(context, dockerfile, building)
        finally:
            for place in [*reversed(mounted), building]:
                linux.unmount(place)

    def _follow(self, context: bytes, dockerfile: str, root: str) -> None:
        with tarfile.open(fileobj=io.BytesIO(context)) as tar:
            files = {member.name: (member, tar.extractfile(member)) for member in tar if member.isfile()}
            recipe = files[dockerfile][1]
            assert recipe is not None
            for word, rest in instructions(recipe.read().decode()):
                if word == "COPY":
                    source, target = rest.split()
                    for name, (member, content) in files.items():
                        if name.startswith(f"{source}/") and content is not None:
                            _write(f"{root}{target}{name[len(source):]}", content.read(), member.mode)
                elif word == "RUN" and INSTALLS not in rest:
                    _run(rest, root)
        if shutil.which("nft", path=ENVIRONMENT["PATH"]) is None:
            _write(f"{root}/{NFT}", Path(__file__).with_name("nft").read_bytes(), 0o755)

    @staticmethod
    def _directories() -> list[str]:
        return [name for name in SYSTEM if os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")]

    @staticmethod
    def _made(path: str) -> str:
        os.makedirs(path, exist_ok=True)
        return path


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """The words of a Dockerfile, and what follows each."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.strip().partition(" ")
        yield word.upper(), rest.strip()


def write_tar(archive: bytes, root: str) -> None:
    """The files and directories of an archive; those above keep what they are, or are made as usual."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                _write(f"{root}/{member.name}", content.read(), member.mode)
            elif member.isdir():
                os.makedirs(f"{root}/{member.name}", exist_ok=True)


def read_tar(path: str) -> bytes:
    """A file, or a directory with all that is in it, as an archive; FileNotFoundError."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        tar.add(path, os.path.basename(path))
    return stream.getvalue()


def _write(path: str, content: bytes, mode: int) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    os.chmod(path, mode)


def _run(command: str, root: str) -> None:
    def inside() -> None:
        os.chroot(root)
        os.chdir("/")
        limit({"core": (0, 0)})

    done = subprocess.run(
        ["/bin/sh", "-c", command], preexec_fn=inside, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=RUN_LIMIT_S, check=False,
    )
    if done.returncode:
        raise OSError(f"RUN {command}: {done.stdout}{done.stderr}")


def _copy_etc(target: Path) -> None:
    """Rule 2; without what is large, and without what is no file."""
    for folder, folders, names in os.walk("/etc"):
        there = target / os.path.relpath(folder, "/etc")
        there.mkdir(parents=True, exist_ok=True)
        for name in [*names, *(name for name in folders if os.path.islink(f"{folder}/{name}"))]:
            source = f"{folder}/{name}"
            try:
                found = os.lstat(source)
                if stat.S_ISLNK(found.st_mode):
                    os.symlink(os.readlink(source), there / name)
                elif stat.S_ISREG(found.st_mode) and found.st_size <= ETC_BYTES_MAX:
                    shutil.copy2(source, there / name)
            except OSError:                                  # it may not be read
                continue
