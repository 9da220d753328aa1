"""Stage ``mesh`` of a survey."""

from __future__ import annotations

from collections.abc import Iterable

from ...model import FarmShape, Region, TaskSpec
from ..kind import Folder
from .stage import SurveyStage


class Mesh(SurveyStage):
    name = "mesh"
    job = "mesh"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        raise NotImplementedError

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        raise NotImplementedError
