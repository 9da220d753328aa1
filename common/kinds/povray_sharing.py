"""Whether a still is cut, and what its tiles share: decided once for each run, when the farm is known.

A picture with radiosity is rendered whole where that is sooner done: gathering samples for all tiles and rendering these costs 1.4 to
2 times the work of the whole picture (docs/povray.md), so that it takes three slots to pay.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import TaskFileError
from ..model import FarmShape
from .povray_scene import Scene
from .tiles import automatic

PREPASS_FROM = 3
"""Slots."""
RADIOSITY_QUALITY = 9
"""The quality from which POV-Ray computes radiosity and shoots photons."""
WHOLE_BECAUSE = {
    "radiosity": "radiosity is computed anew in each tile and would show seams",
    "dither": "dithering spreads errors across tile edges",
}


def dithers(options: Mapping[str, Any]) -> bool:
    return "Dither=on" in options["args"]


def grid_of(options: Mapping[str, Any], farm: FarmShape) -> tuple[int, int]:
    """Columns and rows of tiles of a settled task."""
    if options["tiles"] != "auto":
        columns, rows = options["tiles"]
        return columns, rows
    if dithers(options) or options["radiosity"] in ("auto", "whole"):
        return 1, 1
    return automatic(options["width"], options["height"], farm)


def check_sharing(options: dict[str, Any], scene: Scene) -> None:
    """Where the scene leaves one way only, ``auto`` becomes that way; what it cannot do is refused. Raises TaskFileError."""
    active = options["quality"] >= RADIOSITY_QUALITY
    has = active and "radiosity" in scene.traits and not loads_radiosity(options, scene)
    asked = options["radiosity"]
    if asked == "whole" and options["tiles"] != "auto":
        raise TaskFileError('radiosity = "whole" and tiles = [columns, rows] contradict each other; keep one.', key="options.radiosity")
    if asked == "auto" and not has:
        options["radiosity"] = "tiles"
    elif asked == "prepass" and not has:
        loaded = active and "radiosity" in scene.traits
        why = "loads a file of samples" if loaded else "has no radiosity" if active else "has none below quality 9"
        raise TaskFileError(f'radiosity = "prepass" has nothing to gather: the scene {why}.', key="options.radiosity")
    can = active and scene.photons_in == {options["scene"]} and "loads_file" not in scene.traits
    if options["photons"] == "auto" and not can:
        options["photons"] = "each"
    elif options["photons"] == "shared" and not can:
        way = "stand in the scene file itself, and load or save no file"
        raise TaskFileError(f'photons = "shared" needs settings of photons (count or spacing) that {way}.', key="options.photons")


def settle_sharing(options: Mapping[str, Any], farm: FarmShape) -> dict[str, Any]:
    """``auto`` of radiosity and photons decided for this farm."""
    found = dict(options)
    if found["animation"] is not None:
        return found
    if found["radiosity"] == "auto":
        if found["tiles"] != "auto":
            found["radiosity"] = "prepass"
        else:
            columns, rows = automatic(found["width"], found["height"], farm)
            found["radiosity"] = "prepass" if farm.slots >= PREPASS_FROM and columns * rows > 1 and not dithers(found) else "whole"
    if found["photons"] == "auto":
        columns, rows = grid_of(found, farm)
        found["photons"] = "shared" if columns * rows > 1 else "each"
    return found


def loads_radiosity(options: Mapping[str, Any], scene: Scene) -> bool:
    """The submitter has taken the samples."""
    return "Radiosity_From_File=on" in options["args"] or "loads_file" in scene.traits


def expectations(options: Mapping[str, Any], scene: Scene) -> Iterator[str]:
    """What the submitter of a still should know about cutting this scene."""
    cut = options["tiles"] != "auto"
    if dithers(options):
        why = WHOLE_BECAUSE["dither"]
        whole = f"The picture is rendered whole, as one job, because {why}; tiles = [columns, rows] cuts it all the same"
        yield f"The tiles may show: {why} (docs/povray.md)." if cut else f"{whole} (docs/povray.md)."
    if "radiosity" in scene.traits and options["quality"] >= RADIOSITY_QUALITY:
        yield from _of_radiosity(options, scene, cut)
    if "photons" in scene.traits and options["quality"] >= RADIOSITY_QUALITY:
        if options["photons"] == "each":
            yield "Photons are shot anew in each tile, by one thread, so that tiles fit: equal to povray +WT1, and not to more threads."
        else:
            yield "Photons are shot once for all tiles, by one thread: equal to povray +WT1, and not to more threads."
    if "noise" in scene.traits:
        used = "jitter, crand, subsurface, or media of method 1 or 2"
        yield f"This scene uses random numbers ({used}): its grain depends on how the work is cut, also without a farm."


def _of_radiosity(options: Mapping[str, Any], scene: Scene, cut: bool) -> Iterator[str]:
    asked = options["radiosity"]
    if loads_radiosity(options, scene):
        yield "The radiosity that is loaded should not take further samples (always_sample off), or tiles may show (docs/povray.md)."
    elif asked == "tiles":
        yield f"The tiles may show: {WHOLE_BECAUSE['radiosity']} (docs/povray.md)."
    elif asked == "prepass" or cut:
        yield "Radiosity is gathered first, for all tiles: no seams, but not the very samples that one run would take (docs/povray.md)."
    else:
        why = WHOLE_BECAUSE["radiosity"]
        yield (
            f"The picture is rendered whole, as one job, because {why}; on a farm of {PREPASS_FROM} slots or more, or with tiles = "
            "[columns, rows], its samples are gathered in a stage of their own that all tiles share (docs/povray.md)."
        )
