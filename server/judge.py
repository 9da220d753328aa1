"""Results are judged: are they this slot's, did they arrive whole, does the kind accept them; and the truth is changed once.

Outputs that ride in the report are verified before anything is written: the report itself is repeated by the node until
it is answered. For uploaded ones VERIFYING is committed first, and a restart verifies them again from their folder.
Files have their names, fsynced, before the row that accepts them is committed. The same report twice counts once.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..common.errors import HandDied, KindError, LinkLost, NoSuchTask
from ..common.model import Cause, Failure, Grant, Output, Region, Result, Ruling, TaskSpec, Verdict
from ..common.states import AttemptState
from . import ledger
from .aftermath import Aftermath
from .calls import File, Files, Verify
from .dispatcher import Dispatcher
from .hands import Hands
from .keeper import Keeper
from .ledger import Ended, Leased
from .lessor import Lessor, Slot
from .logbook import Logbook
from .roster import Roster
from .store import Row, Store, Tx
from .terms import Terms

log = logging.getLogger(__name__)
INLINE = 16 << 10
OUTPUTS = 10_000


@dataclass
class Case:
    """One result on its way through."""

    result: Result
    row: Row
    uploaded: bool = False
    failure: Failure | None = None
    verdict: Verdict | None = None
    ended: Ended | None = None


class Judge:
    def __init__(
        self,
        store: Store,
        hands: Hands,
        keeper: Keeper,
        dispatcher: Dispatcher,
        terms: Terms,
        roster: Roster,
        lessor: Lessor,
        logbook: Logbook,
        aftermath: Aftermath,
        work: Path,
    ) -> None:
        self._store = store
        self._hands = hands
        self._keeper = keeper
        self._dispatcher = dispatcher
        self._terms = terms
        self._roster = roster
        self._lessor = lessor
        self._logbook = logbook
        self._aftermath = aftermath
        self._work = work
        self.changed: Callable[[Row, dict[Any, str]], str] = lambda row, looked: ""
        """The sentence about an input of an attempt's job that has changed in shared storage since the task was submitted; empty: none.
        ``looked`` keeps the answers for as long as one report is judged: its jobs mostly read the same files."""
        self.bring: Callable[[Row, Output, Path], None] = lambda row, output, to: None
        """Get an output that was not uploaded but put into shared storage, if it was."""
        self.forget: Callable[[str], None] = keeper.drop_lease
        """Remove what a lease sent."""
        self.gave_back: Callable[[str, str], None] = lambda node, task: None
        """A node has given back a job of this task."""
        self._busy: set[str] = set()
        self._free = threading.Condition()

    def judge(self, slot: Slot, results: Sequence[Result], want: bool) -> tuple[tuple[Verdict, ...], tuple[Grant, ...]]:
        """Verdicts in the order of the results and, where wanted, the next leases: both in one transaction."""
        leases = sorted({result.lease for result in results})
        with self._free:
            self._free.wait_for(lambda: not self._busy.intersection(leases))
            self._busy.update(leases)
        try:
            return self._judge(slot, results, want)
        except BaseException:  # the link closes: where the server held a term, it runs again, for the node may never come back
            for lease in leases:
                self._terms.renew(lease)
            raise
        finally:
            with self._free:
                self._busy.difference_update(leases)
                self._free.notify_all()

    def verify_again(self, lease: str) -> None:
        """A restart found this attempt VERIFYING. Nothing to do where its node has reported it again already."""
        with self._free:
            if lease in self._busy:
                return
            self._busy.add(lease)
        try:
            with self._store.read() as tx:
                row = ledger.need_attempt(tx, lease)
            case = Case(Result(lease=lease, seconds=row["seconds"] or 0.0), row)
            self._recall(case)
            self._look_at_inputs(case, {})
            if case.failure is None:
                self._verify([case])
                self._name([case])
            self._store.write(lambda tx: self._decide(tx, [case]))
            self._after(row["node"], case)
        except BaseException:
            self._terms.renew(lease)
            raise
        finally:
            with self._free:
                self._busy.discard(lease)
                self._free.notify_all()

    def _recall(self, case: Case) -> None:
        """The outputs that were told and checked when VERIFYING was committed: these are judged, whatever is said now."""
        lease = case.result.lease
        with self._store.read() as tx:
            outputs = tuple(msgspec.convert(dict(o), Output) for o in tx.all("outputs", lease=lease))
        case.result = msgspec.structs.replace(case.result, outputs=outputs)
        case.uploaded = True
        gone = [o.path for o in outputs if o.data is None and self._file(lease, o) is None]
        if gone:
            case.failure = Failure(cause=Cause.FILES_GONE, sentence=f"The server was restarted and {gone[0]} is no longer there.")

    def _judge(self, slot: Slot, results: Sequence[Result], want: bool) -> tuple[tuple[Verdict, ...], tuple[Grant, ...]]:
        cases: list[Case] = []
        settled: dict[str, Verdict] = {}
        with self._store.read() as tx:
            rows = {row["lease"]: row for row in tx.all("attempts", leases=ledger.text([result.lease for result in results]))}
            for result in results:
                row = rows.get(result.lease)
                known = self._known(slot, result, row)
                if known is not None or row is None:
                    settled[result.lease] = known or Verdict(lease=result.lease, ruling=Ruling.NOT_YOURS)
                else:
                    cases.append(Case(result, row, failure=_short(result.failure)))
        looked: dict[Any, str] = {}
        for case in cases:
            self._log(case)
            if case.failure is None:
                self._check_arrival(case)
            self._look_at_inputs(case, looked)
        self._verify([case for case in cases if case.failure is None and case.verdict is None])
        open_cases = [case for case in cases if case.verdict is None]
        self._name(open_cases)
        self._roster.free(slot.node, [case.result.lease for case in open_cases])
        jobs = self._dispatcher.take(slot.node) if want else []

        def change(tx: Tx) -> list[Leased]:
            self._decide(tx, open_cases)
            return self._lessor.lease(tx, slot, jobs) if jobs else []

        try:
            leased = self._store.write(change) if open_cases or jobs else []
        except BaseException:
            self._dispatcher.put_back(jobs)
            raise
        for case in open_cases:
            self._after(slot.node, case)
        grants = self._lessor.grants(slot, leased)
        for case in cases:
            settled[case.result.lease] = case.verdict or Verdict(lease=case.result.lease, ruling=Ruling.NOT_YOURS)
        return tuple(settled[result.lease] for result in results), grants

    def _known(self, slot: Slot, result: Result, row: Row | None) -> Verdict | None:
        """The answer to a lease that is no longer open: the one that it had."""
        if row is None or row["node"] != slot.node:
            return Verdict(lease=result.lease, ruling=Ruling.NOT_YOURS)
        state = AttemptState(row["state"])
        ruling = {
            AttemptState.ACCEPTED: Ruling.ACCEPTED,
            AttemptState.REJECTED: Ruling.REJECTED,
            AttemptState.LOST: Ruling.NOT_YOURS,
            AttemptState.FAILED: Ruling.NOTED,
            AttemptState.RETURNED: Ruling.NOTED,
            AttemptState.CANCELED: Ruling.NOTED if result.failure else Ruling.NOT_YOURS,
        }.get(state)
        if ruling is None:
            return None
        if self._terms.canceled(result.lease):
            self._terms.end([result.lease])
        return Verdict(lease=result.lease, ruling=ruling, sentence=row["sentence"])

    def _look_at_inputs(self, case: Case, looked: dict[Any, str]) -> None:
        """A result of files that changed while they were read is none, and a failure of them is no fault of the node."""
        ended = case.failure.cause if case.failure is not None else None
        if case.verdict is not None or ended in (Cause.CANCELED, Cause.DRAINED, Cause.FILES_GONE):
            return
        sentence = self.changed(case.row, looked)
        if sentence:
            case.failure = Failure(cause=Cause.INPUT, sentence=sentence)

    def _check_arrival(self, case: Case) -> None:
        """Did all outputs come, whole, under names that are safe? Then, where files were uploaded, VERIFYING is committed."""
        lease, outputs = case.result.lease, case.result.outputs
        if AttemptState(case.row["state"]) is AttemptState.VERIFYING:
            self._recall(case)
            return
        wrong = _unfit(outputs)
        if wrong:
            case.failure = Failure(cause=Cause.REJECTED, sentence=wrong)
            return
        uploads = tuple(o for o in outputs if o.data is None)
        if not uploads:
            return
        self._terms.hold(lease)
        missing = self._keeper.take_outputs(lease, uploads, lambda output, to: self.bring(case.row, output, to))
        if missing:
            self._terms.renew(lease)
            case.verdict = Verdict(lease=lease, ruling=Ruling.INCOMPLETE, sentence=f"{missing[0]} did not arrive whole.")
            return
        if not self._store.write(lambda tx: ledger.begin_verify(tx, lease, outputs, case.result.seconds)):
            case.verdict = Verdict(lease=lease, ruling=Ruling.NOT_YOURS)
        case.uploaded = True

    def _verify(self, cases: Sequence[Case]) -> None:
        """Ask the kind; sets ``failure`` where it says no. One call for all jobs of a run, singly where that crashed."""
        by_run: dict[tuple[str, int], list[Case]] = {}
        for case in cases:
            by_run.setdefault((case.row["task"], case.row["run"]), []).append(case)
        for (task, run), group in by_run.items():
            with self._store.read() as tx:
                try:
                    spec = msgspec.json.decode(ledger.need_run(tx, task, run)["spec"], type=TaskSpec)
                except NoSuchTask:  # cancelled and removed since
                    for case in group:
                        case.verdict = Verdict(lease=case.result.lease, ruling=Ruling.NOT_YOURS)
                    continue
            try:
                self._ask(spec, group)
            except HandDied as error:
                if self._hands.closed:
                    raise LinkLost("The server is stopping; the node will report again.") from error
                for case in group:
                    self._ask_alone(spec, case)

    def _ask_alone(self, spec: TaskSpec, case: Case) -> None:
        try:
            self._ask(spec, [case])
        except KindError as error:
            if self._hands.closed:
                raise LinkLost("The server is stopping; the node will report again.") from error
            case.failure = Failure(cause=Cause.REJECTED, sentence=str(error))

    def _ask(self, spec: TaskSpec, group: Sequence[Case]) -> None:
        jobs = [(msgspec.json.decode(case.row["region"], type=Region), self._files(case)) for case in group]
        work = self._work / f"verify-{group[0].result.lease}"
        done = self._hands.verify(Verify(spec=spec, stage=group[0].row["stage"], jobs=jobs, work=str(work)))
        for case, reason in zip(group, done.reasons, strict=True):
            if reason:
                case.failure = Failure(cause=Cause.REJECTED, sentence=reason)

    def _files(self, case: Case) -> Files:
        files: Files = {}
        for output in case.result.outputs:
            path = self._file(case.result.lease, output) if output.data is None else None
            files[output.path] = File(path=str(path)) if output.data is None else File(data=output.data)
        return files

    def _file(self, lease: str, output: Output) -> Path | None:
        """Where an uploaded output lies: in the lease's folder or, after a crash in mid-acceptance, under its pack's name."""
        path = self._keeper.lease_folder(lease) / "out" / output.path
        if path.is_file():
            return path
        return self._keeper.plain(output.digest) if self._keeper.has(output.digest) else None

    def _name(self, cases: Sequence[Case]) -> None:
        """Files of good outputs get their final names, fsynced, before any row speaks of them."""
        for case in cases:
            for output in case.result.outputs:
                path = self._keeper.lease_folder(case.result.lease) / "out" / output.path
                if case.failure is None and output.data is None and path.is_file():
                    self._keeper.adopt(path, output.digest)

    def _decide(self, tx: Tx, cases: Sequence[Case]) -> None:
        """The change itself."""
        last: dict[str, Case] = {}
        for case in cases:
            lease = case.result.lease
            if case.failure is None:
                if case.uploaded:
                    case.ended = ledger.accept(tx, lease)
                else:
                    case.ended = ledger.accept_at_once(tx, case.row, case.result.outputs, case.result.seconds)
                    if case.ended is not None:
                        last[case.ended.task] = case
                ruling = Ruling.ACCEPTED if case.ended else Ruling.NOT_YOURS
                case.verdict = Verdict(lease=lease, ruling=ruling)
            else:
                case.ended = ledger.fail(tx, lease, case.failure, case.result.seconds)
                ruling = Ruling.NOT_YOURS if case.ended is None else Ruling.NOTED
                if case.failure.cause is Cause.REJECTED and case.ended:
                    ruling = Ruling.REJECTED
                case.verdict = Verdict(lease=lease, ruling=ruling, sentence=case.failure.sentence)
        for case in last.values():
            if case.ended is not None:
                case.ended = case.ended._replace(stage_over=ledger.stage_over(tx, case.row))

    def _after(self, node: str, case: Case) -> None:
        lease = case.result.lease
        if case.ended is None:
            return
        if case.failure is None:
            self._dispatcher.done(case.ended.task, case.ended.job, case.result.seconds, node)
        else:
            log.info("lease %s ended: %s: %s", lease[:8], case.failure.cause, case.failure.sentence)
        if case.failure is not None and case.failure.cause is Cause.RETURNED:
            self.gave_back(node, case.ended.task)
        given_back = case.failure.sentence if case.failure is not None and case.failure.cause is Cause.RETURNED else ""
        self._aftermath.ended(node, lease, case.ended, given_back=given_back)
        if case.uploaded or case.failure is not None:
            self.forget(lease)

    def _log(self, case: Case) -> None:
        term = self._terms.get(case.result.lease)
        lines = [*case.result.lines, *(case.failure.tail if case.failure and not case.result.lines else ())]
        if case.failure:
            lines.append(f"{case.failure.cause}: {case.failure.sentence}")
        if term is not None:
            self._logbook.add(case.row["task"], term.log, lines)


def _short(failure: Failure | None) -> Failure | None:
    """A failure as it is kept: listings carry many of them in one frame."""
    if failure is None:
        return None
    return msgspec.structs.replace(failure, sentence=failure.sentence[:2000], tail=tuple(line[:500] for line in failure.tail[-200:]))


def _unfit(outputs: Sequence[Output]) -> str:
    """Why these outputs cannot be taken as they are described; empty: they can."""
    if len(outputs) > OUTPUTS:
        return f"The job made {len(outputs)} files; {OUTPUTS} is the most."
    if len({o.path for o in outputs}) != len(outputs):
        return "The job names an output twice."
    if sum(len(o.data) for o in outputs if o.data is not None) > INLINE:
        return f"The report carries more than {INLINE} bytes of outputs; larger ones go by FTP."
    for output in outputs:
        parts = output.path.split("/")
        if not output.path or len(output.path) > 1000 or any(part in ("", ".", "..") for part in parts) or "\\" in output.path:
            return f"The job names an output {output.path!r}, which is no relative path."
        if output.data is not None and (len(output.data) != output.size or hashlib.sha256(output.data).hexdigest() != output.digest):
            return f"The output {output.path} is not what its digest says."
    return ""
