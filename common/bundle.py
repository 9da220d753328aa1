"""A folder <-> a bundle: the manifest, which is a pack itself, and the packs that it lists.

Also the three ways in which a kind sees files: a plain folder, a bundle that is not unpacked, and a handful of files by name.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import msgspec

from . import tar
from .encoding import BLOCK, full_read, is_encoded, pays, plain_blocks, read_plain
from .errors import DigestMismatch, FileError, SharedError, TaskFileError, UnsafeArchive
from .linked import LinkedFolder, link_folder
from .manifest import MOST_BYTES, MOST_FILES, Bundle, FileEntry, Share, chosen, read_manifest, write_manifest
from .model import PackRef
from .packs import PackSource, find, scan, skipped

__all__ = [
    "Bundle", "BundleFolder", "DiskFolder", "FileEntry", "MappingFolder", "Prepared", "chosen", "derive_bundle", "link_files",
    "make_bundle", "make_linked", "read_manifest", "remove_tree", "unpack_bundle", "unpack_files",
]  # fmt: skip


class Prepared:
    """A folder that is ready to be sent. Nothing was copied but the manifest: packs are read from the folder when asked for."""

    def __init__(self, manifest: Bundle, data: bytes, sources: Mapping[str, PackSource], work: Path) -> None:
        self.manifest = manifest
        self.bundle = PackRef(digest=hashlib.sha256(data).hexdigest(), size=len(data))
        """The manifest's pack: the name of the bundle."""
        self.packs: tuple[PackRef, ...] = tuple(dict.fromkeys((*manifest.packs, self.bundle)))
        self.files = len(manifest.files)
        self.size = sum(entry.size for entry in manifest.files)
        self._sources = sources
        self._file = work / self.bundle.digest
        work.mkdir(parents=True, exist_ok=True)
        self._file.write_bytes(data)  # on disk, as it may be large and the upload long

    def open(self, digest: str) -> BinaryIO:
        """The plain bytes of one pack, seekable. TaskFileError where the folder changed since it was read."""
        return self._file.open("rb") if digest == self.bundle.digest else self._sources[digest].open()

    def pays(self, digest: str) -> bool:
        """Whether this pack is worth encoding for the way."""
        if digest != self.bundle.digest:
            return self._sources[digest].pays()
        with self._file.open("rb") as file:
            return pays(file.read(BLOCK))


def make_bundle(folder: Path, work: Path, *, ignore: Callable[[str], bool] = skipped) -> Prepared:
    """Read a folder whole and describe it; ``work`` takes the manifest. TaskFileError in one sentence for what cannot travel."""
    bundle, sources = scan(folder, ignore=ignore)
    return Prepared(bundle, write_manifest(bundle), sources, work)


def make_linked(folder: Path, share: Share, work: Path) -> Prepared:
    """A folder in shared storage, whose files stay there; ``work`` takes the manifest, which is all that is sent."""
    bundle = link_folder(folder, share)
    return Prepared(bundle, write_manifest(bundle), {}, work)


def derive_bundle(base: Bundle, folder: Path, work: Path) -> tuple[Prepared, tuple[PackRef, ...]]:
    """The files of ``base`` and those below ``folder``, whose packs are of their own, so that who holds the others fetches only these.

    The file ``folder/stages/a/x`` becomes ``stages/a/x``. Returns the bundle and its new packs, the manifest's among them; only those can
    be opened. Raises TaskFileError for what cannot travel or is there twice.
    """
    added, sources = scan(folder, ignore=lambda name: False)
    known = {pack.digest: number for number, pack in enumerate(base.packs)}
    fresh = tuple(pack for pack in added.packs if pack.digest not in known)
    place = {**known, **{pack.digest: len(base.packs) + number for number, pack in enumerate(fresh)}}
    moved = [FileEntry(e.path, e.size, e.mode, e.digest, place[added.pack(e).digest], e.offset) for e in added.files]
    taken = {entry.path for entry in base.files}
    twice = {path for entry in moved for path in (entry.path, *map(str, PurePosixPath(entry.path).parents)) if path in taken}
    if twice:
        raise TaskFileError(f"The task's folder has a file {min(twice)}, where a stage puts its own; rename it.")
    if len(base.files) + len(moved) > MOST_FILES:
        raise TaskFileError(f"With what its stages made the task has more than {MOST_FILES} files.")
    files = sorted((*base.files, *moved), key=lambda entry: entry.path.encode())
    bundle = Bundle(files=tuple(files), packs=(*base.packs, *fresh), share=base.share)
    prepared = Prepared(bundle, write_manifest(bundle), sources, work)
    return prepared, (*fresh, prepared.bundle)


def unpack_bundle(manifest: Path, pack_path: Callable[[str], Path], dest: Path, only: Iterable[str] = ()) -> None:
    """Unpack all files, or those named (and those below a named folder), into ``dest``, read-only.

    ``pack_path(digest)`` is a verified pack on disk, plain or ``.zst``. Files that are there already stay, so that a tree
    can be completed later, also one whose unpacking was cut short: each file gets its name when it is whole.
    """
    bundle = _manifest_at(manifest)
    unpack_files(bundle, chosen(bundle, only), pack_path, dest)


def _manifest_at(path: Path) -> Bundle:
    with path.open("rb") as source:
        return read_manifest(b"".join(plain_blocks(source, MOST_BYTES, encoded=is_encoded(path))))


def unpack_files(bundle: Bundle, files: Iterable[FileEntry], pack_path: Callable[[str], Path], dest: Path) -> None:
    """As ``unpack_bundle()``, for a manifest that was read. Linked files are passed over: they lie in no pack."""
    missing = [entry for entry in files if not entry.linked and not _there(dest / entry.path, entry)]
    if not missing:
        return
    folders = _open_folders(dest, [entry.path for entry in missing])
    everything = bundle.by_pack(bundle.files)
    for pack, entries in bundle.by_pack(missing).items():
        path = pack_path(pack.digest)
        if entries[0].offset == 0:
            for entry in entries:
                _place_whole(path, pack, entry, dest)
        else:
            _place_members(path, pack, everything[pack], {entry.path for entry in entries}, dest)
    for folder in folders:
        folder.chmod(0o555)


def link_files(files: Mapping[str, Path], dest: Path) -> None:
    """Have these paths below ``dest`` be links to real files; those that are right already stay."""
    missing = {path: real for path, real in files.items() if not _leads(dest / path, real)}
    if not missing:
        return
    folders = _open_folders(dest, missing)
    for path, real in missing.items():
        try:
            (dest / path).symlink_to(real)
        except FileExistsError:  # one that leads elsewhere, and that nobody may find missing
            part = _part(dest, hashlib.sha256(path.encode()).hexdigest())
            part.symlink_to(real)
            part.replace(dest / path)
    for folder in folders:
        folder.chmod(0o555)


def _leads(path: Path, real: Path) -> bool:
    try:
        return path.readlink() == real
    except OSError:
        return False


def _there(path: Path, entry: FileEntry) -> bool:
    with contextlib.suppress(OSError):
        info = path.lstat()
        return info.st_size == entry.size and not path.is_symlink()
    return False


def _open_folders(dest: Path, paths: Iterable[str]) -> list[Path]:
    """Make the folders that the files need, writable for now; deepest first."""
    folders = {dest}
    for path in paths:
        folders.update(dest / parent for parent in Path(path).parents)
    ordered = sorted(folders, key=lambda folder: len(folder.parts))
    for folder in ordered:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o755)
    return ordered[::-1]


def _finish(part: Path, entry: FileEntry, dest: Path) -> None:
    part.chmod(0o555 if entry.mode == 0o755 else 0o444)
    part.replace(dest / entry.path)


def _part(dest: Path, digest: str) -> Path:
    """Where a file grows before it gets its name; beside the tree, so that no job ever sees it."""
    part = dest.with_name(dest.name + ".part") / digest
    part.parent.mkdir(parents=True, exist_ok=True)
    part.unlink(missing_ok=True)
    return part


def _place_whole(path: Path, pack: PackRef, entry: FileEntry, dest: Path) -> None:
    """A large file: the pack itself under a second name where the disk can, else a copy."""
    part = _part(dest, entry.digest)
    if not is_encoded(path) and entry.mode == 0o644:
        with contextlib.suppress(OSError):
            part.hardlink_to(path)
            _finish(part, entry, dest)
            return
    _copy_plain(path, pack, part)
    _finish(part, entry, dest)


def _copy_plain(path: Path, pack: PackRef, to: Path) -> None:
    with path.open("rb") as source, to.open("wb") as out:
        for block in plain_blocks(source, pack.size, encoded=is_encoded(path)):
            out.write(block)


def _place_members(path: Path, pack: PackRef, declared: list[FileEntry], wanted: set[str], dest: Path) -> None:
    """Files of a tar. The tar must hold exactly what the manifest says of it, at the same places."""
    source = io.BytesIO(read_plain(path, pack))
    expected = {entry.path: entry for entry in declared}
    for member in tar.members(source, pack.size, most=len(expected)):
        entry = expected.pop(member.path, None)
        if entry is None or (member.size, member.mode, member.offset) != (entry.size, entry.mode, entry.offset):
            raise UnsafeArchive(f"The tar holds {member.path!r:.200} otherwise than the manifest says.")
    if expected:
        raise UnsafeArchive(f"The tar lacks {min(expected)!r:.200}, which the manifest lists.")
    for entry in declared:
        if entry.path in wanted:
            source.seek(entry.offset)
            data = full_read(source, entry.size)
            if hashlib.sha256(data).hexdigest() != entry.digest:
                raise DigestMismatch(f"The bytes of {entry.path} are not those that the manifest names.")
            part = _part(dest, entry.digest)
            part.write_bytes(data)
            _finish(part, entry, dest)


def remove_tree(path: Path) -> None:
    """Remove a read-only tree, and what lay beside it while it grew."""
    for tree in (path, path.with_name(path.name + ".part")):
        for folder, _, _ in os.walk(tree):
            with contextlib.suppress(OSError):
                Path(folder).chmod(0o755)
        shutil.rmtree(tree, ignore_errors=True)


class DiskFolder:
    """A plain folder, as a submitter has it; it shows what ``scan()`` would send, so version control and editor files are not seen."""

    def __init__(self, root: Path, *, ignore: Callable[[str], bool] = skipped) -> None:
        self._files = {found.path: found for found in find(root, ignore=ignore)}

    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    def size(self, name: str) -> int:
        return self._files[name].size

    def read(self, name: str) -> bytes:
        return b"".join(self._files[name].read())

    def path(self, name: str) -> Path:
        return self._files[name].real


class MappingFolder:
    """Files by name from anywhere: a real file, or bytes that get a real file below ``work`` when somebody asks for one."""

    def __init__(self, files: Mapping[str, Path | bytes], work: Path) -> None:
        self._files = dict(sorted(files.items()))
        self._work = work

    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    def size(self, name: str) -> int:
        file = self._files[name]
        return len(file) if isinstance(file, bytes) else file.stat().st_size

    def read(self, name: str) -> bytes:
        file = self._files[name]
        return file if isinstance(file, bytes) else file.read_bytes()

    def path(self, name: str) -> Path:
        file = self._files[name]
        return file if isinstance(file, Path) else _real_file(self._work, name, len(file), lambda part: part.write_bytes(file))


class BundleFolder:
    """A bundle on the server: single files are read out of their packs, nothing is unpacked whole; linked ones where they lie."""

    def __init__(self, manifest_path: Path, pack_path: Callable[[str], Path], work: Path, shared: Path | None = None) -> None:
        """``shared``: where this machine sees the root that linked files lie in."""
        self.bundle = _manifest_at(manifest_path)
        self._top = shared
        self._shared: LinkedFolder | None = None
        self._files = {entry.path: entry for entry in self.bundle.files}
        self._pack_path = pack_path
        self._work = work
        self._last: tuple[str, bytes] = ("", b"")  # kinds read neighbours; a tar is decoded once for them

    def names(self) -> tuple[str, ...]:
        return tuple(self._files)

    def size(self, name: str) -> int:
        return self._files[name].size

    def read(self, name: str) -> bytes:
        entry = self._files[name]
        if entry.linked:
            return self._linked().read(entry)
        pack = self.bundle.pack(entry)
        path = self._pack_path(pack.digest)
        if not is_encoded(path):
            with path.open("rb") as file:
                file.seek(entry.offset)
                data = full_read(file, entry.size)
        else:
            if self._last[0] != pack.digest:
                self._last = (pack.digest, read_plain(path, pack))
            data = self._last[1][entry.offset : entry.offset + entry.size]
        if len(data) != entry.size:
            raise FileError(f"The pack of {name} is shorter than its manifest says.")
        return data

    def path(self, name: str) -> Path:
        entry = self._files[name]
        if entry.linked:
            return self._linked().check(entry)
        pack = self.bundle.pack(entry)
        path = self._pack_path(pack.digest)
        if entry.offset == 0 and not is_encoded(path):
            return path
        if entry.offset == 0:
            return _real_file(self._work, name, entry.size, lambda part: _copy_plain(path, pack, part))
        return _real_file(self._work, name, entry.size, lambda part: part.write_bytes(self.read(name)))

    def _linked(self) -> LinkedFolder:
        if self._shared is None:
            if self._top is None or isinstance(self.bundle.share, msgspec.UnsetType):
                raise SharedError("The task's files lie in shared storage, and nobody said where this machine sees it.")
            self._shared = LinkedFolder(self._top, self.bundle.share)
        return self._shared


def _real_file(work: Path, name: str, size: int, write: Callable[[Path], object]) -> Path:
    """Have a file at ``work/name``; one of that size that is there already was put there by us."""
    path = work / name
    if not path.is_file() or path.stat().st_size != size:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = work / (hashlib.sha256(name.encode()).hexdigest() + ".part")
        write(part)
        part.replace(path)
    return path
