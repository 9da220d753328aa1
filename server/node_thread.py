"""One thread per node connection, that is per slot: ask, beat, finish. It answers; all decisions are the others'."""

from __future__ import annotations

import logging

import msgspec

from ..common.model import Progress, Region, Ruling
from ..common.states import AttemptState
from ..common.wire.link import Doorbell, Link
from ..common.wire.messages import Answer, Ask, Beat, Beaten, Bye, Finished, Heard, Hello, Judged, Leases, Proven, Resume, Resumed
from . import ledger
from .aftermath import Aftermath
from .dispatcher import Dispatcher
from .gate import Admitted
from .judge import Judge
from .lessor import Lessor, Slot
from .logbook import Logbook
from .prober import Prober
from .roster import Roster
from .store import Store
from .terms import Terms
from .works import Works

log = logging.getLogger(__name__)
PARK = 20.0
"""Seconds for which an ask may be parked."""
SILENCE = 90.0
"""A link that says nothing for so long is closed; this gives nothing back."""


class NodeThread:
    """Serves links of nodes; the same object for all of them, each call in its own thread."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        dispatcher: Dispatcher,
        terms: Terms,
        lessor: Lessor,
        judge: Judge,
        works: Works,
        logbook: Logbook,
        aftermath: Aftermath,
        prober: Prober,
    ) -> None:
        self._prober = prober
        self._store = store
        self._roster = roster
        self._dispatcher = dispatcher
        self._terms = terms
        self._lessor = lessor
        self._judge = judge
        self._works = works
        self._logbook = logbook
        self._aftermath = aftermath

    def serve(self, link: Link, hello: Hello, admitted: Admitted) -> None:
        """The life of one slot's link."""
        assert admitted.info is not None
        slot = Slot(admitted.node, hello.incarnation, hello.slot)
        before = self._roster.get(slot.node)
        if before is None or before.incarnation != slot.incarnation:
            self._replace(slot, frozenset(hello.finished))
            if before is not None and before.incarnation and before.draining:  # it has left and come back
                self._store.write(lambda tx: tx.run("node_draining", id=slot.node, draining=0))
        for old in self._roster.arrive(slot.node, slot.incarnation, slot.number, admitted.info, link):
            if isinstance(old, Link):
                old.abort()
        try:
            link.answer(admitted.welcome)
            log.info("node %s slot %d is here (%s)", admitted.info.name, slot.number, link.peer)
            self._aftermath.wake_task_thread()
            bell = Doorbell()
            try:
                self._talk(link, slot, bell)
            finally:
                self._dispatcher.unpark(bell)
                self._prober.unpark(bell)
                bell.close()
        finally:
            self._roster.leave(slot.node, slot.number, link)
            self._aftermath.wake_task_thread()

    def _talk(self, link: Link, slot: Slot, bell: Doorbell) -> None:
        while (question := link.receive(SILENCE)) is not None:
            self._roster.heard(slot.node)
            if isinstance(question, Bye):
                return
            if isinstance(question, Ask):
                self._ask(link, slot, bell, min(PARK, max(0.0, question.wait)))
            elif isinstance(question, Beat):
                link.answer(self._beat(slot, question))
            elif isinstance(question, Finished):
                link.answer(self._finished(slot, question))
            elif isinstance(question, Proven):
                self._prober.hear(slot.node, question.probed)
                link.answer(Heard())
            elif isinstance(question, Resume):
                link.answer(self._resume(slot, question.lease))
        log.info("%s said nothing for %.0f s: closing its link", link.peer, SILENCE)

    def _replace(self, slot: Slot, finished: frozenset[str]) -> None:
        """A new life of the node: its older leases are lost at once, but for results that it still holds."""
        for end in self._store.write(lambda tx: ledger.replace_incarnation(tx, slot.node, slot.incarnation, finished)):
            self._aftermath.ended(slot.node, end.lease, end)

    def _ask(self, link: Link, slot: Slot, bell: Doorbell, wait: float) -> None:
        """Parked until there is work, the time is over, or the peer has gone."""
        self._roster.say(slot.node, slot.number, "")
        while True:
            bell.clear()
            probes = self._prober.due(slot.node, bell)
            grants = () if probes else self._lessor.ask(slot, bell)
            if grants or probes or wait <= 0:
                break
            started = self._roster.clock.monotonic()
            if link.wait(bell, wait) != "rang":
                break
            wait -= self._roster.clock.monotonic() - started
        self._dispatcher.unpark(bell)
        self._prober.unpark(bell)
        link.answer(Leases(grants=grants, probes=probes))

    def _beat(self, slot: Slot, beat: Beat) -> Answer:
        self._roster.say(slot.node, slot.number, beat.note)
        cancel, not_yours = [], []
        for progress in beat.progress:
            term = self._terms.beat(slot.node, progress)
            if term is not None:
                self._logbook.add(term.task, term.log, progress.lines)
                self._aftermath.changed(term.task)
            elif self._terms.canceled(progress.lease):
                cancel.append(progress.lease)
            elif not self._adopt(slot, progress):
                not_yours.append(progress.lease)
        return Beaten(cancel=tuple(cancel), not_yours=tuple(not_yours), probes=self._prober.due(slot.node))

    def _adopt(self, slot: Slot, progress: Progress) -> bool:
        """A lease that memory lacks: the store has the last word."""
        with self._store.read() as tx:
            row = tx.one("attempt", lease=progress.lease)
        return row is not None and row["node"] == slot.node and row["state"] == "verifying"

    def _finished(self, slot: Slot, finished: Finished) -> Judged:
        verdicts, grants = self._judge.judge(slot, finished.results, finished.ask)
        for verdict in verdicts:
            if verdict.ruling is Ruling.REJECTED:
                log.warning("lease %s: output rejected: %s", verdict.lease[:8], verdict.sentence)
        return Judged(verdicts=verdicts, grants=grants)

    def _resume(self, slot: Slot, lease: str) -> Resumed:
        term = self._terms.get(lease)
        work = self._works.get(term.task) if term is not None and term.node == slot.node else None
        with self._store.read() as tx:
            row = tx.one("attempt", lease=lease) if work is not None else None
        if work is None or row is None or row["state"] != AttemptState.LEASED:
            return Resumed(account=None)
        self._terms.renew(lease)
        account = self._lessor.account(lease, work.packs_for(msgspec.json.decode(row["region"], type=Region)))
        return Resumed(account=account if self._lessor.still(lease) else None)
