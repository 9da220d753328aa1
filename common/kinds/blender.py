"""The Blender kind: stills cut into tiles or samples, films cut into frames, rendered by Blender as a child process.

Three stages make a still: ``look`` opens the file once and says what it is, ``render`` makes the parts, ``finish`` does what must see the
whole picture (denoising, compositor, dithering, JPEG) on the joined one, where there is any of it. A film has ``look`` and the
stages that all films share. docs/blender.md says what was measured.
"""

from __future__ import annotations

from ..model import FarmShape, Needs, TaskSpec
from .animation import film_of
from .blender_examine import examine, needs, settle
from .blender_film import stages_of_film
from .blender_looking import Looking
from .blender_options import OPTIONS
from .blender_stills import Finishing, Rendering
from .kind import Examined, Folder, Kind, Stage


class Blender(Kind):
    """See the head of this file."""

    name = "blender"
    scenes = (".blend",)
    version = 1
    allow = "render"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return any(name.lower().endswith(".blend") for name in files.names())

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        return examine(spec, files)

    def needs(self, spec: TaskSpec) -> Needs:
        return needs(spec)

    def settle(self, spec: TaskSpec, farm: FarmShape) -> TaskSpec:
        return settle(spec, farm)

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        if film_of(task.options) is None:
            return (Looking(), Rendering(), Finishing())
        return (Looking(), *stages_of_film(task))


BLENDER = Blender()
