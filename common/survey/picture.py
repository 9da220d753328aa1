"""Pictures of results for people: the orthophoto scaled, heights as colours with shade, where photos were taken and what they see."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .crop import Keep, Loose
from .geotiff import open_geotiff
from .grid import Bounds
from .scene import Scene, View
from .visibility import project

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

SIZE = 1600
"""Longer side in pixels."""
HEIGHTS = ((38, 70, 120), (42, 138, 130), (122, 178, 90), (232, 214, 130), (196, 130, 76), (240, 238, 236))
"""Colours from low to high: blue, green, yellow, brown, white; they differ in lightness too."""
OVERLAP = ((196, 60, 50), (238, 140, 60), (246, 210, 100), (160, 200, 110), (60, 150, 90))
"""For 1, 2, 3, 4, and 5 or more photos."""
INK, HALO = (20, 24, 32, 255), (255, 255, 255, 255)


def save_png(picture: Picture, path: Path) -> None:
    """(rows, columns, 3 or 4)"""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, "PNG", optimize=False, compress_level=6)


def colours(tif: Path, keep: Keep, size: int = SIZE) -> Picture:
    """(rows, columns, 4) of an RGBA raster, scaled down, without what is cut."""
    rasterio = library("rasterio", extra="survey")
    with open_geotiff(tif) as file:
        found = file.read(out_shape=(file.count, *_shape(file.width, file.height, size)), resampling=rasterio.enums.Resampling.average)
        found[:, ~keep.mask(_scaled(file, found.shape[1:]))] = 0
    picture: Picture = found.transpose(1, 2, 0)
    return picture


def heights(tif: Path, keep: Keep, size: int = SIZE) -> tuple[NDArray[np.float64], Loose]:
    """(rows, columns) of a surface model scaled down, NaN: none or cut; where the cells lie."""
    import numpy as np

    rasterio = library("rasterio", extra="survey")
    with open_geotiff(tif) as file:
        shape = _shape(file.width, file.height, size)
        found = file.read(1, out_shape=shape, resampling=rasterio.enums.Resampling.average, masked=True)
        grid = _scaled(file, shape)
    return np.where(np.ma.getmaskarray(found) | ~keep.mask(grid), np.nan, np.asarray(found.data, np.float64)), grid


def trimmed(picture: Picture) -> Picture:
    """Without rows and columns at the edge in which nothing is."""
    import numpy as np

    rows, columns = np.flatnonzero(picture[..., 3].any(axis=1)), np.flatnonzero(picture[..., 3].any(axis=0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else picture


def seen_from(view: View, points: NDArray[Any], colours: NDArray[np.uint8], size: int = 900) -> Picture:
    """(rows, columns, 4) points (n, 3) as the photo ``view`` sees them, the nearest in front."""
    import numpy as np

    lens = view.lens
    rows, columns = _shape(lens.width, lens.height, size)
    u, v, depth = project(view, *np.ascontiguousarray(np.asarray(points, np.float64).T))
    good = np.isfinite(u) & (u >= 0) & (v >= 0) & (u < lens.width) & (v < lens.height)
    row, column = (v[good] * rows / lens.height).astype(int), (u[good] * columns / lens.width).astype(int)
    order = np.argsort(-depth[good], kind="stable")
    picture = np.zeros((rows, columns, 4), np.uint8)
    for down in (0, 1):  # a point covers 2 x 2 pixels, so that the surface is closed
        for across in (0, 1):
            at = np.minimum(row[order] + down, rows - 1), np.minimum(column[order] + across, columns - 1)
            picture[at] = np.column_stack([colours[good][order], np.full(len(order), 255, np.uint8)])
    return picture


def relief(z: NDArray[np.float64], step: float) -> tuple[Picture, tuple[float, float]]:
    """(rows, columns, 4) heights as colours, lit from the north-west; the heights of the lowest and highest colour (1 and 99 %)."""
    import numpy as np

    valid = ~np.isnan(z)
    picture = np.zeros((*z.shape, 4), np.uint8)
    if not valid.any():
        return picture, (0.0, 0.0)
    low, high = (float(value) for value in np.percentile(z[valid], [1, 99]))
    part = np.clip((np.where(valid, z, low) - low) / max(high - low, 1e-6), 0, 1) * (len(HEIGHTS) - 1)
    table = np.array(HEIGHTS, np.float64)
    lower = np.minimum(part.astype(int), len(HEIGHTS) - 2)
    mixed = table[lower] + (table[lower + 1] - table[lower]) * (part - lower)[..., None]
    filled = np.where(valid, z, low)
    down, across = np.gradient(filled, step) if min(z.shape) > 1 else (np.zeros_like(z), np.zeros_like(z))
    # the sun stands in the north-west, 45 degrees high; slopes are drawn at most as steep as 60 degrees
    east, north = np.clip(-across, -1.7, 1.7), np.clip(down, -1.7, 1.7)
    light = (-east * 0.5 + north * 0.5 + math.sqrt(0.5)) / np.sqrt(1 + east * east + north * north)
    shade = 0.45 + 0.75 * np.clip(light, 0, 1)
    picture[..., :3] = np.clip(np.rint(mixed * shade[..., None]), 0, 255)
    picture[..., 3] = 255
    picture[~valid] = 0
    return picture, (low, high)


def overlap(scene: Scene, bounds: Bounds, z: Any, size: int = 480) -> NDArray[np.int32]:
    """(rows, columns) how many photos show each place of ``bounds`` (model coordinates), north up; ``z``: its height or (rows, columns)
    heights of the same places."""
    import numpy as np

    wide, tall = bounds[2] - bounds[0], bounds[3] - bounds[1]
    rows, columns = _shape(wide / max(wide, tall) * size, tall / max(wide, tall) * size, size)
    x = bounds[0] + (np.arange(columns) + 0.5) * (wide / columns)
    y = bounds[3] - (np.arange(rows) + 0.5) * (tall / rows)
    across, down, up = np.broadcast_arrays(x[None, :], y[:, None], z)
    count = np.zeros((rows, columns), np.int32)
    for view in scene.views:
        u, v, _ = project(view, across, down, up)
        count += (u >= 0) & (v >= 0) & (u < view.lens.width) & (v < view.lens.height)
    return count


def survey_map(scene: Scene, bounds: Bounds, count: NDArray[np.int32], size: int = 1000) -> Picture:
    """(rows, columns, 4): the places by how many photos show them, and a dot where each photo was taken."""
    import numpy as np
    from PIL import Image, ImageDraw

    table = np.array([(*colour, 255) for colour in OVERLAP], np.uint8)
    tinted = table[np.clip(count - 1, 0, len(OVERLAP) - 1)]
    tinted[count == 0] = 0
    wide, tall = bounds[2] - bounds[0], bounds[3] - bounds[1]
    rows, columns = _shape(wide / max(wide, tall) * size, tall / max(wide, tall) * size, size)
    image = Image.fromarray(tinted).resize((columns, rows), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    radius = 5
    previous = None
    for view in scene.views:
        at = (view.centre[0] - bounds[0]) / wide * columns, (bounds[3] - view.centre[1]) / tall * rows
        if previous is not None:
            draw.line((*previous, *at), fill=(20, 24, 32, 110), width=1)
        previous = at
    for view in scene.views:
        x, y = (view.centre[0] - bounds[0]) / wide * columns, (bounds[3] - view.centre[1]) / tall * rows
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=INK, outline=HALO, width=2)
    return np.asarray(image)


def _scaled(file: Any, shape: tuple[int, ...]) -> Loose:
    """Where the cells of an open raster lie that was read with another ``shape``; they are square to less than half a pixel."""
    a = file.transform
    return Loose(resolution=a.a * file.width / shape[1], west=a.c, north=a.f, columns=shape[1], rows=shape[0])


def _shape(width: float, height: float, size: int) -> tuple[int, int]:
    """Rows and columns of a picture whose longer side is at most ``size``."""
    times = min(1.0, size / max(width, height))
    return max(1, round(height * times)), max(1, round(width * times))
