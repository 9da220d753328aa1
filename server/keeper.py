"""Hashes, fsyncs and names what came in; knows what is in use; evicts the rest.

    packs/ab/<digest>[.zst]     verified, fsynced, never changed; ``.zst`` where it came encoded
    uploads/<session>/          what a submitter is sending: ``<digest>[.zst].part``
    leases/<lease>/in/          what a node is sending
    leases/<lease>/out/         what it has sent and was found to be right; out of reach of its FTP account
    checking/                   taken out of an upload, being hashed
    plain/                      decoded copies of ``.zst`` packs for those who need a real file

A name in packs/ is a promise: the file is fsynced, then renamed, then its folder is fsynced, and only then does anyone hear of it. A crash
leaves nothing but files in the other folders, which ``clean()`` removes at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from ..common import encoding
from ..common.clock import Clock
from ..common.errors import DiskFull, FileError
from ..common.manifest import is_digest, name_fault
from ..common.model import Output, PackRef, new_id
from .ftp_accounts import free_bytes

log = logging.getLogger(__name__)


@dataclass
class _Kept:
    path: Path
    disk: int
    used: float


class Keeper:
    """The packs of a server. Thread-safe; hashing runs in the caller's thread and holds no lock.

    ``in_use`` gives the digests that must stay; it is called under the keeper's lock, so that it must not call the keeper. Whoever pins
    packs does so before asking ``has()``: then none is evicted between the answer and its use. ``writing`` tells whether somebody still
    has an uploaded file open (FtpThread.writing).
    """

    def __init__(
        self, folder: Path, clock: Clock, *, in_use: Callable[[], set[str]], cap: int, keep_free: int,
        free: Callable[[Path], int] = free_bytes, writing: Callable[[Path], bool] = lambda path: False,
    ) -> None:  # fmt: skip
        self._packs, self._uploads, self._leases = folder / "packs", folder / "uploads", folder / "leases"
        self._checking, self._plain = folder / "checking", folder / "plain"
        for each in (self._packs, self._uploads, self._leases, self._checking, self._plain):
            each.mkdir(parents=True, exist_ok=True)
        self._clock, self._in_use, self._cap, self._keep_free = clock, in_use, cap, keep_free
        self._free, self._writing = free, writing
        self._lock = threading.RLock()
        self._kept: dict[str, _Kept] = {}
        self._pinned: Counter[str] = Counter()
        for path in sorted(self._packs.glob("*/*")):
            digest = path.name.removesuffix(encoding.SUFFIX)
            if not is_digest(digest) or digest in self._kept:  # nothing of ours, or the same once more in the other encoding
                path.unlink()
            else:
                info = path.stat()
                self._kept[digest] = _Kept(path, info.st_size, info.st_mtime)

    # --- asking

    def has(self, digest: str) -> bool:
        """Whether the pack is here under its name."""
        with self._lock:
            return digest in self._kept

    def size(self, digest: str) -> int:
        """Bytes that the pack takes on disk; FileError where it is not here."""
        with self._lock:
            return self._entry(digest).disk

    def total(self) -> int:
        """Bytes that all packs take on disk."""
        with self._lock:
            return sum(kept.disk for kept in self._kept.values())

    def path(self, digest: str) -> Path:
        """Its file, plain or ``.zst``; counts as a use."""
        with self._lock:
            kept = self._entry(digest)
            kept.used = self._clock.now()
            with contextlib.suppress(OSError):
                os.utime(kept.path, (kept.used, kept.used))
            return kept.path

    def plain(self, digest: str) -> Path:
        """A plain file with its bytes: the pack itself, or a decoded copy, which stays until evict() takes the pack or the copy."""
        path = self.path(digest)
        if not encoding.is_encoded(path):
            return path
        copy = self._plain / digest
        if not copy.exists():
            part = self._plain / f"{digest}.{new_id()}.part"
            with path.open("rb") as source, part.open("wb") as out:
                for block in encoding.plain_blocks(source, 1 << 50, encoded=True):
                    out.write(block)
            part.replace(copy)
        return copy

    def _entry(self, digest: str) -> _Kept:
        kept = self._kept.get(digest)
        if kept is None:
            raise FileError(f"The server does not hold pack {digest[:12]} any more.")
        return kept

    # --- taking in

    def upload_folder(self, session: str) -> Path:
        """Where an upload session stores; the FTP account's ``write``."""
        return _made(self._uploads / session)

    def sending_folder(self, lease: str) -> Path:
        """Where a lease's outputs arrive; the FTP account's ``write``."""
        return self._leases / lease / "in"

    def lease_folder(self, lease: str) -> Path:
        """A lease's folder; what take_outputs() has found right lies in its ``out/``."""
        return self._leases / lease

    def take_upload(self, session: str, pack: PackRef, *, known: bool = True) -> str | None:
        """Check what a session has sent for a pack and give it its name. None, or the sentence that says why it must come again.

        Where the pack is here already, nothing need have come; but not ``known`` says that this sender has yet to show that it has it.
        """
        folder = self._uploads / session
        sent = [folder / f"{pack.digest}{suffix}.part" for suffix in (encoding.SUFFIX, "")]
        if known and self.has(pack.digest):
            for part in sent:
                part.unlink(missing_ok=True)
            return None
        found = next((part for part in sent if part.exists()), None)
        if found is None:
            return f"Pack {pack.digest[:12]} did not arrive."
        encoded = found.name.endswith(encoding.SUFFIX + ".part")
        mine = self._checking / (new_id() + (encoding.SUFFIX if encoded else ""))
        found.replace(mine)  # from here on the session cannot open it again; a file that it has open still is not taken
        try:
            if self._writing(found):
                return f"Pack {pack.digest[:12]} was still being sent when it was reported; send it again."
            try:
                encoding.verify(mine, pack, encoded=encoded)
            except FileError as error:
                return str(error)
            self._name(mine, pack.digest, encoded)
            return None
        finally:
            mine.unlink(missing_ok=True)

    def take_outputs(
        self, lease: str, outputs: tuple[Output, ...], bring: Callable[[Output, Path], None] = lambda output, to: None
    ) -> tuple[str, ...]:
        """Which of a lease's outputs are missing or wrong; those that are right are on the disk for good, in the lease's ``out/``.

        A file is moved there first and then looked at, so that its sender cannot change it after the check. What was right at an
        earlier call stays right. Outputs that carry their bytes are passed over. ``bring`` is asked for those that were not sent here.
        """
        out = _made(self.lease_folder(lease) / "out")
        wrong = []
        folders = {out, out.parent}
        for output in outputs:
            if output.data is None:
                path = out / output.path
                sent = self._leases / lease / "in" / output.path
                if not name_fault(output.path) and not sent.exists() and not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    bring(output, path)
                if name_fault(output.path) or not self._right(path, sent, output):
                    wrong.append(output.path)
                else:
                    folders.update(parent for parent in path.parents if out in parent.parents)
        for folder in folders:
            _sync_folder(folder)
        return tuple(wrong)

    def _right(self, path: Path, sent: Path, output: Output) -> bool:
        with contextlib.suppress(OSError):
            if sent.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                sent.replace(path)
            if self._writing(sent) or self._writing(path):
                path.unlink()
                return False
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_size == output.size and _hash(file) == output.digest:
                    os.fsync(file.fileno())
                    return True
            path.unlink()
        return False

    def adopt(self, path: Path, digest: str) -> None:
        """A file that was checked becomes a pack by a rename; it is gone from where it was."""
        if not self.has(digest):
            mine = self._checking / new_id()
            try:
                path.rename(mine)
            except OSError:  # another disk
                shutil.copyfile(path, mine)
            self._name(mine, digest, False)
        path.unlink(missing_ok=True)

    def adopt_file(self, path: Path, *, pin: bool = False) -> PackRef:
        """Hash a file and make it a pack by a second name (a copy where the disk cannot); it stays where it is and must not change.

        ``pin``: nobody evicts it until ``unpin()``, when a row speaks of it.
        """
        with path.open("rb") as file:
            pack = PackRef(digest=_hash(file), size=os.fstat(file.fileno()).st_size)
        if pin:
            with self._lock:
                self._pinned[pack.digest] += 1
        if not self.has(pack.digest):
            mine = self._checking / new_id()
            try:
                mine.hardlink_to(path)
            except OSError:
                shutil.copyfile(path, mine)
            self._name(mine, pack.digest, False)
        return pack

    def unpin(self, digests: Iterable[str]) -> None:
        """Rows speak of these now, or nobody ever will."""
        with self._lock:
            self._pinned = self._pinned - Counter(digests)

    def _name(self, mine: Path, digest: str, encoded: bool) -> None:
        """fsync the file, rename it, fsync the folder; then it is here."""
        with mine.open("rb") as file:
            os.fsync(file.fileno())
            disk = os.fstat(file.fileno()).st_size
        final = self._packs / digest[:2] / (digest + (encoding.SUFFIX if encoded else ""))
        if not final.parent.exists():
            final.parent.mkdir(exist_ok=True)
            _sync_folder(self._packs)
        with self._lock:
            if digest in self._kept:  # somebody else was faster with the same bytes
                mine.unlink()
                return
            mine.rename(final)
            now = self._clock.now()
            os.utime(final, (now, now))
            _sync_folder(final.parent)
            self._kept[digest] = _Kept(final, disk, now)

    # --- room

    def room_for(self, size: int) -> None:
        """DiskFull where an upload of ``size`` bytes would eat into what is kept free, even after evicting what nobody uses."""
        if self._free(self._packs) - size < self._keep_free:
            self.evict(size)
        free = self._free(self._packs)
        if free - size < self._keep_free:
            raise DiskFull(
                f"The server has no room for {size} bytes: {free} are free on its disk, of which it keeps {self._keep_free}; "
                "remove old tasks or give it more disk."
            )

    def evict(self, room: int = 0) -> int:
        """Drop packs that nobody uses, least recently used first; returns the bytes dropped.

        It ends when the rest is under the cap and ``room`` bytes are free beside the reserve.
        """
        dropped = 0
        with self._lock:
            using = self._in_use() | set(self._pinned)
            idle = sorted(((digest, kept) for digest, kept in self._kept.items() if digest not in using), key=lambda pair: pair[1].used)
            left = sum(kept.disk for _, kept in idle)
            for digest, kept in idle:
                if left <= self._cap and self._free(self._packs) >= self._keep_free + room:
                    break
                kept.path.unlink(missing_ok=True)
                del self._kept[digest]
                left -= kept.disk
                dropped += kept.disk
            for copy in self._plain.iterdir():
                if copy.name not in using and not copy.name.endswith(".part"):
                    copy.unlink(missing_ok=True)
        if dropped:
            log.info("keeper: evicted %d bytes of packs that nobody uses", dropped)
        return dropped

    # --- letting go

    def last_upload(self, session: str) -> float:
        """When a session last stored a byte, in seconds since 1970; 0: never."""
        folder = self._uploads / session
        times = [0.0]
        for path in folder.iterdir() if folder.is_dir() else ():
            with contextlib.suppress(OSError):
                times.append(path.stat().st_mtime)
        return max(times)

    def drop_session(self, session: str) -> None:
        """Remove what an upload session left."""
        shutil.rmtree(self._uploads / session, ignore_errors=True)

    def drop_lease(self, lease: str) -> None:
        """Remove what a lease sent."""
        shutil.rmtree(self._leases / lease, ignore_errors=True)

    def clean(self, known_leases: Collection[str], known_sessions: Collection[str]) -> None:
        """At a start, before anyone uploads: remove what the last life left half-done."""
        for root, known in ((self._leases, known_leases), (self._uploads, known_sessions), (self._checking, ()), (self._plain, ())):
            for entry in list(root.iterdir()):
                if entry.name not in known:
                    if entry.is_dir():
                        shutil.rmtree(entry, ignore_errors=True)
                    else:
                        entry.unlink(missing_ok=True)


def _hash(file: BufferedReader) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
