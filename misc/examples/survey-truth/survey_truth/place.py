"""The sizes of survey that can be made, and the files that say what is true of one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .flight import Array, Camera, Plan, fly
from .ground import Ground
from .photos import CRS, ORIGIN, Faults


@dataclass(frozen=True, kw_only=True)
class Size:
    plan: Plan
    buildings: int


SIZES = {
    "small": Size(plan=Plan(strips=3, photos=5, width=640, height=480, focal=616.0), buildings=8),
    "spec": Size(plan=Plan(strips=4, photos=5, width=800, height=600, focal=770.0), buildings=8),
    "large": Size(plan=Plan(strips=5, photos=12, width=800, height=600, focal=770.0), buildings=24),
    "cross": Size(plan=Plan(strips=4, photos=5, width=800, height=600, focal=770.0, cross=1), buildings=8),
}
"""small: a test; spec: the survey of the specification; large: a benchmark; cross: a strip more, so that the focal length can be told."""

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """All that is known. Coordinates from the middle of the place; ``ORIGIN`` makes them absolute ones of ``CRS``."""

    ground: Ground
    cameras: tuple[Camera, ...]
    said: Array
    """(n, 3) places as the GPS in the photos has them."""
    gsd: float
    inner: Bounds
    """West, south, east, north: the area between the cameras, where everything is seen from all sides."""
    whole: Bounds
    """What the truth's rasters cover."""


def layout(size: Size, seed: int) -> tuple[Ground, tuple[Camera, ...]]:
    plan = size.plan
    reach = plan.gsd * (plan.width if plan.cross else 0) / 2
    along = (plan.photos - 1) * (1 - plan.forward) * plan.height * plan.gsd / 2
    across = (plan.strips - 1) * (1 - plan.side) * plan.width * plan.gsd / 2
    # the pictures look beyond the rim by half their size, and further where they are tilted
    far = 0.35 * plan.gsd * plan.width
    east = np.ceil(along + max(reach, plan.gsd * plan.height / 2) + far)
    north = np.ceil(across + plan.gsd * plan.width / 2 + far)
    ground = Ground.make(float(east), float(north), size.buildings, seed)
    return ground, fly(plan, ground.relief / 2)


def inner(cameras: tuple[Camera, ...], gsd: float) -> Bounds:
    centres = np.array([camera.centre for camera in cameras])
    (west, south, _), (east, north, _) = centres.min(0), centres.max(0)
    return _on_grid(float(west), float(south), float(east), float(north), gsd)


def _on_grid(west: float, south: float, east: float, north: float, gsd: float) -> Bounds:
    west, south, east, north = (round(float(np.round(one / gsd)) * gsd, 6) for one in (west, south, east, north))
    return west, south, east, north


def grow(bounds: Bounds, by: float) -> Bounds:
    west, south, east, north = bounds
    return west - by, south - by, east + by, north + by


def save(folder: Path, truth: Truth, faults: Faults, **more: Any) -> None:
    """``truth.json``, ``heights.png``, and ``dsm_truth.tif``: the exact height in the middle of each cell."""
    words = {
        "crs": CRS,
        "origin": ORIGIN,
        "gsd": truth.gsd,
        "inner": truth.inner,
        "whole": truth.whole,
        "ground": truth.ground.save(folder),
        "faults": asdict(faults),
        "gps": truth.said.tolist(),
        "cameras": [camera.words() for camera in truth.cameras],
        **more,
    }
    (folder / "truth.json").write_text(json.dumps(words, indent=1) + "\n")
    write_raster(folder / "dsm_truth.tif", dsm(truth)[None].astype(np.float32), truth.whole, truth.gsd, nodata=-9999.0)


def load(folder: Path) -> Truth:
    words = json.loads((folder / "truth.json").read_text())
    return Truth(
        ground=Ground.load(folder, words["ground"]),
        cameras=tuple(Camera.of(one) for one in words["cameras"]),
        said=np.array(words["gps"]),
        gsd=words["gsd"],
        inner=tuple(words["inner"]),
        whole=tuple(words["whole"]),
    )


def dsm(truth: Truth) -> Array:
    """(rows, columns), the first row in the north: absolute heights."""
    west, south, east, north = truth.whole
    columns, rows = round((east - west) / truth.gsd), round((north - south) / truth.gsd)
    x = west + (np.arange(columns) + 0.5) * truth.gsd
    y = north - (np.arange(rows) + 0.5) * truth.gsd
    across, up = np.meshgrid(x, y)
    return truth.ground.heights(across, up) + ORIGIN[2]


def write_raster(path: Path, bands: Any, bounds: Bounds, gsd: float, **more: Any) -> None:
    """(bands, rows, columns) as a GeoTIFF at its absolute place."""
    import rasterio

    west, _, _, north = bounds
    transform = rasterio.Affine(gsd, 0, west + ORIGIN[0], 0, -gsd, north + ORIGIN[1])
    count, height, width = bands.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=count, dtype=bands.dtype, crs=CRS, transform=transform,
        compress="deflate", **more,
    ) as file:  # fmt: skip
        file.write(bands)
