"""The verbs that change the truth, each a function of one transaction.

Every state goes through ``advance()``, every transition leaves an ``events`` row, and a result is accepted by the one
statement ``accept`` in queries.sql. Functions here know nothing of threads, sockets or files; ``store.write`` runs them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from ..common.errors import Conflict, NoSuchTask
from ..common.model import (
    COUNTED,
    SILENT_NODES,
    Cause,
    Failure,
    FarmShape,
    Limits,
    Needs,
    Output,
    PackRef,
    Region,
    TaskSpec,
    new_id,
)
from ..common.states import LIVE_ATTEMPT, LIVE_TASK, AttemptState, JobState, TaskState, advance
from .store import Row, Tx


def text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def event(tx: Tx, subject: str, old: str, new: str, *, task: str, job: str = "", lease: str = "", node: str = "", cause: str = "") -> None:
    """One row of history."""
    tx.run("event", at=tx.now, subject=subject, task=task, job=job, lease=lease, node=node, old=old, new=new, cause=cause)


class Leased(NamedTuple):
    task: str
    job: str
    position: int
    lease: str
    number: int
    region: Region


class Ended(NamedTuple):
    """What the end of an attempt means for its job and its task."""

    task: str
    job: str
    job_state: JobState
    task_over: bool
    """The task failed with it."""
    stage_over: bool
    """It was the last open job of the stage."""
    lease: str = ""
    run: int = 0
    called_off: tuple[str, ...] = ()
    """Other leases of the task, which ended with it."""


# --- tasks


def need_task(tx: Tx, task: str) -> Row:
    row = tx.one("task", id=task)
    if row is None:
        raise NoSuchTask(f"There is no task {task}.")
    return row


def step_task(tx: Tx, row: Row, new: TaskState, *, error: str = "", cause: str = "") -> None:
    old = TaskState(row["state"])
    advance(old, new)
    tx.run("task_state", id=row["id"], state=new, ended=None if new in LIVE_TASK else tx.now, error=error)
    event(tx, "task", old, new, task=row["id"], cause=cause or error)


def add_task(tx: Tx, task: str, owner: str, spec: TaskSpec, needs: Needs, allow: str, bundle: PackRef, packs: Iterable[PackRef]) -> None:
    """QUEUED, with the packs that it keeps in use. The id must be new."""
    tx.run(
        "add_task",
        id=task,
        owner=owner,
        kind=spec.kind,
        name=spec.name,
        spec=text(spec),
        needs=text(needs),
        allow=allow,
        bundle=bundle.digest,
        bundle_size=bundle.size,
        priority=spec.priority,
        now=tx.now,
        notes="[]",
    )
    for pack in packs:
        tx.run("add_task_pack", task=task, digest=pack.digest, size=pack.size, run=0)
    event(tx, "task", "", TaskState.QUEUED, task=task, cause="submitted")


def claim_task(tx: Tx, task: str, farm: FarmShape) -> int:
    """QUEUED -> RUNNING as a new run with this farm; returns the run's number. What stages of older runs made is let go."""
    row = need_task(tx, task)
    advance(TaskState(row["state"]), TaskState.RUNNING)
    number: int = row["run"] + 1
    tx.run("task_claimed", id=task, run=number, now=tx.now)
    tx.run("add_run", task=task, number=number, farm=text(farm), program=farm.program, spec=row["spec"], needs=row["needs"], now=tx.now)
    tx.run("add_stage", task=task, run=number, stage=0, bundle=row["bundle"], bundle_size=row["bundle_size"])
    tx.run("forget_made_packs", task=task)
    event(tx, "task", row["state"], TaskState.RUNNING, task=task, cause=f"run {number}")
    return number


class Cut(NamedTuple):
    """A stage as it was split."""

    spec: TaskSpec
    """Examined and settled."""
    version: int
    """The kind's."""
    name: str
    regions: Sequence[Region]
    keys: Sequence[str] = ()
    """Of each region; none: nothing is taken over."""
    needs: Needs | None = None
    """None: those of the task."""
    stages: int = 1
    streams: bool = False
    notes: Sequence[str] = ()


def add_jobs(tx: Tx, task: str, run: int, stage: int, cut: Cut, made: Mapping[str, str] = MappingProxyType({})) -> list[str] | None:
    """The jobs of the run's stage: DONE where ``made`` (key -> accepted lease of an older run) has the piece, the others QUEUED.

    Returns those that are queued, in the order in which they are to be leased; None where the task was cancelled meanwhile, or the stage
    has its jobs already.
    """
    row = need_task(tx, task)
    if row["run"] != run or TaskState(row["state"]) is not TaskState.RUNNING:
        return None
    now = need_run(tx, task, run)
    if now["stage"] != stage or now["begun"] is not None:
        return None
    needs = now["needs"] if cut.needs is None else text(cut.needs)
    tx.run("run_spec", task=task, number=run, spec=text(cut.spec), needs=needs, version=cut.version, stages=cut.stages)
    if stage == 0 or cut.notes:
        told = [] if stage == 0 else msgspec.json.decode(row["notes"], type=list[str])
        tx.run("task_notes", id=task, notes=text([*told, *(note for note in cut.notes if note not in told)]))
    rows: list[dict[str, Any]] = [
        {
            "id": new_id(), "task": task, "run": run, "stage": stage, "position": n, "region": text(region), "name": region.name,
            "turn": region.turn, "key": key, "accepted": made.get(key), "at": tx.now,
        }
        for n, (region, key) in enumerate(zip(cut.regions, cut.keys or [""] * len(cut.regions), strict=True))
    ]  # fmt: skip
    taken = [one for one in rows if one["accepted"]]
    queued = [one for one in rows if not one["accepted"]]
    tx.many("add_job", queued)
    tx.many("add_taken_job", taken)
    tx.many("taken_event", taken)
    tx.run("stage_split", task=task, run=run, stage=stage, name=cut.name, streams=cut.streams, taken=len(taken))
    return [one["id"] for one in sorted(queued, key=lambda one: one["turn"])]


def next_stage(tx: Tx, task: str, run: int, stage: int, bundle: PackRef, packs: Iterable[PackRef]) -> bool:
    """A stage that is not the last is stitched: the next one works on this bundle, whose packs lie fsynced under their names.

    False where the run is not there any more, or was here before.
    """
    row = need_task(tx, task)
    now = need_run(tx, task, run)
    if row["run"] != run or TaskState(row["state"]) is not TaskState.RUNNING or now["stage"] != stage or stage + 1 >= now["stages"]:
        return False
    outlook = tx.one("stage_outlook", task=task, run=run, stage=stage)
    if outlook is None or outlook["open"] or not outlook["split"]:
        return False
    for pack in packs:
        tx.run("add_task_pack", task=task, digest=pack.digest, size=pack.size, run=run)
    tx.run("add_stage", task=task, run=run, stage=stage + 1, bundle=bundle.digest, bundle_size=bundle.size)
    tx.run("run_stage", task=task, number=run, stage=stage + 1)
    return True


def begin_stitch(tx: Tx, task: str, run: int) -> bool:
    """RUNNING -> STITCHING where the last stage has no open job; False where there is nothing to stitch (any more)."""
    row = need_task(tx, task)
    state = TaskState(row["state"])
    if row["run"] != run or state not in (TaskState.RUNNING, TaskState.STITCHING):
        return False
    now = need_run(tx, task, run)
    outlook = tx.one("stage_outlook", task=task, run=run, stage=now["stage"])
    if outlook is None or outlook["open"] or not outlook["split"] or now["stage"] + 1 < now["stages"]:
        return False
    if state is TaskState.RUNNING:
        step_task(tx, row, TaskState.STITCHING)
    return True


def publish(tx: Tx, task: str, run: int, assets: Sequence[tuple[str, PackRef]], *, published: str = "", note: str = "") -> bool:
    """STITCHING -> COMPLETED with its assets, whose files lie fsynced under their names.

    ``published``: the folder of shared storage in which they lie as well; ``note``: why they do not.
    """
    row = need_task(tx, task)
    if row["run"] != run or TaskState(row["state"]) is not TaskState.STITCHING:
        return False
    tx.run("forget_assets", task=task, run=run)
    tx.many("add_asset", [{"task": task, "run": run, "path": path, "size": pack.size, "digest": pack.digest} for path, pack in assets])
    if published:
        tx.run("task_published", id=task, published=published)
    if note:
        tx.run("task_notes", id=task, notes=text([*msgspec.json.decode(row["notes"], type=list[str]), note]))
    step_task(tx, row, TaskState.COMPLETED)
    return True


def give_up(tx: Tx, task: str, run: int, error: str) -> list[str] | None:
    """FAILED, where this run is still the one in work; returns the leases that were live, None where it is not."""
    row = need_task(tx, task)
    if row["run"] != run or TaskState(row["state"]) not in LIVE_TASK:
        return None
    return end_task(tx, task, TaskState.FAILED, error=error)


def end_task(tx: Tx, task: str, new: TaskState, *, error: str = "", run: int | None = None) -> list[str]:
    """FAILED or CANCELED, with all that is open below it; returns the leases that were live."""
    row = need_task(tx, task)
    if run is not None and row["run"] != run:
        return []
    step_task(tx, row, new, error=error)
    ended = []
    for job in tx.all("jobs_unfinished", task=task, run=row["run"]):
        for live in tx.all("live_of_job", job=job["id"]):
            attempt = need_attempt(tx, live["lease"])
            step_attempt(tx, attempt, AttemptState.CANCELED, Failure(cause=Cause.CANCELED, sentence=f"The task was {new}."))
            ended.append(live["lease"])
        step_job(tx, task, job["id"], JobState(job["state"]), JobState.CANCELED)
    return ended


def restart_task(
    tx: Tx,
    task: str,
    *,
    fresh: bool = False,
    anew: str = "",
    look: tuple[TaskSpec, Needs, str] | None = None,
    bundle: PackRef | None = None,
) -> None:
    """CANCELED | FAILED | COMPLETED -> QUEUED; the next claim makes a new run with new job ids.

    It takes over what earlier runs made of the same jobs; ``fresh``: it does all anew; ``anew``: all from the stage of this name on.
    ``look``: the task as it is to be from now on. ``bundle``: the manifest of its files as they are now in shared storage, which lies
    under its name.
    """
    row = need_task(tx, task)
    if TaskState(row["state"]) in LIVE_TASK:
        raise Conflict(f"Task {task} is {row['state']}: cancel it first, then restart it.")
    if anew:
        stages = {stage["name"]: stage["stage"] for stage in tx.all("stages_of_task", task=task) if stage["name"]}
        if anew not in stages:
            raise Conflict(f"Task {task} has come to no stage called {anew}; it has been in {', '.join(stages) or 'none'}.")
        tx.run("forget_keys", task=task, stage=stages[anew])
    step_task(tx, row, TaskState.QUEUED, cause="restart, all anew" if fresh else f"restart, anew from {anew}" if anew else "restart")
    tx.run("task_requeued", id=task, fresh=fresh)
    if look is not None:
        spec, needs, allow = look
        tx.run("task_spec", id=task, spec=text(spec), needs=text(needs), allow=allow)
    if bundle is not None and bundle.digest != row["bundle"]:
        tx.run("task_bundle", id=task, bundle=bundle.digest, bundle_size=bundle.size)
        tx.run("add_task_pack", task=task, digest=bundle.digest, size=bundle.size, run=0)


def remove_task(tx: Tx, task: str) -> list[str]:
    """Forget a task that is over, with its jobs and assets; its events stay for their time. Returns its leases."""
    row = need_task(tx, task)
    if TaskState(row["state"]) in LIVE_TASK:
        raise Conflict(f"Task {task} is {row['state']}: cancel it first, then remove it.")
    leases = [a["lease"] for number in range(1, row["run"] + 1) for a in tx.all("attempts_of_run", task=task, run=number)]
    event(tx, "task", row["state"], "removed", task=task)
    tx.run("remove_task", id=task)
    return leases


# --- runs and jobs


def need_run(tx: Tx, task: str, run: int) -> Row:
    row = tx.one("run", task=task, number=run)
    if row is None:
        raise NoSuchTask(f"Task {task} has no run {run}.")
    return row


def step_job(tx: Tx, task: str, job: str, old: JobState, new: JobState, *, cause: str = "") -> None:
    advance(old, new)
    tx.run("job_state", id=job, state=new)
    event(tx, "job", old, new, task=task, job=job, cause=cause)


# --- attempts


def need_attempt(tx: Tx, lease: str) -> Row:
    row = tx.one("attempt", lease=lease)
    if row is None:
        raise NoSuchTask(f"There is no lease {lease}.")
    return row


def step_attempt(tx: Tx, row: Row, new: AttemptState, failure: Failure | None = None, seconds: float | None = None) -> None:
    old = AttemptState(row["state"])
    advance(old, new)
    tx.run(
        "attempt_state",
        lease=row["lease"],
        state=new,
        cause=failure.cause if failure else "",
        ended=None if new in LIVE_ATTEMPT else tx.now,
        sentence=failure.sentence if failure else "",
        exit_code=failure.exit_code if failure else None,
        tail=text(failure.tail if failure else ()),
        seconds=seconds if seconds is not None else row["seconds"],
    )
    event(
        tx,
        "attempt",
        old,
        new,
        task=row["task"],
        job=row["job"],
        lease=row["lease"],
        node=row["node"],
        cause=failure.cause if failure else "",
    )


def lease(tx: Tx, node: str, incarnation: str, slot: int, jobs: Sequence[str]) -> list[Leased]:
    """Lease those of the jobs that are still QUEUED in a RUNNING task."""
    given: list[Leased] = []
    for row in tx.all("leasable", ids=text(list(jobs))):
        job, fresh = row["id"], new_id()
        tx.run("job_state", id=job, state=advance(JobState.QUEUED, JobState.RUNNING))
        number = tx.one("add_attempt", lease=fresh, job=job, node=node, incarnation=incarnation, slot=slot, now=tx.now)
        assert number is not None
        tx.run("leased_events", task=row["task"], job=job, lease=fresh, node=node)
        given.append(Leased(row["task"], job, row["position"], fresh, number["number"], msgspec.json.decode(row["region"], type=Region)))
    return given


def begin_verify(tx: Tx, lease_id: str, outputs: Sequence[Output], seconds: float) -> bool:
    """LEASED -> VERIFYING with the names of what was sent; False where the lease is over."""
    row = need_attempt(tx, lease_id)
    if AttemptState(row["state"]) is not AttemptState.LEASED:
        return False
    step_attempt(tx, row, AttemptState.VERIFYING, seconds=seconds)
    _add_outputs(tx, lease_id, outputs)
    return True


def accept_at_once(tx: Tx, row: Row, outputs: Sequence[Output], seconds: float) -> Ended | None:
    """LEASED -> VERIFYING -> ACCEPTED in one, for outputs that came with the report and were verified before.

    ``row`` is the attempt as it was read before this transaction; its state is looked at anew. None: the lease is over. Whether the stage
    is over is not said here: ask ``stage_over`` once for the whole batch.
    """
    lease_id: str = row["lease"]
    if tx.run("attempt_accepted", lease=lease_id, seconds=seconds) != 1:
        return None
    if tx.run("accept", lease=lease_id, job=row["job"]) != 1:
        failure = Failure(cause=Cause.REPLACED, sentence="Another result was accepted before.")
        step_attempt(tx, {**row, "state": AttemptState.VERIFYING}, AttemptState.LOST, failure, seconds)
        return None
    tx.run("accepted_events", task=row["task"], job=row["job"], lease=lease_id, node=row["node"])
    _add_outputs(tx, lease_id, outputs)
    return Ended(row["task"], row["job"], JobState.DONE, task_over=False, stage_over=False)


def stage_over(tx: Tx, row: Row) -> bool:
    """Whether the stage that an attempt belongs to has no open job left, and its task is there to be stitched."""
    return _ended(tx, row, JobState.DONE).stage_over


def accept(tx: Tx, lease_id: str) -> Ended | None:
    """VERIFYING -> ACCEPTED, and the job DONE by it; None where the job has been answered or ended otherwise."""
    row = need_attempt(tx, lease_id)
    if AttemptState(row["state"]) is not AttemptState.VERIFYING:
        return None
    if tx.run("accept", lease=lease_id, job=row["job"]) != 1:
        step_attempt(tx, row, AttemptState.LOST, Failure(cause=Cause.REPLACED, sentence="Another result was accepted before."))
        return None
    step_attempt(tx, row, AttemptState.ACCEPTED)
    event(tx, "job", row["job_state"], JobState.DONE, task=row["task"], job=row["job"], lease=lease_id, node=row["node"])
    return _ended(tx, row, JobState.DONE)


def fail(tx: Tx, lease_id: str, failure: Failure, seconds: float | None = None) -> Ended | None:
    """End a live attempt by its failure: the job goes back to the queue, or fails, and then the task with it."""
    row = need_attempt(tx, lease_id)
    if AttemptState(row["state"]) not in LIVE_ATTEMPT:
        return None
    cause = failure.cause
    if cause is Cause.REJECTED:
        if AttemptState(row["state"]) is AttemptState.LEASED:
            step_attempt(tx, row, AttemptState.VERIFYING)
            row = need_attempt(tx, lease_id)
        new = AttemptState.REJECTED
    elif cause in (Cause.RETURNED, Cause.DRAINED):
        new = AttemptState.RETURNED
    elif cause in (Cause.SILENT, Cause.REPLACED, Cause.FILES_GONE):
        new = AttemptState.LOST
    elif cause is Cause.CANCELED:
        new = AttemptState.CANCELED
    else:
        new = AttemptState.FAILED
    step_attempt(tx, row, new, failure, seconds)
    verdict = _why_hopeless(tx, row, failure)
    if verdict is None:
        step_job(tx, row["task"], row["job"], JobState(row["job_state"]), JobState.QUEUED, cause=cause)
        return _ended(tx, row, JobState.QUEUED)
    step_job(tx, row["task"], row["job"], JobState(row["job_state"]), JobState.FAILED, cause=cause)
    called_off = end_task(tx, row["task"], TaskState.FAILED, error=verdict, run=row["run"])
    return _ended(tx, row, JobState.FAILED)._replace(called_off=tuple(called_off))


def fail_many(tx: Tx, leases: Iterable[str], cause: Cause, sentence: str) -> list[Ended]:
    ended = [fail(tx, one, Failure(cause=cause, sentence=sentence)) for one in leases]
    return [one for one in ended if one is not None]


def replace_incarnation(tx: Tx, node: str, incarnation: str, keep: Collection[str]) -> list[Ended]:
    """A new start of a node: what its older lives held is lost, but for results that wait in its outbox."""
    older = [row["lease"] for row in tx.all("attempts_of_older", node=node, incarnation=incarnation) if row["lease"] not in keep]
    return fail_many(tx, older, Cause.REPLACED, "The node was started anew.")


def _why_hopeless(tx: Tx, row: Row, failure: Failure) -> str | None:
    """Why the job must not be tried again, as the task's error; None: try again."""
    task = need_task(tx, row["task"])
    limits = msgspec.json.decode(task["spec"], type=TaskSpec).limits if failure.cause in COUNTED else Limits()
    region = msgspec.json.decode(row["region"], type=Region).name
    if failure.cause is Cause.INPUT:
        return failure.sentence
    if failure.cause in COUNTED:
        count = tx.one("failures_of_job", job=row["job"])
        if count is not None and count["n"] >= limits.attempts:
            return f"Job {region} failed {count['n']} times, last: {failure.sentence}"
    if failure.cause is Cause.SILENT:
        count = tx.one("silent_nodes_of_job", job=row["job"])
        if count is not None and count["n"] >= SILENT_NODES:
            return f"Job {region} was lost without a word by {count['n']} different nodes; it may be what stops them."
    return None


def _ended(tx: Tx, row: Row, job_state: JobState) -> Ended:
    now = tx.one("outlook", task=row["task"], run=row["run"], stage=row["stage"])
    assert now is not None
    live = TaskState(now["state"]) is TaskState.RUNNING and now["current"]
    over = TaskState(now["state"]) is TaskState.FAILED
    stage_over = bool(live and not now["open"])
    return Ended(row["task"], row["job"], job_state, over, stage_over, row["lease"], row["run"])


def _add_outputs(tx: Tx, lease_id: str, outputs: Sequence[Output]) -> None:
    tx.many("add_output", [{"lease": lease_id, "path": o.path, "size": o.size, "digest": o.digest, "data": o.data} for o in outputs])
