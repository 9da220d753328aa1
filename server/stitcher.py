"""The other arm of the task thread: has the pieces joined, and publishes the assets. The joining runs in a hand.

The hand writes into an empty ``out.part``; each finished file becomes a pack by a link, fsynced, and only then is COMPLETED
committed. So a stitch that was cut off leaves nothing but a folder that the next one empties.
"""

from __future__ import annotations

import logging
import shutil
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..common.errors import ClusterRayError, StitchFailed
from ..common.model import PackRef, Region, TaskSpec, new_id
from . import ledger
from .aftermath import Aftermath
from .calls import File, Files, Stitch, StitchDone
from .hands import Hands
from .keeper import Keeper
from .splitter import Splitter
from .store import Row, Store, StoreError

log = logging.getLogger(__name__)
MOST_ASSETS = 2000
"""Their list travels in one frame."""


@dataclass(frozen=True)
class Stitching:
    """A stitch under way."""

    task: str
    run: int
    out: Path
    future: Future[StitchDone]


class Stitcher:
    def __init__(
        self, store: Store, hands: Hands, keeper: Keeper, splitter: Splitter, aftermath: Aftermath, folder: Path
    ) -> None:
        self._store = store
        self._hands = hands
        self._keeper = keeper
        self._splitter = splitter
        self._aftermath = aftermath
        self._folder = folder
        self.fraction: dict[str, float] = {}

    def begin(self, task: str, run: int) -> Stitching | None:
        """RUNNING -> STITCHING, then ask a hand; None where the task was cancelled meanwhile."""
        if not self._store.write(lambda tx: ledger.begin_stitch(tx, task, run)):
            return None
        self._aftermath.changed(task)
        out = self._folder / task / f"run-{run}-{new_id()[:8]}" / "out.part"  # of its own: a hand of an earlier life may still write
        future: Future[StitchDone]
        try:
            shutil.rmtree(self._folder / task, ignore_errors=True)
            out.mkdir(parents=True)
            with self._store.read() as tx:
                row = ledger.need_run(tx, task, run)
                pieces = [
                    (msgspec.json.decode(piece["region"], type=Region), self._files(tx.all("outputs", lease=piece["accepted"])))
                    for piece in tx.all("pieces", task=task, run=run, stage=row["stage"])
                ]
            spec = msgspec.json.decode(row["spec"], type=TaskSpec)
            call = Stitch(spec=spec, stage=row["stage"], pieces=pieces, out=str(out), work=str(out.parent / "work"))
            future = self._hands.stitch(call, lambda fraction: self._going(task, fraction))
        except (OSError, ClusterRayError) as error:
            future = Future()
            future.set_exception(StitchFailed(f"The pieces cannot be read on the server: {error}"))
        return Stitching(task, run, out, future)

    def end(self, stitching: Stitching) -> None:
        """The hand has answered: assets, and COMPLETED; or FAILED."""
        task, run, out = stitching.task, stitching.run, stitching.out
        self.fraction.pop(task, None)
        pinned: list[str] = []
        try:
            stitching.future.result()
            assets = self._adopt(out, pinned)
            if self._store.write(lambda tx: ledger.publish(tx, task, run, assets)):
                log.info("task %s completed with %d assets", task, len(assets))
                self._aftermath.task_over(task, [], run)
        except StoreError:
            raise  # the task stays STITCHING, and is stitched again
        except Exception as error:
            if self._hands.closed:
                return  # the next start stitches it again
            if not isinstance(error, ClusterRayError):
                log.exception("task %s: the stitch broke", task)
            self._splitter.give_up(task, run, f"The pieces could not be joined: {error}")
        finally:
            self._keeper.unpin(pinned)
            shutil.rmtree(self._folder / task, ignore_errors=True)

    def _adopt(self, out: Path, pinned: list[str]) -> list[tuple[str, PackRef]]:
        files = sorted(path for path in out.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            raise StitchFailed("nothing came out of it.")
        if len(files) > MOST_ASSETS:
            raise StitchFailed(f"{len(files)} files came out of it; {MOST_ASSETS} is the most.")
        assets = []
        for path in files:
            assets.append((path.relative_to(out).as_posix(), self._keeper.adopt_file(path, pin=True)))
            pinned.append(assets[-1][1].digest)
        return assets

    def _files(self, outputs: list[Row]) -> Files:
        return {
            o["path"]: File(path=str(self._keeper.plain(o["digest"]))) if o["data"] is None else File(data=bytes(o["data"]))
            for o in outputs
        }

    def _going(self, task: str, fraction: float) -> None:
        self.fraction[task] = fraction
        self._aftermath.changed(task)
