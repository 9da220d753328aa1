"""Stages of a survey one after another on a folder, as the farm goes through them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from clusterray.common.errors import StitchFailed
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.kinds.survey.stage import SurveyStage
from clusterray.common.model import FarmShape, TaskSpec
from clusterray.common.testing_kinds import PlainFiles, Rehearsal


def task(**options: Any) -> TaskSpec:
    """``options`` with _ for -."""
    given = {name.replace("_", "-"): value for name, value in options.items()}
    return TaskSpec(kind="survey", name="small", options=normalise("survey", OPTIONS, given))


def rehearsal(stage: SurveyStage, folder: Path, work: Path, **options: Any) -> Rehearsal:
    work.mkdir(parents=True)
    return Rehearsal(
        kind=SURVEY, spec=task(**options), stage=stage, files=PlainFiles(folder), inputs=folder, work=work, warnings=()
    )  # fmt: skip


def through(stage: SurveyStage, folder: Path, work: Path, *, nodes: int = 1, **options: Any) -> tuple[Rehearsal, list[Piece]]:
    """Split, process, verify, stitch; the results become ``stages/<name>`` of the folder."""
    round_ = rehearsal(stage, folder, work, **options)
    pieces = list(round_.pieces(round_.split(FarmShape(slots=nodes, nodes=nodes))))
    round_.stitch(pieces)
    shutil.rmtree(folder / "stages" / stage.name, ignore_errors=True)
    shutil.copytree(work / "result", folder / "stages" / stage.name)
    return round_, pieces


def check_loss(round_: Rehearsal, pieces: list[Piece]) -> None:
    """Each piece that is lost on its way to the stitch is named."""
    for number, lost in enumerate(pieces):
        with pytest.raises(StitchFailed, match=lost.region.name):
            round_.stitch(pieces[:number] + pieces[number + 1 :], f"without{number}")
