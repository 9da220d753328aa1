"""The other arm of the task thread: has a stage's pieces joined, and gives what came of it to the next stage, or publishes it.

The joining runs in a hand, which writes into an empty folder of its own. Then each file of the last stage becomes a pack by a link,
fsynced, and only after that is COMPLETED committed. What an earlier stage wrote becomes packs in the same way, and the bundle of the next
stage is the one before with these added. So a stitch that was cut off leaves nothing but a folder that the next start removes.

The stitch of a stage that streams is begun with its jobs, where there is room for it. It is a way to be ready sooner and nothing else: one
that fails while jobs run is dropped, and the pieces are joined at the end.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..common.bundle import derive_bundle
from ..common.errors import ClusterRayError, HandDied, SharedError, SplitFailed, StitchFailed
from ..common.manifest import Bundle, Share
from ..common.model import PackRef, TaskSpec, new_id
from . import ledger
from .aftermath import Aftermath
from .calls import Stitch
from .feed import Feed
from .hands import STREAMS, Hands
from .keeper import Keeper
from .shared import Shared, result_name, share_of
from .splitter import Splitter
from .store import Row, Store, StoreError
from .works import Works

log = logging.getLogger(__name__)
MOST_ASSETS = 100_000
"""Their list is told page by page; each is a row, a pack and a file."""


class Harvest(NamedTuple):
    """What a stitch has made, as packs that lie under their names and are pinned."""

    assets: list[tuple[str, PackRef]]
    """Of the last stage."""
    bundle: PackRef
    """Of another one: what the next stage works on."""
    packs: list[PackRef]
    """All that were made."""
    published: str = ""
    """The folder of shared storage in which the assets lie as well."""
    note: str = ""
    """Why they do not."""


@dataclass(frozen=True)
class Stitching:
    """A stitch under way."""

    task: str
    run: int
    stage: int
    name: str
    """The stage's."""
    last: bool
    streams: bool
    folder: Path
    feed: Feed
    future: Future[Harvest]

    def of(self, task: str, run: int, stage: int) -> bool:
        return (self.task, self.run, self.stage) == (task, run, stage)


class Stitcher:
    """For the task thread; but ``ring()`` and ``call_off()`` are for all."""

    def __init__(
        self,
        store: Store,
        hands: Hands,
        keeper: Keeper,
        works: Works,
        splitter: Splitter,
        aftermath: Aftermath,
        shared: Shared,
        folder: Path,
    ) -> None:
        self._shared = shared
        self._store = store
        self._hands = hands
        self._keeper = keeper
        self._works = works
        self._splitter = splitter
        self._aftermath = aftermath
        self._folder = folder
        self._lock = threading.Lock()
        self._streams: dict[str, Stitching] = {}
        """Task -> the stitch that was begun with its stage, until it has ended."""
        self._dropped: set[tuple[str, int, int]] = set()
        """Stages whose stream has failed: no second one is begun."""
        self.fraction: dict[str, float] = {}

    # --- begin

    def begin(self, task: str, run: int) -> Stitching | None:
        """All pieces of a stage are there; the last stage's task goes RUNNING -> STITCHING. None: the task was cancelled meanwhile."""
        with self._store.read() as tx:
            now = ledger.need_run(tx, task, run)
        if now["stage"] + 1 == now["stages"] and not self._store.write(lambda tx: ledger.begin_stitch(tx, task, run)):
            return None
        self._aftermath.changed(task)
        stream = self._streams.get(task)
        if stream is not None and stream.of(task, run, now["stage"]):
            stream.feed.finish()
            return stream
        log.info("task %s, run %d: the pieces of stage %s are joined", task, run, now["stage_name"])
        return self._ask(now, streams=False)

    def begin_stream(self, run: Row) -> Stitching | None:
        """Begin the stitch of a stage whose jobs are under way; None where there is no room for it, or it has failed before."""
        if run["task"] in self._streams or (run["task"], run["number"], run["stage"]) in self._dropped or len(self._streams) >= STREAMS:
            return None
        stream = self._ask(run, streams=True)
        with self._lock:
            self._streams[stream.task] = stream
        with self._store.read() as tx:  # cancelled meanwhile, or restarted: nobody would call it off
            row = tx.one("task", id=stream.task)
        if row is None or row["run"] != stream.run or row["state"] != "running":
            self._hands.call_off(stream.feed)
        log.info("task %s, run %d: the pieces of stage %s are joined as they come", stream.task, stream.run, stream.name)
        return stream

    def _ask(self, run: Row, *, streams: bool) -> Stitching:
        task, number, stage = run["task"], run["number"], run["stage"]
        last = stage + 1 == run["stages"]
        bundle = PackRef(digest=run["bundle"], size=run["bundle_size"])
        folder = self._folder / task / f"run-{number}-{new_id()[:8]}"  # of its own: a hand of an earlier life may still write
        made = folder / "out.part"
        out = made if last else made / "stages" / run["stage_name"]
        feed = Feed(self._store, self._keeper, task, number, stage, whole=not streams)
        future: Future[Harvest]
        try:
            shutil.rmtree(self._folder / task, ignore_errors=True)
            out.mkdir(parents=True)
            packs, files = self._works.files(bundle)
            call = Stitch(
                spec=msgspec.json.decode(run["spec"], type=TaskSpec),
                stage=stage,
                manifest=str(packs[bundle.digest]),
                packs={digest: str(path) for digest, path in packs.items()},
                out=str(out),
                work=str(folder / "work"),
                shared=self._shared.top(files.bundle),
            )
            then: Callable[[], Harvest]
            share, called = share_of(files.bundle), result_name(task, number, call.spec.name)
            then = partial(self._publishable, made, bundle, share, task, called)
            if not last:
                then = partial(self._derive, made, bundle, files.bundle, folder / "packs")
            ask = self._hands.stream if streams else self._hands.stitch
            future = ask(call, feed, partial(self._going, task), then)
        except (OSError, ClusterRayError) as error:
            future = Future()
            future.set_exception(StitchFailed(f"The task's files cannot be read on the server: {error}"))
        return Stitching(task, number, stage, run["stage_name"], last, streams, folder, feed, future)

    # --- end

    def end(self, stitching: Stitching) -> None:
        """The hand has answered: assets and COMPLETED, or the next stage; or FAILED."""
        task, run = stitching.task, stitching.run
        try:
            harvest = stitching.future.result()
            if stitching.last:
                told = {"published": harvest.published, "note": harvest.note}
                if self._store.write(lambda tx: ledger.publish(tx, task, run, harvest.assets, **told)):
                    log.info("task %s completed with %d assets", task, len(harvest.assets))
                    self._aftermath.task_over(task, [], run)
            elif self._store.write(lambda tx: ledger.next_stage(tx, task, run, stitching.stage, harvest.bundle, harvest.packs)):
                log.info("task %s, run %d: stage %s is over", task, run, stitching.name)
                self._aftermath.changed(task)
        except StoreError:
            raise  # the stage is over in the store as well, and is stitched again
        except (Exception, CancelledError) as error:
            if self._hands.closed or stitching.feed.stopped:
                return  # the next start stitches it again, or nobody wants it
            if stitching.streams and isinstance(error, HandDied):
                self._drop(stitching, error)
                return
            if not isinstance(error, ClusterRayError):
                log.error("task %s: the stitch broke", task, exc_info=error)
            why = str(error) if isinstance(error, SplitFailed) else f"The pieces could not be joined: {error}"
            self._splitter.give_up(task, run, why)
        finally:
            self._forget(stitching)

    def look_after_streams(self, ending: Mapping[str, Stitching]) -> None:
        """Those that have failed while jobs run are dropped; of those that are ``ending`` their end takes care."""
        for stream in list(self._streams.values()):
            if self._hands.closed or not stream.future.done() or ending.get(stream.task) is stream:
                continue
            error = stream.future.exception()
            if error is not None and not stream.feed.stopped:
                self._drop(stream, error)
            if error is not None or stream.feed.stopped:
                self._forget(stream)

    def _drop(self, stream: Stitching, error: BaseException) -> None:
        log.warning("task %s: joining pieces of stage %s as they come failed; it is done at the end: %s", stream.task, stream.name, error)
        self._dropped.add((stream.task, stream.run, stream.stage))

    def ring(self, task: str) -> None:
        """A piece of this task was accepted."""
        if self._streams:
            with self._lock:
                stream = self._streams.get(task)
            if stream is not None:
                stream.feed.ring()

    def call_off(self, task: str, run: int) -> None:
        """The run is over, one way or another: nobody waits for its stream."""
        with self._lock:
            stream = self._streams.get(task)
        if stream is not None and stream.run == run:
            self._hands.call_off(stream.feed)

    def close(self) -> None:
        """End all streams; the next start begins them again."""
        for stream in list(self._streams.values()):
            self._hands.call_off(stream.feed)

    def _forget(self, stitching: Stitching) -> None:
        task = stitching.task
        self.fraction.pop(task, None)
        with self._lock:
            if self._streams.get(task) is stitching:
                del self._streams[task]
        if stitching.future.done() and not stitching.future.cancelled() and stitching.future.exception() is None:
            self._keeper.unpin(pack.digest for pack in stitching.future.result().packs)
        shutil.rmtree(stitching.folder, ignore_errors=True)
        with suppress(OSError):  # a stitch of another run may be at work in there
            (self._folder / task).rmdir()

    # --- in the thread of the hand

    def _publishable(self, made: Path, bundle: PackRef, share: Share | None, task: str, called: str) -> Harvest:
        """The files of the last stage as packs, pinned; of a shared task also in shared storage, where that can be."""
        files = sorted(path for path in made.rglob("*") if path.is_file() and not path.is_symlink())
        if not files:
            raise StitchFailed("nothing came out of it.")
        if len(files) > MOST_ASSETS:
            raise StitchFailed(f"{len(files)} files came out of it; {MOST_ASSETS} is the most.")
        packs = self._adopt(files)
        published = note = ""
        try:
            published = self._shared.publish(share, called, made, task) if share is not None else ""
        except SharedError as error:  # the work is done, and lies here: no reason to fail
            note = f"The result could not be put into shared storage ({str(error).rstrip('.')}); fetch it: clusterray fetch {task[:8]}"
        assets = [(path.relative_to(made).as_posix(), pack) for path, pack in zip(files, packs, strict=True)]
        return Harvest(assets, bundle, packs, published, note)

    def _derive(self, made: Path, bundle: PackRef, base: Bundle, work: Path) -> Harvest:
        """The bundle with the files of a stage added, its new packs pinned."""
        if not any(path.is_file() for path in made.rglob("*")):
            return Harvest([], bundle, [])
        prepared, fresh = derive_bundle(base, made, work)
        files = []
        for pack in fresh:
            files.append(work / pack.digest)
            if pack != prepared.bundle:
                with prepared.open(pack.digest) as source, files[-1].open("wb") as file:
                    shutil.copyfileobj(source, file, 1 << 20)
        return Harvest([], prepared.bundle, self._adopt(files))

    def _adopt(self, files: list[Path]) -> list[PackRef]:
        packs: list[PackRef] = []
        try:
            packs.extend(self._keeper.adopt_file(path, pin=True) for path in files)  # also those before one that fails
        except BaseException:
            self._keeper.unpin(pack.digest for pack in packs)
            raise
        return packs

    def _going(self, task: str, fraction: float) -> None:
        self.fraction[task] = fraction
        self._aftermath.changed(task)
