"""The numbers of the report, from what all stages left: one dictionary, which is ``report.json`` and what ``report_page.py`` draws."""

from __future__ import annotations

import math
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from .crop import Keep
from .geotiff import BLOCK, NODATA, open_raster, read_part
from .records import Photos
from .scene import Scene
from .surface_index import DSM

STAGES = ("features", "matching", "calibration", "mapping", "adjustment", "depth", "surface", "ortho", "mesh")
LIBRARIES = ("pycolmap", "opencv-python-headless", "opencv-contrib-python-headless", "rasterio", "pyproj", "laspy", "scipy", "numpy")


def gather(inputs: Path, title: str, options: dict[str, Any], photos: Photos, scene: Scene, keep: Keep) -> dict[str, Any]:
    """Everything, free of dates. The versions of libraries are those of the node that asks."""
    stages = {name: report for name in STAGES if (report := stage_report(inputs, name))}
    notes = [*photos.notes, *(note for report in stages.values() for note in report.get("notes", ())), *keep.notes]
    return {
        "title": title,
        "summary": _summary(inputs, photos, scene, keep, stages),
        "notes": list(dict.fromkeys(str(note) for note in notes)),
        "stages": stages,
        "options": options,
        "libraries": _versions(),
    }


def stage_report(inputs: Path, name: str) -> dict[str, Any]:
    """A stage's report.json; empty: it has none."""
    try:
        found = msgspec.json.decode((inputs / "stages" / name / "report.json").read_bytes())
    except FileNotFoundError:
        return {}
    return found if isinstance(found, dict) else {}


def _summary(inputs: Path, photos: Photos, scene: Scene, keep: Keep, stages: dict[str, dict[str, Any]]) -> dict[str, Any]:
    import numpy as np

    placed = {view.number for view in scene.views}
    tracks = [len(track) for track in scene.tracks]
    adjusted = stages.get("adjustment", {})
    found: dict[str, Any] = {
        "photos_given": len(photos.photos) + len(photos.left_out),
        "photos_used": len(placed),
        "left_out": [{"name": one.name, "why": one.why} for one in photos.left_out],
        "not_placed": [photo.name for photo in photos.photos if photo.number not in placed],
        "georeferenced": scene.frame.georeferenced,
        "crs": scene.frame.crs,
        "placed_by": scene.frame.by,
        "sparse_points": len(scene.points),
        "reprojection": adjusted.get("reprojection", _mean(scene.errors)),
        "track": adjusted.get("track", _mean(tracks)),
        "gsd": adjusted.get("gsd"),
    }
    if scene.frame.georeferenced and scene.views:
        ground = float(np.median(scene.points[:, 2])) if len(scene.points) else 0.0
        found["flying_height"] = round(float(np.median([view.centre[2] for view in scene.views])) - ground, 2)
    if (inputs / DSM).is_file():
        cells, size = _measured(inputs / DSM, keep)
        found |= {"area": round(cells * size * size, 2), "dem_resolution": size}
    return found


def _mean(values: Any) -> float | None:
    return round(math.fsum(float(value) for value in values) / len(values), 4) if len(values) else None


def _measured(tif: Path, keep: Keep) -> tuple[int, float]:
    """(cells of a surface model that have a height and are kept, their side), a strip at a time."""
    count = 0
    with open_raster(tif) as (file, whole):
        grid = keep.window(whole)
        for top in range(0, grid.rows, BLOCK):
            part = grid.part(0, top, grid.columns, min(BLOCK, grid.rows - top))
            count += int(((read_part(file, whole, part, NODATA)[0] != NODATA) & keep.mask(part)).sum())
    return count, whole.resolution


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
