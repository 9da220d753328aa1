"""What the client remembers between two runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from clusterray.client.memory import KEPT, Origin, Origins, Pending
from clusterray.common.errors import Conflict
from clusterray.common.model import PackRef, TaskSpec
from clusterray.common.testing import FakeClock

SPEC = TaskSpec(kind="povray", name="a", options={"width": 3, "args": ["+A"]})
BUNDLE = PackRef(digest="0" * 64, size=1)
SCENE = Path("/scene")


@pytest.fixture
def pending(tmp_path: Path) -> Pending:
    return Pending(tmp_path / "pending", FakeClock())


def once(pending: Pending, spec: TaskSpec = SPEC, farm: str = "f", *, end: type[Exception] | None = None) -> str:
    """One submit; ``end`` is what ends it."""
    task = ""
    try:
        with pending.id_for(farm, SCENE, spec, BUNDLE) as task:
            if end:
                raise end("x")
    except (OSError, Conflict):
        pass
    return task


def test_an_unanswered_submit_keeps_its_id_and_an_answered_one_does_not(pending: Pending) -> None:
    """The same command after a failure is the same submit; after a success it is another one."""
    first = once(pending, end=OSError)
    assert once(pending, end=OSError) == first
    assert once(pending) == first
    assert once(pending) != first


def test_other_files_options_or_farms_are_other_submits(pending: Pending) -> None:
    """An id belongs to exactly what is submitted, and to whom."""
    first = once(pending, end=OSError)
    wider = TaskSpec(kind="povray", name="a", options={"width": 4, "args": ["+A"]})
    assert len({first, once(pending, wider, end=OSError), once(pending, farm="g", end=OSError)}) == 3


def test_an_id_that_the_farm_does_not_want_is_not_tried_again(pending: Pending) -> None:
    """A conflict would come back for ever."""
    assert once(pending, end=Conflict) != once(pending)


def test_two_runs_at_once_are_two_tasks(pending: Pending) -> None:
    """Two terminals, one folder: neither takes the other's id."""
    with pending.id_for("f", SCENE, SPEC, BUNDLE) as first, pending.id_for("f", SCENE, SPEC, BUNDLE) as second:
        assert first != second


def test_old_notes_go(tmp_path: Path) -> None:
    """Nothing piles up."""
    clock = FakeClock()
    pending = Pending(tmp_path / "pending", clock)
    first = once(pending, end=OSError)
    for path in (tmp_path / "pending").iterdir():
        os.utime(path, (clock.now() - KEPT - 1,) * 2)
    assert once(pending) != first


def test_origins(tmp_path: Path) -> None:
    """A task's folder is remembered until the task is removed; damage means not knowing."""
    origins = Origins(tmp_path / "tasks", FakeClock(0.0))
    assert origins.recall("t") is None
    origin = Origin(folder="/scene", result="/scene-result", overwrite=True)
    origins.remember("t", origin)
    assert origins.recall("t") == origin
    (tmp_path / "tasks/t").write_bytes(b"{")
    assert origins.recall("t") is None
    origins.forget("t")
    origins.forget("t")
    assert list((tmp_path / "tasks").iterdir()) == []
