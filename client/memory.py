"""What the client remembers between two runs: ids of submits that were not acknowledged, and which folder a task came from.

A submit's id is chosen and written down before the first byte is sent. So the same command, typed again after a cut
connection, is the same submit: it goes on with the upload, and a task that the server had already taken is not doubled.
Each note is a small file; a lock on it keeps two runs at the same time on the same folder apart: the second is a task of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import msgspec

from ..common.clock import Clock
from ..common.errors import DeskError
from ..common.model import PackRef, TaskSpec, new_task_id

KEPT = 30 * 86400.0
"""Seconds after which a note of an unfinished submit is thrown away: what it would resume is long gone from the server."""
KEPT_FOLDERS = 365 * 86400.0


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where a task came from, so that its result finds its way back."""

    folder: str
    result: str
    overwrite: bool = False


class Pending:
    """Submits under way: one file each, named by what is submitted and to whom."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    @contextmanager
    def id_for(self, farm: str, folder: Path, spec: TaskSpec, bundle: PackRef) -> Iterator[str]:
        """The id for this submit. The note goes when the block ends well, and stays for the next run when it does not."""
        parts = (farm.encode(), os.fsencode(folder), msgspec.json.encode(spec, order="deterministic"), bundle.digest.encode())
        path = self._folder / hashlib.sha256(b"\0".join(parts)).hexdigest()[:40]
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._forget_old()
        with _locked(path) as note:
            if note is None:  # another run has it in hand at this moment
                yield new_task_id()
                return
            task = note.read().strip()
            if not task:
                task = new_task_id()
                note.write(task)
                note.flush()
                os.fsync(note.fileno())
                os.utime(note.fileno(), (self._clock.now(),) * 2)
            try:
                yield task
            except DeskError:  # the farm does not want this one: the next run is to be another
                path.unlink(missing_ok=True)
                raise
            path.unlink(missing_ok=True)

    def _forget_old(self) -> None:
        for path in self._folder.iterdir():
            _forget(path, self._clock.now() - KEPT)


class Origins:
    """Task id -> where it came from."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock

    def remember(self, task: str, origin: Origin) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._folder.iterdir():
            _forget(path, self._clock.now() - KEPT_FOLDERS)
        part = self._folder / f".{task}"
        part.write_bytes(msgspec.json.encode(origin))
        os.utime(part, (self._clock.now(),) * 2)
        part.rename(self._folder / task)

    def recall(self, task: str) -> Origin | None:
        try:
            return msgspec.json.decode((self._folder / task).read_bytes(), type=Origin)
        except (OSError, msgspec.DecodeError):
            return None

    def forget(self, task: str) -> None:
        (self._folder / task).unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[TextIO | None]:
    """The file, locked and at its start; None where somebody else has the lock."""
    while True:
        with path.open("a+", encoding="ascii") as note:
            try:
                fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            if path.exists() and os.path.samestat(os.fstat(note.fileno()), path.stat()):
                note.seek(0)
                yield note
                return
        # its last owner was done with it, and removed it, between our opening and our locking


def _forget(path: Path, older_than: float) -> None:
    try:
        if path.stat().st_mtime < older_than:
            path.unlink()
    except OSError:
        pass
