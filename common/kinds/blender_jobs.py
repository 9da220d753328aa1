"""Inside of Blender: the jobs themselves, on a file that is open and set up. Runs beside blender_driver.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .blender_finish import finish
from .blender_look import look
from .blender_rna import assign
from .blender_save import save
from .blender_scene import layers_of, scene_of

HARMLESS = ("look", "picture", "frames")
"""Jobs that leave the file as it was for the next one of them; each of them sets all that another may have set."""
SELDOM = 0.01
"""Steps of progress that are told."""


def do(bpy: Any, request: dict[str, Any], progress: Callable[[float], None]) -> None:
    """One job. Raises RuntimeError, Mistake, WrongPath."""
    scene = scene_of(bpy, request["settings"])
    what = request["do"]
    if what == "look":
        found = look(bpy, scene, request["settings"])
        (Path(request["out"]) / request["name"]).write_text(json.dumps(found, indent=1), encoding="utf-8")
        return
    with _Watch(bpy, progress, max(1, len(request.get("frames", ())))) as watch:
        if what == "picture":
            _picture(bpy, scene, request)
        elif what == "frames":
            _frames(bpy, scene, request, watch)
        else:
            finish(bpy, scene, request)


def _picture(bpy: Any, scene: Any, request: dict[str, Any]) -> None:
    """A still, or a part of one. A part is rendered plain: what looks across its edges, or at all samples, comes at the end."""
    if request["frame"] is not None:
        scene.frame_set(request["frame"])
    _part(scene, request)
    save(bpy, scene, request["out"], request["name"], request["format"])


def _frames(bpy: Any, scene: Any, request: dict[str, Any], watch: _Watch) -> None:
    bound = request["bound"]
    for frame, name in request["frames"]:
        scene.frame_set(frame)
        values = request["values"].get(str(frame), {})
        for path, variable in bound:
            assign(bpy, scene, layers_of(scene)[0], path, values[variable])
        for variable, value in values.items():
            scene[variable] = value
        save(bpy, scene, request["out"], name, request["format"])
        watch.next()


def _part(scene: Any, request: dict[str, Any]) -> None:
    """Border, crop and samples of a part; everything is set each time, so that jobs may come in any order."""
    render, rect, subset = scene.render, request["border"], request["subset"]
    if request["plain"]:
        render.use_compositing = render.use_sequencer = render.use_stamp = False
        render.use_persistent_data = True
        render.use_border = render.use_crop_to_border = rect is not None
    if rect is not None:
        render.border_min_x, render.border_min_y, render.border_max_x, render.border_max_y = rect
    if render.engine != "CYCLES":
        return
    if request["plain"]:
        scene.cycles.use_denoising = False
        for layer in layers_of(scene):
            layer.cycles.denoising_store_passes = layer.cycles.denoising_store_passes or layer.name in request["guides"]
    if hasattr(scene.cycles, "use_sample_subset"):
        scene.cycles.use_sample_subset = subset is not None
    if subset is not None:
        scene.cycles.use_adaptive_sampling = False
        scene.cycles.sample_offset = subset[0]
        if hasattr(scene.cycles, "use_sample_subset"):
            scene.cycles.sample_subset_length = subset[1]
        else:
            scene.cycles.samples = subset[1]  # before 4.5


class _Watch:
    """Tells how far the render is, from what the engine says of itself."""

    def __init__(self, bpy: Any, tell: Callable[[float], None], pictures: int) -> None:
        self._handlers = bpy.app.handlers.render_stats
        self._tell = tell
        self._pictures = pictures
        self._done = 0
        self._told = 0.0

    def __enter__(self) -> _Watch:
        self._handlers.append(self.stats)
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.remove(self.stats)

    def next(self) -> None:
        self._done += 1
        self._say(self._done / self._pictures)

    def stats(self, *words: Any) -> None:
        """``… | Sample 16/64`` (Cycles) or ``Rendering 16 / 64 samples`` (Eevee)."""
        if not words or not isinstance(words[0], str):
            return
        before, _, after = words[0].partition("ample")
        digits = after.split()[0] if after.split() and "/" in after.split()[0] else ""
        if not digits and "Rendering" in before:
            digits = before.split("Rendering")[-1].replace(" ", "")
        done, _, whole = digits.partition("/")
        if done.isdigit() and whole.isdigit() and int(whole):
            self._say((self._done + min(1.0, int(done) / int(whole))) / self._pictures)

    def _say(self, fraction: float) -> None:
        if fraction >= self._told + SELDOM:
            self._told = fraction
            self._tell(fraction)
