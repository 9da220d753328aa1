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
from .store import Row, Store

log = logging.getLogger(__name__)
EVERY = 600.0
SESSION = 3600.0
DAY = 86400.0
WARNED = "warned"


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
            self._desk.expire_session(session, now - SESSION)
        self._tasks(TaskState.COMPLETED, self._rules.results)
        self._tasks(TaskState.FAILED, self._rules.failures)
        self._tasks(TaskState.CANCELED, self._rules.failures)
        self._store.write(lambda tx: tx.run("forget_events", before=now - self._rules.events))
        freed = self._desk.evict()
        if freed:
            log.info("evicted %.1f MB of packs that nothing uses", freed / 1e6)

    def _tasks(self, state: TaskState, keep: float) -> None:
        now = self._clock.now()
        with self._store.read() as tx:
            old = tx.all("ended_before", state=state, before=now - keep)
            soon = tx.all("ended_before", state=state, before=now - keep + DAY)
        for row in soon:
            if state is TaskState.COMPLETED and row["fetched"] is None and self._warned(row) is None:
                self._store.write(lambda tx, row=row: ledger.event(tx, "task", state, WARNED, task=row["id"]))  # type: ignore[misc]
                log.warning("task %s (%s) was never fetched; its result goes at %s", row["id"], row["name"], stamp(now + DAY))
        for row in old:
            if state is TaskState.COMPLETED and row["fetched"] is None and (self._warned(row) or now) > now - DAY:
                continue
            try:
                self._store.write(lambda tx, row=row: ledger.remove_task(tx, row["id"]))  # type: ignore[misc]
            except ClusterRayError:
                continue
            self._logbook.remove(row["id"])
            log.info("task %s (%s) removed: its time is over", row["id"], row["name"])

    def _warned(self, row: Row) -> float | None:
        """When it was said that this result goes; the store knows, so that a restart neither forgets it nor cuts the day short."""
        with self._store.read() as tx:
            said = tx.one("warned_at", task=row["id"], since=row["ended"])
        return said["at"] if said is not None else None
