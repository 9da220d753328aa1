"""Stage ``surface`` of a survey: tiles of the ground, each from the pairs that reach it, make one surface model; or one object."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ...errors import OutputRejected, SplitFailed
from ...model import FarmShape, Region, TaskSpec
from ...survey.block_steps import Step, measure_steps
from ...survey.cloud import read_cloud
from ...survey.depth_index import INDEX, DepthIndex, PairEntry
from ...survey.geotiff import NODATA, mosaic, read_raster, write_strips
from ...survey.grid import Grid, Tile, cut, touch
from ...survey.records import load, load_arrays, save
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ...survey.surface import TileFacts
from ...survey.surface_index import Surface as SurfaceRecord
from ...survey.surface_object import ObjectFacts
from ...survey.surface_plan import SurfacePlan, make_plan, whole
from ...survey.terrain import coarse_cell, ground, join_low, terrain
from ..kind import Folder, Piece
from .notes import notes_of
from .options import OPTIONS
from .stage import SurveyStage, complete, expect

OBJECT = "object"
POINTS = 2_000_000
"""Of the pairs, in a tile, about: more are held in memory (200 bytes each) by a job, fewer mean more margins."""
LEAST_COVERAGE = 0.8


class Surface(SurveyStage):
    """See the head of this file."""

    name = "surface"
    job = "surface"
    options = ("pc-sample", "pc-filter")  # the others are in the plan, which is in each region's data

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        index = load(files.read(INDEX), DepthIndex)
        if not index.pairs:
            raise SplitFailed("No two photos gave depth, so there is no surface: take photos that overlap by 60 % and more.")
        if not index.frame.georeferenced:
            needs = tuple(pair_file(pair) for pair in index.pairs)
            yield Region(name=OBJECT, data={"object": msgspec.to_builtins(index)}, needs=needs)
            return
        plan = make_plan(index, task.options)
        for tile in tiles_of(index, plan, task.options):
            pairs = [pair for pair in index.pairs if _reaches(pair, tile, plan)]
            if pairs:
                data = {"plan": plan, "tile": tile, "pairs": pairs}
                yield Region(name=tile.name, data=msgspec.to_builtins(data), needs=tuple(pair_file(pair) for pair in pairs))

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "depth")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        try:
            if region.name == OBJECT:
                _check_object(region, outputs)
            else:
                _check_tile(region, outputs)
        except (KeyError, ValueError, OSError, zipfile.BadZipFile, msgspec.MsgspecError) as error:
            raise OutputRejected(f"Job {region.name}: its files are damaged ({error}).") from error

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        index = load(files.read(INDEX), DepthIndex)
        regions = list(self.split(task, files, FarmShape()))
        came = []
        for piece in pieces:
            came.append(piece)
            progress(0.5 * min(1.0, len(came) / len(regions)))
        complete([region.name for region in regions], [piece.region.name for piece in came])
        if not index.frame.georeferenced:
            _stitch_object(index, came[0], out)
        else:
            _stitch_tiles(task, index, came, out)
        progress(1.0)


def pair_file(pair: PairEntry) -> str:
    return f"stages/depth/{pair.name}.npz"


def tiles_of(index: DepthIndex, plan: SurfacePlan, options: Mapping[str, Any]) -> tuple[Tile, ...]:
    grid = whole(index, plan)
    raw = max(1, sum(pair.points for pair in index.pairs))
    return cut(grid, options["tiles"], max(10_000, int(grid.columns * grid.rows * POINTS / raw)))


def _reaches(pair: PairEntry, tile: Tile, plan: SurfacePlan) -> bool:
    """Whether the pair has points in the tile or its margin; its bounds are those beyond which none counts."""
    x, y, _ = plan.origin
    m = plan.margin + plan.resolution
    west, south, east, north = tile.grid.bounds
    return touch((pair.low[0] + x, pair.low[1] + y, pair.high[0] + x, pair.high[1] + y), (west - m, south - m, east + m, north + m))


def _check_made(region: Region, outputs: Folder, names: list[str]) -> None:
    expect(outputs, [*names, MADE], region)
    if outputs.read(MADE) != listing((name, outputs.path(name)) for name in sorted(names)):
        raise OutputRejected(f"Job {region.name}: a file is not the one that the job made.")


def _check_tile(region: Region, outputs: Folder) -> None:
    import numpy as np

    tile = msgspec.convert(region.data["tile"], Tile)
    _check_made(region, outputs, [f"{tile.name}.{end}" for end in ("json", "laz", "npz", "tif")])
    facts = load(outputs.read(f"{tile.name}.json"), TileFacts)
    dsm, grid = read_raster(outputs.path(f"{tile.name}.tif"), (1, *tile.grid.shape))
    if (grid.left, grid.top, *dsm.shape) != (tile.grid.left, tile.grid.top, 1, *tile.grid.shape) or dsm.dtype != np.float32:
        raise OutputRejected(f"Job {region.name}: the heights lie elsewhere than the tile.")
    if not np.isfinite(dsm).all():
        raise OutputRejected(f"Job {region.name}: there are heights that are no numbers.")
    places, _, _ = read_cloud(outputs.path(f"{tile.name}.laz"))
    if len(places) != facts.points or not _in(places, tile.grid):
        raise OutputRejected(f"Job {region.name}: the points are not those of the tile.")
    low = load_arrays(outputs.read(f"{tile.name}.npz"))
    if not np.isfinite(low["height"]).all() or not len(low["height"]) == len(low["row"]) == len(low["column"]):
        raise OutputRejected(f"Job {region.name}: the low points are damaged.")


def _in(places: Any, grid: Grid) -> bool:
    """The points of a file are rounded to millimetres."""
    west, south, east, north = grid.bounds
    x, y = places[:, 0], places[:, 1]
    return bool(((x >= west - 0.01) & (x <= east + 0.01) & (y >= south - 0.01) & (y <= north + 0.01)).all())


def _check_object(region: Region, outputs: Folder) -> None:
    import numpy as np

    _check_made(region, outputs, ["object.json", "object.laz", "object.npz"])
    facts = load(outputs.read("object.json"), ObjectFacts)
    arrays = load_arrays(outputs.read("object.npz"))
    count = facts.points
    shapes = {"points": (count, 3), "colors": (count, 3), "normals": (count, 3), "views": (count,)}
    if {name: array.shape for name, array in arrays.items()} != shapes:
        raise OutputRejected(f"Job {region.name}: the points are not as many as it says.")
    if not (np.isfinite(arrays["points"]).all() and np.isfinite(arrays["normals"]).all()):
        raise OutputRejected(f"Job {region.name}: there are points that are no numbers.")
    if len(read_cloud(outputs.path("object.laz"))[0]) != count:
        raise OutputRejected(f"Job {region.name}: object.laz holds other points than object.npz.")


def _stitch_object(index: DepthIndex, piece: Piece, out: Path) -> None:
    (out / "points").mkdir(parents=True, exist_ok=True)
    for name in ("object.npz", "object.laz"):
        shutil.copyfile(piece.files.path(name), out / "points" / name)
    facts = load(piece.files.read("object.json"), ObjectFacts)
    notes = [] if facts.points else ["No point of the object was found by two pairs of photos: there is no cloud."]
    save(SurfaceRecord(gsd=index.photo_gsd, georeferenced=False), out / "surface.json")
    save({"gsd": index.photo_gsd, "points": facts.points, "raw_points": facts.raw, "notes": notes}, out / "report.json")


def _stitch_tiles(task: TaskSpec, index: DepthIndex, pieces: list[Piece], out: Path) -> None:
    plan = make_plan(index, task.options)
    grid = whole(index, plan)
    tiles = [msgspec.convert(piece.region.data["tile"], Tile) for piece in pieces]
    facts = [load(piece.files.read(f"{tile.name}.json"), TileFacts) for piece, tile in zip(pieces, tiles, strict=True)]
    rasters = [piece.files.path(f"{tile.name}.tif") for piece, tile in zip(pieces, tiles, strict=True)]
    strip = mosaic(rasters, [tile.grid for tile in tiles], bands=1, dtype="float32", nodata=NODATA)
    form: dict[str, Any] = {"bands": 1, "dtype": "float32", "crs": plan.crs, "nodata": NODATA}
    write_strips(out / "dsm.tif", strip, grid, **form)
    if task.options["dtm"]:
        parts = [load_arrays(piece.files.read(f"{tile.name}.npz")) for piece, tile in zip(pieces, tiles, strict=True)]
        low, left, bottom = join_low(parts, grid, plan)
        bare = ground(low, coarse_cell(plan) * plan.unit)
        write_strips(out / "dtm.tif", terrain(strip, bare, left, bottom, plan), grid, **form)
    (out / "points").mkdir(parents=True, exist_ok=True)
    for piece, tile in zip(pieces, tiles, strict=True):
        shutil.copyfile(piece.files.path(f"{tile.name}.laz"), out / "points" / f"{tile.name}.laz")
    record = SurfaceRecord(
        gsd=index.photo_gsd, georeferenced=True, resolution=plan.resolution, bounds=grid.bounds, shape=grid.shape, tiles=tuple(tiles)
    )
    save(record, out / "surface.json")
    told = report(index, plan, facts)
    save(told | {"notes": [*_coarser(task.options["dem-resolution"], plan), *told["notes"]]}, out / "report.json")


DEFAULT = next(option.default for option in OPTIONS if option.name == "dem-resolution")


def _coarser(asked: float, plan: SurfacePlan) -> list[str]:
    """Centimetres. Nobody asked for the default."""
    if asked == DEFAULT or plan.resolution * 100 <= asked * 1.001:
        return []
    return [
        f"The surface model has {plan.resolution * 100:.2f} cm per pixel instead of {asked:g}: the photos show no more (ignore-gsd = true "
        "would blow it up)."
    ]


def report(index: DepthIndex, plan: SurfacePlan, facts: list[TileFacts]) -> dict[str, Any]:
    """What report.json says: lengths in metres, parts of 1."""
    cells, views = sum(fact.cells for fact in facts), [sum(counts) for counts in zip(*(fact.views for fact in facts), strict=True)]
    measured, full = sum(fact.measured for fact in facts), sum(fact.full for fact in facts)
    steps = measure_steps([steps for fact in facts for steps in fact.steps], plan.gsd)
    covered = full / cells if cells else 0.0
    notes = []
    if covered < LEAST_COVERAGE:
        notes.append(
            f"Only {covered:.0%} of the ground that two photos show could be measured; woods, water and bare walls give no depth, "
            "nor do photos that overlap little."
        )
    notes += [_step_note(step, plan.gsd) for step in steps if abs(step.median) > plan.gsd]
    return {
        "gsd": index.photo_gsd, "point_distance": plan.gsd, "resolution": plan.resolution, "coverage": covered,
        "measured_cells": measured, "points": sum(fact.points for fact in facts), "raw_points": sum(fact.raw for fact in facts),
        "views_per_cell": views, "steps": [msgspec.to_builtins(step) for step in steps], "notes": notes,
    }  # fmt: skip


def _step_note(step: Step, gsd: float) -> str:
    return (
        f"The submodels {step.first} and {step.second} do not meet on the ground: the second lies {step.median:+.2f} m off "
        f"(more than the points' distance of {gsd:.2f} m); they want a larger overlap (split-overlap) or ground control points."
    )
