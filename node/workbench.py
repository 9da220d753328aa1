"""A slot's work thread and what lies between it and the link thread: grants to do, results to report.

The work thread does one thing after another and lives as long as the slot (bubblewrap dies with the thread that started it).
Results are put before the link thread together: when nothing is left to do, or 0.2 s after the first of them, so that sixty
short jobs cost one message.

Files are sent here too, so that beats go on meanwhile. A result that took a second or more goes into the outbox first; a
shorter one is quicker made again than written down, and is lost with the agent alone.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from ..common.clock import Clock
from ..common.errors import FileError, LinkError
from ..common.model import Cause, Failure, Grant, Limits, Needs, PackRef, Progress, Region, Result, Ruling, Verdict
from .outbox import Outbox, Parcel
from .runner import Carrier, Couriers, Outcome
from .scratch import Scratch
from .shared import SharedCarrier, Shares
from .work import Ending, Work

log = logging.getLogger(__name__)

TOGETHER = 0.2
WORTH_KEEPING = 1.0
SEND_ROUNDS = 3
"""Tries to send a result's files, each with the courier's own retries and from the second on with a new account."""
AGAIN = 5
"""Times that the server may find a result incomplete."""


class Runs(Protocol):
    """What the bench needs of the runner."""

    def run(self, work: Work) -> Outcome: ...

    def rest(self) -> float | None: ...

    def close(self) -> None: ...


class Workbench:
    """See the head of the file. ``bell`` rings when the link thread has something to say."""

    def __init__(
        self,
        slot: int,
        *,
        runner: Runs,
        outbox: Outbox,
        scratch: Scratch,
        couriers: Couriers,
        clock: Clock,
        shares: Shares | None = None,
    ) -> None:
        self.bell = threading.Event()
        self.no_room = False
        """The last grant was given back for want of disk."""
        self.in_vain = 0
        """How many tasks in a row had their jobs given back; asking for more at once would only turn a wheel. One task that cannot be done
        here counts once, however many jobs it has: others shall not wait for it."""
        self._refused: set[str] = set()
        self.rest = False
        """The slot should rest before it asks again, and put this back."""
        self._slot = slot
        self._runner = runner
        self._outbox = outbox
        self._scratch = scratch
        self._couriers = couriers
        self._shares = shares
        self._clock = clock
        self._condition = threading.Condition()
        self._todo: deque[tuple[Work, Parcel | None]] = deque()
        self._works: dict[str, Work] = {}
        self._ready: dict[str, tuple[Result, Parcel | None]] = {}
        self._again: dict[str, int] = {}
        self._current: Work | None = None
        self._closing = False
        self._thread: threading.Thread | None = None
        self._reported = clock.monotonic()

    # --- the link thread

    def start(self) -> None:
        """Begin to work."""
        self._thread = threading.Thread(target=self._loop, name=f"work-{self._slot}", daemon=True)
        self._thread.start()

    def close(self, timeout: float | None = None) -> bool:
        """End the thread after what it does now; return whether it has ended."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        return True

    def begin(self, grants: Iterable[Grant]) -> None:
        """New work."""
        with self._condition:
            for grant in grants:
                if grant.lease in self._works:  # the same grant told twice is one
                    continue
                self._put(Work(grant, self.bell), None)

    def deliver(self, parcels: Iterable[Parcel]) -> None:
        """Results of an earlier life: send their files, then report them."""
        with self._condition:
            for parcel in parcels:
                work = Work(_grant_of(parcel), self.bell)
                work.sending = True
                self._put(work, parcel)

    @property
    def busy(self) -> bool:
        """Whether any lease is in our hands."""
        return bool(self._works)

    @property
    def finished(self) -> bool:
        """Whether all that is in our hands are results."""
        with self._condition:
            return not self._todo and self._current is None

    @property
    def waiting(self) -> int:
        """How many results wait for their answer."""
        return len(self._ready)

    def progress(self) -> tuple[Progress, ...]:
        """One for each lease, for a beat."""
        with self._condition:
            works = list(self._works.values())
        return tuple(work.progress() for work in works)

    def results(self, room: int) -> tuple[Result, ...]:
        """Results that wait for their answer, as many as fit into ``room`` bytes (one at least)."""
        chosen: list[Result] = []
        with self._condition:
            for result, _ in self._ready.values():
                room -= _weight(result)
                if chosen and room < 0:
                    break
                chosen.append(result)
        return tuple(chosen)

    def judged(self, verdict: Verdict) -> None:
        """The answer to one result: it is done with, or its files have to be sent again."""
        with self._condition:
            entry = self._ready.pop(verdict.lease, None)
            if entry is None:
                return
            result, parcel = entry
            if verdict.ruling is Ruling.INCOMPLETE:
                tries = self._again[verdict.lease] = self._again.get(verdict.lease, 0) + 1
                log.warning("lease %s: the server has not got the whole result (%s); sending it again", verdict.lease[:8], verdict.sentence)
                work = self._works[verdict.lease]
                if tries < AGAIN and result.failure is None:
                    if parcel is not None:
                        self._todo.append((work, parcel))
                        self._condition.notify()
                    else:
                        self._ready[verdict.lease] = entry
                    return
                failure = Failure(cause=Cause.RETURNED, sentence=f"The result did not arrive whole {tries} times: {verdict.sentence}")
                self._ready[verdict.lease] = (Result(lease=verdict.lease, failure=failure, seconds=result.seconds), parcel)
                return
        if verdict.ruling is Ruling.REJECTED:
            log.warning("lease %s: the server rejected the result: %s", verdict.lease[:8], verdict.sentence)
        elif verdict.ruling is Ruling.NOT_YOURS:
            log.info("lease %s: the result came too late; the job is in other hands", verdict.lease[:8])
        self._forget(verdict.lease, parcel)

    def end(self, lease: str, why: Ending) -> None:
        """Stop one lease. What is not begun ends at once, what runs within 5 s."""
        with self._condition:
            work = self._works.get(lease)
            if work is None:
                return
            work.end(why)
            entry = self._ready.get(lease)
            if entry is not None and why is Ending.NOT_YOURS:
                del self._ready[lease]
        if entry is not None and why is Ending.NOT_YOURS:
            self._forget(lease, entry[1])

    def end_all(self, why: Ending, *, begun: bool = True) -> None:
        """Stop all, or only what is not begun yet. Results stay; those still on their way stop for a drain, and lie in the outbox."""
        with self._condition:
            for work in self._works.values():
                if work.lease in self._ready or (work is self._current and not begun):
                    continue
                if work.sending and (why is Ending.ALONE or not begun):
                    continue
                work.end(why)

    def wanting(self) -> tuple[Work, ...]:
        """Leases that need a new FTP account."""
        with self._condition:
            return tuple(work for work in self._works.values() if work.wants_account and not work.stop.is_set())

    # --- the work thread

    def step(self, wait: float | None = None) -> bool:
        """Do the next thing, waiting for one; False: told to close, or nothing came in ``wait`` seconds."""
        with self._condition:
            while not self._todo:
                if self._closing or not self._condition.wait(wait):
                    return False
            work, parcel = self._todo.popleft()
            self._current = work
        try:
            self._do(work, parcel)
        except Exception:
            log.exception("lease %s: unexpected error", work.lease[:8])
            failure = Failure(cause=Cause.RETURNED, sentence="The node's own code failed; its log has the details.")
            self._finish(work, Result(lease=work.lease, failure=failure), None)
        finally:
            with self._condition:
                self._current = None
                idle = not self._todo
            now = self._clock.monotonic()
            if idle or now - self._reported >= TOGETHER:
                self._reported = now
                self.bell.set()
        return True

    def _loop(self) -> None:
        try:
            while self.step(self._runner.rest()) or not self._closing:
                pass
        finally:
            self._runner.close()

    def _do(self, work: Work, parcel: Parcel | None) -> None:
        if parcel is None and not work.stop.is_set():
            outcome = self._runner.run(work)
            self.no_room = outcome.no_room
            if outcome.result is None or outcome.out is None:
                self._finish(work, outcome.result, None)
                return
            parcel = self._parcel(work, outcome.result, outcome)
        if parcel is not None:
            failure = self._send_files(work, parcel)
            if failure is None:
                self._finish(work, parcel.result, parcel)
                return
            if not work.stop.is_set():
                self._finish(work, Result(lease=work.lease, failure=failure, seconds=parcel.result.seconds), parcel)
                return
        if parcel is not None and work.why is Ending.DRAINED and self._outbox.holds(work.lease):
            with self._condition:  # the next life sends it
                self._works.pop(work.lease, None)
            return
        stopped = work.failure()
        self._finish(work, Result(lease=work.lease, failure=stopped) if stopped is not None else None, parcel)

    def _parcel(self, work: Work, result: Result, outcome: Outcome) -> Parcel:
        assert outcome.out is not None
        if result.seconds >= WORTH_KEEPING:
            try:
                return self._outbox.put(self._slot, work.account, result, outcome.out)
            except OSError as error:
                log.warning("lease %s: the result cannot be kept in the outbox: %s", work.lease[:8], error)
        return Parcel(self._slot, work.account, result, outcome.out)

    def _send_files(self, work: Work, parcel: Parcel) -> Failure | None:
        """None: all files are with the server. An account that a restart has forgotten is asked for anew."""
        files = [output for output in parcel.result.outputs if output.data is None]
        if not files:
            return None
        work.enter("uploading")
        first, work.sending = not work.sending, True
        for last in (False,) * (SEND_ROUNDS - 1) + (True,):
            courier = self._carrier(work, first)
            first = False
            try:
                for output in files:
                    courier.put_file(output.path, parcel.out / output.path)
                return None
            except (FileError, LinkError, OSError) as error:
                reason = str(error)
                if not work.stop.is_set():
                    log.info("lease %s: sending the result failed: %s", work.lease[:8], reason)
            finally:
                courier.close()
            if work.stop.is_set() or last or not work.renew_account():
                break
        return Failure(cause=Cause.RETURNED, sentence=f"The result could not be sent: {reason}")

    def _carrier(self, work: Work, first: bool) -> Carrier:
        """What brings files to the server: shared storage where the task lies there; FTP for all others, and where that has failed."""
        if first and work.grant.results and self._shares is not None:
            try:
                return SharedCarrier(self._shares.results(work.grant.results), work.lease)
            except (FileError, OSError) as error:
                log.warning("lease %s: its result goes by FTP: %s", work.lease[:8], error)
        return self._couriers(work.account, work.stop)

    def _finish(self, work: Work, result: Result | None, parcel: Parcel | None) -> None:
        if result is None:
            self._forget(work.lease, parcel)
            return
        self._note(work.grant.task, result)
        with self._condition:
            gone = work.why is Ending.NOT_YOURS
            if not gone:
                self._ready[work.lease] = (result, parcel)
        if gone:
            self._forget(work.lease, parcel)

    def _note(self, task: str, result: Result) -> None:
        failure = result.failure
        if failure is None or failure.cause is not Cause.RETURNED:
            self._refused.clear()
        else:
            self._refused.add(task)
            self.rest = True
        self.in_vain = len(self._refused)
        if failure is not None:
            level = logging.INFO if self.in_vain < 3 else logging.DEBUG
            log.log(level, "lease %s ended: %s: %s", result.lease[:8], failure.cause, failure.sentence)

    def _forget(self, lease: str, parcel: Parcel | None) -> None:
        if parcel is not None:
            self._outbox.answered(lease)
            self._scratch.remove(lease)
        with self._condition:
            self._works.pop(lease, None)
            self._again.pop(lease, None)

    def _put(self, work: Work, parcel: Parcel | None) -> None:
        self._works[work.lease] = work
        self._todo.append((work, parcel))
        self._condition.notify()


def _weight(result: Result) -> int:
    """About how many bytes of JSON."""
    data = sum(150 + len(output.path) + (len(output.data) * 4 // 3 if output.data else 0) for output in result.outputs)
    tail = result.failure.tail if result.failure is not None else ()
    return 200 + data + sum(6 + 3 * len(line) for line in (*result.lines, *tail))


def _grant_of(parcel: Parcel) -> Grant:
    """As much of a grant as sending needs; the rest is not known any more."""
    return Grant(
        lease=parcel.lease,
        job="",
        number=0,
        task="",
        task_name="",
        kind="",
        kind_version=0,
        stage="",
        region=Region(name=""),
        options={},
        limits=Limits(),
        needs=Needs(),
        program="",
        bundle=PackRef(digest="", size=0),
        term=0.0,
        account=parcel.account,
    )
