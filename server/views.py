"""Rows and live progress -> the views that listings show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ..common.model import Asset, AttemptView, JobCounts, JobView, Needs, Region, TaskView
from ..common.states import LIVE_TASK, AttemptState, JobState, TaskState
from .store import Row, Tx
from .terms import Terms

MOST_ATTEMPTS = 100
TAILS = 3
ASSETS = 50
"""Files that a view names; `fetch` has them all."""
EARLY = 0.1
"""What a stage that is not the last counts in the progress of its task."""
WEIGHED = 10_000
"""Jobs of a stage up to which a view weighs them (about 2 µs each); where there are more, they count alike."""


def task_view(tx: Tx, row: Row, terms: Terms, place: int | None, extra_notes: tuple[str, ...] = ()) -> TaskView:
    run = tx.one("run", task=row["id"], number=row["run"])
    numbers = dict(tx.one("job_counts", task=row["id"], run=row["run"], stage=run["stage"] if run is not None else 0) or {})
    counts = msgspec.convert(numbers, JobCounts)
    state = TaskState(row["state"])
    live = state in LIVE_TASK
    if state is TaskState.QUEUED:
        counts = JobCounts()
    work = _work(tx, run, numbers, terms) if live and counts.total and run is not None else {}
    progress = 1.0 if state is TaskState.COMPLETED else _progress(run, numbers, work) if counts.total and run is not None else 0.0
    at_work = tx.one("nodes_at_work", task=row["id"], run=row["run"]) if live else None
    eta = _eta(tx, row, run, work) if work and state is TaskState.RUNNING and run is not None else None
    found: tuple[Asset, ...] = ()
    total = 0
    if state is TaskState.COMPLETED:
        found = assets(tx, row["id"], row["run"], limit=ASSETS + 1)
        known = tx.one("asset_sum", task=row["id"], run=row["run"]) if len(found) > ASSETS else None
        total = known["n"] if known is not None else len(found)
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
        notes=(
            *(note[:500] for note in msgspec.json.decode(row["notes"], type=tuple[str, ...])[:20]),
            *(_stage_note(run, numbers) if state is TaskState.RUNNING and run is not None else ()),
            *extra_notes,
        ),
        assets=found[:ASSETS],
        asset_count=total,
        eta=eta,
        nodes=at_work["n"] if at_work else 0,
        owner=row["owner"],
        stage=(run["stage_name"] or "") if run is not None else "",
        shared=msgspec.json.decode(row["needs"], type=Needs).shared,
        published=row["published"],
    )


def assets(tx: Tx, task: str, run: int, *, after: int = 0, limit: int) -> tuple[Asset, ...]:
    rows = tx.all("assets", task=task, run=run, after=after, limit=limit)
    return tuple(Asset(path=a["path"], size=a["size"], digest=a["digest"]) for a in rows)


def _work(tx: Tx, run: Row, numbers: Mapping[str, Any], terms: Terms) -> dict[str, float]:
    """Weights of the stage's jobs: all (``here``), those done, with the parts of those under way, and those taken over (done as well)."""
    weighed = numbers["here"] <= WEIGHED
    found = {"here": float(numbers["here"]), "done": float(numbers["done_here"]), "taken": float(run["taken"])}
    if weighed:
        found = dict(tx.one("work_of_stage", task=run["task"], run=run["number"], stage=run["stage"]) or found)
    for term in terms.of_task(run["task"]):
        row = tx.one("weight_of_job", job=term.job) if weighed and term.fraction else None
        found["done"] += term.fraction * (row["weight"] if row is not None else 1.0)
    return found


def _progress(run: Row, numbers: Mapping[str, Any], work: Mapping[str, float]) -> float:
    """Stages before the last count little, as nobody knows what the last will take; so it never goes back when that is split."""
    if work:
        here = min(1.0, work["done"] / work["here"]) if work["here"] else 0.0
    else:
        here = min(1.0, numbers["done_here"] / numbers["here"]) if numbers["here"] else 0.0
    if run["stages"] == 1:
        return here
    early = min(EARLY, 0.5 / (run["stages"] - 1))
    before: float = run["stage"] * early
    return before + here * (1.0 - before if run["stage"] + 1 == run["stages"] else early)


def _eta(tx: Tx, row: Row, run: Row, work: Mapping[str, float]) -> float | None:
    """From what was done of the last stage since it was split, not counting what was taken over; earlier ones tell nothing of it."""
    began = row["started"] if run["stage"] == 0 else run["begun"]
    to_do = work["here"] - work["taken"]
    if run["stage"] + 1 < run["stages"] or not began or to_do <= 0:
        return None
    share = (work["done"] - work["taken"]) / to_do
    return max(0.0, (tx.now - began) * (1.0 - min(1.0, share)) / share) if share > 0.02 else None


def _stage_note(run: Row, numbers: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a task of several stages is."""
    if run["stages"] == 1:
        return ()
    if not numbers["here"]:
        return (f"stage {run['stage'] + 1} of {run['stages']} is being split",)
    doing = "its pieces are being joined" if numbers["done_here"] == numbers["here"] else f"{numbers['here']} jobs"
    return (f"stage {run['stage'] + 1} of {run['stages']} ({run['stage_name']}): {doing}",)


def job_view(tx: Tx, row: Row, terms: Terms) -> JobView:
    rows = tx.all("attempts_of_job", job=row["id"])[-MOST_ATTEMPTS:]
    attempts = tuple(attempt_view(a, whole=n + TAILS >= len(rows)) for n, a in enumerate(rows))
    state = JobState(row["state"])
    live = [term.fraction for a in attempts if (term := terms.get(a.lease))]
    return JobView(
        id=row["id"],
        region=msgspec.json.decode(row["region"], type=Region).name,
        stage=row["stage_name"] or str(row["stage"]),
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
