"""Rows and live progress -> the views that listings show."""

from __future__ import annotations

import msgspec

from ..common.model import Asset, AttemptView, JobCounts, JobView, Region, TaskView
from ..common.states import LIVE_TASK, AttemptState, JobState, TaskState
from .store import Row, Tx
from .terms import Terms

MOST_ATTEMPTS = 100
TAILS = 3


def task_view(tx: Tx, row: Row, terms: Terms, place: int | None, extra_notes: tuple[str, ...] = ()) -> TaskView:
    counts = msgspec.convert(dict(tx.one("job_counts", task=row["id"], run=row["run"]) or {}), JobCounts)
    state = TaskState(row["state"])
    live = state in LIVE_TASK
    fractions = sum(term.fraction for term in terms.of_task(row["id"])) if live else 0.0
    if state is TaskState.QUEUED:
        counts = JobCounts()
    progress = 1.0 if state is TaskState.COMPLETED else min(1.0, (counts.done + fractions) / counts.total) if counts.total else 0.0
    at_work = tx.one("nodes_at_work", task=row["id"], run=row["run"]) if live else None
    eta = None
    if state is TaskState.RUNNING and row["started"] and progress > 0.02:
        eta = max(0.0, (tx.now - row["started"]) * (1.0 - progress) / progress)
    return TaskView(
        id=row["id"],
        name=row["name"],
        kind=row["kind"],
        state=state,
        priority=row["priority"],
        run=row["run"],
        created=row["created"],
        started=row["started"],
        ended=row["ended"],
        jobs=counts,
        progress=progress,
        place=place,
        error=row["error"][:2000],
        notes=(*(note[:500] for note in msgspec.json.decode(row["notes"], type=tuple[str, ...])[:20]), *extra_notes),
        assets=assets(tx, row["id"], row["run"]) if state is TaskState.COMPLETED else (),
        eta=eta,
        nodes=at_work["n"] if at_work else 0,
        owner=row["owner"],
    )


def assets(tx: Tx, task: str, run: int) -> tuple[Asset, ...]:
    return tuple(Asset(path=a["path"], size=a["size"], digest=a["digest"]) for a in tx.all("assets", task=task, run=run))


def job_view(tx: Tx, row: Row, terms: Terms) -> JobView:
    rows = tx.all("attempts_of_job", job=row["id"])[-MOST_ATTEMPTS:]
    attempts = tuple(attempt_view(a, whole=n + TAILS >= len(rows)) for n, a in enumerate(rows))
    state = JobState(row["state"])
    live = [term.fraction for a in attempts if (term := terms.get(a.lease))]
    return JobView(
        id=row["id"],
        region=msgspec.json.decode(row["region"], type=Region).name,
        stage=str(row["stage"]),
        state=state,
        progress=1.0 if state is JobState.DONE else max(live, default=0.0),
        attempts=attempts,
    )


def attempt_view(row: Row, *, whole: bool = True) -> AttemptView:
    """``whole``: with the last lines of its program; a listing has them of the last attempts only."""
    return AttemptView(
        number=row["number"],
        lease=row["lease"],
        node=row["node_name"],
        state=AttemptState(row["state"]),
        cause=row["cause"],
        started=row["started"],
        ended=row["ended"],
        sentence=row["sentence"],
        tail=msgspec.json.decode(row["tail"], type=tuple[str, ...]) if whole else (),
    )
