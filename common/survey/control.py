"""Ground control points on a model: where their marks' rays meet, which of them to believe, and how far off they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .crs import Grid
from .gcp import LEAST, Gcps
from .records import Photos
from .residuals import Rays, nearest, rmse
from .similarity import Similarity, fit, robust

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WRONG_MARK = 30.0
"""Pixels that a mark may lie from its point in a model that is not adjusted to it yet."""
WRONG_POINT = 5.0
"""A point without which the others fit so many times better is wrong."""
FINE = 5.0
"""GSD: points that fit to this are not doubted."""


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """A control point with the marks that count."""

    name: str
    position: Floats
    """(3,) as surveyed, in the coordinates of the model on the map (minus the frame's origin)"""
    marks: Mapping[int, Floats]
    """Photo -> (2,) pixel"""
    check: bool


@dataclass(frozen=True, kw_only=True)
class Believed:
    move: Similarity
    """Model -> map"""
    points: tuple[Sighting, ...]
    """Control points that fit"""
    left_out: tuple[tuple[str, str], ...]
    """Name and a sentence"""


def sightings(
    gcps: Gcps, photos: Photos, grid: Grid, origin: Sequence[float], rays: Rays
) -> tuple[tuple[Sighting, ...], tuple[tuple[str, str], ...], tuple[str, ...]]:
    """Points with 2 marks or more in photos of the model; those left out, each with a sentence; sentences about marks.

    Marks far from where the others of their point meet are dropped first.
    """
    import numpy as np

    numbers = {photo.name: photo.number for photo in photos.photos if photo.number in rays.numbers}
    places = grid.place(np.array([point.position for point in gcps.points]), gcps.crs) - np.array(origin)
    found, left_out, notes = [], [], []
    for point, position in zip(gcps.points, places, strict=True):
        marks = {numbers[mark.photo]: np.array([mark.x, mark.y]) for mark in point.marks if mark.photo in numbers}
        marks, wrong = _agreeing(rays, marks)
        kind = "checkpoint" if point.check else "control point"
        if len(marks) < 2:
            count = f"{len(marks)} placed photo{'s' * (len(marks) != 1)}"
            seen = f"its marks in {wrong} photos do not meet" if wrong else f"it is marked in {count}"
            left_out.append((point.name, f"The {kind} {point.name} was left out: {seen}, and 2 are needed."))
            continue
        if wrong:
            total = wrong + len(marks)
            were, they = ("was", "it lies") if wrong == 1 else ("were", "they lie")
            notes.append(f"{wrong} of {total} marks of the {kind} {point.name} {were} not used: {they} far from where its others meet.")
        found.append(Sighting(name=point.name, position=position, marks=marks, check=point.check))
    return tuple(found), tuple(left_out), tuple(notes)


def _agreeing(rays: Rays, marks: Mapping[int, Floats]) -> tuple[dict[int, Floats], int]:
    """Without those that keep the rest from meeting; two that do not meet are both dropped. And how many were."""
    kept = dict(sorted(marks.items()))
    while len(kept) >= 2 and worst(rays, kept) > WRONG_MARK:
        if len(kept) == 2:
            kept = {}
            break
        less = [{other: pixel for other, pixel in kept.items() if other != number} for number in kept]
        kept = min(less, key=lambda rest: worst(rays, rest))
    return kept, len(marks) - len(kept)


def meet(rays: Rays, marks: Mapping[int, Floats]) -> Floats:
    """(3,) nearest to the marks' rays; nan where they do not say."""
    import numpy as np

    at, sights = zip(*(rays.of(number, pixel[None]) for number, pixel in marks.items()), strict=True)
    point: Floats = nearest(np.array(at), np.concatenate(sights), np.zeros(len(marks), np.int64), 1)[0]
    return point


def worst(rays: Rays, marks: Mapping[int, Floats], point: Floats | None = None) -> float:
    """Pixels from a mark to ``point`` (None: where they meet), of the farthest mark; infinite where it is behind a camera."""
    import numpy as np

    point = meet(rays, marks) if point is None else point
    if not np.isfinite(point).all():
        return float("inf")
    seen = [(rays.model.images[number + 1].project_point(point), pixel) for number, pixel in marks.items()]
    return max(float("inf") if where is None else float(np.linalg.norm(where - pixel)) for where, pixel in seen)


def believe(points: Sequence[Sighting], rays: Rays, gsd: float) -> Believed | None:
    """The similarity from the model to the surveyed places, by the points that agree on one; None: fewer than 3 do. ``gsd`` of the model.

    With 3 points nothing can be found wrong, with 4 little.
    """
    import numpy as np

    usable = [point for point in points if not point.check]
    source = np.array([meet(rays, point.marks) for point in usable]).reshape(-1, 3)
    target = np.array([point.position for point in usable]).reshape(-1, 3)
    keep = np.isfinite(source).all(axis=1)
    if keep.sum() < LEAST:
        return None
    if keep.sum() >= 7:
        rows = np.flatnonzero(keep)
        move, off = robust(source[rows], target[rows])
        keep[rows[off > max(10 * np.median(off), FINE * gsd * move.scale)]] = False
    while keep.sum() > LEAST:
        move, wide = _fit(source, target, keep)
        if wide <= FINE * gsd * move.scale:
            break
        tries = {row: _fit(source, target, keep & (np.arange(len(keep)) != row))[1] for row in np.flatnonzero(keep).tolist()}
        row = min(tries, key=lambda row: tries[row])
        if tries[row] * WRONG_POINT > wide:
            break
        keep[row] = False
    if keep.sum() < LEAST:
        return None
    move, _ = _fit(source, target, keep)
    off = np.linalg.norm(move.apply(source) - target, axis=1)
    left_out = tuple(
        (point.name, f"The control point {point.name} was left out: it lies {distance:.2f} m from where the others say that its marks are.")
        for point, distance, good in zip(usable, off, keep, strict=True) if not good
    )  # fmt: skip
    return Believed(move=move, points=tuple(point for point, good in zip(usable, keep, strict=True) if good), left_out=left_out)


def _fit(source: Floats, target: Floats, keep: NDArray[np.bool_]) -> tuple[Similarity, float]:
    """And the standard deviation of a coordinate, 7 numbers having been fitted."""
    import numpy as np

    move = fit(source[keep], target[keep], np.ones(int(keep.sum())))
    off = move.apply(source[keep]) - target[keep]
    return move, float(np.sqrt((off**2).sum() / max(off.size - 7, 1)))


def told(points: Sequence[Sighting], rays: Rays) -> dict[str, Any]:
    """For the report: each point's error (where the marks' rays meet minus surveyed; east, north, up), and the RMSE for each axis."""
    import numpy as np

    errors = np.array([meet(rays, point.marks) - point.position for point in points]).reshape(-1, 3)
    return {
        "points": [
            {
                "name": point.name,
                "position": [round(float(value), 4) for value in point.position],
                "error": [round(float(value), 4) for value in error],
                "marks": len(point.marks),
                "pixels": round(worst(rays, point.marks, point.position), 3),
            }
            for point, error in zip(points, errors, strict=True)
            if np.isfinite(error).all()
        ],
        "rmse": rmse(errors[np.isfinite(errors).all(axis=1)]),
    }
