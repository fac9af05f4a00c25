"""The server: does to its own node's files what FUSE requests ask, with the rights of who asks.

Rules:

1. Numeric uid and gid are trusted, root is root, supplementary groups are ignored (as in the genuine MFS).
2. Only regular files, directories and symbolic links exist; what is mounted as MFS, hpc or proc is not entered.
3. O_APPEND, O_EXCL, O_TRUNC, rename and link are the system's own, hence atomic among all nodes.
4. The loop does not wait for a disk to sync: fsync, and the sync of an O_SYNC write, run in a thread.
5. An OSError is the answer; nothing is cached.
6. While the node serves no files (``mosctl nomfs``) nothing begins anew: ``refusal`` is the errno.
"""

from __future__ import annotations

import errno
import mmap
import os
import stat
from functools import partial
from typing import Callable

from emulator.fuse import protocol as fuse
from emulator.fuse.access import X_OK, permitted
from emulator.fuse.listing import DIR, Listing
from emulator.fuse.protocol import Request
from emulator.membership import Membership
from emulator.mfs import identity
from emulator.mfs.attributes import Attributes, set_times
from emulator.mfs.client import Client, Handle
from emulator.mfs.fault import Target
from emulator.mfs.faults import Faults
from emulator.mfs.inodes import PATH_FLAGS, Inode, Inodes
from emulator.mfs.mounts import MFS, Forbidden
from emulator.mfs.names import NUMBER_MASK, ROOT_INO, ROOT_MODE, listing
from emulator.reactor import Reactor

OPEN_FLAGS = os.O_ACCMODE | os.O_APPEND | os.O_TRUNC | os.O_EXCL
ALWAYS = os.O_NONBLOCK | os.O_CLOEXEC
SYNC = os.O_SYNC | os.O_DSYNC


class Core:
    """Serves the tree below ``root``."""

    def __init__(self, reactor: Reactor, membership: Membership, root: str, faults: Faults, refusal: int) -> None:
        self._reactor = reactor
        self._membership = membership
        self._faults = faults
        self._refusal = refusal
        identity.prepare_process()
        self._forbidden = Forbidden(reactor)
        self.inodes = Inodes(root, self._forbidden)
        self._root = os.fsencode(os.path.realpath(root)).rstrip(b"/")
        self._buffer = memoryview(mmap.mmap(-1, fuse.MAX_WRITE))
        self._attributes = Attributes(membership)

    def close(self) -> None:
        """Close every descriptor."""
        self.inodes.close()
        self._forbidden.close()

    def handle(self, request: Request, client: Client) -> None:
        """Answer ``request`` of ``client``, now or later; raises OSError in place of an answer."""
        if self._faults.present:
            self._faults.meet(request, client, self._target(request, client), partial(self._carry_out, request, client))
        else:
            self._carry_out(request, client)

    def _carry_out(self, request: Request, client: Client) -> None:
        operation = _OPERATIONS.get(request.opcode)
        if operation is None:
            raise OSError(errno.ENOSYS, "no such operation")
        self.inodes.trim()
        inode = self.inodes.get(request.nodeid & NUMBER_MASK)
        by_handle = request.opcode in _BY_HANDLE
        if not by_handle and not self._membership.serves_files:
            raise OSError(self._refusal, "this node serves no files")
        if inode.mount is not None:
            self._handle_mount(request, inode, client)
            return
        if by_handle:
            fd = -1
        else:
            fd = self.inodes.descriptor(inode)
        if request.uid or request.gid:
            try:
                identity.become(request.uid, request.gid)
                operation(self, request, inode, fd, client)
            finally:
                identity.become(0, 0)
        else:
            operation(self, request, inode, fd, client)

    def _target(self, request: Request, client: Client) -> Target:
        """What ``request`` is about; nothing if that does not exist, and then the operation itself will say so."""
        opcode, frame, folders = request.opcode, request.frame, []
        try:
            if opcode in _BY_HANDLE:
                fd = client.handle(*fuse.HANDLE.unpack_from(frame, fuse.IN_HEADER.size)).fd
            else:
                fd = self.inodes.descriptor(self.inodes.get(request.nodeid & NUMBER_MASK))
            folders.append(self._path_of(fd))
            if opcode in _RENAMES:
                (other,) = fuse.RENAME_IN.unpack_from(frame, fuse.IN_HEADER.size)
                folders.append(self._path_of(self.inodes.descriptor(self.inodes.get(other & NUMBER_MASK))))
        except OSError:
            return Target(-1, self._root, ())
        at = _NAMES_AT.get(opcode)
        if at is None:
            return Target(fd, self._root, (folders[0] or b"/",))
        names = fuse.names(frame[at:], len(folders))
        return Target(fd, self._root, tuple(b"%s/%s" % pair for pair in zip(folders, names)))

    def _path_of(self, fd: int) -> bytes:
        """The path of an open file below the root; empty for the root."""
        return os.readlink(_path(fd))[len(self._root) :].rstrip(b"/")

    # names

    def _lookup(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (name,) = _names(request.frame[40:])
        inode, state = self.inodes.find(parent, name)
        request.reply(self._entry(request, inode, state, client))

    def _symlink(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        name, target = fuse.names(request.frame[40:], 2)
        _check(name)
        os.symlink(target, name, dir_fd=fd)
        self._made(request, parent, name, client)

    def _mkdir(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (mode, _) = fuse.MKDIR_IN.unpack_from(request.frame, 40)
        (name,) = _names(request.frame[48:])
        os.mkdir(name, mode, dir_fd=fd)
        self._made(request, parent, name, client)

    def _mknod(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (mode, *_) = fuse.MKNOD_IN.unpack_from(request.frame, 40)
        (name,) = _names(request.frame[56:])
        if not stat.S_ISREG(mode):
            raise OSError(errno.EPERM, "no special files")
        os.mknod(name, mode, dir_fd=fd)
        self._made(request, parent, name, client)

    def _link(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (old,) = fuse.LINK_IN.unpack_from(request.frame, 40)
        (name,) = _names(request.frame[48:])
        source = self.inodes.descriptor(self.inodes.get(old & NUMBER_MASK))
        os.link(_path(source), name, dst_dir_fd=fd)
        self._made(request, parent, name, client)

    def _unlink(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (name,) = _names(request.frame[40:])
        state = self._state(parent, fd, name)
        os.unlink(name, dir_fd=fd)
        if state is not None:
            self.inodes.removed(state)
        request.reply()

    def _rmdir(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (name,) = _names(request.frame[40:])
        os.rmdir(name, dir_fd=fd)
        request.reply()

    def _rename(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (other,) = fuse.RENAME_IN.unpack_from(request.frame, 40)
        self._rename_to(request, parent, fd, other, 0, 48)

    def _rename2(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (other, flags, _) = fuse.RENAME2_IN.unpack_from(request.frame, 40)
        self._rename_to(request, parent, fd, other, flags, 56)

    def _rename_to(self, request: Request, parent: Inode, fd: int, other: int, flags: int, start: int) -> None:
        old, new = _names(request.frame[start:], 2)
        new_parent = self.inodes.get(other & NUMBER_MASK)
        new_fd = self.inodes.descriptor(new_parent)
        moved = self._state(parent, fd, old)
        replaced = self._state(new_parent, new_fd, new)
        if flags & ~(identity.RENAME_NOREPLACE | identity.RENAME_EXCHANGE):
            raise OSError(errno.EINVAL, "unknown flags")
        if flags:
            identity.rename(fd, old, new_fd, new, flags)
        else:
            os.rename(old, new, src_dir_fd=fd, dst_dir_fd=new_fd)
        if moved is not None:
            self.inodes.renamed(moved, new_parent, new)
        if replaced is not None and flags & identity.RENAME_EXCHANGE:
            self.inodes.renamed(replaced, parent, old)
        elif replaced is not None:
            self.inodes.removed(replaced)
        request.reply()

    def _state(self, parent: Inode, fd: int, name: bytes) -> os.stat_result | None:
        if self.inodes.is_forbidden(parent, name):
            return None
        try:
            return os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            return None  # the operation itself will say why

    def _made(self, request: Request, parent: Inode, name: bytes, client: Client) -> None:
        inode, state = self.inodes.find(parent, name)
        request.reply(self._entry(request, inode, state, client))

    # attributes

    def _getattr(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        self._reply_attributes(request, os.fstat(fd))

    def _setattr(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (valid, _, number, size, _, atime, mtime, _, atime_ns, mtime_ns, _, mode, _, uid, gid, _) = (
            fuse.SETATTR_IN.unpack_from(request.frame, 40)
        )
        path = _path(fd)
        if valid & (fuse.FATTR_UID | fuse.FATTR_GID):
            os.chown(path, uid if valid & fuse.FATTR_UID else -1, gid if valid & fuse.FATTR_GID else -1)
        if valid & fuse.FATTR_MODE:
            os.chmod(path, mode & 0o7777)
        if valid & fuse.FATTR_SIZE:
            if valid & fuse.FATTR_FH:
                os.ftruncate(client.handle(number).fd, size)
            else:
                os.truncate(path, size)
        if valid & (fuse.FATTR_ATIME | fuse.FATTR_MTIME):
            set_times(path, fd, valid, atime * 10**9 + atime_ns, mtime * 10**9 + mtime_ns)
        self._reply_attributes(request, os.fstat(fd))

    def _access(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (mask, _) = fuse.ACCESS_IN.unpack_from(request.frame, 40)
        state = os.fstat(fd)
        if not permitted(state.st_mode, state.st_uid, state.st_gid, request.uid, request.gid, mask):
            raise OSError(errno.EACCES, "permission denied")
        request.reply()

    def _readlink(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        target = os.readlink(b"", dir_fd=fd)
        if target.startswith(b"../"):
            target = self._within(target, os.readlink(_path(fd)))
        request.reply(target)

    def _within(self, target: bytes, link: bytes) -> bytes:
        """``target``, or where it leads if it climbs above this node's root: /.. is / there, not so elsewhere."""
        depth = link[len(self._root) :].count(b"/") - 1
        parts = target.split(b"/")
        climbs = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
        return target if climbs <= depth else b"/" + b"/".join(parts[climbs:])

    # files

    def _open(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (flags, _) = fuse.OPEN_IN.unpack_from(request.frame, 40)
        client.check_room()
        if flags & fuse.FMODE_EXEC:
            state = os.fstat(fd)
            if not permitted(state.st_mode, state.st_uid, state.st_gid, request.uid, request.gid, X_OK):
                raise OSError(errno.EACCES, "not executable for the caller")
        opened = os.open(_path(fd), flags & OPEN_FLAGS | ALWAYS)
        number = client.add(Handle(opened, inode, bool(flags & SYNC)))
        request.reply(fuse.OPEN_OUT.pack(number, fuse.FOPEN_DIRECT_IO, 0))

    def _create(self, request: Request, parent: Inode, fd: int, client: Client) -> None:
        (flags, mode, _, _) = fuse.CREATE_IN.unpack_from(request.frame, 40)
        (name,) = _names(request.frame[56:])
        client.check_room()
        if self.inodes.is_forbidden(parent, name):
            raise OSError(errno.EACCES, "not to be entered")
        how = flags & OPEN_FLAGS | ALWAYS | os.O_CREAT | os.O_NOFOLLOW
        opened = os.open(name, how, mode & 0o7777, dir_fd=fd)
        try:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise OSError(errno.EACCES, "special file")
            with identity.as_root():
                inode, state = self.inodes.adopt(parent, name, os.open(_path(opened), PATH_FLAGS ^ os.O_NOFOLLOW))
        except OSError:
            os.close(opened)
            raise
        number = client.add(Handle(opened, inode, bool(flags & SYNC)))
        entry = self._entry(request, inode, state, client)
        request.reply(entry + fuse.OPEN_OUT.pack(number, fuse.FOPEN_DIRECT_IO, 0))

    def _read(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (number, offset, size, *_) = fuse.READ_IN.unpack_from(request.frame, 40)
        length = os.preadv(client.handle(number).fd, [self._buffer[:size]], offset)
        request.reply(self._buffer[:length])

    def _write(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (number, offset, size, *_) = fuse.WRITE_IN.unpack_from(request.frame, 40)
        handle = client.handle(number)
        answer = fuse.WRITE_OUT.pack(os.pwrite(handle.fd, request.frame[80 : 80 + size], offset), 0)
        if handle.sync:
            self._sync(request, handle.fd, os.fdatasync, answer)
        else:
            request.reply(answer)

    def _fsync(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (number, flags, _) = fuse.FSYNC_IN.unpack_from(request.frame, 40)
        sync = os.fdatasync if flags & fuse.FSYNC_FDATASYNC else os.fsync
        self._sync(request, client.handle(number).fd, sync, b"")

    def _sync(self, request: Request, fd: int, sync: Callable[[int], None], answer: bytes) -> None:
        mine = os.dup(fd)  # the handle may be closed meanwhile

        def done(result: object) -> None:
            os.close(mine)
            if request.answered:  # given up meanwhile
                return
            if isinstance(result, OSError):
                request.fail(result.errno or errno.EIO)
            else:
                request.reply(answer)

        try:
            with identity.as_root():  # which a thread made now would be for ever
                self._reactor.in_thread(lambda: sync(mine), done)
        except OSError:
            os.close(mine)
            raise

    def _lseek(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (number, offset, whence, _) = fuse.LSEEK_IN.unpack_from(request.frame, 40)
        request.reply(fuse.LSEEK_OUT.pack(os.lseek(client.handle(number).fd, offset, whence)))

    def _release(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        client.release(fuse.released(request))
        request.reply()

    # directories

    def _opendir(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        client.check_room()
        opened = os.open(_path(fd), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        request.reply(fuse.OPEN_OUT.pack(client.add(Handle(opened, inode)), 0, 0))

    def _readdir(self, request: Request, inode: Inode, fd: int, client: Client) -> None:
        (number, offset, size, *_) = fuse.READ_IN.unpack_from(request.frame, 40)
        handle = client.handle(number)
        if handle.listing is None or not offset:
            handle.listing = self._list(handle)
        request.reply(handle.listing.cut(offset, size))

    def _list(self, handle: Handle) -> Listing:
        entries = Listing()
        base = self._attributes.base(handle.inode.dev)
        for name in (b".", b".."):
            entries.add(base ^ handle.inode.ino, DIR, name)
        entries.scan(handle.fd, base)
        return entries

    def _handle_mount(self, request: Request, inode: Inode, client: Client) -> None:
        """A forbidden mount: its attributes and, of MFS, its names; nothing else, and it is not touched."""
        if request.opcode == fuse.GETATTR:
            request.reply(fuse.ATTR_OUT.pack(0, 0, 0, *_MOUNT_ATTRIBUTES))
        elif request.opcode == fuse.OPENDIR and inode.mount == MFS:
            handle = Handle(-1, inode)
            handle.listing = Listing()
            for name in (".", "..", *listing(self._membership)):
                handle.listing.add(ROOT_INO, DIR, name.encode())
            request.reply(fuse.OPEN_OUT.pack(client.add(handle), 0, 0))
        elif request.opcode == fuse.READDIR:
            (number, offset, size, *_) = fuse.READ_IN.unpack_from(request.frame, 40)
            names = client.handle(number).listing
            assert names is not None
            request.reply(names.cut(offset, size))
        elif request.opcode == fuse.RELEASEDIR:
            self._release(request, inode, -1, client)
        else:
            raise OSError(errno.EACCES, "not to be entered")

    # answers

    def _entry(self, request: Request, inode: Inode, state: os.stat_result | None, client: Client) -> bytes:
        """An entry's answer; ``client`` then holds one more reference to ``inode``."""
        client.refer(inode)
        nodeid = request.nodeid & ~NUMBER_MASK | inode.number
        attributes = _MOUNT_ATTRIBUTES if state is None else self._attributes.of(state)
        return fuse.ENTRY_OUT.pack(nodeid, 0, 0, 0, 0, 0, *attributes)

    def _reply_attributes(self, request: Request, state: os.stat_result) -> None:
        request.reply(fuse.ATTR_OUT.pack(0, 0, 0, *self._attributes.of(state)))


def _names(body: memoryview, count: int = 1) -> list[bytes]:
    names = fuse.names(body, count)
    for name in names:
        _check(name)
    return names


def _check(name: bytes) -> None:
    if b"/" in name or name in (b"", b".", b".."):
        raise OSError(errno.EINVAL, "not a name")


def _path(fd: int) -> bytes:
    return b"/proc/self/fd/%d" % fd


_MOUNT_ATTRIBUTES = (ROOT_INO, *[0] * 8, stat.S_IFDIR | ROOT_MODE, 1, 0, 0, 0, fuse.PAGE, 0)


_Operation = Callable[[Core, Request, Inode, int, Client], None]

_BY_HANDLE: dict[int, _Operation] = {
    fuse.READ: Core._read,
    fuse.WRITE: Core._write,
    fuse.FSYNC: Core._fsync,
    fuse.FSYNCDIR: Core._fsync,
    fuse.LSEEK: Core._lseek,
    fuse.READDIR: Core._readdir,
    fuse.RELEASE: Core._release,
    fuse.RELEASEDIR: Core._release,
}

_RENAMES = (fuse.RENAME, fuse.RENAME2)

_NAMES_AT = {
    **dict.fromkeys((fuse.LOOKUP, fuse.SYMLINK, fuse.UNLINK, fuse.RMDIR), 40),
    **dict.fromkeys((fuse.MKDIR, fuse.LINK, fuse.RENAME), 48),
    **dict.fromkeys((fuse.MKNOD, fuse.CREATE, fuse.RENAME2), 56),
}
"""Where in a request the names begin that it has."""

_OPERATIONS: dict[int, _Operation] = {
    **_BY_HANDLE,
    fuse.LOOKUP: Core._lookup,
    fuse.GETATTR: Core._getattr,
    fuse.SETATTR: Core._setattr,
    fuse.ACCESS: Core._access,
    fuse.READLINK: Core._readlink,
    fuse.SYMLINK: Core._symlink,
    fuse.MKNOD: Core._mknod,
    fuse.MKDIR: Core._mkdir,
    fuse.UNLINK: Core._unlink,
    fuse.RMDIR: Core._rmdir,
    fuse.RENAME: Core._rename,
    fuse.RENAME2: Core._rename2,
    fuse.LINK: Core._link,
    fuse.OPEN: Core._open,
    fuse.CREATE: Core._create,
    fuse.OPENDIR: Core._opendir,
}
