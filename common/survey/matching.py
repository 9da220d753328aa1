"""Job of the stage ``matching``: the same points in two photos, for a list of pairs; first by their descriptors, then by geometry.

Every feature of one photo is compared with every feature of the other (an approximate search is twice as fast, finds a twentieth less,
and not the same on each machine). Descriptors hold integers up to 255 with a norm of about 512, so all products and sums are integers
below 2^24: single precision computes them exactly, in whatever order, on every processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .colmap import camera
from .records import Features, Lens, Matches, load_features, save_matches
from .seal import seal
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

OUTPUT = "matches.npz"
RATIO = 0.8
"""The nearest descriptor counts where its distance is below this part of the next one's (Lowe, 2004)."""
LOOSE = 0.9
"""The same for pairs that show little in common: what that lets through too much, the geometry takes out again."""
PLENTY = 100
"""Matches by RATIO that are enough."""
FARTHEST = 0.7
"""Radians between two descriptors that may be the same point."""
LEAST = 15
"""Matches on one geometry for two photos to be a pair, and CHANCE."""
CHANCE = (10.0, 0.08)
"""Fewer than 10 + 8 % of all that look alike come about by chance: of 100 pairs that share nothing, 21 of 186, 20 of 152 did by LOOSE."""
ERROR = 0.002
"""Part of the photo's longer side by which a point may miss its epipolar line, before lens distortion is known; 4 pixels at least."""
CHUNK = 128
"""Rows compared at once: what they make (rows x features x 4 bytes) fits into a processor's cache."""


def run(job: Job) -> None:
    """``data``: ``pairs``, a list of two numbers each; ``photos``, number -> width, height, focal, focal_known.

    Leaves OUTPUT: ``Matches`` of the pairs that were verified.
    """
    lenses = {int(number): plain(*facts) for number, facts in job.data["photos"].items()}
    pairs: list[tuple[int, int]] = sorted((int(first), int(second)) for first, second in job.data["pairs"])
    features: dict[int, Features] = {}
    found: list[tuple[tuple[int, int], NDArray[np.uint32], int]] = []
    for done, pair in enumerate(pairs):
        job.progress(done / len(pairs))
        for number in pair:
            if number not in features:
                features[number] = load_features(job.inputs / f"stages/features/{number:05d}.npz")
        first, second = (features[number] for number in pair)
        rows, configuration = match(lenses[pair[0]], first, lenses[pair[1]], second)
        if len(rows):
            found.append((pair, rows, configuration))
    save_matches(joined(found), job.out / OUTPUT)
    seal(job.out)
    job.say(f"{len(found)} of {len(pairs)} pairs show the same place.")


def match(lens: Lens, features: Features, other_lens: Lens, other: Features) -> tuple[NDArray[np.uint32], int]:
    """(k, 2) rows of features that are the same point, and pycolmap's TwoViewGeometryConfiguration; no rows where the photos are no pair.

    What RATIO finds, where that is plenty; else what LOOSE does: it finds weak pairs, which hold a model together.
    """
    rows, ratios = alike(features.descriptors, other.descriptors)
    loose = verified(lens, features, other_lens, other, rows)
    if len(loose[0]) >= PLENTY:
        strict = verified(lens, features, other_lens, other, rows[ratios < RATIO])
        if len(strict[0]) >= PLENTY:
            return strict
    return loose


def alike(first: NDArray[np.uint8], second: NDArray[np.uint8], ratio: float = LOOSE) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """(n, 128), (m, 128) descriptors -> (k, 2) rows that are each other's nearest, by a margin either way; (k,) their ratios."""
    import numpy as np

    there, ratios = _nearest(first, second, ratio)
    rows = np.flatnonzero(there >= 0)
    reached = np.unique(there[rows])
    back, back_ratios = np.full(len(second), -1), np.zeros(len(second), np.float32)
    back[reached], back_ratios[reached] = _nearest(second[reached], first, ratio)  # only those can be mutual
    rows = rows[back[there[rows]] == rows]
    return np.stack([rows, there[rows]], axis=1).astype(np.uint32), np.maximum(ratios[rows], back_ratios[there[rows]])


def _nearest(first: NDArray[np.uint8], second: NDArray[np.uint8], ratio: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each of ``first`` the nearest row of ``second``, -1 where it is too far away or the next one nearly as near, and their ratio."""
    import numpy as np

    found, ratios = np.full(len(first), -1), np.ones(len(first), np.float32)
    if len(second) < 2:
        return found, ratios
    a, b = first.astype(np.float32), second.astype(np.float32)
    own = np.einsum("ij,ij->i", a, a)
    left = np.concatenate([-2 * a, np.ones((len(a), 1), np.float32)], axis=1)
    right = np.ascontiguousarray(np.concatenate([b, np.einsum("ij,ij->i", b, b)[:, None]], axis=1).T)
    farthest = (2 * np.sin(FARTHEST / 2) * 512) ** 2
    for at in range(0, len(a), CHUNK):
        squares = left[at : at + CHUNK] @ right  # less the square of the own length
        rows, nearest = np.arange(len(squares)), squares.argmin(axis=1)
        here = squares[rows, nearest] + own[at : at + CHUNK]
        squares[rows, nearest] = np.inf
        following = squares.min(axis=1) + own[at : at + CHUNK]
        part = np.sqrt(here / np.maximum(following, 1))
        found[at : at + CHUNK] = np.where((part < ratio) & (here < farthest), nearest, -1)
        ratios[at : at + CHUNK] = part
    return found, ratios


def verified(lens: Lens, features: Features, other_lens: Lens, other: Features, rows: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], int]:
    """The rows that one movement of the camera explains, and pycolmap's TwoViewGeometryConfiguration; no rows where there are too few."""
    import numpy as np

    pycolmap = library("pycolmap", extra="survey")
    if len(rows) >= LEAST:
        options = pycolmap.TwoViewGeometryOptions(min_num_inliers=LEAST, detect_watermark=False)
        options.ransac.random_seed = 0
        options.ransac.max_error = max(4.0, ERROR * max(lens.width, lens.height, other_lens.width, other_lens.height))
        estimate: Any = pycolmap.estimate_two_view_geometry
        if lens.prior and other_lens.prior:
            estimate = pycolmap.estimate_calibrated_two_view_geometry
        points, others = (each.points.astype(np.float64) for each in (features, other))
        geometry = estimate(camera(lens, 1), points, camera(other_lens, 2), others, rows, options)
        kept = np.asarray(geometry.inlier_matches, np.uint32).reshape(-1, 2)
        if len(kept) >= max(LEAST, CHANCE[0] + CHANCE[1] * len(rows)):
            return kept, int(geometry.config)
    return np.zeros((0, 2), np.uint32), 0


def plain(width: int, height: int, focal: float, focal_known: bool) -> Lens:
    """The lens as EXIF has it: no distortion, the centre in the middle; ``prior`` 0 where the focal length is a guess."""
    return Lens(width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2, prior=focal if focal_known else 0.0)


def joined(found: Sequence[tuple[tuple[int, int], NDArray[np.uint32], int]]) -> Matches:
    """Pairs with their rows and configurations, in any order, each pair once."""
    import numpy as np

    ordered = sorted(found, key=lambda one: one[0])
    return Matches(
        pairs=np.array([pair for pair, _, _ in ordered], np.int32).reshape(-1, 2),
        starts=np.cumsum([0, *(len(rows) for _, rows, _ in ordered)]).astype(np.int64),
        rows=np.concatenate([np.zeros((0, 2), np.uint32), *(rows for _, rows, _ in ordered)]).astype(np.uint32),
        configurations=np.array([configuration for _, _, configuration in ordered], np.int32),
    )
