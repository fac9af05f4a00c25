"""A directory of the agent in memory."""

from __future__ import annotations

import errno


class Memory:
    """As ``mosha.platform.world.Store``; names are given as keywords, or through ``**``."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    def read(self, name: str, bytes_max: int) -> bytes | None:
        return self.files[name][: bytes_max + 1] if name in self.files else None

    def replace(self, name: str, content: bytes, durable: bool = False) -> None:
        self.files[name] = content

    def supplant(self, name: str, content: bytes, aside: str) -> bool:
        if name in self.files:
            self.files[aside] = self.files[name]
        self.files[name] = content
        return True

    def write(self, name: str, content: bytes) -> None:
        self.files[name] = content

    def sync(self, name: str) -> None:
        if name not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    def rename(self, old: str, new: str) -> None:
        if old not in self.files:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.files[new] = self.files.pop(old)

    def remove(self, name: str, durable: bool = False) -> bool:
        return self.files.pop(name, None) is not None

    def is_being_written(self, name: str) -> bool:
        return False

    def list(self) -> list[str]:
        return sorted(self.files)
