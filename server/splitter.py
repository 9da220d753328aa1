"""One arm of the task thread: has a task cut into jobs. No thread of its own; the cutting runs in a hand."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ..common.errors import ClusterRayError, SplitFailed
from ..common.model import FarmShape, Needs, PackRef, Region, TaskSpec
from ..common.states import TaskState
from . import ledger
from .aftermath import Aftermath
from .calls import Split, SplitDone
from .dispatcher import BATCH, Dispatcher
from .hands import Hands
from .ledger import Cut
from .locality import Want
from .roster import Roster
from .shared import Shared
from .store import Row, Store
from .works import Work, Works

log = logging.getLogger(__name__)
GRANT = 512 << 10
"""Bytes of a job's description; a frame takes twice that."""
ANSWER = 768 << 10
"""Bytes of the grants of one answer."""


@dataclass(frozen=True)
class Splitting:
    """A split under way."""

    task: str
    run: int
    stage: int
    priority: int
    farm: FarmShape
    bundle: PackRef
    future: Future[SplitDone]


class Splitter:
    def __init__(
        self,
        store: Store,
        hands: Hands,
        roster: Roster,
        works: Works,
        dispatcher: Dispatcher,
        aftermath: Aftermath,
        shared: Shared,
        work: Path,
    ) -> None:
        self._shared = shared
        self._store = store
        self._hands = hands
        self._roster = roster
        self._works = works
        self._dispatcher = dispatcher
        self._aftermath = aftermath
        self._work = work

    def begin(self, row: Row) -> Splitting:
        """QUEUED -> RUNNING, then ask a hand."""
        needs = msgspec.json.decode(row["needs"], type=Needs)
        farm = self._roster.shape(needs, row["allow"])
        run = self._store.write(lambda tx: ledger.claim_task(tx, row["id"], farm))
        log.info("task %s (%s): split for %d slots, run %d", row["id"], row["name"], farm.slots, run)
        self._aftermath.changed(row["id"])
        with self._store.read() as tx:
            return self.go_on(row, ledger.need_run(tx, row["id"], run))

    def go_on(self, row: Row, run: Row) -> Splitting:
        """Split the stage that the run has come to, also once more after a restart: the stored farm gives the same split."""
        farm = msgspec.json.decode(run["farm"], type=FarmShape)
        bundle = PackRef(digest=run["bundle"], size=run["bundle_size"])
        future: Future[SplitDone]
        try:
            packs, files = self._works.files(bundle)
            future = self._hands.split(
                Split(
                    spec=msgspec.json.decode(run["spec"], type=TaskSpec),
                    manifest=str(packs[bundle.digest]),
                    packs={digest: str(path) for digest, path in packs.items()},
                    work=str(self._work / f"split-{row['id']}-{run['number']}-{run['stage']}"),
                    stage=run["stage"],
                    farm=farm,
                    shared=self._shared.top(files.bundle),
                )
            )
        except (OSError, KeyError, ClusterRayError) as error:
            future = Future()
            future.set_exception(SplitFailed(f"The task's files cannot be read on the server: {error}"))
        return Splitting(row["id"], run["number"], run["stage"], row["priority"], farm, bundle, future)

    def end(self, splitting: Splitting) -> None:
        """The hand has answered: jobs QUEUED, or the task FAILED."""
        try:
            done = splitting.future.result()
            _check_sizes(done)
            packs, files = self._works.files(splitting.bundle)
        except Exception as error:
            if self._hands.closed:
                return  # the next start splits it again
            if not isinstance(error, ClusterRayError):
                log.exception("task %s: the split broke", splitting.task)
            self.give_up(splitting.task, splitting.run, str(error))
            return
        task, run = splitting.task, splitting.run
        cut = Cut(
            spec=done.spec, version=done.version, name=done.stage, regions=done.regions, keys=done.keys, needs=done.needs,
            stages=done.stages, streams=done.streams, notes=done.warnings,
        )  # fmt: skip
        made = self._made_before(splitting)
        jobs = self._store.write(lambda tx: ledger.add_jobs(tx, task, run, splitting.stage, cut, made))
        if jobs is None:
            return
        stage = f", stage {done.stage} ({splitting.stage + 1} of {done.stages})" if done.stages > 1 else ""
        taken = f", {len(done.regions) - len(jobs)} of them taken over" if len(jobs) < len(done.regions) else ""
        log.info("task %s, run %d%s: %d jobs%s", task, run, stage, len(done.regions), taken)
        work = Work(
            task=task,
            run=run,
            spec=done.spec,
            needs=done.needs,
            allow=done.allow,
            program=splitting.farm.program,
            kind_version=done.version,
            bundle=splitting.bundle,
            stage=done.stage,
            packs=packs,
            files=files,
        )
        self._open(work, splitting.priority, splitting.farm.slots, max((len(ledger.text(region)) for region in done.regions), default=0))
        self._dispatcher.add(task, [(job, ()) for job in jobs], self._wants(work) if any(region.needs for region in done.regions) else {})
        self._aftermath.changed(task)

    def reopen(self, row: Row, run: Row) -> None:
        """After a restart: a run with jobs comes back into the index."""
        bundle = PackRef(digest=run["bundle"], size=run["bundle_size"])
        farm = msgspec.json.decode(run["farm"], type=FarmShape)
        packs, files = self._works.files(bundle)
        work = Work(
            task=row["id"],
            run=run["number"],
            spec=msgspec.json.decode(run["spec"], type=TaskSpec),
            needs=msgspec.json.decode(run["needs"], type=Needs),
            allow=row["allow"],
            program=run["program"],
            kind_version=run["version"],
            bundle=bundle,
            stage=run["stage_name"],
            packs=packs,
            files=files,
        )
        with self._store.read() as tx:
            waiting = tx.all("jobs_queued", task=work.task, run=work.run)
            queued = [job["id"] for job in waiting]
            tried: dict[str, set[str]] = {}
            for attempt in tx.all("tried_nodes_of_run", task=work.task, run=work.run):
                tried.setdefault(attempt["job"], set()).add(attempt["node"])
        self._open(work, row["priority"], farm.slots, max((len(job["region"]) for job in waiting), default=0))
        self._dispatcher.add(work.task, [(job, tried.get(job, ())) for job in queued], self._wants(work))

    def _wants(self, work: Work) -> dict[str, Want]:
        """Of the queued jobs: in which turn they are, and what files only they and a few others read."""
        with self._store.read() as tx:
            rows = tx.all("jobs_queued", task=work.task, run=work.run)
        regions = [(row["id"], msgspec.json.decode(row["region"], type=Region)) for row in rows]
        return {job: Want(region.turn, work.sizes_for(region)) for job, region in regions if region.needs}

    def _made_before(self, splitting: Splitting) -> dict[str, str]:
        """Key -> accepted lease, of the jobs of earlier runs whose outputs are here."""
        made: dict[str, str] = {}
        gone: set[str] = set()
        with self._store.read() as tx:
            row = tx.one("task", id=splitting.task)
            if row is None or row["fresh"] >= splitting.run - 1:
                return {}
            for job in tx.all("made_before", task=splitting.task, after=row["fresh"], run=splitting.run):
                made[job["key"]] = job["accepted"]
                if job["digest"] is not None and not self._works.has(job["digest"]):
                    gone.add(job["accepted"])
        return {key: lease for key, lease in made.items() if lease not in gone}

    def give_up(self, task: str, run: int, why: str) -> None:
        """The run FAILED; nothing where it is not in work any more."""
        leases = self._store.write(lambda tx: ledger.give_up(tx, task, run, why))
        if leases is not None:
            log.warning("task %s failed: %s", task, why)
            self._aftermath.task_over(task, leases, run)

    def _open(self, work: Work, priority: int, slots: int, region: int) -> None:
        """Into memory; then the store has the last word, as somebody may have cancelled or changed the priority meanwhile."""
        most = max(1, min(BATCH, ANSWER // (len(ledger.text(work.spec)) + region + 1000)))
        self._works.put(work)
        self._dispatcher.open(
            work.task, work.run, priority=priority, needs=work.needs, allow=work.allow, program=work.program, slots=slots, most=most
        )
        with self._store.read() as tx:
            row = tx.one("task", id=work.task)
        if row is None or row["run"] != work.run or TaskState(row["state"]) is not TaskState.RUNNING:
            self._dispatcher.close(work.task, work.run)
            self._works.drop(work.task, work.run)
        else:
            self._dispatcher.reprioritise(work.task, row["priority"])


def _check_sizes(done: SplitDone) -> None:
    """Each job must fit a grant, which travels in one frame."""
    spec = len(ledger.text(done.spec))
    for region in done.regions:
        if spec + len(ledger.text(region)) > GRANT:
            raise SplitFailed(f"Job {region.name[:100]} cannot be sent to a node: options and region take more than {GRANT} bytes.")
