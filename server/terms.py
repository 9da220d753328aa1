"""The terms of leases, in memory, on the monotonic clock. Renewals are never stored; after a start all get a full term."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from ..common.clock import Clock
from ..common.model import Progress

TELL = 3600.0


@dataclass
class Term:
    """A live lease, as it is known between two beats."""

    lease: str
    task: str
    job: str
    node: str
    incarnation: str
    slot: int
    ends: float
    fraction: float = 0.0
    phase: str = ""
    log: str = ""
    """File name of its log below the task's log folder."""


class Terms:
    """Thread-safe; the reaper asks for ``over()``, node threads for the rest."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self.seconds = seconds
        self._lock = threading.Lock()
        self._terms: dict[str, Term] = {}
        self._canceled: dict[str, float] = {}
        """Lease that was called off -> until when its holder is told so; later it hears "not yours", which ends it as well."""

    def begin(self, lease: str, *, task: str, job: str, node: str, incarnation: str, slot: int, log: str = "") -> bool:
        """False: it was called off already, between its commit and now, and stays so."""
        with self._lock:
            if lease in self._canceled:
                return False
            ends = self._clock.monotonic() + self.seconds
            self._terms[lease] = Term(lease, task, job, node, incarnation, slot, ends, log=log)
            return True

    def renew_all(self) -> None:
        """A full term for everyone, from the moment at which the listener is open."""
        with self._lock:
            for term in self._terms.values():
                term.ends = self._clock.monotonic() + self.seconds

    def beat(self, node: str, progress: Progress) -> Term | None:
        """Renew; None where this node does not hold the lease (any more)."""
        with self._lock:
            term = self._terms.get(progress.lease)
            if term is None or term.node != node:
                return None
            term.ends = self._clock.monotonic() + self.seconds
            term.fraction = min(1.0, max(term.fraction, progress.fraction))
            term.phase = progress.phase[:40]
            return term

    def hold(self, lease: str) -> None:
        """The server itself works on it (verification): it cannot run out meanwhile."""
        with self._lock:
            if lease in self._terms:
                self._terms[lease].ends = float("inf")

    def renew(self, lease: str) -> None:
        """A full term from now: the holder spoke of it other than by a beat."""
        with self._lock:
            if lease in self._terms:
                self._terms[lease].ends = self._clock.monotonic() + self.seconds

    def end(self, leases: Iterable[str]) -> None:
        with self._lock:
            for lease in leases:
                self._terms.pop(lease, None)
                self._canceled.pop(lease, None)

    def cancel(self, leases: Iterable[str]) -> None:
        """Their holders hear of it at the next beat."""
        with self._lock:
            for lease in leases:
                self._terms.pop(lease, None)
                self._canceled[lease] = self._clock.monotonic() + TELL

    def canceled(self, lease: str) -> bool:
        with self._lock:
            return lease in self._canceled

    def get(self, lease: str) -> Term | None:
        with self._lock:
            return self._terms.get(lease)

    def of_slot(self, node: str, incarnation: str, slot: int) -> list[str]:
        with self._lock:
            return [t.lease for t in self._terms.values() if (t.node, t.incarnation, t.slot) == (node, incarnation, slot)]

    def of_task(self, task: str) -> list[Term]:
        with self._lock:
            return [t for t in self._terms.values() if t.task == task]

    def of_node(self, node: str) -> list[Term]:
        with self._lock:
            return [t for t in self._terms.values() if t.node == node]

    def over(self) -> list[str]:
        with self._lock:
            now = self._clock.monotonic()
            while self._canceled and next(iter(self._canceled.values())) <= now:  # in order of time
                del self._canceled[next(iter(self._canceled))]
            return [t.lease for t in self._terms.values() if t.ends <= now]

    def soonest(self) -> float:
        """Seconds until the next term could be over; at most a term."""
        with self._lock:
            now = self._clock.monotonic()
            return max(0.0, min((t.ends - now for t in self._terms.values()), default=self.seconds))
