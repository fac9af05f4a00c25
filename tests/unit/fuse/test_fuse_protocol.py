"""Struct layouts against linux/fuse.h, messages, and directory listings."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from emulator.fuse import protocol as fuse
from emulator.fuse.access import R_OK, W_OK, X_OK, permitted, wanted
from emulator.fuse.listing import Listing
from emulator.fuse.protocol import Buffer, Request

SIZES = {  # sizeof() of the structures in linux/fuse.h
    "IN_HEADER": 40,
    "OUT_HEADER": 16,
    "ENTRY_OUT": 128,
    "ATTR_OUT": 104,
    "DIRENT": 24,
    "INIT_OUT": 64,
    "FORGET_IN": 8,
    "FORGET_ONE": 16,
    "BATCH_FORGET_IN": 8,
    "SETATTR_IN": 88,
    "MKNOD_IN": 16,
    "MKDIR_IN": 8,
    "RENAME_IN": 8,
    "RENAME2_IN": 16,
    "LINK_IN": 8,
    "OPEN_IN": 8,
    "OPEN_OUT": 16,
    "CREATE_IN": 16,
    "RELEASE_IN": 24,
    "READ_IN": 40,
    "WRITE_IN": 40,
    "WRITE_OUT": 8,
    "FSYNC_IN": 16,
    "ACCESS_IN": 8,
    "INTERRUPT_IN": 8,
    "LSEEK_IN": 24,
    "LSEEK_OUT": 8,
}


class Answers:
    """Keeps what was answered."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, int, bytes]] = []

    def send(self, request: Request, error: int, buffers: tuple[Buffer, ...]) -> None:
        self.sent.append((request.unique, error, b"".join(buffers)))


def message(opcode: int, body: bytes = b"", unique: int = 2) -> memoryview:
    return memoryview(fuse.IN_HEADER.pack(40 + len(body), opcode, unique, 9, 100, 101, 4711, 0) + body)


@pytest.mark.parametrize(("name", "size"), SIZES.items())
def test_layouts_have_the_kernels_sizes(name: str, size: int) -> None:
    assert getattr(fuse, name).size == size


def test_a_request_knows_who_asks_what() -> None:
    answers = Answers()
    request = Request(answers, message(fuse.LOOKUP, b"name\0"))
    assert (request.opcode, request.nodeid, request.uid, request.gid, request.pid) == (1, 9, 100, 101, 4711)
    assert fuse.names(request.body) == [b"name"]
    request.reply(b"ab", memoryview(b"c"))
    assert answers.sent == [(2, 0, b"abc")]
    with pytest.raises(AssertionError, match="twice"):
        request.fail(errno.EIO)


def test_what_a_handler_raises_is_the_answer() -> None:
    answers = Answers()

    def refuse(_request: Request) -> None:
        raise OSError(errno.EXDEV, "no")

    def fail(_request: Request) -> None:
        raise ZeroDivisionError

    fuse.serve(Request(answers, message(fuse.LINK)), refuse)
    fuse.serve(Request(answers, message(fuse.LINK, unique=4)), fail)
    fuse.serve(Request(answers, message(fuse.LINK, unique=6)), lambda request: request.reply())
    assert answers.sent == [(2, -errno.EXDEV, b""), (4, -errno.EIO, b""), (6, 0, b"")]


def test_forgets_survive_the_way_to_another_node() -> None:
    references = {5: 1, (7 << 48) | 9: 3}
    sent = fuse.batch_forget(references)
    assert int.from_bytes(sent[:4], "little") == len(sent)
    assert dict(fuse.forgotten(Request(Answers(), memoryview(sent)))) == references
    one = Request(Answers(), message(fuse.FORGET, fuse.FORGET_IN.pack(4)))
    assert list(fuse.forgotten(one)) == [(9, 4)]


def test_what_is_in_use_survives_the_way_to_another_node() -> None:
    for handles, again in ((set(), []), ({1, 1 << 63}, []), (set(), [4]), ({3}, [4, 8])):
        sent = Request(Answers(), memoryview(fuse.keep(handles, again)))
        assert (sent.opcode, fuse.kept(sent)) == (fuse.KEEP, (handles, set(again)))


@pytest.mark.parametrize("body", [b"", b"1234", (2).to_bytes(8, sys.byteorder) + bytes(8)])
def test_what_is_in_use_must_be_whole(body: bytes) -> None:
    with pytest.raises(OSError, match="not"):
        fuse.kept(Request(Answers(), message(fuse.KEEP, body)))


def parse(content: bytes) -> list[tuple[int, int, int, bytes]]:
    entries, at = [], 0
    while at < len(content):
        ino, offset, length, kind = fuse.DIRENT.unpack_from(content, at)
        entries.append((ino, offset, kind, content[at + 24 : at + 24 + length]))
        at += (24 + length + 7) & ~7
    return entries


def test_a_listing_is_cut_at_whole_entries() -> None:
    listing = Listing()
    names = [b"n" * length for length in range(1, 60)]
    for number, name in enumerate(names):
        listing.add(number, 8, name)
    seen, offset = [], 0
    while piece := listing.cut(offset, 200):
        assert len(piece) <= 200
        entries = parse(piece)
        seen += [name for *_, name in entries]
        offset = entries[-1][1]
    assert seen == names
    assert listing.cut(0, 10) == b""
    assert Listing().cut(0, 4096) == b""


def test_permission_bits() -> None:
    def may(mode: int, uid: int, gid: int, mask: int) -> bool:
        return permitted(mode, 10, 20, uid, gid, mask)

    assert may(0o400, 10, 0, R_OK)
    assert not may(0o077, 10, 20, R_OK)  # the owner's bits are the owner's, not the best ones
    assert may(0o040, 1, 20, R_OK)
    assert not may(0o040, 1, 1, R_OK)
    assert may(0o006, 1, 1, R_OK | W_OK)
    assert may(0, 0, 0, R_OK | W_OK)
    assert not may(0o100644, 0, 0, X_OK)
    assert may(0o040000, 0, 0, X_OK)
    assert [wanted(flags) for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR)] == [4, 2, 6]
