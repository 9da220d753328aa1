"""How far a reconstruction is from the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .flight import Array
from .photos import ORIGIN
from .place import Bounds, Truth

NEAR = 3
"""A height is right where it is within so many GSD: 30 cm at 10 cm per pixel."""
PATCH = 64
"""Side of the patches whose shift is measured, pixels."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Of cameras."""

    placed: int
    of: int
    rmse: float
    """Metres, after the best similarity."""
    absolute: float
    """Metres, as they are: the GPS's noise is in it."""
    scale: float
    """Of that similarity, less 1: how much too small the model is."""
    expected: float
    """``absolute`` of a model that has nothing wrong but that it was laid upon the GPS by a similarity."""


@dataclass(frozen=True, kw_only=True)
class Heights:
    """Measured less true, metres, in the area between the cameras; from ``nmad`` on after the median was taken off."""

    covered: float
    """Part of the cells that have a height."""
    mean: float
    median: float
    nmad: float
    """Normalised median absolute deviation."""
    rmse: float
    p90: float
    """90 % are not further off."""
    near: float
    """Part within NEAR GSD."""
    near_open: float
    """The same, away from walls."""


@dataclass(frozen=True, kw_only=True)
class Shift:
    """Of an orthophoto against the picture from straight above, by phase correlation of patches, pixels of the truth's GSD."""

    absolute: tuple[float, float]
    """Median to the right and down: the GPS's, mostly."""
    median: float
    """How far a patch is off, after what the similarity of the cameras explains was taken off."""
    p90: float
    covered: float
    patches: int


def similarity(source: Array, target: Array) -> tuple[float, Array, Array]:
    """Scale, rotation, translation that bring (n, 3) source upon target with the least squares (Umeyama 1991)."""
    here, there = source.mean(0), target.mean(0)
    a, b = source - here, target - there
    u, s, vt = np.linalg.svd(b.T @ a)
    sign = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ sign @ vt
    scale = float((s * np.diag(sign)).sum() / (a**2).sum())
    return scale, rotation, there - scale * rotation @ here


def moved(points: Array, to: Array) -> Array:
    """``points`` after the best similarity."""
    scale, rotation, translation = similarity(points, to)
    result: Array = scale * points @ rotation.T + translation
    return result


def rms(differences: Array) -> float:
    return float(np.sqrt((differences**2).sum(-1).mean()))


def measure_places(truth: Truth, centres: dict[str, Array]) -> Places:
    """``centres``: name of a photo -> absolute coordinates."""
    known = [number for number, camera in enumerate(truth.cameras) if camera.name in centres]
    true = np.array([truth.cameras[number].centre for number in known])
    found = np.array([centres[truth.cameras[number].name] for number in known]) - ORIGIN
    return Places(
        placed=len(known),
        of=len(truth.cameras),
        rmse=rms(moved(found, true) - true),
        absolute=rms(found - true),
        scale=similarity(found, true)[0] - 1,
        expected=rms(moved(true, truth.said[known]) - true),
    )


def read_places(shots: Path) -> dict[str, Array]:
    """From odm_report/shots.geojson: name -> coordinates in the result's CRS."""
    features = json.loads(shots.read_text())["features"]
    return {
        Path(one["properties"]["filename"]).name: np.array(one["properties"]["translation"], float) for one in features
    }  # fmt: skip


def read_focal(shots: Path) -> float:
    """Pixels: the mean over the photos of odm_report/shots.geojson, which has it as part of the longer side."""
    words = [one["properties"] for one in json.loads(shots.read_text())["features"]]
    return float(np.mean([one["focal"] * max(one["width"], one["height"]) for one in words]))


Move = tuple[float, Array, Array]
"""Scale, rotation, translation"""


def onto_truth(truth: Truth, centres: dict[str, Array]) -> Move:
    """The similarity that brings a result, less ORIGIN, upon the truth by its cameras: it takes off what the GPS's noise did."""
    known = [camera for camera in truth.cameras if camera.name in centres]
    return similarity(np.array([centres[camera.name] for camera in known]) - ORIGIN, np.array([camera.centre for camera in known]))


def measure_heights(truth: Truth, path: Path, move: Move | None = None) -> Heights:
    """A DSM's cells against the exact height where they are, after ``move``."""
    import rasterio

    with rasterio.open(path) as file:
        measured = file.read(1, masked=True)
        x, y = _centres(file.transform, measured.shape)
    west, south, east, north = truth.inner
    columns, rows = np.nonzero((x > west) & (x < east))[0], np.nonzero((y > south) & (y < north))[0]
    step = abs(x[1] - x[0])
    wanted = round((east - west) / step) * round((north - south) / step)
    across, up = np.meshgrid(x[columns], y[rows])
    measured = measured[np.ix_(rows, columns)]
    there = ~np.ma.getmaskarray(measured) & np.isfinite(measured.filled(np.nan))
    points = np.column_stack([across[there], up[there], measured.filled(np.nan)[there] - ORIGIN[2]])
    if move is not None:
        scale, rotation, translation = move
        points = scale * points @ rotation.T + translation
    off = points[:, 2] - truth.ground.heights(points[:, 0], points[:, 1])
    median = float(np.median(off))
    rest = np.abs(off - median)
    open_ground = ~beside_walls(truth, points[:, 0], points[:, 1])
    return Heights(
        covered=float(there.sum() / wanted),
        mean=float(off.mean()),
        median=median,
        nmad=float(1.4826 * np.median(rest)),
        rmse=float(np.sqrt((rest**2).mean())),
        p90=float(np.quantile(rest, 0.9)),
        near=float((rest < NEAR * truth.gsd).mean()),
        near_open=float((rest[open_ground] < NEAR * truth.gsd).mean()),
    )


def beside_walls(truth: Truth, x: Array, y: Array, margin: float = 0.5) -> Any:
    """Whether a building's wall is within ``margin`` metres."""
    near = np.zeros(x.shape, bool)
    for box in truth.ground.buildings:
        near |= box.covers(x, y, margin) & ~box.covers(x, y, -margin)
    return near


def measure_ortho(truth: Truth, path: Path, true_picture: Path, move: Move) -> Shift:
    """An orthophoto (RGBA GeoTIFF) against ``ortho_truth.tif``; ``move`` as onto_truth() gives it."""
    import rasterio
    from rasterio.warp import Resampling, reproject

    with rasterio.open(true_picture) as file:
        true, transform, crs = file.read().astype(np.float32).mean(0), file.transform, file.crs
    with rasterio.open(path) as file:
        bands = np.zeros((4, *true.shape), np.float32)
        source = np.concatenate([file.read([1, 2, 3]), file.dataset_mask()[None]]).astype(np.float32)
        reproject(
            source, bands, src_transform=file.transform, src_crs=file.crs, dst_transform=transform, dst_crs=crs,
            resampling=Resampling.bilinear,
        )  # fmt: skip
    seen = bands[3] > 254
    left, top, right, bottom = _window(truth.inner, truth.whole, truth.gsd)
    gray, true, seen = bands[:3].mean(0)[top:bottom, left:right], true[top:bottom, left:right], seen[top:bottom, left:right]
    shifts, middles = patch_shifts(gray, true, seen)
    if not len(shifts):
        return Shift(absolute=(np.nan, np.nan), median=np.nan, p90=np.nan, covered=float(seen.mean()), patches=0)
    middle = np.median(shifts, axis=0)
    far = np.linalg.norm(shifts - expected_shifts(truth, middles, move), axis=1)
    return Shift(
        absolute=(float(middle[0]), float(middle[1])), median=float(np.median(far)), p90=float(np.quantile(far, 0.9)),
        covered=float(seen.mean()), patches=len(shifts),
    )  # fmt: skip


def expected_shifts(truth: Truth, middles: Array, move: Move) -> Array:
    """(n, 2) right and down: how far the ground at ``middles`` (pixels of the inner area) lies elsewhere in a model that ``move`` mends."""
    x, y = truth.inner[0] + middles[:, 0] * truth.gsd, truth.inner[3] - middles[:, 1] * truth.gsd
    true = np.column_stack([x, y, truth.ground.heights(x, y)])
    scale, rotation, translation = move
    off = (true - translation) @ rotation / scale - true
    result: Array = off[:, :2] / truth.gsd * [1, -1]
    return result


def patch_shifts(gray: Any, true: Any, seen: Any) -> tuple[Array, Array]:
    """(n, 2) right and down: how far each patch of ``gray`` that is all there lies from where ``true`` has it; (n, 2) their middles."""
    import cv2

    window = cv2.createHanningWindow((PATCH, PATCH), cv2.CV_32F)
    found, middles = [], []
    for top in range(0, gray.shape[0] - PATCH + 1, PATCH // 2):
        for left in range(0, gray.shape[1] - PATCH + 1, PATCH // 2):
            here = np.s_[top : top + PATCH, left : left + PATCH]
            if seen[here].all():
                one, other = np.ascontiguousarray(true[here]), np.ascontiguousarray(gray[here])
                found.append(cv2.phaseCorrelate(one - one.mean(), other - other.mean(), window)[0])
                middles.append((left + PATCH / 2, top + PATCH / 2))
    return np.array(found, np.float64).reshape(-1, 2), np.array(middles, np.float64).reshape(-1, 2)


def _centres(transform: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """x of the columns and y of the rows, from the middle of the place."""
    rows, columns = shape
    x = transform.c + (np.arange(columns) + 0.5) * transform.a - ORIGIN[0]
    return x, transform.f + (np.arange(rows) + 0.5) * transform.e - ORIGIN[1]


def _window(inner: Bounds, whole: Bounds, gsd: float) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of ``inner`` in pixels of ``whole``."""
    left, bottom = round((inner[0] - whole[0]) / gsd), round((whole[3] - inner[1]) / gsd)
    return left, round((whole[3] - inner[3]) / gsd), left + round((inner[2] - inner[0]) / gsd), bottom
