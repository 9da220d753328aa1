"""The task thread: takes the next queued task, has it split, and has it stitched when its last job is accepted.

It only decides and commits; kinds' code runs in hands and reports back by waking this thread. The next task is split ahead
when the tasks in work have no job left that somebody here could take, when a slot stands idle that the next task could
use, or when a task of higher priority waits.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection

import msgspec

from ..common.clock import Clock
from ..common.errors import ClusterRayError
from ..common.model import Needs
from ..common.service import Service
from ..common.states import LIVE_TASK, TaskState
from .dispatcher import Dispatcher
from .roster import Roster
from .splitter import Splitter, Splitting
from .stitcher import Stitcher, Stitching
from .store import Row, Store, StoreError, Tx
from .turns import Queued, in_turn

log = logging.getLogger(__name__)
TICK = 5.0
PATIENCE = 5.0
"""Seconds for which a split under way holds back the next task; one that takes longer may hang, and slots stand idle."""
MOST_SPLITS = 8


class TaskThread(Service):
    def __init__(self, store: Store, dispatcher: Dispatcher, roster: Roster, splitter: Splitter, stitcher: Stitcher, clock: Clock) -> None:
        super().__init__("task")
        self._store = store
        self._dispatcher = dispatcher
        self._roster = roster
        self._splitter = splitter
        self._stitcher = stitcher
        self._clock = clock
        self._bell = threading.Event()
        self._splitting: dict[str, Splitting] = {}
        self._stitching: dict[str, Stitching] = {}
        self._began: dict[str, float] = {}
        self._served: dict[str, int] = {}
        self._turn = 0
        self._look_again = 0.0

    def wake(self) -> None:
        self._bell.set()

    def step(self) -> None:
        self._clock.wait(self._bell, TICK)
        self._bell.clear()
        if not self.stopping.is_set():
            self.collect()
            self.stitch()
            self.claim()
            now = self._clock.monotonic()
            if now >= self._look_again:
                self._look_again = now + TICK
                self._dispatcher.look_again()

    def collect(self) -> None:
        """What hands have finished."""
        for task in [task for task, s in self._splitting.items() if s.future.done()]:
            self._safely(task, lambda task=task: self._end_split(task))  # type: ignore[misc]
        for task in [task for task, s in self._stitching.items() if s.future.done()]:
            self._safely(task, lambda task=task: self._stitcher.end(self._stitching.pop(task)))  # type: ignore[misc]
        self._stitcher.look_after_streams(self._stitching)

    def _end_split(self, task: str) -> None:
        self._began.pop(task, None)
        self._splitter.end(self._splitting.pop(task))

    def stitch(self) -> None:
        """Tasks that are at the end of a stage or at the beginning of the next one, also as a crash left them, or that the index has lost.

        Where jobs are under way the stitch is begun if it can join the pieces as they come.
        """
        with self._store.read() as tx:
            rows = [*tx.all("tasks_in", state=TaskState.RUNNING), *tx.all("tasks_in", state=TaskState.STITCHING)]
            ready: list[Row] = []
            bare: list[tuple[Row, Row]] = []
            lost: list[tuple[Row, Row]] = []
            streams: list[Row] = []
            for row in rows:
                if row["id"] in self._splitting or row["id"] in self._stitching:
                    continue
                run = tx.one("run", task=row["id"], number=row["run"])
                outlook = tx.one("stage_outlook", task=row["id"], run=row["run"], stage=run["stage"]) if run is not None else None
                if run is None or outlook is None:
                    continue
                if not outlook["split"]:
                    bare.append((row, run))
                elif not outlook["open"]:
                    ready.append(row)
                elif not self._dispatcher.has(row["id"], row["run"]):
                    lost.append((row, run))
                elif run["streams"]:
                    streams.append(run)
        for row, run in bare:
            self._safely(row["id"], lambda row=row, run=run: self._watch_split(self._splitter.go_on(row, run)))  # type: ignore[misc]
        for row, run in lost:
            self._safely(row["id"], lambda row=row, run=run: self._splitter.reopen(row, run))  # type: ignore[misc]
        for row in ready:
            self._safely(row["id"], lambda row=row: self._begin_stitch(row))  # type: ignore[misc]
        for run in streams:
            self._safely(run["task"], lambda run=run: self._begin_stream(run))  # type: ignore[misc]

    def claim(self) -> None:
        """Split ahead as far as there is room."""
        tried: set[str] = set()
        while len(self._splitting) < MOST_SPLITS:
            row = self._next(tried)
            if row is None:
                return
            tried.add(row["id"])
            self._turn += 1
            self._served[row["owner"]] = self._turn
            self._safely(row["id"], lambda row=row: self._watch_split(self._splitter.begin(row)))  # type: ignore[misc]

    def order(self, tx: Tx) -> list[Queued]:
        """The queue as it will be served; also for listings."""
        rows = tx.all("tasks_in", state=TaskState.QUEUED)
        return in_turn([Queued(r["id"], r["owner"], r["priority"], (r["queued"], r["seq"])) for r in rows], self._served)

    def _next(self, tried: Collection[str]) -> Row | None:
        with self._store.read() as tx:
            order = [queued for queued in self.order(tx) if queued.task not in tried]
        if not order:
            return None
        top, hungry = self._dispatcher.wants()
        now = self._clock.monotonic()
        coming = [s.priority for s in self._splitting.values() if now - self._began.get(s.task, now) < PATIENCE]
        best = max([p for p in (top, *coming) if p is not None], default=None)
        for queued in order:
            with self._store.read() as tx:
                row = tx.one("task", id=queued.task)
            if row is None:
                continue
            able = {node.id for node in self._roster.able(msgspec.json.decode(row["needs"], type=Needs), row["allow"])}
            if able and (best is None or queued.priority > best or (not coming and able.intersection(hungry))):
                return row
        return None

    def _watch_split(self, splitting: Splitting) -> None:
        self._splitting[splitting.task] = splitting
        self._began[splitting.task] = self._clock.monotonic()
        splitting.future.add_done_callback(lambda _: self._bell.set())

    def _begin_stitch(self, row: Row) -> None:
        stitching = self._stitcher.begin(row["id"], row["run"])
        if stitching is not None:
            self._stitching[row["id"]] = stitching
            stitching.future.add_done_callback(lambda _: self._bell.set())

    def _begin_stream(self, run: Row) -> None:
        stream = self._stitcher.begin_stream(run)
        if stream is not None:
            stream.future.add_done_callback(lambda _: self._bell.set())

    def _safely(self, task: str, verb: Callable[[], object]) -> None:
        """An unexpected error fails the task that was served, and only it."""
        try:
            verb()
        except StoreError:
            raise  # nothing can be written: the loop takes a breath, and all is found again in the store
        except ClusterRayError as error:
            log.warning("task %s: %s", task, error)
        except Exception as error:
            log.exception("task %s: unexpected error", task)
            with self._store.read() as tx:
                row = tx.one("task", id=task)
            if row is not None and row["state"] in LIVE_TASK:
                why = f"The server met an unexpected error ({type(error).__name__}); its log has the details."
                self._splitter.give_up(task, row["run"], why)
