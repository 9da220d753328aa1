"""Films of Blender: a job renders a run of frames in one process, each frame whole, with its denoising and compositor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from ..errors import OutputRejected
from ..model import FarmShape, Region, TaskSpec
from .animation import Frames, Sample, curves_of, film_stages, frame_file, frames_of
from .blender_plan import EXTENSIONS, final_form, look_of
from .blender_run import bound_of, recipe
from .blender_stills import check_form, write_notes
from .kind import Folder, Piece, Place, Recipe, Stage


class BlenderFrames(Frames):
    """See the head of this file."""

    def suffix(self, task: TaskSpec) -> str:
        return EXTENSIONS[task.options["format"]]

    def render(self, task: TaskSpec, frames: tuple[int, ...], region: Region, place: Place) -> Recipe:
        suffix, curves = self.suffix(task), curves_of(task.options)
        names = [frame_file(frame, suffix) for frame in frames]
        request = {
            "do": "frames",
            "frames": [[frame, name] for frame, name in zip(frames, names, strict=True)],
            "values": {str(frame): curves.at(frame) for frame in frames} if curves else {},
            "bound": sorted(bound_of(task.options).items()),
            "format": final_form(task.options),
        }
        return recipe(task.options, place, request, names)

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        return sized(super().split(task, files, farm), files)

    def check(self, task: TaskSpec, path: Path) -> None:
        from .rasters import shape_of

        shape = shape_of(path)
        check_form(path, shape.width, shape.height, final_form(task.options))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        super().verify(task, region, outputs)
        from .rasters import shape_of

        for frame in frames_of(region):
            name = frame_file(frame, self.suffix(task))
            shape = shape_of(outputs.path(name))
            if [shape.width, shape.height] != region.data["size"]:
                wanted = " x ".join(map(str, region.data["size"]))
                raise OutputRejected(f"Frame {name}: it is {shape.width} x {shape.height} pixels instead of {wanted}.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        super().stitch(task, files, pieces, out, progress)
        write_notes(task, look_of(files).notes, out)


class SizedSample(Sample):
    """As Sample; its jobs know the size that their frames must have."""

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        return sized(super().split(task, files, farm), files)


def stages_of_film(task: TaskSpec) -> tuple[Stage, ...]:
    """Without the stage look."""
    frames = BlenderFrames()
    return tuple(SizedSample(frames) if isinstance(stage, Sample) else stage for stage in film_stages(frames, task))


def sized(regions: Iterable[Region], files: Folder) -> list[Region]:
    """The regions, each with the size of its frames as Blender found it in the file."""
    look = look_of(files)
    return [msgspec.structs.replace(region, data=region.data | {"size": [look.width, look.height]}) for region in regions]
