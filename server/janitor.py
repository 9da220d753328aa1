"""Keeps the data folder within its rules: results, failures and events for their time, packs under their cap.

Nothing that nobody fetched goes without a warning in the log a day before.
"""

from __future__ import annotations

import logging
import threading
from typing import Protocol

from ..common.clock import Clock, stamp
from ..common.errors import ClusterRayError
from ..common.service import Service
from ..common.states import TaskState
from . import ledger
from .desk import Desk
from .keeper import Keeper
from .logbook import Logbook
from .store import Store

log = logging.getLogger(__name__)
EVERY = 600.0
SESSION = 3600.0
DAY = 86400.0


class Rules(Protocol):
    """[retention]"""

    @property
    def results(self) -> float: ...
    @property
    def failures(self) -> float: ...
    @property
    def events(self) -> float: ...


class Janitor(Service):
    def __init__(self, store: Store, desk: Desk, keeper: Keeper, logbook: Logbook, rules: Rules, clock: Clock) -> None:
        super().__init__("janitor")
        self._store = store
        self._desk = desk
        self._keeper = keeper
        self._logbook = logbook
        self._rules = rules
        self._clock = clock
        self._bell = threading.Event()
        self._warned: set[str] = set()

    def wake(self) -> None:
        self._bell.set()

    def step(self) -> None:
        self._clock.wait(self._bell, EVERY)
        self._bell.clear()
        if not self.stopping.is_set():
            self.tidy()

    def tidy(self) -> None:
        """One round."""
        now = self._clock.now()
        self._desk.expire()
        with self._store.read() as tx:
            sessions = [row["id"] for row in tx.all("old_sessions", before=now - SESSION)]
        for session in sessions:
            self._store.write(lambda tx, session=session: tx.run("end_session", id=session))  # type: ignore[misc]
            self._desk.end_session(session)
        self._tasks(TaskState.COMPLETED, self._rules.results)
        self._tasks(TaskState.FAILED, self._rules.failures)
        self._tasks(TaskState.CANCELED, self._rules.failures)
        self._store.write(lambda tx: tx.run("forget_events", before=now - self._rules.events))
        with self._desk.packs_lock:
            freed = self._keeper.evict()
        if freed:
            log.info("evicted %.1f MB of packs that nothing uses", freed / 1e6)

    def _tasks(self, state: TaskState, keep: float) -> None:
        now = self._clock.now()
        with self._store.read() as tx:
            old = tx.all("ended_before", state=state, before=now - keep)
            soon = tx.all("ended_before", state=state, before=now - keep + DAY)
        for row in soon:
            if state is TaskState.COMPLETED and row["fetched"] is None and row["id"] not in self._warned:
                self._warned.add(row["id"])
                log.warning("task %s (%s) was never fetched; its result goes at %s", row["id"], row["name"], stamp(now + DAY))
        for row in old:
            if state is TaskState.COMPLETED and row["fetched"] is None and row["id"] not in self._warned:
                continue
            try:
                self._store.write(lambda tx, row=row: ledger.remove_task(tx, row["id"]))  # type: ignore[misc]
            except ClusterRayError:
                continue
            self._logbook.remove(row["id"])
            self._warned.discard(row["id"])
            log.info("task %s (%s) removed: its time is over", row["id"], row["name"])
