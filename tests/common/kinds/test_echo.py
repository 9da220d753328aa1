"""The echo kind passes the exam of kinds, with and without a real program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from clusterray.common.kinds.echo import ECHO, content
from clusterray.common.model import Cause, Region, TaskSpec
from clusterray.common.testing_kinds import check_kind, rehearse, whole_task


def covers(spec: TaskSpec, regions: Sequence[Region]) -> str:
    numbers = [region.data["number"] for region in regions]
    return "" if numbers == list(range(spec.options["jobs"])) else f"the numbers are {numbers}"


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_the_exam(seconds: float, tmp_path: Path) -> None:
    """Everything that the farm relies on."""
    (tmp_path / "in").mkdir()
    spec = TaskSpec(kind="echo", name="e", options={"jobs": 4, "bytes": 25, "seconds": seconds})
    assets = check_kind(ECHO, spec, tmp_path / "in", tmp_path / "work", covers)
    assert assets == {"e.txt": b"".join(content(number, 25) for number in range(4))}


def test_a_job_can_be_told_to_fail(tmp_path: Path) -> None:
    """For tests of retries: the chosen numbers exit with 3."""
    (tmp_path / "in").mkdir()
    task = rehearse(ECHO, TaskSpec(kind="echo", name="e", options={"fail": ["1"]}), tmp_path / "in", tmp_path / "work")
    recipe = task.recipe(task.split()[1])
    assert recipe.argv[0] == "sh" and recipe.diagnose(3, ["this job was told to fail"]).cause is Cause.ERROR


def test_a_second_stage_reads_what_the_first_has_made(tmp_path: Path) -> None:
    """Each job's part of it comes out back to front."""
    (tmp_path / "in").mkdir()
    spec = TaskSpec(kind="echo", name="e", options={"jobs": 3, "bytes": 25, "stages": 2})
    assert whole_task(ECHO, spec, tmp_path / "in", tmp_path / "work") == {"e.txt": b"".join(content(n, 25)[::-1] for n in range(3))}
