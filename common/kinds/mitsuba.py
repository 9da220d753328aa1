"""The Mitsuba kind: the renderer that comes with pip alone. Stills are split by samples, films by frames.

Its tiles are not pixel-equal to the whole: random numbers depend on the crop, and the filter reaches over the edge. So each job of a
still renders the whole picture with a share of the samples and a seed of its own, in linear float; the mean, weighted by
samples, is as good as one picture with all of them (docs/mitsuba.md has the figures).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OutputRejected, SplitFailed, StitchFailed, TaskFileError
from ..model import FarmShape, Needs, Region, TaskSpec
from .animation import Frames, film_stages
from .film_options import curves_of, film_of, frame_file
from .kind import Examined, Folder, Kind, Piece, Place, Recipe, Stage
from .mitsuba_driver import facts
from .mitsuba_job import recipe
from .mitsuba_options import OPTIONS, curved, examine, needs, scene_of
from .mitsuba_scene import main_scenes
from .png import BadPicture

PICTURE, FACTS = "samples.exr", "samples.json"
PER_SLOT = 4
"""Jobs per slot at most: the slowest is then a quarter of a slot's work."""
LEAST = 8
"""Samples per job at least: start-up and loading (0.6 s for a small scene) are paid by each."""


class Samples(Stage):
    """The one stage of a still: every job renders all of the picture, with its own seed and its share of the samples."""

    name = "samples"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        options = task.options
        try:
            scene = scene_of(options, files)
        except TaskFileError as error:
            raise SplitFailed(str(error)) from error
        counts = shares(options["samples"], options["parts"] or PER_SLOT * farm.slots, scene.sampler, bool(options["parts"]))
        return [
            Region(
                name=f"s{number:04d}",
                data={"seed": options["seed"] + number, "samples": count, "at": number, "of": len(counts)},
                needs=("!task.toml",),
            )
            for number, count in enumerate(counts)
        ]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        picture = {
            "seed": region.data["seed"],
            "samples": region.data["samples"],
            "parameters": task.options["parameters"] or {},
            "file": PICTURE,
            "facts": FACTS,
        }
        return recipe(task.options, place, [picture], (PICTURE, FACTS))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        from .rasters import check_picture

        if outputs.names() != (PICTURE, FACTS):
            came = ", ".join(outputs.names()) or "nothing"
            raise OutputRejected(f"Part {region.name}: {PICTURE} and {FACTS} were expected, {came} came.")
        samples = _samples(outputs, region)
        if samples < region.data["samples"]:
            raise OutputRejected(f"Part {region.name}: it has {samples} samples instead of {region.data['samples']}.")
        try:
            check_picture(outputs.path(PICTURE), width=task.options["width"], height=task.options["height"], format="exr", bits=32)
        except BadPicture as error:
            raise OutputRejected(f"Part {region.name}: {error}.") from error

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        from .rasters import average, to_png8, to_png16

        parts: list[tuple[float, Path]] = []
        of = 1
        for piece in pieces:
            of = piece.region.data["of"]
            if piece.region.data["at"] != len(parts):
                break
            parts.append((_samples(piece.files, piece.region), piece.files.path(PICTURE)))
        if len(parts) != of:
            raise StitchFailed(f"Part s{len(parts):04d} is missing.")
        mean = out / f"{task.name}.exr"
        try:
            average(parts, mean)
            progress(0.8)
            if "png" in task.options["output"]:
                (to_png8 if task.options["bits"] == 8 else to_png16)(mean, out / f"{task.name}.png")
        except BadPicture as error:
            raise StitchFailed(f"The parts cannot be joined: {error}.") from error
        if "exr" not in task.options["output"]:
            mean.unlink()
        progress(1.0)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        left_out = ("samples", "parts", "seed", "output", "bits")
        return [{name: value for name, value in task.options.items() if name not in left_out}, region.data["seed"], region.data["samples"]]

    def preview(self, task: TaskSpec, files: Folder, regions: Any, pieces: Any, out: Path, size: int) -> bool:
        from .preview import preview_samples

        return preview_samples(regions, pieces, lambda piece: piece.files.path(PICTURE), out, size)


class Film(Frames):
    """The frames of a film: the keyframed parameters and ``$frame`` change, all of the samples are in each frame."""

    def suffix(self, task: TaskSpec) -> str:
        return str(task.options["output"][0])

    def render(self, task: TaskSpec, frames: tuple[int, ...], region: Region, place: Place) -> Recipe:
        options = task.options
        suffix = self.suffix(task)
        curves = curves_of(options)
        pictures = [
            {
                "seed": options["seed"] + frame,
                "samples": options["samples"],
                "parameters": {**(options["parameters"] or {}), **curved(curves, frame), "frame": str(frame)},
                "file": frame_file(frame, suffix),
            }
            for frame in frames
        ]
        return recipe(options, place, pictures, tuple(frame_file(frame, suffix) for frame in frames))

    def check(self, task: TaskSpec, path: Path) -> None:
        from .rasters import check_picture

        options = task.options
        suffix = self.suffix(task)
        bits = options["bits"] if suffix == "png" else 32
        check_picture(path, width=options["width"], height=options["height"], format=suffix, bits=bits)


class Mitsuba(Kind):
    """See the head of this file."""

    name = "mitsuba"
    scenes = ("Mitsuba .xml",)
    version = 1
    allow = "render"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return bool(main_scenes(files))

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        return examine(spec, files)

    def needs(self, spec: TaskSpec) -> Needs:
        return needs(spec)

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        return (Samples(),) if film_of(task.options) is None else film_stages(Film(), task)


def shares(samples: int, jobs: int, sampler: str, exactly: bool) -> list[int]:
    """How many samples each of about ``jobs`` jobs renders: at least LEAST each, unless ``exactly`` so many jobs were asked for.

    Some samplers round counts up; they get counts that they keep, so that no work is wasted, and the sum may be a little more.
    """
    jobs = min(jobs, samples if exactly else max(1, samples // LEAST))
    if jobs <= 1:
        return [samples]
    each = -(-samples // jobs)
    kept = _kept(sampler, each)
    if kept is None:
        return [samples * (number + 1) // jobs - samples * number // jobs for number in range(jobs)]
    return [kept] * -(-samples // kept) if kept < samples else [samples]


def _kept(sampler: str, count: int) -> int | None:
    """The least number from ``count`` on that a sampler does not round; None: any. Measured with Mitsuba 3.9."""
    if sampler == "stratified":
        return next(root * root for root in range(1, count + 1) if root * root >= count)
    if sampler == "ldsampler":
        return next(1 << power for power in range(2, 64, 2) if 1 << power >= count)
    if sampler == "orthogonal":
        return next(n * n for n in range(2, count + 3) if n * n >= count and all(n % d for d in range(2, n)))
    return None


def _samples(outputs: Folder, region: Region) -> int:
    """The samples that a part has. Raises OutputRejected where what is told of the picture is not true of it."""
    told = outputs.read(FACTS)
    try:
        samples = int(msgspec.json.decode(told)["samples"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        samples = -1
    if samples < 1 or facts(samples, outputs.read(PICTURE)) != told:
        raise OutputRejected(f"Part {region.name}: {FACTS} does not tell of this {PICTURE}; one of them is damaged.")
    return samples


MITSUBA = Mitsuba()
