"""Stage ``ortho`` of a survey: tiles of the orthophoto on one grid, each from the photos that see it; nothing for objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from ...errors import OutputRejected, SplitFailed
from ...libraries import library
from ...model import FarmShape, Region, TaskSpec
from ...survey.geotiff import mosaic, open_raster, write_strips
from ...survey.grid import Grid, covering, cut, touch
from ...survey.ortho_index import Seam, SeamReport, TileFacts
from ...survey.poses import read_views
from ...survey.records import Block, Frame, Photos, load, save
from ...survey.scene import FRAME, MODEL, NEEDS, PHOTOS
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ...survey.surface_index import DSM, SURFACE
from ...survey.surface_index import Surface as SurfaceIndex
from ...survey.visibility import seen_bounds
from ..kind import Folder, Piece
from .notes import notes_of
from .options import OPTIONS
from .stage import SurveyStage, complete, expect

BLOCKS = "stages/calibration/blocks.json"
MOST_CELLS = 1 << 21
"""Of a tile: about 5 s of work and 500 MB of memory where 20 photos see it."""
MOST_TILES = 16_384
GOOD_SHIFT = 1.0
"""Pixels that photos may be off from each other at seams before the report says so."""


class Ortho(SurveyStage):
    """See the head of this file."""

    name = "ortho"
    job = "ortho"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        if why_none(task, files):
            return []
        surface, frame = load(files.read(SURFACE), SurfaceIndex), load(files.read(FRAME), Frame)
        grid = grid_of(task, surface)
        tiles = cut(grid, task.options["tiles"], MOST_CELLS)
        if len(tiles) > MOST_TILES:
            raise SplitFailed(
                f"An orthophoto of {grid.columns} x {grid.rows} pixels is more than can be made; give a coarser orthophoto-resolution."
            )
        sees = _seen(files, frame)
        regions = []
        for tile in tiles:
            photos = [(number, name) for number, name, bounds in sees if touch(bounds, tile.grid.bounds)]
            if photos:
                data = {"tile": tile.name, "grid": msgspec.to_builtins(tile.grid), "photos": [number for number, _ in photos]}
                needs = (*NEEDS, DSM, *(name for _, name in photos))
                regions.append(Region(name=tile.name, data=data, needs=needs, weight=tile.grid.columns * tile.grid.rows / MOST_CELLS))
        return regions

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "surface")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        name = region.data["tile"]
        picture, facts = f"{name}.tif", f"{name}.json"
        expect(outputs, [picture, facts, MADE], region)
        if outputs.read(MADE) != listing((each, outputs.path(each)) for each in sorted((picture, facts))):
            raise OutputRejected(f"Tile {name}: a file is not the one that the job made.")
        try:
            told = load(outputs.read(facts), TileFacts)
        except msgspec.MsgspecError as error:
            raise OutputRejected(f"Tile {name}: {facts} is damaged ({error}).") from error
        if told.grid != msgspec.convert(region.data["grid"], Grid) or not set(told.photos) <= set(region.data["photos"]):
            raise OutputRejected(f"Tile {name}: it is another tile, or made of other photos.")
        cells = _cells(outputs, picture, told.grid, name)
        if cells != told.cells:
            raise OutputRejected(f"Tile {name}: {cells} pixels have a colour, {told.cells} were announced.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        why = why_none(task, files)
        regions = {region.name: region for region in self.split(task, files, FarmShape())}
        found: list[tuple[Piece, TileFacts]] = []
        for piece in pieces:
            found.append((piece, load(piece.files.read(f"{piece.region.data['tile']}.json"), TileFacts)))
            progress(0.2 * min(1.0, len(found) / max(1, len(regions))))
        complete(regions, [piece.region.name for piece, _ in found])
        if not why and not found:
            why = "no photo sees the surface from above"
        if why:
            save({"made": False, "notes": [f"There is no orthophoto: {why}."] if why != SKIPPED else []}, out / "report.json")
            return
        surface, frame = load(files.read(SURFACE), SurfaceIndex), load(files.read(FRAME), Frame)
        grid = grid_of(task, surface)
        paths = [piece.files.path(piece.region.data["tile"] + ".tif") for piece, _ in found]
        strips = mosaic(paths, [facts.grid for _, facts in found], bands=4, dtype="uint8")

        def strip(part: Grid) -> Any:
            progress(0.2 + 0.8 * min(1.0, (part.top + part.rows - grid.top) / grid.rows))
            return strips(part)

        write_strips(
            out / "orthophoto.tif", strip, grid, bands=4, dtype="uint8", crs=frame.crs, photometric="RGB", alpha="YES", interleave="pixel"
        )
        report = _report(task, files, surface, grid, [facts for _, facts in found])
        save(report.pop("places"), out / "seams.json")
        save(report, out / "report.json")


SKIPPED = "it was not asked for (skip-orthophoto)"


def why_none(task: TaskSpec, files: Folder) -> str:
    """Why there is no orthophoto; empty: there is one."""
    if task.options["skip-orthophoto"]:
        return SKIPPED
    frame = load(files.read(FRAME), Frame)
    if not frame.georeferenced:
        return "the photos have no GPS, so that nobody knows where they lie and what is up"
    if not frame.nadir:
        return "most photos do not look down"
    if DSM not in files.names():
        return "there is no surface model that it could be made on"
    return ""


def grid_of(task: TaskSpec, surface: SurfaceIndex) -> Grid:
    """The pixels of the whole orthophoto."""
    asked = task.options["orthophoto-resolution"] / 100
    return covering(surface.bounds, asked if task.options["ignore-gsd"] else max(asked, surface.gsd))


def _seen(files: Folder, frame: Frame) -> list[tuple[int, str, tuple[float, float, float, float]]]:
    """For each photo its number, its file, and a rectangle in the CRS outside of which it sees nothing."""
    model = f"{MODEL}/images.bin", f"{MODEL}/cameras.bin"
    try:
        views = read_views(files.path(model[0]), files.path(model[1]), load(files.read(PHOTOS), Photos))
    except (KeyError, ValueError) as error:
        raise SplitFailed(f"The adjusted model cannot be read: {error}.") from error
    low, high = _heights(files)
    x, y, z = frame.origin
    found = []
    for view in views:
        bounds = seen_bounds(view, low - z, high - z)
        if bounds:
            found.append((view.number, view.photo.name, (bounds[0] + x, bounds[1] + y, bounds[2] + x, bounds[3] + y)))
    return found


def _heights(files: Folder) -> tuple[float, float]:
    """Between which all of the surface lies, in the CRS: from a coarse look at each of its cells."""
    import numpy as np

    low, high = np.inf, -np.inf
    with open_raster(files.path(DSM)) as (file, _):
        for _, window in file.block_windows(1):
            cells = file.read(1, window=window, masked=True)
            if cells.count():
                low, high = min(low, float(cells.min())), max(high, float(cells.max()))
    return (low, high) if low <= high else (0.0, 0.0)


def _cells(outputs: Folder, picture: str, grid: Grid, name: str) -> int:
    """How many pixels have a colour, all of them decoded."""
    rasterio = library("rasterio", extra="survey")
    try:
        with open_raster(outputs.path(picture)) as (file, found):
            if (file.count, set(file.dtypes), found.shape, found.left, found.top) != (4, {"uint8"}, grid.shape, grid.left, grid.top):
                raise OutputRejected(f"Tile {name}: the picture has another size or lies elsewhere.")
            return int((file.read()[3] > 0).sum())
    except (rasterio.errors.RasterioError, ValueError) as error:
        raise OutputRejected(f"Tile {name}: {picture} is damaged ({error}).") from error


DEFAULT = next(option.default for option in OPTIONS if option.name == "orthophoto-resolution")


def _report(task: TaskSpec, files: Folder, surface: SurfaceIndex, grid: Grid, facts: list[TileFacts]) -> dict[str, Any]:
    cells, hidden = sum(fact.cells for fact in facts), sum(fact.hidden for fact in facts)
    places = [seam for fact in facts for seam in fact.seams]
    block_of = {number: block.name for block in load(files.read(BLOCKS), list[Block]) for number in block.core}
    borders = [seam for seam in places if block_of.get(seam.first) != block_of.get(seam.second)]
    asked = task.options["orthophoto-resolution"]
    notes = []
    if asked != DEFAULT and grid.resolution * 100 > asked * 1.001:
        notes.append(
            f"The orthophoto has {grid.resolution * 100:.2f} cm per pixel instead of {asked:g}: the photos show no more (ignore-gsd = true "
            "would blow it up)."
        )
    if cells and hidden / cells > 0.02:
        notes.append(f"{hidden / cells:.0%} of the orthophoto is hidden from all photos by what stands around it, and is guessed.")
    filled = sum(fact.filled for fact in facts)
    if cells and filled / cells > 0.05:
        notes.append(
            f"{filled / cells:.0%} of the orthophoto lies where no height could be measured (trees, water), and may be shifted there."
        )
    told = seam_report(places, grid.resolution)
    if told and told.shift_median > GOOD_SHIFT:
        notes.append(f"Photos are off from each other by {told.shift_median:.1f} pixels at the seams of the orthophoto (median).")
    between = seam_report(borders, grid.resolution)
    if between and between.shift_median > GOOD_SHIFT:
        notes.append(f"Where submodels meet, the orthophoto is off by {between.shift_median:.1f} pixels (median).")
    return {
        "made": True, "resolution": grid.resolution, "columns": grid.columns, "rows": grid.rows, "cells": cells,
        "area": cells * grid.resolution**2, "hidden": hidden, "filled": filled,
        "photos": len({photo for fact in facts for photo in fact.photos}), "seams": told, "borders": between,
        "not_compared": sum(fact.unlike for fact in facts), "notes": notes, "places": places,
    }  # fmt: skip


def seam_report(places: list[Seam], resolution: float) -> SeamReport | None:
    """The numbers of some places at seams; None: there are none."""
    if not places:
        return None
    shifts, steps = sorted(seam.shift for seam in places), sorted(seam.step for seam in places)
    ninth = min(len(places) - 1, int(0.9 * len(places)))
    return SeamReport(
        places=len(places), shift_median=round(median(shifts), 4), shift_p90=shifts[ninth],
        shift_median_metres=round(median(shifts) * resolution, 5), step_median=round(median(steps), 4), step_p90=steps[ninth],
    )  # fmt: skip
