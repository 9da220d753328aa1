"""A folder for each lease to work in, and a note of what runs there, so that a next life can end it.

``scratch/<lease>/`` has ``out`` (what is to be kept), for programs also ``tmp``; ``running/<lease>.json`` names the program by
mark, pid and start time. The mark is written before the start and the pid after it: at no moment can a crash leave a program
that the next agent does not find. Nothing is fsynced: when the machine itself goes down, the programs go with it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from pathlib import Path

import msgspec

from ..common import process
from ..common.errors import FileError
from ..common.model import new_id

log = logging.getLogger(__name__)

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What runs for a lease."""

    mark: str
    pid: int = 0
    started: int = 0
    home: str = ""
    """Device and number of the folder that it was written in: a copy of the folder speaks of another node's programs."""


def safe_name(lease: str) -> str:
    """The lease id, checked: it becomes a folder's name, and it comes from outside."""
    if not _NAME.fullmatch(lease):
        raise FileError(f"The server sent a lease id that cannot be a folder's name: {lease[:80]!r}.")
    return lease


class Scratch:
    """The scratch folders of a node. Safe to use from all slots.

    A folder has a name of its own for one lease after another: making and removing folders would be most of what a job of our
    own quick code costs, so one that such a job leaves clean is used again. Folders in which a program ran are not.
    """

    def __init__(self, data: Path) -> None:
        self.folder = data / "scratch"
        self._running = data / "running"
        for folder in (self.folder, self._running):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        info = self._running.stat()
        self._home = f"{info.st_dev}:{info.st_ino}"
        self._lock = threading.Lock()
        self._places: dict[str, Path] = {}
        self._spare: list[Path] = []
        self._noted: set[str] = set()

    def make(self, lease: str) -> Path:
        """An empty folder for this lease, with ``out`` in it."""
        safe_name(lease)
        if lease in self._places:
            self.remove(lease)
        with self._lock:
            place = self._spare.pop() if self._spare else None
        if place is None:
            place = self.folder / lease
            if place.exists():  # in use again under another lease
                place = self.folder / f"{lease}-{new_id()}"
            place.mkdir(mode=0o700)
            (place / "out").mkdir()
        with self._lock:
            self._places[lease] = place
        return place

    def place(self, lease: str) -> Path:
        """The folder of a lease; KeyError: it has none."""
        return self._places[lease]

    def remove(self, lease: str) -> None:
        """Be done with the lease's folder and note, whatever a program made of it. Nothing there: nothing done."""
        with self._lock:
            place = self._places.pop(lease, None)
            noted = lease in self._noted
            self._noted.discard(lease)
        if place is None:
            return
        if noted:
            remove_tree(place)
            (self._running / f"{lease}.json").unlink(missing_ok=True)
        elif _emptied(os.fspath(place)):
            with self._lock:
                self._spare.append(place)
        else:
            remove_tree(place)

    def note(self, lease: str, note: Note) -> None:
        """Write down what runs for the lease."""
        path = self._running / f"{safe_name(lease)}.json"
        with self._lock:
            self._noted.add(lease)
        part = path.with_suffix(".part")
        part.write_bytes(msgspec.json.encode(msgspec.structs.replace(note, home=self._home)))
        part.replace(path)

    def clear(self) -> int:
        """At a start: end what the last life left running, then remove all folders. Return how many processes were ended."""
        ended = 0
        for path in sorted(self._running.iterdir()):
            try:
                note = msgspec.json.decode(path.read_bytes(), type=Note)
                if note.home in ("", self._home):
                    ended += process.end_leftover(note.pid, note.started, note.mark)
            except (msgspec.DecodeError, OSError):
                log.warning("%s cannot be read; it is removed", path)
            path.unlink(missing_ok=True)
        for place in self.folder.iterdir():
            remove_tree(place)
        return ended


def _emptied(place: str) -> bool:
    """Remove the plain files of ``out``; return whether nothing else was there. Plain strings: this runs thousands of times a second."""
    out = place + "/out"
    try:
        for name in os.listdir(out):  # noqa: PTH208
            os.unlink(f"{out}/{name}")  # noqa: PTH108
        return os.listdir(place) == ["out"]  # noqa: PTH208
    except OSError:
        return False


def remove_tree(path: Path) -> None:
    """Remove a folder, also one whose folders a program has made unreadable; what still resists is logged and left."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
    if not path.exists():
        return
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    _unlock(path)
    for _, names, _, handle in os.fwalk(path, follow_symlinks=False):
        for name in names:
            _unlock(name, handle)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        log.warning("%s cannot be removed wholly; the next start tries again", path)


def _unlock(name: str | Path, above: int | None = None) -> None:
    """Make a folder readable, unless it is a link: a warm program that is still alive may exchange one for the other at any time."""
    try:
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=above)
    except OSError:
        return
    try:
        os.chmod(f"/proc/self/fd/{handle}", 0o700)  # noqa: PTH101  (of what is open, not of a name)
    except OSError:
        pass
    finally:
        os.close(handle)
