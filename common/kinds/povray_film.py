"""Films by POV-Ray: one povray renders a run of frames, as the animation that it knows itself, and its files are the frames.

A further frame in the same process costs 0.24 s instead of the 0.65 s of a start. Keyframed variables differ from frame to frame,
which Declare= on a command line cannot say (and it would round them to six digits): a header, POV-Ray's ``+HI``, looks them up by
frame_number before the scene is read, so that the scene, its line numbers and its clock stay what they are.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OutputRejected, TaskFileError
from ..model import Failure, Region, TaskSpec
from .animation import Frames
from .film_options import curves_of, frame_file
from .frame_regions import frames_of
from .keyframes import Curves, number
from .kind import Place, Recipe
from .povray_clock import clock_of
from .povray_job import form_of, picture_type, povray_recipe
from .povray_output import FilmProgress
from .povray_scene import Scene, first_version
from .povray_tile import Room

FRAME = "clusterray-frame"
HEADER = "clusterray-variables.inc"
_HEADER_WORD = "Include_Header="
_RESERVED = """\
clock clock_delta clock_on frame_number initial_frame final_frame initial_clock final_clock image_width image_height
now version pi tau x y z t u v on off yes no true false
"""
RESERVED = frozenset(_RESERVED.split())
"""Names with a meaning of their own in POV-Ray that a variable may well be called. Of its other words POV-Ray itself complains."""
_STILLS_ONLY = ("tiles", "radiosity", "photons")


class PovrayFrames(Frames):
    """See the head of this file."""

    contiguous = True  # POV-Ray 3.7 renders frames from one to another, without a step

    def suffix(self, task: TaskSpec) -> str:
        return picture_type(task.options).suffix

    def render(self, task: TaskSpec, frames: tuple[int, ...], region: Region, place: Place) -> Recipe:
        options = task.options
        suffix = self.suffix(task)
        files: dict[str, bytes | Path] = {}
        curves = curves_of(options)
        if curves is not None:
            theirs = next((word.removeprefix(_HEADER_WORD) for word in options["args"] if word.startswith(_HEADER_WORD)), "")
            files[HEADER] = header(curves, frames, _version(place.inputs, options, theirs), theirs)
            options = options | {"args": [*(word for word in options["args"] if not word.startswith(_HEADER_WORD)), _HEADER_WORD + HEADER]}
        told = FilmProgress(len(frames))
        recipe = povray_recipe(
            options,
            place,
            rect=(0, 0, options["width"], options["height"]),
            threads=place.cores,
            kind=picture_type(options),
            output=FRAME,
            outputs=[frame_file(frame, suffix) for frame in frames],
            finish=partial(_collect, frames, suffix, place.scratch / "out"),
            files=files,
            renames={HEADER: "[keyframes]"},
            more=clock_of(options).words(frames[0], frames[-1]),
            told=told,
        )
        return replace(recipe, diagnose=_named(recipe.diagnose, frames, told))

    def check(self, task: TaskSpec, path: Path) -> None:
        from .rasters import check_picture

        form = form_of(task.options)
        if self.suffix(task) == "exr":
            check_picture(path, width=form.width, height=form.height, format="exr", bits=16, channels="RGBA"[: form.channels])
        else:
            check_picture(path, width=form.width, height=form.height, format="png", bits=form.bits, channels=form.channels)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        """The clock too: it depends on the film's first and last frame."""
        if not frames_of(region):
            return []
        options = {name: value for name, value in task.options.items() if name not in _STILLS_ONLY}
        return [super().reads(msgspec.structs.replace(task, options=options), region), clock_of(task.options).words(0, 0)]


def check_film(options: Mapping[str, Any], scene: Scene) -> list[str]:
    """What POV-Ray asks of a film, after settle_film(); returns warnings. Raises TaskFileError."""
    if options["format"] == "tiff":
        raise TaskFileError('A film\'s frames are png or exr files; format = "tiff" is for stills.', key="options.format")
    curves = curves_of(options)
    warnings = []
    for name in curves.names if curves else ():
        if name in RESERVED:
            raise TaskFileError(f'POV-Ray has a meaning of its own for "{name}"; give the variable another name.', key=f"keyframes.{name}")
        if any(word.startswith(f"Declare={name}=") for word in options["args"]):
            sentence = f"{name} has keyframes, and Declare={name} in args sets it once for all; keep one."
            raise TaskFileError(sentence, key=f"keyframes.{name}")
        if name in scene.declared:
            where = scene.declared[name]
            warnings.append(f"{where}: #declare {name} overrides its keyframes; write #ifndef ({name}) #declare {name} = …; #end there.")
    if options["tiles"] != "auto":
        warnings.append("The frames of a film are not cut into tiles, so tiles is left out.")
    return warnings


def header(curves: Curves, frames: Sequence[int], version: str, theirs: str) -> bytes:
    """A header that declares each variable's value at ``frame_number``, for ``frames`` that follow each other by 1.

    ``version``: of the #version that the scene begins with; where anything else comes first, POV-Ray warns that it may render the scene
    as older versions did. ``theirs``: a header of the submitter's own, included after.
    """
    lines = [f"#version {version};"] * bool(version)
    values = [curves.at(frame) for frame in frames]
    for name in curves.names:
        numbers = ", ".join(number(value[name]) for value in values)
        lines.append(f"#local clusterray_values = array[{len(frames)}] {{ {numbers} }}")
        lines.append(f"#declare {name} = clusterray_values[frame_number - {frames[0]}];")
    lines.append("#undef clusterray_values")
    lines += [f'#include "{theirs}"'] * bool(theirs)
    return ("\n".join(lines) + "\n").encode("ascii")


def _version(inputs: Path, options: Mapping[str, Any], theirs: str) -> str:
    """What the first file that POV-Ray would read without us says."""
    bases = (posixpath.dirname(options["scene"]), *options["library"], "")
    first = next((path for base in bases if theirs and (path := inputs / base / theirs).is_file()), inputs / options["scene"])
    return first_version(first.read_bytes().decode("utf-8", "replace"))


def _collect(frames: Sequence[int], suffix: str, out: Path, room: Room) -> None:
    """Move povray's files, whose numbers have as many digits as the film's last, to where a job's frames are. Raises OutputRejected."""
    pattern = re.compile(rf"{FRAME}0*(\d+)\.{suffix}")
    made = {int(match[1]): path for path in room.path.iterdir() if (match := pattern.fullmatch(path.name))}
    for frame in frames:
        if frame not in made:
            raise OutputRejected(f"POV-Ray ended well but wrote no picture of frame {frame}.")
        made[frame].replace(out / frame_file(frame, suffix))


def _named(
    judge: Callable[[int, Sequence[str]], Failure], frames: Sequence[int], told: FilmProgress
) -> Callable[[int, Sequence[str]], Failure]:
    """The diagnosis with the frame in front at which povray was."""

    def judged(code: int, tail: Sequence[str]) -> Failure:
        failure = judge(code, tail)
        if told.at is None:  # nobody listened while it ran
            for line in tail:
                told(line)
        frame = frames[min(told.at or 0, len(frames) - 1)]
        return msgspec.structs.replace(failure, sentence=f"Frame {frame}: {failure.sentence}")

    return judged
