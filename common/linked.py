"""Files that stay where they are: the manifest of a folder in shared storage, and looking at its files again, wherever they are seen.

Nothing is read whole and nothing is copied: a file is its path, size and time of change. Whoever uses one looks again first, so that a file
that changed while the task ran is told instead of giving a result of two halves.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from .errors import SharedChanged, SharedError
from .manifest import Bundle, FileEntry, Share, linked_entry
from .packs import find
from .shared import inside


def link_folder(folder: Path, share: Share) -> Bundle:
    """The manifest of a folder whose files stay there. TaskFileError in one sentence for what a task cannot have."""
    found = find(folder)
    return Bundle(files=tuple(linked_entry(one.path, one.size, one.mode, one.stamp[2]) for one in found), packs=(), share=share)


class LinkedFolder:
    """A task's folder in a shared root, as this machine sees it. SharedError where it is not there or leads out of the root."""

    def __init__(self, top: Path, share: Share, *, whose: str = "") -> None:
        self.real = inside(top, share.folder, f"the shared root {share.root}{whose}")

    def check(self, entry: FileEntry) -> Path:
        """The file itself, links resolved, which is as it was when the task was submitted; else SharedChanged, or SharedError."""
        try:
            real = (self.real / entry.path).resolve(strict=True)
            self._check_place(real, entry)
            info = real.stat()
            if not _same(info, entry):
                with real.open("rb") as file:  # which makes NFS ask its server, where a stat may tell what it remembers
                    info = os.fstat(file.fileno())
        except FileNotFoundError:
            raise SharedChanged(f"{entry.path} was removed while the task ran; restart it.", entry.path) from None
        except (OSError, RuntimeError) as error:
            why = error.strerror or error if isinstance(error, OSError) else "links in a circle"
            raise SharedError(f"{entry.path} cannot be read in the shared folder {self.real}: {why}.") from error
        if not stat.S_ISREG(info.st_mode) or not _same(info, entry):
            raise SharedChanged(f"{entry.path} changed while the task ran; restart it.", entry.path)
        return real

    def check_all(self, entries: Iterable[FileEntry]) -> dict[str, Path]:
        """The linked ones among these files, by their paths; the first that is not as it was is told."""
        return {entry.path: self.check(entry) for entry in entries if entry.linked}

    def read(self, entry: FileEntry) -> bytes:
        """The whole file, as it was when the task was submitted. What stands in its place by now is not followed out of the folder."""
        real = self.check(entry)
        try:
            with os.fdopen(os.open(real, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                self._check_place(Path(f"/proc/self/fd/{file.fileno()}").resolve(), entry)
                data = file.read(entry.size + 1)
                if len(data) != entry.size or not _same(os.fstat(file.fileno()), entry):
                    raise SharedChanged(f"{entry.path} changed while the task ran; restart it.", entry.path)
                return data
        except OSError as error:
            raise SharedError(f"{entry.path} cannot be read in the shared folder {self.real}: {error.strerror or error}.") from error

    def _check_place(self, real: Path, entry: FileEntry) -> None:
        if self.real not in real.parents:
            raise SharedError(f"{entry.path} is a link out of the shared folder, to {real}: put the file itself there.")


def _same(info: os.stat_result, entry: FileEntry) -> bool:
    return info.st_size == entry.size and f"mtime:{info.st_mtime_ns // 1000}" == entry.digest
