"""Where one photo of the orthophoto ends and the next begins, and how well they meet there.

Each cell is taken from the photo that looks most nearly straight down at it, of those that see it; where the best two are nearly equal,
both are blended over a few cells. Photos are evened out beforehand by ``Tone``. All of that follows from the cell's place, the cameras and
the sparse points alone: no tile needs to know of its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .records import Lens
from .scene import Scene, View
from .visibility import FAR, project

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

FEATHER = 10.0
"""Cells over which one photo fades into the next."""
RIM, RIM_COST = 0.06, 1.0
"""Within this part of the shorter side, a photo's rim costs up to as much as looking 45 degrees off the vertical."""
HIDDEN = 100.0
"""What a cell costs that something hides: it is taken from there only where no photo sees it."""
MOST_GAIN = 0.35
"""A photo is made brighter or darker by at most about 40 %."""
FEW = 30
"""Sparse points below which a photo's tone is changed in part only."""
PATCH = 64
"""Side in cells of what is compared at seams."""
COARSE = 6.0
"""Cells: what is smoother than that is taken away before shifts are measured, as it has no place."""
LEAST_TEXTURE, LEAST_LIKENESS = 2.0, 0.5
"""Grey levels of standard deviation, and correlation once the shift is undone, below which a shift says nothing."""


def score(view: View, x: Array, y: Array, z: Array, below: Array, finest: float) -> tuple[Array, Array, Array]:
    """How well the photo sees each place, and where: (score, pixels to the right, pixels down), arrays of one shape.

    The score is minus the tangent of the angle off the vertical, less what the photo's rim, coarse pixels (``finest``: those of
    the finest photo, metres) and hiding (``below`` of ``visibility.depth_below``) cost; -inf: it is not in the picture.
    """
    import numpy as np

    cx, cy, cz = (float(value) for value in view.centre)
    u, v, depth = project(view, x, y, z)
    width, height = view.lens.width, view.lens.height
    above = np.maximum(cz - z, 1e-9)
    tangent = np.sqrt((x - cx) * (x - cx) + (y - cy) * (y - cy)) / above
    margin = np.minimum(np.minimum(u, width - u), np.minimum(v, height - v))
    rim = np.maximum(0.0, 1.0 - margin / (RIM * min(width, height)))
    coarse = np.maximum(0.0, depth / (view.lens.fx * finest) - 1.0)
    found = -tangent - RIM_COST * rim * rim - coarse - np.where(below > 0, HIDDEN + below, 0.0)
    return np.where((margin >= 1.0) & (tangent <= FAR) & (cz > z), found, -np.inf), u, v


def weights(scores: NDArray[np.floating[Any]], best: NDArray[np.floating[Any]], softness: float) -> Array:
    """What share (before they are divided by their sum) a photo has of each cell: 1 where it is best, falling to 0."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        found: Array = np.maximum(0.0, 1.0 - (best - scores) / softness)
    return np.where(np.isfinite(scores), found, 0.0)


@dataclass(frozen=True, kw_only=True)
class Tone:
    """By what a photo's colours are multiplied: ``gain * (1 + slope * q)``, q the square of the distance from the middle, corner: 1."""

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    slope: float = 0.0

    def factor(self, lens: Lens, u: Array, v: Array) -> Array:
        """(…) pixels -> (…) the common part."""
        a, b = u - lens.width / 2, v - lens.height / 2
        made: Array = 1.0 + self.slope * ((a * a + b * b) / ((lens.width * lens.width + lens.height * lens.height) / 4))
        return made


def tone(scene: Scene, mine: NDArray[np.int64], view: View, picture: NDArray[np.uint8]) -> Tone:
    """How to even out a photo (``picture``: red, green, blue, perhaps scaled down) against its neighbours; ``mine``: its points.

    The sparse points have the mean colour of all photos that they were found in; a photo is brought to them by the median, and from the
    middle to the corners by a straight line. That needs no other photo, so each tile finds the same.
    """
    import numpy as np

    cv2 = library("cv2", extra="survey")
    if not len(mine):
        return Tone()
    points = scene.points[mine]
    u, v, _ = project(view, *np.ascontiguousarray(points.T))
    scale_u, scale_v = picture.shape[1] / view.lens.width, picture.shape[0] / view.lens.height
    good = np.isfinite(u) & (u > 2) & (v > 2) & (u < view.lens.width - 2) & (v < view.lens.height - 2)
    if not good.any():
        return Tone()
    u, v = u[good], v[good]
    own = cv2.remap(
        picture, (u * scale_u - 0.5).astype(np.float32)[:, None], (v * scale_v - 0.5).astype(np.float32)[:, None], cv2.INTER_LINEAR
    )[:, 0].astype(np.float64)  # fmt: skip
    mean = scene.colors[mine][good].astype(np.float64)
    fit = ((own > 15) & (own < 240) & (mean > 15) & (mean < 240)).all(axis=1)
    if int(fit.sum()) < 5:
        return Tone()
    ratio = np.log(mean[fit] / own[fit])
    lens = view.lens
    q = ((u - lens.width / 2) ** 2 + (v - lens.height / 2) ** 2)[fit] / ((lens.width**2 + lens.height**2) / 4)
    trust = len(q) / (len(q) + FEW)
    slope = _slope(q, ratio.mean(axis=1)) * trust
    gain = np.clip(np.median(ratio - slope * q[:, None], axis=0) * trust, -MOST_GAIN, MOST_GAIN)
    red, green, blue = (float(value) for value in np.exp(gain))
    return Tone(gain=(red, green, blue), slope=float(np.expm1(slope)))


def _slope(q: Array, ratio: Array) -> float:
    """Of the straight line through the medians of rings; 0 where there are too few points."""
    import numpy as np

    rings = np.minimum((q * 5).astype(np.int64), 4)
    full = [ring for ring in range(5) if int((rings == ring).sum()) >= FEW]
    if len(full) < 3:
        return 0.0
    at = np.array([np.median(q[rings == ring]) for ring in full])
    middle = np.array([np.median(ratio[rings == ring]) for ring in full])
    at = at - at.mean()
    return float(np.clip((at * (middle - middle.mean())).sum() / (at * at).sum(), -MOST_GAIN, MOST_GAIN))


def places(label: NDArray[np.int32], left: int, top: int) -> list[tuple[int, int, int, int]]:
    """Where to compare photos: (row, column, photo, other photo), at most one in each PATCH x PATCH square of the global grid.

    ``label``: the number of each cell's best photo, -1: none; its corner is cell ``left``, ``top`` of the global grid. Patches around the
    places lie inside of it.
    """
    import numpy as np

    rows, columns = label.shape
    half = PATCH // 2
    found = []
    for row in range(-(top % PATCH), rows, PATCH):
        for column in range(-(left % PATCH), columns, PATCH):
            up, down = max(row, half), min(row + PATCH, rows - half - 1)
            west, east = max(column, half), min(column + PATCH, columns - half - 1)
            if up >= down or west >= east:
                continue
            here, right, below = (label[up + r : down + r, west + c : east + c] for r, c in ((0, 0), (0, 1), (1, 0)))
            other = np.where(right != here, right, below)
            cut = np.flatnonzero((here != other) & (here >= 0) & (other >= 0))
            if len(cut):
                r, c = divmod(int(cut[len(cut) // 2]), east - west)
                a, b = sorted((int(here[r, c]), int(other[r, c])))
                found.append((up + r, west + c, a, b))
    return found


def compare(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, float] | None:
    """Two grey PATCH x PATCH pictures of one place: (how far they are shifted, cells; mean difference, grey levels).

    By phase correlation; None where there is too little to be seen, or they are not alike (something hides one of them).
    """
    import numpy as np

    cv2 = library("cv2", extra="survey")
    a, b = (grey - cv2.GaussianBlur(grey, (0, 0), COARSE) for grey in (one, other))
    if a.std() < LEAST_TEXTURE or b.std() < LEAST_TEXTURE:
        return None
    window = cv2.createHanningWindow((PATCH, PATCH), cv2.CV_32F)
    (across, down), _ = cv2.phaseCorrelate(a, b, window)
    if max(abs(across), abs(down)) > PATCH / 4:
        return None
    undone = cv2.warpAffine(b, np.array([[1, 0, across], [0, 1, down]]), (PATCH, PATCH), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    if float((a * undone * window).sum() / np.sqrt((a * a * window).sum() * (undone * undone * window).sum())) < LEAST_LIKENESS:
        return None
    return float(np.hypot(across, down)), float(np.abs(one.mean() - other.mean()))
