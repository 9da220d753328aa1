"""One slot: the link thread, which owns the slot's connection, with a workbench beside it.

An idle slot asks and is parked; a busy one beats, reports, and does what it is told. A link that is lost stops nothing: the
same incarnation comes back and goes on beating its lease. What a lease is worth is counted from the moment at which the last
answered beat was *sent*, on a clock that goes on while the machine sleeps; after ``alone`` seconds without an answer running
jobs are given up. Results are told before anything new is asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from ..common.clock import Clock, backoff
from ..common.errors import ClusterRayError, LinkError, ProtocolError, UsageError
from ..common.model import Grant, Probe
from ..common.service import Service
from ..common.wire.messages import (
    Ask,
    Beat,
    Beaten,
    Bye,
    Finished,
    Heard,
    Judged,
    Leases,
    Message,
    Proven,
    Question,
    Resume,
    Resumed,
    Welcome,
)
from .contact import Line
from .outbox import Outbox
from .shared import LIMIT, Shares
from .work import Ending
from .workbench import Workbench

log = logging.getLogger(__name__)

PARKED = 20.0
"""Seconds for which the server may hold back the answer to an Ask."""
VERIFYING = 600.0
"""Seconds that the server may take to look at a result."""
REPORT = 600_000
"""Bytes of results in one message, which may have 1 MiB."""
NO_ROOM = 30.0
"""Seconds without asking after a job was given back for want of disk."""

M = TypeVar("M", bound=Message)


class Meets(Protocol):
    """What a slot needs of Contact."""

    @property
    def over(self) -> threading.Event: ...

    def meet(self, slot: int) -> tuple[Line, Welcome]: ...

    def down(self, slot: int, error: ClusterRayError, attempt: int) -> float: ...

    def left(self, slot: int) -> None: ...


class Slot(Service):
    """See the head of the file. ``step()`` is one connection, from hello to its end, and the wait after it."""

    def __init__(
        self,
        number: int,
        slots: int,
        *,
        contact: Meets,
        bench: Workbench,
        outbox: Outbox,
        room: Callable[[], str],
        alone: float,
        clock: Clock,
        shares: Shares | None = None,
    ) -> None:
        """``room`` says why no job may be taken now for want of disk; empty: one may."""
        super().__init__(f"slot-{number}")
        self._number = number
        self._slots = slots
        self._contact = contact
        self._bench = bench
        self._outbox = outbox
        self._room = room
        self._alone = alone
        self._clock = clock
        self._leaving = threading.Event()
        self._lock = threading.Lock()
        self._line: Line | None = None
        self._parked = False
        self._attempt = 0
        self._beat_every = 2.0
        self._beat_at = 0.0
        self._answered = clock.boottime()
        self._told_no_room = False
        self._shares = shares
        self._probing: tuple[Probe, ...] = ()

    # --- from other threads

    def start(self) -> None:
        self._bench.start()
        super().start()

    def leave(self, *, now: bool = False) -> None:
        """Finish what runs and go; ``now``: stop what runs, give it back and go."""
        self._leaving.set()
        self._bench.end_all(Ending.DRAINED, begun=now)
        self._bench.bell.set()
        with self._lock:
            if self._line is not None and self._parked:
                self._line.abort()  # nothing is lost by it: a grant that is on its way runs out by its term

    def wake(self) -> None:
        self._leaving.set()
        self._bench.bell.set()
        with self._lock:
            if self._line is not None:
                self._line.abort()

    def join(self, timeout: float | None = None) -> bool:
        ended = super().join(timeout)
        return self._bench.close(timeout) and ended

    # --- the link thread

    def step(self) -> None:
        """Meet the server, talk until the link ends, and say how long to wait before the next time."""
        if self._contact.over.is_set():
            self._bench.end_all(Ending.NOT_YOURS)
            self.stopping.set()
            return
        try:
            line, welcome = self._contact.meet(self._number)
        except (LinkError, ProtocolError, UsageError) as error:
            self._wait(self._contact.down(self._number, error, self._attempt))
            return
        with self._lock:
            self._line = line
        try:
            self._beat_every = welcome.beat
            self._beat_at = 0.0  # what we hold is told at once
            self._bench.deliver(self._outbox.claim(self._number, self._slots))
            self._talk(line)
            line.tell(Bye())
            self._contact.left(self._number)
            self.stopping.set()
        except (LinkError, ProtocolError) as error:
            if self._gone():
                self._contact.left(self._number)
                self.stopping.set()
            else:
                self._wait(self._contact.down(self._number, error, self._attempt))
        finally:
            with self._lock:
                self._line = None
            line.close()

    def _gone(self) -> bool:
        """Whether we are leaving and nothing more can be done without the server."""
        return self._leaving.is_set() and (not self._bench.busy or self._bench.finished)

    def _wait(self, pause: float) -> None:
        """Between two tries: work goes on, for as long as the server may be away."""
        self._attempt += 1
        away = self._clock.boottime() - self._answered
        if self._bench.busy and away > self._alone and not self._bench.finished:
            log.warning("slot %d: no server for %.0f s; the running job is given up", self._number, away)
            self._bench.end_all(Ending.ALONE)
        if self._leaving.is_set():
            if self._gone():
                self.stopping.set()
            else:
                self._bench.bell.clear()
                self._clock.wait(self._bench.bell, min(pause, 1.0))
        else:
            self._clock.wait(self._leaving, pause)

    def _talk(self, line: Line) -> None:
        """Until we leave; LinkLost otherwise."""
        while True:
            if self._leaving.is_set():
                self._bench.end_all(Ending.DRAINED, begun=False)
            if self._bench.busy:
                self._serve(line)
            elif self._leaving.is_set():
                return
            elif not self._rest(line):
                self._ask_for_work(line)

    def _serve(self, line: Line) -> None:
        """One round while leases are in our hands."""
        self._bench.bell.clear()
        for work in self._bench.wanting():
            resumed = self._exchange(line, Resume(lease=work.lease), Resumed)
            if resumed.account is None:
                self._bench.end(work.lease, Ending.NOT_YOURS)
            else:
                work.give_account(resumed.account)
        if self._report(line):
            return
        now = self._clock.monotonic()
        if now >= self._beat_at:
            self._beat(line)
            return
        if self._bench.busy:
            self._clock.wait(self._bench.bell, self._beat_at - now)

    def _report(self, line: Line) -> bool:
        idle = self._bench.finished  # first: nothing can be added to the results after this was true
        results = self._bench.results(REPORT)
        if not results:
            return False
        ask = idle and len(results) == self._bench.waiting and not (self._leaving.is_set() or self._bench.rest or self._room())
        judged = self._exchange(line, Finished(results=results, ask=ask), Judged, VERIFYING)
        for verdict in judged.verdicts:
            self._bench.judged(verdict)
        self._take(judged.grants)
        return True

    def _beat(self, line: Line, note: str = "") -> None:
        self._beat_at = self._clock.monotonic() + self._beat_every
        beaten = self._exchange(line, Beat(progress=self._bench.progress(), note=note), Beaten)
        for lease in beaten.cancel:
            self._bench.end(lease, Ending.CANCELED)
        for lease in beaten.not_yours:
            log.info("lease %s is not ours any more; what was done for it is dropped", lease[:8])
            self._bench.end(lease, Ending.NOT_YOURS)
        self._prove(line, beaten.probes, 0.0)

    def _prove(self, line: Line, probes: tuple[Probe, ...], wait: float) -> None:
        """Begin with these probes of shared roots, and tell what came of them when they are through; a busy slot looks at its next beat."""
        if self._shares is None or not (probes or self._probing):
            return
        self._shares.begin(probes)
        self._probing += probes
        found = self._shares.collect(self._probing, wait)
        if found is not None:
            self._exchange(line, Proven(probed=found), Heard)
            self._shares.forget(self._probing)
            self._probing = ()

    def _ask_for_work(self, line: Line) -> None:
        with self._lock:
            self._parked = True
        probes: tuple[Probe, ...] = ()
        try:
            if not self._leaving.is_set():
                leases = self._exchange(line, Ask(wait=0.0 if self._probing else PARKED), Leases, PARKED + 30.0)
                self._take(leases.grants)
                probes = leases.probes
        finally:
            with self._lock:
                self._parked = False
        self._prove(line, probes, LIMIT + 1.0)

    def _take(self, grants: tuple[Grant, ...]) -> None:
        if grants:
            self._bench.begin(grants)
            self._beat_at = self._clock.monotonic() + self._beat_every

    def _rest(self, line: Line) -> bool:
        """Whether it is no time to ask: the disk is too full, or jobs are given back again and again. Some time was waited then."""
        why = self._room()
        if not why and not self._bench.rest:
            self._told_no_room = False
            return False
        if (why or self._bench.no_room) and not self._told_no_room:
            self._told_no_room = True
            log.warning("slot %d takes no job for now: %s", self._number, why or "the last one needed more disk than is free here.")
            if why:
                self._beat(line, why)
        self._bench.rest = False
        self._clock.wait(self._leaving, NO_ROOM if why or self._bench.no_room else backoff(self._bench.in_vain - 1, base=1.0))
        self._beat(line, self._room())  # the server hears that we live, and those who wait hear why
        return True

    def _exchange(self, line: Line, question: Question, kind: type[M], timeout: float = 30.0) -> M:
        sent = self._clock.boottime()
        answer = line.ask(question, timeout)
        if not isinstance(answer, kind):
            raise ProtocolError(f"The server answered {type(question).__name__} with {type(answer).__name__}.")
        self._attempt = 0
        self._answered = sent if not isinstance(question, Ask) else self._clock.boottime()
        return answer
