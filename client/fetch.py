"""Bring a task's assets into a folder: each checked by its digest, the folder there at once and whole, or not at all.

An older result is never written over unless that was asked for. Names come from the server, so they are checked like any
stranger's.
"""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..common.clock import Clock
from ..common.errors import DiskFull, FileError, LinkLost, TransferError, UnsafeArchive, UsageError
from ..common.manifest import name_fault
from ..common.model import Account, Asset, PackRef, new_id
from ..common.wire.messages import Assets, Fetch
from .session import Session
from .words import short

PAGE = 2000
"""Assets in one answer; the server may give fewer. Each page has an account of its own, which then need not last for all."""
TRIES = 3
"""Fresh accounts to ask for when the transfer ends for good: a server that was started again has forgotten the old one."""
Progress = Callable[[int, int], None]
"""Bytes here, bytes in all."""


class Getter(Protocol):
    """What fetching needs of transfer.Courier."""

    def get_pack(self, pack: PackRef, dest: Path, progress: Callable[[int], None] | None = None) -> None: ...
    def close(self) -> None: ...


Open = Callable[[Account, str, str], Getter]
"""Account, host of the server, pin -> one FTP session."""


def refuse_older(target: Path, overwrite: bool) -> None:
    """Say no before anything is done, rather than after hours of work."""
    if not overwrite and (target.exists() or target.is_symlink()):
        raise UsageError(f"{target} holds an older result: move it away, or say --overwrite.")
    if overwrite and target.exists() and not target.is_dir():
        raise UsageError(f"{target} is not a folder, so no result is put there.")


class Fetcher:
    """Fetches results over one session."""

    def __init__(self, session: Session, opened: Open, clock: Clock) -> None:
        self._session = session
        self._opened = opened
        self._clock = clock

    def fetch(self, task: str, target: Path, *, overwrite: bool = False, progress: Progress = lambda here, total: None) -> Path:
        """Fetch into ``target`` and return it, or a name beside it if an older result appeared there meanwhile."""
        part = target.with_name(f".{target.name}.{new_id()[:12]}")
        try:
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                part.mkdir()
            except OSError as error:
                raise FileError(
                    f"The result cannot be put into {target.parent}: {error.strerror}; choose another folder with --into."
                ) from error
            self._fill(task, part, progress)
            return _publish(part, target, task, overwrite)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _fill(self, task: str, part: Path, progress: Progress) -> None:
        failures = after = here = 0
        while True:
            answer = self._session.patiently(lambda after=after: self._session.ask(Fetch(task=task, after=after, limit=PAGE), Assets))  # type: ignore[misc]
            if not answer.assets:
                if after:
                    raise FileError(f"The task {short(task)} has fewer files than before: somebody restarted it. Fetch it again.")
                raise FileError(f"The task {short(task)} left no files to fetch.")
            try:
                self._get_all(answer, part, here, progress)
                after += len(answer.assets)
                here += sum(asset.size for asset in answer.assets)
                failures = 0
                if not answer.more:
                    return
            except (TransferError, LinkLost):
                failures += 1
                if failures == TRIES:
                    raise
                self._clock.wait(threading.Event(), 1.0)

    def _get_all(self, answer: Assets, part: Path, before: int, progress: Progress) -> None:
        """One page, after ``before`` bytes of others."""
        page = sum(asset.size for asset in answer.assets)
        total = max(answer.size, before + page)
        wanted = [(asset, _place(asset, part)) for asset in answer.assets]
        room = shutil.disk_usage(part).free
        if total - before > room:
            left = total - before
            raise DiskFull(f"The result takes {left:,} bytes and {part.parent} has {room:,} left: make room, then fetch it again.")
        here = before + sum(asset.size for asset, place in wanted if place.exists())
        mode = part.stat().st_mode & 0o666
        courier = self._opened(answer.account, self._session.host, self._session.pin)
        with contextlib.closing(courier):
            for asset, place in wanted:
                if place.exists():
                    continue
                place.parent.mkdir(parents=True, exist_ok=True)
                courier.get_pack(PackRef(digest=asset.digest, size=asset.size), place)
                place.chmod(mode)
                here += asset.size
                progress(here, total)


def _place(asset: Asset, part: Path) -> Path:
    fault = name_fault(asset.path)
    if fault:
        raise UnsafeArchive(f"The server names a result file {asset.path!r:.200}, which {fault}: nothing was fetched.")
    return part / asset.path


def _publish(part: Path, target: Path, task: str, overwrite: bool) -> Path:
    """Give the folder its name; what stood there goes only when the new one is in place."""
    older = target.exists() or target.is_symlink()
    if older and not overwrite:
        target = target.with_name(f"{target.name}-{short(task)}")
        if target.exists() or target.is_symlink():
            raise UsageError(
                f"{target} is there already, so the result was not put anywhere: fetch it with `clusterray fetch {short(task)} --into DIR`."
            )
        older = False
    if not older:
        part.rename(target)
        return target
    aside = target.with_name(f"{part.name}.old")
    target.rename(aside)
    try:
        part.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    if aside.is_symlink():
        aside.unlink()
    else:
        shutil.rmtree(aside, ignore_errors=True)
    return target
