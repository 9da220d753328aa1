"""Job ``surface``: the points of all pairs that reach a tile become its heights and its part of the cloud; or those of an object, all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library
from .block_steps import Steps, count_steps
from .cloud import write_cloud
from .depth_index import DepthIndex, PairEntry
from .footprint import within
from .fusion import Cloud, cloud_of, joined, thin
from .geotiff import NODATA, write_raster
from .grid import Bounds, Grid, Tile
from .records import Record, S, save, save_arrays
from .seal import seal
from .stereo_file import Points, load_stereo, points_of
from .surface_object import fuse_object
from .surface_plan import SurfacePlan
from .surface_tile import accept, filled, heights
from .terrain import low_points
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class TileFacts(Record, frozen=True, kw_only=True):
    """``<tile>.json``: what the report adds up."""

    cells: int
    """Into which a pair looks."""
    measured: int
    """Cells with points."""
    full: int
    """Those and the filled ones, of the cells into which a pair looks."""
    points: int
    """Of the cloud."""
    raw: int
    """Points of pairs in the tile, before the vote."""
    views: tuple[int, ...]
    """How many measured cells were seen by 0, 1, 2, … photos that agree, the last: so many and more."""
    steps: tuple[Steps, ...] = ()


VIEWS = 16
WALL = 4
"""Sides of a cube in height that make a wall, beside which holes are filled from below."""


def run(job: Job) -> None:
    """``data``: {"plan", "tile", "pairs"}, or {"object": DepthIndex} of what is not seen from above."""
    library("cv2", extra="survey").setNumThreads(job.cores)
    if "object" in job.data:
        fuse_object(job, _record(job.data["object"], DepthIndex))
        return
    plan, tile = _record(job.data["plan"], SurfacePlan), _record(job.data["tile"], Tile)
    pairs = [_record(pair, PairEntry) for pair in job.data["pairs"]]
    make_tile(job, plan, tile, pairs)


def _record(data: object, form: type[S]) -> S:
    import msgspec

    return msgspec.convert(data, form)


def make_tile(job: Job, plan: SurfacePlan, tile: Tile, pairs: list[PairEntry]) -> None:
    """``<tile>.tif``, ``.laz``, ``.npz`` (the low points, for the terrain) and ``.json``."""
    import numpy as np

    cloud = gather(job, plan, tile.grid, pairs)
    good, views = accept(cloud, pairs, plan)
    job.progress(0.7)
    best = cloud.of(good)
    wide = tile.grid.grown(2 * plan.fill)
    dsm = heights(best.places, wide, plan)
    whole = filled(dsm, plan.fill, WALL * plan.cube * plan.unit)
    job.progress(0.85)
    inner = wide.slices(tile.grid)
    write_raster(job.out / f"{tile.name}.tif", whole[inner], tile.grid, crs=plan.crs, nodata=NODATA)
    thinned = thin(best, views[good], plan.thin)
    mine = _inside(thinned.places, tile.grid, plan)
    places = (thinned.places[:, mine].T * plan.unit).astype(np.float64)
    write_cloud(job.out / f"{tile.name}.laz", places, thinned.colors[mine], thinned.views[mine], crs=plan.crs)
    save_arrays(job.out / f"{tile.name}.npz", **low_points(best.places, tile.grid, plan))
    seen = looked_at(pairs, tile.grid, plan)
    measured = dsm[inner] != NODATA
    facts = TileFacts(
        cells=int(seen.sum()), measured=int(measured.sum()), full=int(((whole[inner] != NODATA) & seen).sum()), points=int(mine.sum()),
        raw=int(_inside(cloud.places, tile.grid, plan).sum()),
        views=_views(best, views[good], tile.grid, plan), steps=count_steps(cloud, pairs, tile.grid, plan),
    )  # fmt: skip
    save(facts, job.out / f"{tile.name}.json")
    seal(job.out)
    job.say(f"{tile.name}: {facts.raw} points of {len(pairs)} pairs, {facts.points} kept, {facts.measured} of {facts.cells} cells measured")


def gather(job: Job, plan: SurfacePlan, grid: Grid, pairs: list[PairEntry]) -> Cloud:
    """The points of the pairs within the tile and its margin, in order of the pairs."""
    west, south, east, north = grid.bounds
    bounds = (west - plan.margin, south - plan.margin, east + plan.margin, north + plan.margin)
    clouds = []
    for number, pair in enumerate(pairs):
        points = points_of(load_stereo(job.inputs / "stages" / "depth" / f"{pair.name}.npz"))
        clouds.append(cloud_of(_cut(points, pair, plan, bounds), number, plan.unit, plan.origin))
        job.progress(0.5 * (number + 1) / len(pairs))
    return joined(clouds)


def _cut(points: Points, pair: PairEntry, plan: SurfacePlan, bounds: Bounds) -> Points:
    import numpy as np

    good = np.ones(points.places.shape[1], bool)
    for axis, low, high in ((0, bounds[0], bounds[2]), (1, bounds[1], bounds[3])):
        value = points.places[axis]
        good &= (value >= max(pair.low[axis], low - plan.origin[axis])) & (value <= min(pair.high[axis], high - plan.origin[axis]))
    return Points(places=points.places[:, good], colors=points.colors[good], coarse=points.coarse[good])


def _inside(places: NDArray[np.int64], grid: Grid, plan: SurfacePlan) -> NDArray[np.bool_]:
    column, row = grid.cells(places[0] * plan.unit, places[1] * plan.unit)
    found: NDArray[np.bool_] = (column >= 0) & (column < grid.columns) & (row >= 0) & (row < grid.rows)
    return found


def looked_at(pairs: list[PairEntry], grid: Grid, plan: SurfacePlan) -> NDArray[np.bool_]:
    """(rows, columns) into which cells both photos of a pair look."""
    import numpy as np

    x, y = grid.centres()
    seen = np.zeros(grid.shape, bool)
    for pair in pairs:
        across, down = x[None, :] - plan.origin[0], y[:, None] - plan.origin[1]
        seen |= np.logical_and.reduce([within(one.ground, across, down) for one in pair.sights])
    return seen


def _views(cloud: Cloud, views: NDArray[np.uint8], grid: Grid, plan: SurfacePlan) -> tuple[int, ...]:
    import numpy as np

    inside = _inside(cloud.places, grid, plan)
    column, row = grid.cells(cloud.places[0, inside] * plan.unit, cloud.places[1, inside] * plan.unit)
    most = np.zeros(grid.rows * grid.columns, np.uint8)
    np.maximum.at(most, row * grid.columns + column, views[inside])
    counts = np.bincount(np.minimum(most, VIEWS), minlength=VIEWS + 1)
    counts[0] = 0  # cells without points
    return tuple(int(count) for count in counts)
