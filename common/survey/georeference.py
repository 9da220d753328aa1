"""The model on the map: which similarity brings it there by the photos' GPS, and what to make of it without.

GPS is trusted as far as the cameras agree with it: the fit is robust (one photo in the wrong place is named), and where most disagree,
GPS gives place, direction and size while the model is levelled by itself ("level"). Cameras in one line leave the roll about it open;
then it comes from the cameras' up, which the photos' angles tell or the assumption that they look down or are held upright.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .records import Photo
from .similarity import Similarity, fit_level, fit_strip, identity, robust, upright

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WORST = 8.0
"""Metres: a median distance between cameras and GPS beyond this says that GPS cannot level the model (or 2.5 times its stated accuracy)."""
TIPPED = 20.0
"""Degrees between the cameras' up and the map's: more is GPS tipping the model over."""
ROLL = 5.0
"""Degrees: where GPS tells the roll about the cameras' line worse than this, the cameras' up tells it."""
DOWN = 50.0
"""Degrees from straight down within which a photo counts as looking down."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    move: Similarity
    by: str
    """gps, level or none, as in Frame"""
    trusted: tuple[int, ...] = ()
    """Photos whose GPS may pull in the adjustment"""
    wrong: tuple[tuple[int, float], ...] = ()
    """Photos whose GPS is far off, and by how many metres"""
    median: float = 0.0
    """Distance between cameras and GPS, metres"""
    notes: tuple[str, ...] = ()


def up_of(rotations: Floats, photos: Sequence[Photo]) -> tuple[Floats, bool]:
    """(n, 3, 3) world -> camera: the direction in the model that was up, (3,), and whether it can be relied on.

    By the photos' pitch where they tell it; else it is square to the cameras' rows (nobody tilts the horizon), and of the directions
    square to these, where the rows are all in one line, the nearest to against where the cameras look, if they look one way, or to
    their tops.
    """
    import numpy as np

    pitches = np.array([np.nan if photo.angles is None else photo.angles[1] for photo in photos])
    known = np.isfinite(pitches)
    rows, axes, tops = rotations[:, 0], rotations[:, 2], -rotations[:, 1]
    if known.sum() >= max(1, len(photos) / 2):
        angle = np.radians(pitches[known])[:, None]
        ups = np.sin(angle) * tops[known] - np.cos(angle) * axes[known]
        up = np.median(ups, axis=0)
        return up / np.linalg.norm(up), bool(np.median(ups @ up) > 0.9)
    look = axes.mean(axis=0)
    agree = float(np.linalg.norm(look))
    guess = -look / agree if agree > 0.8 else tops.mean(axis=0)
    guess = guess / max(float(np.linalg.norm(guess)), 1e-12)
    values, vectors = np.linalg.eigh(rows.T @ rows / len(rows))  # smallest first
    if values[1] > 0.1 and values[0] < 0.05:
        up = vectors[:, 0] * np.sign(vectors[:, 0] @ guess or 1.0)
        return up, True
    level = guess - vectors[:, 2] * (vectors[:, 2] @ guess) if values[1] <= 0.1 else guess
    return level / max(float(np.linalg.norm(level)), 1e-12), agree > 0.9


def by_gps(
    numbers: Sequence[int], rotations: Floats, centres: Floats, photos: Mapping[int, Photo], positions: Mapping[int, Floats],
    accuracies: Mapping[int, tuple[float, float]],
) -> Placement:  # fmt: skip
    """``rotations`` (n, 3, 3) and ``centres`` (n, 3) of the photos ``numbers``; ``positions`` in metres, east, north, up, by photo."""
    import numpy as np

    rows = [row for row, number in enumerate(numbers) if number in positions]
    if len(rows) < 2:
        return Placement(move=identity(), by="none")
    up, sure = up_of(rotations, [photos[number] for number in numbers])
    source, target = centres[rows], np.array([positions[numbers[row]] for row in rows])
    sigma = np.array([accuracies[numbers[row]] for row in rows])
    weights = 1 / (sigma**2).mean(axis=1)
    limit = max(WORST, 2.5 * float(np.median(sigma)))
    notes = []
    best, off = (None, np.full(len(rows), np.inf)) if len(rows) < 3 else robust(source, target, weights)
    if best is None or _rolls(best.scale * source, off, sigma):
        best, off = robust(source, target, weights, by=fit_strip(up), sample=2)
        how = "the photos' own angles tell it" if _angles(numbers, photos) else "it is told by how the cameras were held"
        notes.append(f"The photos were taken along one line, so GPS leaves open how the ground leans to its sides: {how}.")
    tilt = float(np.degrees(np.arccos(np.clip((best.rotation @ up)[2], -1, 1))))
    median = float(np.median(off))
    if median > limit or (sure and tilt > TIPPED and median > 0.5 * float(np.median(sigma))):
        return _level(numbers, rows, centres, up, target, weights, median, tilt, limit)
    far = max(10 * median, 2 * float(np.median(sigma)))
    wrong = tuple((numbers[row], float(distance)) for row, distance in zip(rows, off, strict=True) if distance > far)
    named = {number for number, _ in wrong}
    return Placement(
        move=best,
        by="gps",
        trusted=() if notes else tuple(numbers[row] for row in rows if numbers[row] not in named),
        wrong=wrong,
        median=median,
        notes=tuple(notes),
    )


def _rolls(centres: Floats, off: Floats, sigma: Floats) -> bool:
    """Whether GPS leaves the roll about the cameras' line open. ``centres`` in metres."""
    import numpy as np

    count = len(centres)
    across = float(np.linalg.svd(centres - np.median(centres, axis=0), compute_uv=False)[1]) / np.sqrt(count)
    noise = float(np.median(sigma))
    if count >= 6:  # the fit itself tells how good GPS is; below, it goes through nearly everything
        noise = min(noise, max(0.01, 1.5 * float(np.median(off))))
    return bool(np.degrees(np.arctan2(noise, across * np.sqrt(count))) > ROLL)


def _angles(numbers: Sequence[int], photos: Mapping[int, Photo]) -> bool:
    return sum(photos[number].angles is not None for number in numbers) >= max(1, len(numbers) / 2)


def _level(
    numbers: Sequence[int], rows: Sequence[int], centres: Floats, up: Floats, target: Floats, weights: Floats, median: float,
    tilt: float, limit: float,
) -> Placement:  # fmt: skip
    """Stood upright by itself, then turned, scaled and shifted on the map; heights by their median."""
    import numpy as np

    spread = centres - np.median(centres, axis=0)
    _, sizes, axes = np.linalg.svd(spread, full_matrices=False)
    normal = axes[-1] * np.sign(axes[-1] @ up or 1.0)
    # who flies at one height tells the level better by it than by the cameras' attitude
    flat = len(centres) >= 5 and sizes[1] > 0.1 * sizes[0] and sizes[2] < 0.2 * sizes[1] and normal @ up > np.cos(np.radians(15))
    stand = Similarity(scale=1.0, rotation=upright(normal if flat else up, np.array([0.0, 1.0, 0.0])), translation=np.zeros(3))
    found, off = robust(stand.apply(centres[rows]), target, weights, by=fit_level, sample=2, flat=True)
    far = float(np.median(off))
    wrong = tuple(
        (numbers[row], float(distance)) for row, distance in zip(rows, off, strict=True) if distance > max(10 * far, 2 * limit)
    )
    how = "the plane in which it was flown" if flat else "how the cameras were held"
    note = (
        f"The photos' GPS is too bad to level the model (cameras and GPS differ by {median:.1f} m in the median, the model would lean by "
        f"{tilt:.0f} degrees): it is levelled by {how}, and placed, turned and scaled on the map by GPS, to about {far:.0f} m."
    )
    return Placement(move=found.after(stand), by="level", wrong=wrong, median=far, notes=(note,))


def without_gps(rotations: Floats, centres: Floats, points: Floats, photos: Sequence[Photo]) -> tuple[Similarity, bool]:
    """Of a model without a place, and whether it is a surface seen from above.

    z is the cameras' up, y lies to where the photos' tops point, the points' median is at 0, the median distance between cameras and it
    is 1.
    """
    import numpy as np

    middle = np.median(points, axis=0) if len(points) else np.median(centres, axis=0)
    above = looks_at_surface(rotations, centres, points)
    if above:
        up = -rotations[:, 2].mean(axis=0)
    else:
        up, sure = up_of(rotations, photos)
        up = up if sure else -rotations[:, 1].mean(axis=0)
    size = float(np.median(np.linalg.norm(centres - middle, axis=1))) or 1.0
    turn = upright(up, -rotations[:, 1].mean(axis=0))
    return Similarity(scale=1 / size, rotation=turn, translation=-turn @ middle / size), above


def looks_at_surface(rotations: Floats, centres: Floats, points: Floats) -> bool:
    """Points that are wide and flat, most cameras on one side of them, looking square to them rather than along."""
    import numpy as np

    if len(points) < 10:
        return False
    spread = points - np.median(points, axis=0)
    near = spread[np.linalg.norm(spread, axis=1) <= np.quantile(np.linalg.norm(spread, axis=1), 0.9)]
    _, sizes, axes = np.linalg.svd(near, full_matrices=False)
    normal = axes[2]
    if (rotations[:, 2] @ normal).mean() > 0:
        normal = -normal
    looking = (rotations[:, 2] @ -normal) > np.cos(np.radians(DOWN))
    over = (centres - np.median(points, axis=0)) @ normal > 0
    return bool(sizes[2] < 0.3 * sizes[1] and (looking & over).mean() > 0.8 and np.linalg.norm(rotations[:, 2].mean(axis=0)) > 0.8)


def looks_down(rotations: Floats) -> bool:
    """Most photos of a model that stands on the map."""
    import numpy as np

    return bool((-rotations[:, 2, 2] > np.cos(np.radians(DOWN))).mean() > 0.5)
