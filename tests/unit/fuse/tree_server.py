"""Serves a small tree on the mount point in argv[1] until TERM; what is written to ``log`` goes to stdout."""

from __future__ import annotations

import errno
import signal
import sys

from emulator.fuse.mount import mount, unmount
from emulator.fuse.session import Session
from emulator.fuse.tree import Context, Directory, File, Reply, Symlink, TreeFilesystem
from emulator.reactor import Reactor

reactor = Reactor()


class Value(File):
    """Read and written at once; counts how often it was read."""

    def __init__(self, mode: int = 0o644) -> None:
        super().__init__(mode)
        self.value = b"0\n"
        self.reads = 0

    def read(self, context: Context, reply: Reply) -> None:
        self.reads += 1
        reply(self.value)

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        self.value = data
        reply(errno.EINVAL if data == b"bad\n" else 0)


class Slow(File):
    """Answers after a while: who asked, and how often."""

    def read(self, context: Context, reply: Reply) -> None:
        reactor.call_later(1.0, lambda: reply(b"%d %d\n" % (context.uid, context.pid)))


class Never(File):
    """Takes a write and never ends it."""

    def write(self, context: Context, data: bytes, reply: Reply) -> None:
        print("begun", flush=True)


class Numbers(Directory):
    """Any number is there, ten of them are listed, each made when asked for."""

    def lookup(self, name: str, context: Context) -> Value | None:
        return Value() if name.isdecimal() else None

    def entries(self) -> list[tuple[str, Value]]:
        return [(str(number), Value()) for number in range(10)]


def tree() -> Directory:
    root, big = Directory(), Value()
    big.value = bytes(range(256)) * 1000
    for name, node in (("value", Value()), ("big", big), ("root", Value(0o600)), ("slow", Slow())):
        root.add(name, node)
    root.add("never", Never(0o200))
    root.add("numbers", Numbers())
    root.add("link", Symlink("value"))
    root.add("closed", Directory(0o700))
    return root


def main() -> None:
    fd = mount(sys.argv[1], "hpc")
    try:
        session = Session(reactor, fd, TreeFilesystem(tree()), reactor.stop)
        signal.signal(signal.SIGTERM, lambda *_: reactor.stop())
        reactor.call_later(0, lambda: print("ready", flush=True))
        reactor.run()
        print("ended", flush=True)
    finally:
        try:
            unmount(sys.argv[1])
        except OSError:
            pass  # by somebody else
    session.close()


if __name__ == "__main__":
    main()
