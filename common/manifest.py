"""The manifest of a bundle: a folder's files, and which pack each of them lies in.

It is JSON in one fixed order, so that the same folder gives the same bytes, hence the same digest, hence nothing to send.
It comes from strangers too: ``read_manifest()`` refuses every name that could leave the folder before anyone uses it.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable

import msgspec

from .errors import FileError, UnsafeArchive
from .model import PackRef

VERSION = 1
LONGEST = 2048
"""Bytes of a path: Linux takes 4096 for the whole, and a node puts its own folders before it."""
MOST_FILES = 1_000_000
MOST_BYTES = 256 << 20
"""Of a manifest: it is read into memory, on the server too; a million files with names of 60 letters need about as much."""
MODES = (0o644, 0o755)
TAR_MOST = 32 << 20
"""Above what plan() makes of 9 MiB in 4,096 files with the longest names; a tar is read into memory."""


LINKED = -1
"""Stands for the pack of a file that stays in shared storage."""
_MTIME = re.compile(r"mtime:-?\d{1,18}")


class FileEntry(msgspec.Struct, frozen=True, array_like=True):
    """One file. ``pack`` is an index into ``Bundle.packs``; ``offset`` is where its bytes start in the plain pack.

    A file that stays in shared storage has LINKED for its pack, and for its digest when it was last changed (``linked_entry``): nobody
    reads it whole to submit it, and the keys of jobs go by path, size and that time.
    """

    path: str
    size: int
    mode: int
    digest: str
    pack: int
    offset: int

    @property
    def linked(self) -> bool:
        """Whether it stays in shared storage."""
        return self.pack == LINKED


def linked_entry(path: str, size: int, mode: int, mtime_ns: int) -> FileEntry:
    """A file in shared storage. Its time counts in whole microseconds: SMB has tenths, and ext4 nanoseconds of the same file."""
    return FileEntry(path, size, mode, f"mtime:{mtime_ns // 1000}", LINKED, 0)


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """The folder that linked files lie in: the name of a shared root, and the relative path there (empty: the root itself)."""

    root: str
    folder: str


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """A folder. Files are in path order; packs in the order in which they are first needed."""

    version: int = VERSION
    files: tuple[FileEntry, ...]
    packs: tuple[PackRef, ...]
    share: Share | msgspec.UnsetType = msgspec.UNSET
    """Of its linked files; not there where there are none, so that other manifests keep their bytes."""

    def pack(self, entry: FileEntry) -> PackRef:
        """The pack that holds this file."""
        return self.packs[entry.pack]

    def by_pack(self, files: Iterable[FileEntry]) -> dict[PackRef, list[FileEntry]]:
        """Files grouped by their pack, in the order of their bytes; linked ones have none."""
        groups: dict[PackRef, list[FileEntry]] = {}
        for entry in sorted((entry for entry in files if not entry.linked), key=lambda entry: (entry.pack, entry.offset)):
            groups.setdefault(self.packs[entry.pack], []).append(entry)
        return groups


def name_fault(path: str) -> str:
    """Why a relative path cannot be a file of ours, as the end of a sentence; empty: it can."""
    try:
        raw = path.encode()
    except UnicodeEncodeError:
        return "is not valid UTF-8"
    if len(raw) > LONGEST:
        return f"is longer than {LONGEST} bytes"
    if any(unicodedata.category(letter) == "Cc" for letter in path):
        return "has control characters in it"
    if path.startswith("/"):
        return "is absolute"
    parts = path.split("/")
    if ".." in parts:
        return "leads out of the folder"
    if "" in parts or "." in parts:
        return "has empty parts"
    if any(len(part.encode()) > 255 for part in parts):
        return "has a part of more than 255 bytes"
    return ""


def is_digest(text: str) -> bool:
    """64 lower-case hex digits."""
    return len(text) == 64 and not set(text) - set("0123456789abcdef")


def write_manifest(bundle: Bundle) -> bytes:
    """The bytes whose sha256 names the bundle."""
    return msgspec.json.encode(bundle)


def read_manifest(data: bytes) -> Bundle:
    """Decode and check; raises UnsafeArchive with the file's name, or FileError where it is no manifest of this version."""
    if len(data) > MOST_BYTES:
        raise UnsafeArchive(f"The manifest is larger than {MOST_BYTES} bytes; nothing that we make is.")
    try:
        bundle = msgspec.json.decode(data, type=Bundle)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FileError(f"The manifest cannot be read: {error}.") from error
    if bundle.version != VERSION:
        raise FileError(f"The manifest is of version {bundle.version}, this program reads {VERSION}; bring both sides to one release.")
    _check(bundle)
    return bundle


def _check(bundle: Bundle) -> None:
    if len(bundle.files) > MOST_FILES:
        raise UnsafeArchive(f"The manifest lists more than {MOST_FILES} files.")
    for pack in bundle.packs:
        if not is_digest(pack.digest) or pack.size < 0:
            raise UnsafeArchive(f"The manifest names a pack {pack.digest!r:.80} that cannot be one.")
    seen: set[str] = set()
    for entry in bundle.files:
        fault = name_fault(entry.path)
        if fault:
            raise UnsafeArchive(f"The file name {entry.path!r:.200} {fault}.")
        if entry.path in seen:
            raise UnsafeArchive(f"The file {entry.path} is listed twice.")
        seen.add(entry.path)
        if entry.linked and not isinstance(bundle.share, msgspec.UnsetType):
            _check_linked(bundle.share, entry)
            continue
        if entry.mode not in MODES or not is_digest(entry.digest) or entry.size < 0 or entry.offset < 0:
            raise UnsafeArchive(f"The entry of {entry.path} has a mode, digest or size that cannot be.")
        if not 0 <= entry.pack < len(bundle.packs) or entry.offset + entry.size > bundle.packs[entry.pack].size:
            raise UnsafeArchive(f"The bytes of {entry.path} do not lie within their pack.")
        pack = bundle.packs[entry.pack]
        if entry.offset == 0 and (entry.digest, entry.size) != (pack.digest, pack.size):
            raise UnsafeArchive(f"{entry.path} is said to be a pack of its own and is not.")
        if entry.offset > 0 and pack.size > TAR_MOST:
            raise UnsafeArchive(f"{entry.path} lies in a tar of {pack.size} bytes; none may be larger than {TAR_MOST}.")
    for path in seen:
        parent = path.rpartition("/")[0]
        while parent:
            if parent in seen:
                raise UnsafeArchive(f"{parent} is listed both as a file and as a folder.")
            parent = parent.rpartition("/")[0]


def _check_linked(share: Share, entry: FileEntry) -> None:
    if share.folder and name_fault(share.folder):
        raise UnsafeArchive(f"The shared folder {share.folder!r:.200} {name_fault(share.folder)}.")
    if entry.mode not in MODES or entry.size < 0 or entry.offset or not _MTIME.fullmatch(entry.digest):
        raise UnsafeArchive(f"The entry of {entry.path} has a mode, time or size that cannot be.")


def chosen(bundle: Bundle, only: Iterable[str]) -> tuple[FileEntry, ...]:
    """The files with these paths, or below them; nothing named: all. FileError names what the bundle does not have.

    ``!path`` leaves a file or a folder out, whether it is there or not; where all entries begin so, the rest is chosen.
    """
    return Chooser(bundle).pick(tuple(only))


class Chooser:
    """A bundle in which files are chosen again and again: one choice costs as much as it finds, however many files there are."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._at = sorted((entry.path.encode(), number) for number, entry in enumerate(bundle.files))

    def pick(self, only: tuple[str, ...], *, lenient: bool = False) -> tuple[FileEntry, ...]:
        """As ``chosen()``, in the bundle's order; ``lenient``: what is not there is passed over."""
        wanted = [path.strip("/") for path in only if not path.startswith("!")]
        out = [path[1:].strip("/") for path in only if path.startswith("!")]
        if not wanted and not out:
            return self.bundle.files
        found: set[int] = set()
        missing = []
        for path in wanted:
            hits = self._below(path)
            found |= hits
            missing += [] if hits else [path]
        if missing and not lenient:
            raise FileError(f"The bundle has no file {min(missing)}.")
        if not wanted:
            found = set(range(len(self.bundle.files)))
        for path in out:
            found -= self._below(path)
        return tuple(self.bundle.files[number] for number in sorted(found))

    def _below(self, path: str) -> set[int]:
        """Numbers of the file of this name, and of those in the folder of this name."""
        raw = path.encode()
        exact = bisect_left(self._at, (raw, -1))
        hits = {self._at[exact][1]} if exact < len(self._at) and self._at[exact][0] == raw else set()
        first, last = bisect_left(self._at, (raw + b"/", -1)), bisect_left(self._at, (raw + b"0", -1))  # "0" comes after "/"
        return hits | {number for _, number in self._at[first:last]}
