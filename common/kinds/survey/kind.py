"""The kind ``survey``: its stages in order. Which of them have something to do turns out on the way: they are ``optional``."""

from __future__ import annotations

import msgspec

from ...model import Needs, TaskSpec
from ..kind import Examined, Folder, Kind, Stage
from .adjustment import Adjustment
from .calibration import Calibration
from .depth import Depth
from .examine import examine, is_survey
from .features import Features
from .mapping import Mapping
from .matching import Matching
from .mesh import Mesh
from .options import OPTIONS
from .ortho import Ortho
from .publish import Publish
from .stage import PROGRAM
from .surface import Surface

USUAL = 2 << 30
LARGE = 4 << 30
"""Bytes that a job needs, where nobody says. Photos of 12 megapixels took up to 1.04 GB by halves and 3.6 GB whole in SIFT; a pair of
photos in the stage depth about 1 GB, and two are at work at once."""


class Survey(Kind):
    """See the head of this file."""

    name = "survey"
    scenes = ("photos (.jpg)",)
    version = 1
    allow = "render"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return is_survey(files)

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        return examine(spec, files)

    def needs(self, spec: TaskSpec) -> Needs:
        memory = spec.needs.memory or (LARGE if "ultra" in (spec.options.get("feature-quality"), spec.options.get("pc-quality")) else USUAL)
        return msgspec.structs.replace(spec.needs, program=spec.needs.program or PROGRAM, memory=memory)

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        return (
            Features(), Matching(), Calibration(), Mapping(), Adjustment(), Depth(), Surface(), Ortho(), Mesh(), Publish()
        )  # fmt: skip


SURVEY = Survey()
