"""How a still of Blender is cut, from what its first job found in the file, as plain data.

Cycles' pixels know nothing of each other, so that tiles are exact, but for three things: adaptive sampling and volumes look at
neighbours while they decide where to go on (a margin is rendered along and cropped); denoising and the compositor look farther
(done once, on the joined picture); dithering and JPEG depend on where a pixel lies in its file (likewise). docs/blender.md has the
measurements.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import msgspec

from ..errors import OutputRejected, SplitFailed
from ..model import FarmShape
from .kind import Folder
from .tiles import Rect, automatic

LOOK = "stages/look/look.json"
ADAPTIVE_STEP = 16
"""Samples between two looks of Cycles' adaptive sampling at which pixels are done; each reaches one pixel further."""
WIDEST_MARGIN = 16
"""Pixels: exact for certain up to 256 samples. Beyond, 4 were enough in all that was measured (512 samples, thresholds 0.01 to 0.05)."""
VOLUME_MARGIN = 16
"""Pixels: since 5.0 volumes look 11 pixels far while they render (8 left 36 pixels that differ, 11 none, at 16 to 256 samples)."""
FEWEST_SAMPLES = 16
"""Per part where the number of parts is left to us."""
MOST_PIXELS = 1 << 31

EXTENSIONS = {"png": "png", "jpeg": "jpg", "exr": "exr", "multilayer": "exr"}
BLENDERS = {"png": "PNG", "jpeg": "JPEG", "exr": "OPEN_EXR", "multilayer": "OPEN_EXR_MULTILAYER"}


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """What blender_look.look() says of the file, with the task's settings applied."""

    blender: str
    scene: str
    engine: str
    width: int
    height: int
    """Pixels, the percentage worked in."""
    samples: int
    """Of Cycles; 0 with another engine."""
    adaptive: bool
    guided: bool
    """Volumes that look at neighbours."""
    layers: list[str]
    """View layers that are rendered; Blender saves the first where a format holds one."""
    denoise: list[str]
    """Those that are denoised."""
    stored: list[str]
    """Those that keep the passes that guided the denoising."""
    dither: float
    stamp: bool
    compositor: bool
    unmixable: list[str]
    """Passes that cannot be averaged."""
    never: list[str]
    """Why it cannot be rendered in parts."""
    better_not: list[str]
    """Why parts may show."""
    frame: int
    start: int
    end: int
    fps: float
    notes: list[str]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the picture is made."""

    mode: str
    """tiles, samples or whole"""
    form: dict[str, Any]
    """Format of a part, in Blender's words (blender_jobs.apply_format)."""
    finish: bool
    """Blender has a last look at the joined picture."""
    margin: int = 0
    notes: tuple[str, ...] = ()

    @property
    def part(self) -> str:
        """The file that a job makes."""
        return f"part.{EXTENSIONS[next(word for word, name in BLENDERS.items() if name == self.form['format'])]}"


def read_look(data: bytes) -> Look:
    """Raises OutputRejected: it comes from a node."""
    try:
        look = msgspec.json.decode(data, type=Look)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise OutputRejected(f"look.json is not what it should be: {error}.") from error
    if not (0 < look.width <= 1 << 16 and 0 < look.height <= 1 << 16 and look.layers):
        raise OutputRejected("look.json names no picture that could be rendered.")
    return look


def look_of(files: Folder) -> Look:
    """What the first stage found. Raises SplitFailed."""
    try:
        return read_look(files.read(LOOK))
    except (KeyError, OutputRejected) as error:
        raise SplitFailed(f"What Blender found in the file is not there: {error}") from error


def final_form(options: dict[str, Any]) -> dict[str, Any]:
    """The format of the result, in Blender's words."""
    return {
        "format": BLENDERS[options["format"]],
        "bits": options["bits"],
        "color": options["color"].upper().replace("GREY", "BW"),
        "quality": options["quality"],
    }


def plan(options: dict[str, Any], look: Look, farm: FarmShape) -> Plan:
    """Raises SplitFailed where the task asks for a cut that the scene cannot have."""
    mode, notes = _mode(options, look)
    if mode == "tiles" and options["tiles"] in ("auto", [1, 1]) and _grid(options, look, farm) == (1, 1):
        mode = "whole"
    final = final_form(options)
    if mode == "whole":
        return Plan(mode=mode, form=final, finish=False, notes=notes)
    denoised = look.denoise and look.engine == "CYCLES"
    late = bool(denoised or look.compositor)
    wide = {**final, "format": "OPEN_EXR", "bits": 32, "color": "RGBA"}
    if options["format"] == "multilayer":
        if mode == "samples" and options["bits"] != 32:
            raise SplitFailed('Averaged samples are 32-bit numbers; say bits = 32, or split = "tiles".')
        form, late = (final | {"bits": 32 if late else options["bits"]}), late
    elif late:
        form = wide | {"format": "OPEN_EXR_MULTILAYER"}
    elif options["format"] == "exr":
        form, late = (final, False) if mode == "tiles" or options["bits"] == 32 else (wide, True)
    elif options["format"] == "png" and mode == "tiles" and not look.dither and not look.stamp:
        form = final
    else:
        form, late = wide, True
    if mode == "samples" and look.unmixable and (options["format"] == "multilayer" or look.compositor):
        passes = ", ".join(look.unmixable)
        raise SplitFailed(f'The passes {passes} hold no light and cannot be averaged; switch them off, or say split = "tiles".')
    return Plan(mode=mode, form=form, finish=late, margin=_margin(look) if mode == "tiles" else 0, notes=notes)


def _margin(look: Look) -> int:
    """Pixels around a tile that are rendered along, so that those at its edge have their neighbours."""
    adaptive = min(WIDEST_MARGIN, -(-look.samples // ADAPTIVE_STEP)) if look.adaptive else 0
    return adaptive + (VOLUME_MARGIN if look.guided else 0)


def columns_and_rows(options: dict[str, Any], look: Look, farm: FarmShape) -> tuple[int, int]:
    """Of the grid of tiles. Raises SplitFailed."""
    columns, rows = _grid(options, look, farm)
    for count, size, what in ((columns, look.width, "columns"), (rows, look.height, "rows")):
        if count > size:
            raise SplitFailed(f"{size} pixels cannot be cut into {count} {what} of tiles.")
    return columns, rows


def sample_parts(options: dict[str, Any], look: Look, farm: FarmShape) -> list[tuple[int, int]]:
    """(offset, number of samples) of each part. Raises SplitFailed."""
    parts = options["parts"] or max(1, min(2 * farm.slots, look.samples // FEWEST_SAMPLES))
    if parts > look.samples:
        raise SplitFailed(f"{look.samples} samples cannot be cut into {parts} parts.")
    bounds = [look.samples * at // parts for at in range(parts + 1)]
    return [(start, end - start) for start, end in pairwise(bounds)]


def border(rect: Rect, width: int, height: int) -> tuple[float, float, float, float]:
    """min x, min y, max x, max y of Blender's render border for exactly these pixels; y runs upwards.

    Blender multiplies by the size in 32-bit floats and cuts off the fraction, so that each edge but those of the picture is put into
    the middle of its pixel: 0.5 against an error of at most 2**-7 at 65,536 pixels.
    """
    left, top, right, bottom = rect
    return _edge(left, width), _edge(height - bottom, height), _edge(right, width), _edge(height - top, height)


def _edge(edge: int, size: int) -> float:
    return 0.0 if edge == 0 else 1.0 if edge == size else (edge + 0.5) / size


def _grid(options: dict[str, Any], look: Look, farm: FarmShape) -> tuple[int, int]:
    if options["tiles"] != "auto":
        columns, rows = options["tiles"]
        return columns, rows
    return automatic(look.width, look.height, farm)


def _mode(options: dict[str, Any], look: Look) -> tuple[str, tuple[str, ...]]:
    asked = options["split"]
    if asked == "whole":
        return asked, ()
    if asked == "auto" and options["tiles"] != "auto":
        asked = "tiles"
    if asked == "auto":
        why = [*look.never, *look.better_not]
        if why:
            return "whole", (f"The picture was rendered whole, as one job, because {why[0]} (docs/blender.md).",)
        return "tiles", ()
    if look.never:
        raise SplitFailed(f'The picture cannot be rendered in parts because {look.never[0]}; say split = "whole" or leave it out.')
    if asked == "samples" and look.engine != "CYCLES":
        raise SplitFailed(f'Only Cycles renders a part of the samples, not {look.engine}; say split = "whole" or leave it out.')
    notes = tuple(f"The parts may show: {why} (docs/blender.md)." for why in look.better_not)
    if asked == "samples" and look.adaptive:
        notes += ("Adaptive sampling was off: a part of the samples cannot know when all are enough.",)
    if asked == "samples" and look.guided:
        notes += ("Volumes learn from earlier samples (since 5.0), each share anew: other grain than in one render, of the same strength.",)
    return asked, notes
