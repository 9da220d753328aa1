"""Leases whose term is over: the attempt is LOST, the job QUEUED again, another node first. Patient right after a start."""

from __future__ import annotations

import logging
import threading

from ..common.clock import Clock
from ..common.model import Cause
from ..common.service import Service
from . import ledger
from .aftermath import Aftermath
from .ledger import Ended
from .store import Store, Tx
from .terms import Terms

log = logging.getLogger(__name__)


class Reaper(Service):
    def __init__(self, store: Store, terms: Terms, aftermath: Aftermath, clock: Clock) -> None:
        super().__init__("reaper")
        self._store = store
        self._terms = terms
        self._aftermath = aftermath
        self._clock = clock
        self._bell = threading.Event()

    def wake(self) -> None:
        self._bell.set()

    def step(self) -> None:
        self._clock.wait(self._bell, min(1.0, self._terms.soonest() + 0.01))
        self._bell.clear()
        if not self.stopping.is_set():
            self.reap()

    def reap(self) -> int:
        """End what is over now; how many."""
        over = [term for lease in self._terms.over() if (term := self._terms.get(lease)) is not None]
        if not over:
            return 0

        def change(tx: Tx) -> list[tuple[str, str, Ended]]:
            ended = []
            for term in over:
                sentence = f"The node was silent for {self._terms.seconds:.0f} s."
                ended += [(term.node, term.lease, end) for end in ledger.fail_many(tx, [term.lease], Cause.SILENT, sentence)]
            return ended

        for node, lease, end in self._store.write(change):
            log.warning("lease %s of node %s is lost: silent for %.0f s", lease[:8], node[:8], self._terms.seconds)
            self._aftermath.ended(node, lease, end)
        self._terms.end([term.lease for term in over])
        return len(over)
