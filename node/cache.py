"""The node's store of packs and unpacked bundles.

    packs/<boot>/<digest>          verified, plain; large files among them are linked into the trees, not copied
    trees/<bundle>/manifest        what the folder holds
    trees/<bundle>/files/          the folder, read-only, as far as a job has needed it; it grows and never changes
                                   files in shared storage are links to where this node sees them, and are looked at before every job
    trees/<bundle>/boot            the boot of the machine in which these files were known to be good

A bundle is unpacked once for all slots. Each file gets its name when it is whole, so that the tree of a killed agent is simply gone on
with. Nothing is fsynced: what was written before the machine last started is hashed again before it is used. Small files lie here twice,
in their tar and in the tree: a bundle with one changed file then needs one tar; tars are the first to go when room is short.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..common import encoding
from ..common.bundle import Bundle, chosen, link_files, read_manifest, remove_tree, unpack_files
from ..common.clock import Clock
from ..common.errors import DiskFull, FileError, SharedChanged, SharedError
from ..common.linked import LinkedFolder
from ..common.manifest import FileEntry, Share, is_digest
from ..common.model import PackRef
from ..common.transfer import Courier

log = logging.getLogger(__name__)

TOLD = 64
"""Bundles that a hello names, the most recently used: more would not change where a job goes."""


def boot_id() -> str:
    """A word that changes when the machine starts."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return "unknown"


def free_bytes(folder: Path) -> int:
    """Room on the disk that a folder lies on."""
    return shutil.disk_usage(folder).free


@dataclass
class _Entry:
    """A pack (``path`` is the file) or a tree (its folder); ``size`` is what its removal gives back."""

    path: Path
    size: int
    used: float
    users: int = 0

    @property
    def is_tree(self) -> bool:
        return self.path.parent.name == "trees"

    def evictable(self) -> bool:
        if self.users:
            return False
        return self.is_tree or not self.path.exists() or self.path.stat().st_nlink == 1  # linked: its tree goes first


class Cache:
    """Thread-safe; one for all slots of a node.

    ``cap`` is what packs and trees may take together; what is in use stays and may exceed it, as long as the disk keeps ``keep_free``.
    """

    def __init__(
        self, folder: Path, cap: int, clock: Clock, *, keep_free: int = 0, free: Callable[[Path], int] = free_bytes, boot: str = "",
        linked: Callable[[Share], LinkedFolder] | None = None,
    ) -> None:  # fmt: skip
        """``linked`` finds a folder in shared storage; None: this node has none."""
        self._linked = linked
        self._folder, self._cap, self._clock, self._keep_free, self._free = folder, cap, clock, keep_free, free
        self._boot = boot or boot_id()
        self._packs, self._trees = folder / "packs" / self._boot, folder / "trees"
        self._packs.mkdir(parents=True, exist_ok=True)
        self._trees.mkdir(exist_ok=True)
        self._lock = threading.Lock()
        self._busy: weakref.WeakValueDictionary[str, threading.Lock] = weakref.WeakValueDictionary()
        self._entries: dict[Path, _Entry] = {entry.path: entry for entry in self._look()}
        self._links: dict[Path, dict[tuple[str, ...], tuple[Share, tuple[FileEntry, ...]]]] = {}
        """Trees -> needs -> their files in shared storage."""
        self._served: dict[Path, set[tuple[str, ...]]] = {}
        """Trees -> the needs that they were found to meet; a node of many short jobs does not look at 10,000 files for each."""

    def _look(self) -> Iterator[_Entry]:
        for path in list((self._folder / "packs").glob("*/*")):
            if is_digest(path.name):
                info = path.stat()
                yield _Entry(path, info.st_size, info.st_mtime)
            else:  # half fetched by a life that is over
                path.unlink()
        for path in list(self._trees.iterdir()):
            remove_tree(path / "files.part")
            own = sum(info.st_size for info in map(os.lstat, _files(path)) if info.st_nlink == 1)
            yield _Entry(path, own, path.stat().st_mtime)

    # --- for the agent

    def held(self) -> tuple[str, ...]:
        """Digests of the bundles that are here, the most recently used first, as a hello tells them."""
        with self._lock:
            trees = sorted((entry for entry in self._entries.values() if entry.is_tree), key=lambda entry: -entry.used)
        return tuple(entry.path.name for entry in trees[:TOLD])

    def total(self) -> int:
        """Bytes that the cache takes on disk."""
        with self._lock:
            return sum(entry.size for entry in self._entries.values())

    @contextlib.contextmanager
    def use(self, bundle: PackRef) -> Iterator[None]:
        """While inside, the bundle's tree is not evicted; a job is run in here."""
        with self._pinned(self._trees / bundle.digest):
            yield

    def fetch(
        self, bundle: PackRef, needs: tuple[str, ...], courier: Courier, note: Callable[[str], None], *,
        go_on: Callable[[], None] = lambda: None,
    ) -> Path:  # fmt: skip
        """The bundle's folder with at least the files that ``needs`` names (none: all), fetched and unpacked where they are missing.

        ``note`` hears ``fetching`` and ``unpacking``. While another slot fetches the same, this one waits and calls ``go_on`` now and
        then, which may raise. Raises what the courier raises, DiskFull, or FileError and UnsafeArchive for a bundle that is wrong.
        """
        tree = self._trees / bundle.digest
        with self._alone(bundle.digest, go_on), self._pinned(tree):
            served = self._served.setdefault(tree, set())
            if needs in served or () in served:
                self._link(tree, needs)
                return tree / "files"
            manifest = self._manifest(bundle, tree, courier)
            files = chosen(manifest, needs)
            missing = [entry for entry in files if not entry.linked and not (tree / "files" / entry.path).exists()]
            if missing:
                packs = manifest.by_pack(missing)
                with contextlib.ExitStack() as stack:
                    for pack in packs:
                        stack.enter_context(self._pinned(self._packs / pack.digest))
                    lacking = [pack for pack in packs if not self._at_hand(pack)]
                    small = sum(entry.size for entry in missing if entry.offset)
                    self._make_room(sum(pack.size for pack in lacking) + small)
                    if lacking:
                        note("fetching")
                    for pack in lacking:
                        self._get(pack, courier, go_on)
                    note("unpacking")
                    self._unpack(manifest, files, tree, small)
            (tree / "files").mkdir(exist_ok=True)  # a job that needs no file still has a folder
            self._link(tree, needs, manifest)
            served.add(needs)
            return tree / "files"

    def shared(self, bundle: PackRef) -> tuple[Path, ...]:
        """Folders outside of a fetched bundle's own in which its files lie: where its links lead."""
        for share, entries in self._links.get(self._trees / bundle.digest, {}).values():
            if entries and self._linked is not None:
                return (self._linked(share).real,)
        return ()

    # --- steps of a fetch

    def _link(self, tree: Path, needs: tuple[str, ...], manifest: Bundle | None = None) -> None:
        """Files in shared storage appear as links to where this node sees them, looked at anew for each job."""
        known = self._links.setdefault(tree, {})
        if needs not in known:
            manifest = manifest or read_manifest((tree / "manifest").read_bytes())
            if isinstance(manifest.share, msgspec.UnsetType):
                known[needs] = (Share(root="", folder=""), ())
            else:
                known[needs] = (manifest.share, tuple(entry for entry in chosen(manifest, needs) if entry.linked))
        share, entries = known[needs]
        if not entries:
            return
        if self._linked is None:
            raise SharedError(f"This node has no shared root {share.root} ([shared.{share.root}] in its settings).")
        try:
            real = self._linked(share).check_all(entries)
        except SharedChanged as error:
            raise SharedError(f"{error.path} is not as it was when the task was submitted, as this node sees it.") from error
        link_files(real, tree / "files")

    def _manifest(self, bundle: PackRef, tree: Path, courier: Courier) -> Bundle:
        path = tree / "manifest"
        tree.mkdir(exist_ok=True)
        if not self._good(path, bundle, tree):
            self._make_room(bundle.size)
            (tree / "boot").write_text(self._boot)
            courier.get_pack(bundle, path)
            self._grow(tree, bundle.size)
        manifest = read_manifest(path.read_bytes())
        if (tree / "boot").read_text() != self._boot:
            self._look_through(manifest, tree)
        return manifest

    def _good(self, path: Path, pack: PackRef, tree: Path) -> bool:
        """Whether the manifest is here and whole."""
        if not path.exists() or not (tree / "boot").exists():
            return False
        try:
            encoding.verify(path, pack, encoded=False)
        except FileError:
            path.unlink()
            return False
        return True

    def _look_through(self, manifest: Bundle, tree: Path) -> None:
        """After a start of the machine: keep of a tree what is whole."""
        for entry in manifest.files:
            path = tree / "files" / entry.path
            if not entry.linked and path.exists() and _digest(path) != entry.digest:
                log.warning("cache: %s of bundle %s was damaged and is fetched again", entry.path, tree.name[:12])
                path.parent.chmod(0o755)
                path.unlink()
        (tree / "boot").write_text(self._boot)

    def _at_hand(self, pack: PackRef) -> bool:
        """Whether a pack is here; one from before the machine's last start is hashed first."""
        path = self._packs / pack.digest
        if path.exists():
            return True
        for old in (self._folder / "packs").glob(f"*/{pack.digest}"):
            with self._lock:
                entry = self._entries.pop(old, None)
            try:
                encoding.verify(old, pack, encoded=False)
                old.rename(path)
            except (FileError, OSError):
                old.unlink(missing_ok=True)
                continue
            with self._lock:
                self._entry(path).size = pack.size if entry is None else entry.size
            return True
        return False

    def _get(self, pack: PackRef, courier: Courier, go_on: Callable[[], None]) -> None:
        """Fetch a pack, unless a slot with another bundle is just doing so."""
        path = self._packs / pack.digest
        with self._alone(pack.digest, go_on):
            if not path.exists():
                courier.get_pack(pack, path)
                self._grow(path, pack.size)

    def _unpack(self, manifest: Bundle, files: tuple[FileEntry, ...], tree: Path, small: int) -> None:
        try:
            unpack_files(manifest, files, lambda digest: self._packs / digest, tree / "files")
        except OSError as error:
            kind = DiskFull if error.errno in (errno.ENOSPC, errno.EDQUOT) else FileError
            raise kind(f"Unpacking bundle {tree.name[:12]} into {tree} failed: {error.strerror or error}.") from error
        finally:
            remove_tree(tree / "files.part")
        self._grow(tree, small)

    # --- room

    def _make_room(self, size: int) -> None:
        """Evict, least recently used first, until ``size`` more bytes are within the cap and the disk keeps its reserve."""
        with self._lock:
            total = sum(entry.size for entry in self._entries.values())
            idle = sorted((entry for entry in self._entries.values() if not entry.users), key=lambda entry: (entry.used, entry.is_tree))
            waiting = True
            while waiting and (total + size > self._cap or self._free(self._folder) < self._keep_free + size):
                victim = next((entry for entry in idle if entry.evictable()), None)
                waiting = victim is not None
                if victim is not None:
                    idle.remove(victim)
                    del self._entries[victim.path]
                    total -= victim.size
                    if victim.is_tree:
                        self._served.pop(victim.path, None)
                        self._links.pop(victim.path, None)
                        remove_tree(victim.path)
                    else:
                        victim.path.unlink(missing_ok=True)
        free = self._free(self._folder)
        if free < self._keep_free + size:
            raise DiskFull(
                f"The node has {free} bytes free on the disk of {self._folder} and keeps {self._keep_free} of them; the job needs {size}."
            )

    def _entry(self, path: Path) -> _Entry:
        """With the lock held."""
        return self._entries.setdefault(path, _Entry(path, 0, self._clock.now()))

    def _grow(self, path: Path, size: int) -> None:
        with self._lock:
            self._entry(path).size += size

    @contextlib.contextmanager
    def _pinned(self, path: Path) -> Iterator[None]:
        with self._lock:
            entry = self._entry(path)
            entry.users += 1
        try:
            yield
        finally:
            with self._lock:
                entry.users -= 1
                entry.used = self._clock.now()
                with contextlib.suppress(OSError):
                    os.utime(path, (entry.used, entry.used))
                if not entry.users and not path.exists():
                    self._entries.pop(path, None)

    @contextlib.contextmanager
    def _alone(self, name: str, go_on: Callable[[], None]) -> Iterator[None]:
        """One thread at a time for each bundle and pack."""
        with self._lock:
            lock = self._busy.setdefault(name, threading.Lock())
        while not lock.acquire(timeout=0.5):
            go_on()
        try:
            yield
        finally:
            lock.release()


def _files(tree: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(tree):
        for name in names:
            yield Path(folder, name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
