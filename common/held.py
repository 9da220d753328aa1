"""A folder that others may write to as well, worked in without following a link: each part of a path is opened from the one above it.

Checked by name and then used by name, a folder could be swapped for a link in between, which would lead what is written or removed to any
place of this machine. POSIX only.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import BinaryIO


class Held:
    """``with Held.at(path) as folder``; names are single parts. OSError where one is a link or no folder."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def at(cls, path: Path) -> Held:
        """A folder by its path, whose last part must be no link; those above it are the owner's own words."""
        return cls(_folder(path))

    def __enter__(self) -> Held:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.close(self._handle)

    def folder(self, name: str) -> Held:
        """One that is there."""
        return Held(_folder(name, self._handle))

    def make(self, name: str, mode: int = 0o755) -> Held:
        """One that was not there; FileExistsError."""
        os.mkdir(name, dir_fd=self._handle)
        made = self.folder(name)
        os.fchmod(made._handle, mode)
        return made

    def need(self, name: str, mode: int = 0o755) -> Held:
        """One that may be there already, and then keeps its mode."""
        try:
            return self.make(name, mode)
        except FileExistsError:
            return self.folder(name)

    def create(self, name: str, mode: int = 0o644) -> BinaryIO:
        """A file that was not there, open for writing; FileExistsError."""
        fresh = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.fdopen(os.open(name, fresh, mode, dir_fd=self._handle), "wb")

    def names(self) -> list[str]:
        return sorted(os.listdir(self._handle))  # noqa: PTH208 - of an open folder

    def changed(self, name: str) -> float:
        """When an entry was last changed, of a link the link."""
        return os.stat(name, dir_fd=self._handle, follow_symlinks=False).st_mtime

    def rename(self, name: str, into: Held, to: str) -> None:
        """Of the same disk; a file of that name, or an empty folder, is replaced."""
        os.rename(name, to, src_dir_fd=self._handle, dst_dir_fd=into._handle)

    def remove(self, name: str) -> None:
        """A file, a link, or a folder with all that is in it; nothing happens where it is not there."""
        try:
            os.unlink(name, dir_fd=self._handle)
        except FileNotFoundError:
            return
        except (IsADirectoryError, PermissionError):  # the latter is what POSIX says of folders
            shutil.rmtree(name, dir_fd=self._handle)

    def sync(self) -> None:
        """Have its names on the disk; some shares know no such thing."""
        try:
            os.fsync(self._handle)
        except OSError:
            return


def _folder(path: Path | str, above: int | None = None) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
