"""A folder as packs: which files travel together, and where a pack's bytes come from.

A file of 1 MiB or more is a pack as it is. Smaller ones go into canonical tars whose ends depend on the files themselves,
so that one changed file changes one small pack and all others keep their names. Nothing is copied to disk for that: a tar
is at most some megabytes and is written anew from the folder whenever it is asked for.
"""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from . import tar
from .encoding import BLOCK, sniff, sniff_stream
from .errors import TaskFileError
from .manifest import MOST_FILES, Bundle, FileEntry, name_fault
from .model import PackRef

__all__ = ["MEMBERS", "WHOLE", "Found", "PackSource", "find", "plan", "scan", "skipped", "sniff"]

WHOLE = 1 << 20
"""From this size on a file is a pack of its own: an upload becomes the pack by a rename."""
MEAN = 2 << 20
"""About how many bytes of small files share a tar: little to send again after a change, enough for 1 ms per transfer to vanish."""
CAP = 8 << 20
MEMBERS = 4096

_SKIPPED = (
    ".git", ".hg", ".svn", ".bzr", "CVS", "_darcs", ".*.sw[a-p]", "*~", ".#*", "#*#", ".DS_Store",
    "Thumbs.db", "._*", "@eaDir", ".clusterray*",
)  # fmt: skip


def skipped(name: str) -> bool:
    """Version control, what editors and file servers leave, and what we put into shared storage: never part of a task."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in _SKIPPED)


@dataclass(frozen=True)
class Found:
    """A file as it was when the folder was looked through; ``stamp`` tells whether it was touched since."""

    path: str
    real: Path
    size: int
    mode: int
    stamp: tuple[int, int, int]

    def read(self) -> Iterator[bytes]:
        """Its bytes in blocks; TaskFileError where it cannot be read or changes meanwhile."""
        try:
            with self.real.open("rb") as file:
                self.check(file)
                left = self.size
                while left and (block := file.read(min(BLOCK, left))):
                    left -= len(block)
                    yield block
                self.check(file)
        except OSError as error:
            raise unreadable(self.path, error) from error
        if left:
            raise changed(self.path)

    def check(self, file: BinaryIO | io.FileIO) -> None:
        """TaskFileError where the open file is not what was found."""
        now = os.fstat(file.fileno())
        if _stamp(now) != self.stamp or now.st_size != self.size:
            raise changed(self.path)


def changed(path: str) -> TaskFileError:
    """The sentence about a moving target."""
    return TaskFileError(f"{path} changed while it was read; submit again when nothing writes to the folder any more.")


def unreadable(path: str, error: OSError) -> TaskFileError:
    """The sentence about a file that the system will not let us read."""
    return TaskFileError(f"{path} cannot be read ({error.strerror or error}); make it readable or take it out of the folder.")


def _stamp(info: os.stat_result) -> tuple[int, int, int]:
    return info.st_dev, info.st_ino, info.st_mtime_ns


def find(root: Path, *, ignore: Callable[[str], bool] = skipped) -> list[Found]:
    """All files below ``root`` in path order. TaskFileError, one sentence, for whatever cannot travel.

    Links are followed within the folder and refused where they lead out of it. Empty folders do not travel.
    """
    if not root.is_dir():
        raise TaskFileError(f"{root} is not a folder." if root.exists() else f"There is no folder {root}.")
    top = root.resolve()
    files: list[Found] = []
    waiting: list[tuple[str, Path, tuple[Path, ...]]] = [("", top, (top,))]
    while waiting:
        prefix, folder, above = waiting.pop()
        for entry in _entries(folder, prefix or str(root)):
            if ignore(entry.name):
                continue
            path = prefix + entry.name
            fault = name_fault(path)
            if fault:
                raise TaskFileError(f"The file name {path!r:.200} {fault}; rename the file.")
            real, info = _look(entry, path, top)
            if stat.S_ISDIR(info.st_mode):
                if real in above:
                    raise TaskFileError(f"{path} is a link to a folder that it lies in; take it out of the folder.")
                waiting.append((path + "/", real, (*above, real)))
            elif stat.S_ISREG(info.st_mode):
                if not os.access(real, os.R_OK):  # told before anything is sent
                    raise unreadable(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))
                files.append(Found(path, real, info.st_size, 0o755 if info.st_mode & 0o100 else 0o644, _stamp(info)))
            else:
                raise TaskFileError(f"{path} is a {_special(info.st_mode)}; only files and folders can be sent, take it out.")
            if len(files) > MOST_FILES:
                raise TaskFileError(f"The folder {root} holds more than {MOST_FILES} files.")
    if not files:
        raise TaskFileError(f"The folder {root} holds no file: put all that the task needs into it.")
    return sorted(files, key=lambda found: found.path.encode())


def _entries(folder: Path, path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise unreadable(path, error) from error


def _look(entry: os.DirEntry[str], path: str, top: Path) -> tuple[Path, os.stat_result]:
    """What an entry really is; a link is followed if it stays below ``top``."""
    real = Path(entry.path)
    try:
        if not entry.is_symlink():
            return real, entry.stat(follow_symlinks=False)
        to = real.readlink()
        target = real.resolve(strict=True)
        if target != top and top not in target.parents:
            raise TaskFileError(f"{path} is a link out of the folder, to {to}; put the file itself there.")
        return target, target.stat()
    except FileNotFoundError as error:
        gone = f"{path} is a link to {real.readlink()}, which does not exist." if real.is_symlink() else f"{path} vanished meanwhile."
        raise TaskFileError(gone) from error
    except (OSError, RuntimeError) as error:
        raise unreadable(path, error if isinstance(error, OSError) else OSError("links in a circle")) from error


def _special(mode: int) -> str:
    if stat.S_ISSOCK(mode):
        return "socket"
    return "pipe" if stat.S_ISFIFO(mode) else "device"


Item = TypeVar("Item")


def plan(files: Sequence[Item], path: Callable[[Item], str], size: Callable[[Item], int]) -> list[list[Item]]:
    """Which small files, in path order, share a tar. Whether one is the last of its tar depends on its own path and size alone."""
    groups: list[list[Item]] = []
    group: list[Item] = []
    total = 0
    for file in files:
        group.append(file)
        total += size(file)
        fraction = int.from_bytes(hashlib.sha256(path(file).encode()).digest()[:8], "big") / 2.0**64
        if fraction < size(file) / MEAN or total >= CAP or len(group) >= MEMBERS:
            groups.append(group)
            group, total = [], 0
    return [*groups, group] if group else groups


class PackSource:
    """A pack that can be read from the folder: one large file, or a tar of small ones."""

    def __init__(self, ref: PackRef, files: Sequence[Found], whole: bool) -> None:
        self.ref = ref
        self._files = tuple(files)
        self._whole = whole

    def open(self) -> BinaryIO:
        """The plain bytes, seekable. TaskFileError where the folder is not what it was."""
        if self._whole:
            return _Watched(self._files[0])
        return io.BytesIO(b"".join(_tar_blocks(self._files)))

    def pays(self) -> bool:
        """Whether encoding makes it smaller."""
        with self.open() as source:
            return sniff_stream(source, self.ref.size)


class _Watched(io.FileIO):
    """A large file that says so, in the submitter's words, when it changes under our hands."""

    def __init__(self, found: Found) -> None:
        self._found = found
        try:
            super().__init__(found.real, "rb")
        except OSError as error:
            raise unreadable(found.path, error) from error
        try:
            found.check(self)
        except TaskFileError:
            self.close()
            raise

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(-1 if size is None else size) or b""
        if self.tell() >= self._found.size:
            self._found.check(self)
        return block


def _tar_blocks(files: Iterable[Found], note: Callable[[Found, int, str], None] | None = None) -> Iterator[bytes]:
    """A canonical tar; ``note`` hears of each file where its bytes start and what their digest is."""
    at = 0
    for found in files:
        head = tar.header(found.path, found.size, found.mode)
        yield head
        start = at + len(head)
        digest = hashlib.sha256()
        for block in found.read():
            digest.update(block)
            yield block
        yield bytes(tar.padding(found.size))
        at = start + found.size + tar.padding(found.size)
        if note is not None:
            note(found, start, digest.hexdigest())
    yield tar.END


def scan(root: Path, *, ignore: Callable[[str], bool] = skipped) -> tuple[Bundle, dict[str, PackSource]]:
    """Read a folder whole, once; its manifest, and its packs by digest. The same files give the same manifest."""
    found = find(root, ignore=ignore)
    small = [file for file in found if file.size < WHOLE]
    groups = [[file] for file in found if file.size >= WHOLE]
    tars = plan(small, lambda file: file.path, lambda file: file.size)
    sources: dict[str, PackSource] = {}
    places: dict[str, tuple[str, str, int]] = {}  # path: digest, pack, offset

    def note(file: Found, offset: int, digest: str) -> None:
        places[file.path] = (digest, "", offset)

    for group in [*groups, *tars]:
        whole = group[0].size >= WHOLE
        pack, size = hashlib.sha256(), 0
        for block in group[0].read() if whole else _tar_blocks(group, note):
            pack.update(block)
            size += len(block)
        name = pack.hexdigest()
        sources.setdefault(name, PackSource(PackRef(digest=name, size=size), group, whole))
        for file in group:
            digest, _, offset = (name, "", 0) if whole else places[file.path]
            places[file.path] = (digest, name, offset)
    return _bundle(found, places, sources), sources


def _bundle(found: Sequence[Found], places: dict[str, tuple[str, str, int]], sources: dict[str, PackSource]) -> Bundle:
    index: dict[str, int] = {}
    files = []
    for file in found:
        digest, pack, offset = places[file.path]
        files.append(FileEntry(file.path, file.size, file.mode, digest, index.setdefault(pack, len(index)), offset))
    return Bundle(files=tuple(files), packs=tuple(sources[name].ref for name in index))
