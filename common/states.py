"""The three state machines, as tables, and ``advance()``: the only place where a state changes its value.

An illegal step raises StateError and changes nothing. The diagrams are in common/README.md; a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from .errors import StateError


class TaskState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    STITCHING = "stitching"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELED = "canceled"


class AttemptState(StrEnum):
    LEASED = "leased"
    VERIFYING = "verifying"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    RETURNED = "returned"
    LOST = "lost"
    FAILED = "failed"
    CANCELED = "canceled"


T, J, A = TaskState, JobState, AttemptState

TASK: Mapping[TaskState, frozenset[TaskState]] = {
    T.QUEUED: frozenset({T.RUNNING, T.FAILED, T.CANCELED}),
    T.RUNNING: frozenset({T.STITCHING, T.FAILED, T.CANCELED}),
    T.STITCHING: frozenset({T.COMPLETED, T.FAILED, T.CANCELED}),
    T.COMPLETED: frozenset({T.QUEUED, T.CANCELED}),
    T.FAILED: frozenset({T.QUEUED, T.CANCELED}),
    T.CANCELED: frozenset({T.QUEUED}),
}

JOB: Mapping[JobState, frozenset[JobState]] = {
    J.QUEUED: frozenset({J.RUNNING, J.CANCELED}),
    J.RUNNING: frozenset({J.QUEUED, J.DONE, J.FAILED, J.CANCELED}),
    J.DONE: frozenset(),
    J.FAILED: frozenset(),
    J.CANCELED: frozenset(),
}

ATTEMPT: Mapping[AttemptState, frozenset[AttemptState]] = {
    A.LEASED: frozenset({A.VERIFYING, A.RETURNED, A.LOST, A.FAILED, A.CANCELED}),
    A.VERIFYING: frozenset({A.ACCEPTED, A.REJECTED, A.RETURNED, A.LOST, A.FAILED, A.CANCELED}),
    A.ACCEPTED: frozenset(),
    A.REJECTED: frozenset(),
    A.RETURNED: frozenset(),
    A.LOST: frozenset(),
    A.FAILED: frozenset(),
    A.CANCELED: frozenset(),
}

LIVE_TASK = frozenset({T.QUEUED, T.RUNNING, T.STITCHING})
OPEN_JOB = frozenset({J.QUEUED, J.RUNNING})
LIVE_ATTEMPT = frozenset({A.LEASED, A.VERIFYING})

State = TypeVar("State", TaskState, JobState, AttemptState)


def advance(old: State, new: State) -> State:
    """Return ``new`` where the table of its machine has the step from ``old``; raise StateError otherwise."""
    table: Mapping[State, frozenset[State]] = _TABLES[type(old)]
    if new not in table[old]:
        raise StateError(f"A {type(old).__name__.removesuffix('State').lower()} cannot go from {old} to {new}.")
    return new


_TABLES: Mapping[type, Mapping] = {TaskState: TASK, JobState: JOB, AttemptState: ATTEMPT}  # type: ignore[type-arg]
