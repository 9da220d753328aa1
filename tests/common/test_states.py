"""The state tables: what may follow what, and nothing else."""

from __future__ import annotations

from itertools import product

import pytest
from clusterray.common.errors import StateError
from clusterray.common.states import ATTEMPT, JOB, LIVE_ATTEMPT, LIVE_TASK, TASK, AttemptState, JobState, TaskState, advance


@pytest.mark.parametrize(("states", "table"), [(TaskState, TASK), (JobState, JOB), (AttemptState, ATTEMPT)])
def test_every_pair_is_either_a_step_or_an_error(states, table):
    """A step that the table lacks raises and names both states; one that it has gives the new state."""
    assert set(table) == set(states)
    for old, new in product(states, states):
        if new in table[old]:
            assert advance(old, new) is new
        else:
            with pytest.raises(StateError, match=f"from {old} to {new}"):
                advance(old, new)


def test_an_accepted_result_is_final():
    """Nothing takes an accepted attempt or a done job back."""
    assert not ATTEMPT[AttemptState.ACCEPTED]
    assert not JOB[JobState.DONE]


def test_every_task_that_is_over_can_be_restarted():
    """A person can always run a task again, and cancel one that is not canceled."""
    for state in TaskState:
        if state not in LIVE_TASK:
            assert TaskState.QUEUED in TASK[state]
        if state is not TaskState.CANCELED:
            assert TaskState.CANCELED in TASK[state]


def test_every_live_attempt_can_be_lost():
    """A node may die at any moment of an attempt."""
    assert all(AttemptState.LOST in ATTEMPT[state] for state in LIVE_ATTEMPT)
