"""How a task is put into words: the same on a terminal, in a log and in a mail.

Everything that came over the wire is cleaned first: names and program output are other people's, and an escape sequence in
them must not reach the terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..common.model import AttemptView, JobView, TaskView
from ..common.states import JobState, TaskState
from ..common.units import show_duration

ENDED = frozenset({TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED})
EVIDENCE_JOBS = 3
"""Jobs whose evidence is printed when a task fails: the same mistake fails many, and the first few tell it all."""
EVIDENCE_LINES = 15
"""Last lines of a program's output: povray's own message is within them, with the file and line."""


def clean(text: str) -> str:
    """One line that is safe to print: control characters become spaces or are dropped."""
    return "".join(char if char.isprintable() else " " if char.isspace() else "" for char in text)


def short(task_id: str) -> str:
    """The beginning of an id, as listings show it; commands take it as well."""
    return task_id[:8]


def state_line(view: TaskView) -> str:
    """What a task is about, in one line without its name: ``running, 3 of 6 tiles done, 2 running on 2 nodes, 40s to go``."""
    jobs = view.jobs
    if view.state is TaskState.QUEUED:
        parts = ["queued" + (f", place {view.place}" if view.place else "")]
        parts += [clean(note) for note in view.notes[-1:]]
    elif view.state is TaskState.RUNNING:
        parts = ["running"]
        if jobs.total:
            parts.append(f"{jobs.done} of {jobs.total} {unit(view)}s done")
        if jobs.running:
            parts.append(f"{jobs.running} running on {count(view.nodes, 'node')}")
        if jobs.failed:
            parts.append(f"{jobs.failed} failed")
        if view.eta is not None:
            parts.append(f"{show_duration(view.eta)} to go")
        if jobs.total and not jobs.running:
            parts += [clean(note) for note in view.notes[-1:]]
    elif view.state is TaskState.STITCHING:
        parts = [f"joining {count(jobs.total, unit(view))}"]
    elif view.state is TaskState.COMPLETED:
        parts = ["completed" + took(view)]
    elif view.state is TaskState.FAILED:
        parts = ["failed" + took(view)]
    else:
        parts = ["cancelled"]
    return ", ".join(parts)


def unit(view: TaskView) -> str:
    """What a job of this task covers, in a word; one of a film covers several frames."""
    return "tile" if view.stage in ("", "tiles") else "job"


def took(view: TaskView) -> str:
    """`` in 3m 12s``, where both ends are known."""
    return f" in {show_duration(view.ended - view.started)}" if view.ended is not None and view.started is not None else ""


def evidence(view: TaskView, jobs: Iterable[JobView]) -> Iterator[str]:
    """Why a task failed, for its submitter: the sentence, then what the last attempt of each failed job left behind."""
    yield f"{clean(view.name)} failed: {clean(view.error) or 'no reason was given.'}"
    told: set[tuple[str, ...]] = set()
    for job in jobs:
        attempt = _last_word(job)
        if attempt is None or (attempt.sentence, *attempt.tail) in told:
            continue
        if len(told) == EVIDENCE_JOBS:
            yield f"  … more with: clusterray show {short(view.id)}"
            return
        told.add((attempt.sentence, *attempt.tail))
        sentence = "" if attempt.sentence == view.error else " " + clean(attempt.sentence)
        yield f"  {clean(job.region)}, attempt {attempt.number} on {clean(attempt.node) or 'a node'}:{sentence}"
        yield from (f"    | {clean(line)}" for line in attempt.tail[-EVIDENCE_LINES:])


def count(number: int, word: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _last_word(job: JobView) -> AttemptView | None:
    """The attempt that tells most about a job that failed."""
    if job.state is not JobState.FAILED and not any(attempt.cause == "input" for attempt in job.attempts):
        return None
    spoken = [attempt for attempt in job.attempts if attempt.sentence or attempt.tail]
    return spoken[-1] if spoken else None
