"""Stage ``ortho``: a tile of the orthophoto. Each cell, at its height in the surface model, is looked up in the photos that see it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..libraries import library
from . import seams
from .errors import BadSurvey
from .geotiff import write_raster
from .grid import Grid, touch
from .ground import heights_on
from .ortho_index import Seam, TileFacts
from .photofile import BadPhoto, pixels
from .records import save
from .scene import Scene, View, load_scene
from .seal import seal
from .surface_index import DSM
from .visibility import depth_below, project, read_relief, seen_bounds
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


FILLED = 0.15
"""Times the height above ground: holes of the surface model up to twice as wide are filled."""


@dataclass(kw_only=True)
class Candidate:
    """Cells of the tile for which a photo was among the best when it was looked at."""

    view: View
    cells: NDArray[np.int64]
    """Flat numbers"""
    scores: NDArray[np.float32]
    u: NDArray[np.float32]
    v: NDArray[np.float32]


@dataclass(kw_only=True)
class Sheet:
    """What is known of the whole survey, the same for each tile."""

    scene: Scene
    points: dict[int, NDArray[np.int64]]
    """Photo -> which sparse points were found in it"""
    finest: float
    """Metres on the ground for one pixel of the finest photo"""
    high: float
    """Of the cameras above the ground"""
    ground: dict[int, float]
    """For each photo the height of the ground below it, model coordinates"""
    low: float
    top: float
    """Between which the sparse points lie, and some more"""
    resolution: float
    inputs: Path


def run(job: Job) -> None:
    import numpy as np

    name, grid = str(job.data["tile"]), msgspec.convert(job.data["grid"], Grid)
    scene = load_scene(job.inputs)
    sheet = survey(scene, grid.resolution, job.inputs)
    numbers = set(job.data["photos"])
    x, y = grid.centres()
    x, y = x - scene.frame.origin[0], y - scene.frame.origin[1]
    z, guessed = heights_on(job.inputs / DSM, grid, scene.frame.origin, FILLED * sheet.high)
    views = [view for view in scene.views if view.number in numbers]
    softness = seams.FEATHER * grid.resolution * 2 / sheet.high
    candidates, best, label = choose(sheet, views, x, y, z, softness, lambda part: job.progress(0.5 * part))
    spots = seams.places(label, grid.left, grid.top)
    picture = np.zeros((grid.rows * grid.columns, 3), np.float32)
    total = np.zeros(grid.rows * grid.columns, np.float32)
    greys: dict[tuple[int, int], NDArray[np.float32]] = {}
    used = []
    for at, candidate in enumerate(sorted(candidates, key=lambda one: one.view.number)):
        share = seams.weights(candidate.scores, best.ravel()[candidate.cells], softness).astype(np.float32)
        cells = np.flatnonzero(share)
        wanted = [index for index, spot in enumerate(spots) if candidate.view.number in spot[2:]]
        if len(cells) or wanted:
            photo = Toned(sheet, candidate.view)
            chosen = candidate.cells[cells]
            picture[chosen] += photo.look_up(candidate.u[cells], candidate.v[cells]) * share[cells, None]
            total[chosen] += share[cells]
            used.append(candidate.view.number)
            for index in wanted:
                greys[index, candidate.view.number] = photo.grey(*_patch(spots[index], x, y, z))
        job.progress(0.5 + 0.5 * (at + 1) / len(candidates))
    seen = total > 0
    rgba = np.zeros((4, grid.rows * grid.columns), np.uint8)
    mean = picture / np.where(seen, total, 1)[:, None]
    rgba[:3] = np.clip(np.rint(mean), 0, 255).astype(np.uint8).T
    rgba[3] = np.where(seen, 255, 0)
    write_raster(
        job.out / f"{name}.tif", rgba.reshape(4, *grid.shape), grid, crs=scene.frame.crs, photometric="RGB", alpha="YES"
    )  # fmt: skip
    found, unlike = _seams(spots, greys, grid)
    facts = TileFacts(
        grid=grid, cells=int(seen.sum()), hidden=int((seen & (best.ravel() < -0.5 * seams.HIDDEN)).sum()),
        filled=int((seen & guessed.ravel()).sum()), photos=tuple(used), seams=found, unlike=unlike,
    )  # fmt: skip
    save(facts, job.out / f"{name}.json")
    seal(job.out)


def survey(scene: Scene, resolution: float, inputs: Path) -> Sheet:
    """What all tiles have in common, from the scene alone."""
    import numpy as np

    heights = scene.points[:, 2] if len(scene.points) else np.zeros(1)
    low, top = (float(value) for value in np.percentile(heights, [0.5, 99.5]))
    points = points_of(scene)
    below = {number: float(np.median(heights[own])) if len(own) else float(np.median(heights)) for number, own in points.items()}
    above = [max(1e-3, float(view.centre[2]) - below[view.number]) for view in scene.views]
    spread = max(5.0, 0.5 * (top - low))
    return Sheet(
        scene=scene, points=points, finest=min(high / view.lens.fx for high, view in zip(above, scene.views, strict=True)),
        high=float(np.median(above)), ground=below, low=low - spread, top=top + spread, resolution=resolution, inputs=inputs,
    )  # fmt: skip


def points_of(scene: Scene) -> dict[int, NDArray[np.int64]]:
    """Photo -> which sparse points were found in it."""
    import numpy as np

    numbers = np.concatenate([np.zeros(0, np.int32), *scene.tracks])
    index = np.repeat(np.arange(len(scene.tracks)), [len(track) for track in scene.tracks])
    order = np.argsort(numbers, kind="stable")
    numbers, index = numbers[order], index[order]
    return {
        view.number: index[np.searchsorted(numbers, view.number) : np.searchsorted(numbers, view.number, side="right")]
        for view in scene.views
    }


def choose(
    sheet: Sheet, views: list[View], x: Array, y: Array, z: Array, softness: float, progress: Callable[[float], None]
) -> tuple[list[Candidate], NDArray[np.float32], NDArray[np.int32]]:
    """(the photos and the cells for which they may be used; the best score of each cell; the number of its best photo, -1: none)."""
    import numpy as np

    origin = sheet.scene.frame.origin
    best = np.full(z.shape, -np.inf, np.float32)
    label = np.full(z.shape, -1, np.int32)
    candidates = []
    half = sheet.resolution / 2
    here = (float(x[0]) - half, float(y[-1]) - half, float(x[-1]) + half, float(y[0]) + half)
    seen = [(view, found) for view in views if (found := seen_bounds(view, sheet.low, sheet.top)) and touch(found, here)]
    # the nearest first: of those after them little is kept
    middle = ((here[0] + here[2]) / 2, (here[1] + here[3]) / 2)
    seen.sort(key=lambda one: (math.hypot(one[0].centre[0] - middle[0], one[0].centre[1] - middle[1]), one[0].number))
    across = [here[0], here[2], *(float(view.centre[0]) for view, _ in seen)]
    down = [here[1], here[3], *(float(view.centre[1]) for view, _ in seen)]
    bounds = (min(across) + origin[0], min(down) + origin[1], max(across) + origin[0], max(down) + origin[1])
    relief = read_relief(sheet.inputs / DSM, bounds, origin)
    for done, (view, found) in enumerate(seen):
        columns = np.flatnonzero((x >= found[0]) & (x <= found[2]))
        rows = np.flatnonzero((y >= found[1]) & (y <= found[3]))
        progress((done + 1) / len(seen))
        if not len(columns) or not len(rows):
            continue
        part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        px, py, pz = x[part[1]], y[part[0]], z[part]
        reach = math.hypot(*(max(abs(found[at] - view.centre[at]), abs(found[at + 2] - view.centre[at])) for at in (0, 1)))
        below = depth_below(view, relief, px, py, pz, reach)
        across_part, down_part = np.broadcast_arrays(px[None, :], py[:, None])
        scores, u, v = seams.score(view, across_part, down_part, pz, below, sheet.finest)
        exact = scores.astype(np.float32)
        known = best[part]
        better = (exact > known) | ((exact == known) & (exact > -np.inf) & (view.number < label[part]))
        label[part] = np.where(better, view.number, label[part])
        best[part] = known = np.maximum(known, exact)
        keep = np.isfinite(exact)
        keep[keep] = known[keep] - exact[keep] < softness
        flat = np.arange(z.size).reshape(z.shape)[part][keep]
        candidates.append(Candidate(view=view, cells=flat, scores=exact[keep], u=u[keep].astype(np.float32), v=v[keep].astype(np.float32)))
    return candidates, best, label


class Toned:
    """A photo, scaled to the orthophoto's cells and evened out."""

    def __init__(self, sheet: Sheet, view: View) -> None:
        cv2 = library("cv2", extra="survey")
        try:
            picture = pixels(sheet.inputs / view.photo.name)
        except BadPhoto as error:
            raise BadSurvey(f"{view.photo.name} {error}.") from error
        above = max(1e-3, float(view.centre[2]) - sheet.ground[view.number])
        times = sheet.resolution / (above / view.lens.fx)
        if times >= 1.4:  # cells are larger than pixels: without this fine texture would flicker
            size = max(1, round(picture.shape[1] / times)), max(1, round(picture.shape[0] / times))
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        self._picture, self._view = picture, view
        self._tone = seams.tone(sheet.scene, sheet.points[view.number], view, picture)

    def look_up(self, u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.float32]:
        """(n,) pixels of the photo -> (n, 3) red, green, blue, 0 to 255."""
        import numpy as np

        cv2 = library("cv2", extra="survey")
        rows, columns = self._picture.shape[:2]
        across = np.asarray(u, np.float32) * np.float32(columns / self._view.lens.width) - np.float32(0.5)
        down = np.asarray(v, np.float32) * np.float32(rows / self._view.lens.height) - np.float32(0.5)
        found = np.empty((len(across), 3), np.float32)
        for first in range(0, len(across), 32_000):  # remap takes no side of 32,767 and more
            part = slice(first, first + 32_000)
            found[part] = cv2.remap(
                self._picture, across[part, None], down[part, None], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
            )[:, 0]  # fmt: skip
        factor = self._tone.factor(self._view.lens, np.asarray(u, np.float64), np.asarray(v, np.float64))
        made: NDArray[np.float32] = np.clip(found * (factor[:, None] * np.array(self._tone.gain)), 0, 255).astype(np.float32)
        return made

    def grey(self, x: Array, y: Array, z: Array) -> NDArray[np.float32]:
        """A patch of places as this photo shows them; NaN where it does not."""
        import numpy as np

        u, v, _ = project(self._view, x, y, z)
        lens = self._view.lens
        good = (u > 1) & (v > 1) & (u < lens.width - 1) & (v < lens.height - 1)
        found = np.full(x.shape, np.nan, np.float32)
        if good.any():
            found[good] = self.look_up(u[good], v[good]).mean(axis=1)
        return found


def _patch(spot: tuple[int, int, int, int], x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    import numpy as np

    half = seams.PATCH // 2
    rows, columns = slice(spot[0] - half, spot[0] + half), slice(spot[1] - half, spot[1] + half)
    part = z[rows, columns]
    return np.broadcast_to(x[columns][None, :], part.shape), np.broadcast_to(y[rows][:, None], part.shape), part


def _seams(
    spots: list[tuple[int, int, int, int]], greys: dict[tuple[int, int], NDArray[np.float32]], grid: Grid
) -> tuple[tuple[Seam, ...], int]:
    import numpy as np

    xs, ys = grid.centres()
    found = []
    for index, (row, column, a, b) in enumerate(spots):
        one, other = greys.get((index, a)), greys.get((index, b))
        if one is None or other is None or np.isnan(one).any() or np.isnan(other).any():
            continue
        told = seams.compare(one, other)
        if told:
            shift, step = (round(value, 4) for value in told)
            found.append(Seam(first=a, second=b, x=float(xs[column]), y=float(ys[row]), shift=shift, step=step))
    return tuple(found), len(spots) - len(found)
