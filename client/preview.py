"""Bring the pictures of how far a task is into a folder: ``<name>-preview.png``, ``-heat.png`` and ``-nodes.png``.

They are drawn anew all the time, so an older one is written over, at once and whole.
"""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from ..common.clock import Clock
from ..common.errors import FileError, LinkLost, TransferError, UnsafeArchive
from ..common.model import Asset, PackRef, new_id
from ..common.wire.messages import Preview, Previewed
from .fetch import TRIES, Open, Progress
from .session import Session

SUFFIXES = {"preview.png": "-preview.png", "heat.png": "-heat.png", "nodes.png": "-nodes.png"}


class Previews:
    """Fetches over one session."""

    def __init__(self, session: Session, opened: Open, clock: Clock) -> None:
        self._session = session
        self._opened = opened
        self._clock = clock

    def fetch(
        self, task: str, into: Path, name: str, *, full: bool, progress: Progress = lambda here, total: None
    ) -> tuple[list[Path], str]:
        """The files' paths, ``name`` in front; none, and why, where there is nothing to see. ``full``: one picture, named ``-full.png``."""
        failures = 0
        while True:
            answer = self._session.patiently(lambda: self._session.ask(Preview(task=task, full=full), Previewed))
            if answer.pending:
                continue  # the server has waited before it said so
            if not answer.files or answer.account is None:
                return [], answer.why or "There is nothing to see yet."
            try:
                return self._get_all(answer, into, name, full, progress), ""
            except (TransferError, LinkLost):
                failures += 1
                if failures == TRIES:
                    raise
                self._clock.wait(threading.Event(), 1.0)

    def _get_all(self, answer: Previewed, into: Path, name: str, full: bool, progress: Progress) -> list[Path]:
        assert answer.account is not None
        total, here = sum(file.size for file in answer.files), 0
        try:
            into.mkdir(parents=True, exist_ok=True)
            mode = into.stat().st_mode & 0o666
            with contextlib.closing(self._opened(answer.account, self._session.host, self._session.pin)) as courier:
                places = []
                for file in answer.files:
                    place = into / f"{name}{'-full.png' if full else _suffix(file)}"
                    part = place.with_name(f".{place.name}.{new_id()[:12]}")
                    try:
                        courier.get_pack(PackRef(digest=file.digest, size=file.size), part)
                        part.chmod(mode)
                        part.replace(place)
                    finally:
                        part.unlink(missing_ok=True)
                    places.append(place)
                    here += file.size
                    progress(here, total)
        except OSError as error:
            raise FileError(f"The pictures cannot be put into {into}: {error.strerror}; choose another folder with -o.") from error
        return places


def _suffix(file: Asset) -> str:
    suffix = SUFFIXES.get(file.path)
    if suffix is None:
        raise UnsafeArchive(f"The server names a picture {file.path!r:.200}, which is none of {', '.join(SUFFIXES)}: nothing was fetched.")
    return suffix
