"""Keeps pictures of tasks under way current: what is there with its holes, seconds by region, and which node made what.

    previews/<task>/run-<n>/stage-<k>/     preview.png, heat.png, nodes.png, and what the kind remembers between two calls
    previews/<task>/run-<n>/full/          preview.png at the full size, while somebody asks for it
    previews/<task>/run-<n>/given/         links by digest: what somebody fetches stays as it is, whatever is drawn meanwhile

The drawing runs in a hand of its own. A task is drawn when pieces were accepted since, and not for more than a tenth of the time, so
that a large one is drawn less often. Nothing of it is in the store: it can always be drawn again, a failure is only logged, and it goes
with its task.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from ..common.clock import Clock
from ..common.errors import ClusterRayError, KindError
from ..common.model import Asset, PackRef, Region, TaskSpec, new_id
from ..common.service import Service
from ..common.states import TaskState
from . import ledger
from .calls import Draw, DrawDone, File, Files, Made
from .hands import STOPPING, Hands
from .keeper import Keeper
from .shared import Shared
from .store import Row, Store, Tx
from .works import Works

log = logging.getLogger(__name__)
SIZE = 512
"""Pixels of the longer side."""
NAMES = ("preview.png", "heat.png", "nodes.png")
TICK = 2.0
EVERY = 4.0
"""Seconds between two drawings of one task, at least."""
SHARE = 10.0
"""A drawing that took a second is followed by ten without one."""
AGAIN = 60.0
"""Seconds until a task is tried again of which nothing could be drawn."""
IDLE = 60.0
"""Seconds without a drawing after which its hand ends."""
KEEP = 900.0
"""Seconds for which the full size, and what was given out, stay."""
SLOWEST = 256 << 10
"""Bytes per second of the slowest line to which what was given out stays for longer."""

Mark = tuple[int, int, int]
"""Run, stage, and how many of its pieces are accepted."""


@dataclass
class Sight:
    """The previews of one task in one size: what is drawn, and what is being drawn."""

    drawn: Mark | None = None
    future: Future[DrawDone] | None = None
    began: float = 0.0
    due: float = 0.0
    asked: float = 0.0
    """When somebody last wanted to see it."""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What can be shown, or why there is nothing. ``pending``: it is being drawn; ask again."""

    files: tuple[tuple[Asset, Path], ...] = ()
    why: str = ""
    pending: bool = False


class Previewer(Service):
    """``show()`` may be called from any thread."""

    def __init__(
        self, store: Store, hands: Hands, keeper: Keeper, works: Works, shared: Shared, folder: Path, work: Path, clock: Clock
    ) -> None:
        super().__init__("previewer")
        self._shared = shared
        self._store = store
        self._hands = hands
        self._keeper = keeper
        self._works = works
        self._folder = folder
        self._work = work
        self._clock = clock
        self._bell = threading.Event()
        self._lock = threading.RLock()
        self._sights: dict[tuple[str, bool], Sight] = {}
        """By task, and whether it is the full size."""
        self._given: dict[Path, float] = {}
        """Until when it stays."""
        self._blind: set[str] = set()
        """Kinds that had nothing to show last time: they are drawn when somebody asks."""
        self._followed: set[str] = set()
        """Tasks in work, and those that have ended since they were last drawn."""
        self._used: float | None = None
        """When something was last drawn; None: there is no hand for it."""
        self._tidy_at = clock.monotonic()
        for kept in ("given", "full"):
            for old in folder.glob(f"*/run-*/{kept}"):
                shutil.rmtree(old, ignore_errors=True)

    def wake(self) -> None:
        self._bell.set()

    def step(self) -> None:
        self._clock.wait(self._bell, TICK)
        self._bell.clear()
        if not self.stopping.is_set():
            self.draw_due()
            self.rest()
            if self._clock.monotonic() >= self._tidy_at:
                self._tidy_at = self._clock.monotonic() + AGAIN
                self.tidy()

    def draw_due(self) -> None:
        """Begin a drawing of each task that has new pieces, but for those that were drawn just now."""
        with self._store.read() as tx:
            live = {row["id"] for state in (TaskState.RUNNING, TaskState.STITCHING) for row in tx.all("tasks_in", state=state)}
        self._followed |= live
        for task in sorted(self._followed):
            with self._lock:
                sight = self._sights.get((task, False))
                if sight is not None and (sight.future is not None or self._clock.monotonic() < sight.due):
                    continue
                try:
                    under_way = self._begin(task, full=False, wanted=False) is not None
                except (ClusterRayError, OSError) as error:
                    log.info("task %s: no preview: %s", task, error)
                    under_way = False
                if not under_way and task not in live:
                    self._followed.discard(task)

    def show(self, task: str, *, full: bool, wait: float) -> Seen:
        """The files, drawn first where pieces came since; for that, up to ``wait`` seconds. FileError: pieces cannot be read."""
        with self._store.read() as tx:
            row = tx.one("preview_progress", task=task)
        if row is None or not (row["done"] or self._latest(task, row["run"])):
            return Seen(why=f"Nothing of task {row['name']} is there yet: it is {row['state']}." if row else "There is no such task.")
        why = f"There is nothing to see of task {row['name']}: the kind {row['kind']} draws no preview of what is there."
        try:
            future = self._begin(task, full=full, wanted=True)
            if future is not None:
                future.result(wait)
        except NotYet:
            if full or not self._latest(task, row["run"]):
                return Seen(why=f"Task {row['name']} is being drawn.", pending=True)
        except KindError as error:
            why = f"The preview of task {row['name']} cannot be drawn: {error}"
        except CancelledError:  # close() came while it waited for its turn
            why = STOPPING
        folder = self._run(task, row["run"]) / "full" if full else self._latest(task, row["run"])
        files = tuple(self._give(folder)) if folder is not None else ()
        return Seen(files=files, why="" if files else why)

    def rest(self) -> None:
        """Nothing was drawn for a while: the hand ends."""
        with self._lock:
            if any(sight.future is not None for sight in self._sights.values()):
                self._used = self._clock.monotonic()
            elif self._used is not None and self._clock.monotonic() - self._used > IDLE:
                self._used = None
                self._hands.rest()

    def tidy(self) -> None:
        """What was given out or drawn at the full size goes after its time, and all of a task with the task."""
        now = self._clock.monotonic()
        with self._lock:
            for path in [path for path, until in self._given.items() if now >= until]:
                del self._given[path]
                path.unlink(missing_ok=True)
            for (task, full), sight in list(self._sights.items()):
                if full and sight.future is None and now - sight.asked > KEEP:
                    del self._sights[task, full]
                    for folder in (self._folder / task).glob("run-*/full"):
                        shutil.rmtree(folder, ignore_errors=True)
            with self._store.read() as tx:
                gone = [path for path in self._folder.glob("*") if tx.one("task", id=path.name) is None]
        for path in gone:
            self.forget(path.name)

    def forget(self, task: str) -> None:
        """All of a task that is gone. What a drawing under way still writes is found by tidy()."""
        with self._lock:
            for full in (False, True):
                self._sights.pop((task, full), None)
            self._followed.discard(task)
            shutil.rmtree(self._folder / task, ignore_errors=True)

    def _begin(self, task: str, *, full: bool, wanted: bool) -> Future[DrawDone] | None:
        """The drawing under way, or a new one; None where what is there is all that can be drawn, or not ``wanted`` and in vain so far."""
        with self._lock:
            sight = self._sights.setdefault((task, full), Sight())
            sight.asked = now = self._clock.monotonic()
            if sight.future is not None:
                return sight.future
            with self._store.read() as tx:
                row = tx.one("preview_progress", task=task)
                if row is None or not row["done"] or (row["kind"] in self._blind and not wanted):
                    return None
                mark = (row["run"], row["stage"], row["done"])
                if mark == sight.drawn:
                    return None
                call = self._call(tx, task, mark, full)
            for old in (self._folder / task).glob("run-*"):
                if old != self._run(task, mark[0]):
                    shutil.rmtree(old, ignore_errors=True)
            sight.began = self._used = now
            sight.future = future = self._hands.draw(call)
            future.add_done_callback(partial(self._drawn, (task, full), mark, call.spec.kind))
            return future

    def _call(self, tx: Tx, task: str, mark: Mark, full: bool) -> Draw:
        run, stage, _ = mark
        rows = tx.all("preview_pieces", task=task, run=run, stage=stage)
        out = self._run(task, run) / ("full" if full else f"stage-{stage}")
        made = [
            Made(at=at, files=self._files(tx.all("outputs", lease=row["accepted"])), seconds=row["seconds"], node=row["node"])
            for at, row in enumerate(rows)
            if row["accepted"] is not None
        ]
        known = ledger.need_run(tx, task, run)
        bundle = PackRef(digest=known["bundle"], size=known["bundle_size"])
        packs, files = self._works.files(bundle)
        return Draw(
            spec=msgspec.json.decode(known["spec"], type=TaskSpec),
            stage=stage,
            manifest=str(packs[bundle.digest]),
            packs={digest: str(path) for digest, path in packs.items()},
            regions=[msgspec.json.decode(row["region"], type=Region) for row in rows],
            pieces=made,
            out=str(out),
            work=str(self._work / f"preview-{new_id()[:12]}"),
            size=0 if full else SIZE,
            shared=self._shared.top(files.bundle),
        )

    def _files(self, outputs: Iterable[Row]) -> Files:
        return {
            o["path"]: File(path=str(self._keeper.plain(o["digest"]))) if o["data"] is None else File(data=bytes(o["data"]))
            for o in outputs
        }

    def _drawn(self, key: tuple[str, bool], mark: Mark, kind: str, future: Future[DrawDone]) -> None:
        """A hand has answered, in its thread."""
        with self._lock:
            sight = self._sights.get(key)
            if sight is None or sight.future is not future:
                return
            now = self._clock.monotonic()
            sight.future = None
            error = None if future.cancelled() else future.exception()
            drew = error is None and not future.cancelled() and future.result().drawn
            sight.due = now + (max(EVERY, SHARE * (now - sight.began)) if drew else AGAIN)
            if error is None:
                sight.drawn = mark
                (self._blind.discard if drew else self._blind.add)(kind)
            elif not self._hands.closed:
                log.warning("task %s: the preview was not drawn: %s", key[0], error)
            self._used = now

    def _run(self, task: str, run: int) -> Path:
        return self._folder / task / f"run-{run}"

    def _latest(self, task: str, run: int) -> Path | None:
        """The folder of the last stage of which something is drawn."""
        drawn = [path.parent for path in self._run(task, run).glob(f"stage-*/{NAMES[0]}")]
        return max(drawn, key=lambda path: int(path.name.removeprefix("stage-")), default=None)

    def _give(self, folder: Path) -> Iterable[tuple[Asset, Path]]:
        """The files under names that nobody replaces. What was drawn at the full size may have gone meanwhile."""
        given = folder.parent / "given"
        given.mkdir(parents=True, exist_ok=True)
        for name in NAMES:
            mine = given / new_id()
            try:
                mine.hardlink_to(folder / name)
            except FileNotFoundError:
                continue
            with mine.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = mine.stat().st_size
            path = mine.replace(given / digest)
            mine.unlink(missing_ok=True)  # a rename onto another name of the same file leaves both
            with self._lock:
                self._given[path] = self._clock.monotonic() + KEEP + size / SLOWEST
            yield Asset(path=name, size=size, digest=digest), path
