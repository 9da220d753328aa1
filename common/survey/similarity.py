"""Similarities (scale, rotation, shift) between point sets: by least squares, and so that a part of wrong points does not count.

Least squares after Umeyama (1991), with weights. Robust: started from many triples of points drawn with a fixed seed (least median of
squares), then weighted again and again by Cauchy's function of the residual over its median: same input, same result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

TRIALS = 300
ROUNDS = 30
SIGMA = 1.4826
"""Median of absolute deviations -> standard deviation, for normal errors."""


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """x -> scale * rotation @ x + translation"""

    scale: float
    rotation: Floats
    translation: Floats

    def apply(self, points: Floats) -> Floats:
        """(n, 3) -> (n, 3)"""
        moved: Floats = self.scale * points @ self.rotation.T + self.translation
        return moved

    def after(self, first: Similarity) -> Similarity:
        """``first``, then this."""
        return Similarity(
            scale=self.scale * first.scale,
            rotation=self.rotation @ first.rotation,
            translation=self.scale * self.rotation @ first.translation + self.translation,
        )

    def inverse(self) -> Similarity:
        return Similarity(
            scale=1 / self.scale, rotation=self.rotation.T, translation=-self.rotation.T @ self.translation / self.scale
        )

    def pose(self, rotation: Floats, translation: Floats) -> tuple[Floats, Floats]:
        """World -> camera of a camera that moves with the world; depths grow by the scale."""
        turned = rotation @ self.rotation.T
        return turned, self.scale * translation - turned @ self.translation


def identity() -> Similarity:
    import numpy as np

    return Similarity(scale=1.0, rotation=np.eye(3), translation=np.zeros(3))


def fit(source: Floats, target: Floats, weights: Floats) -> Similarity:
    """(n, 3) -> (n, 3), n >= 2. About an axis that the points leave open, some rotation."""
    import numpy as np

    w = weights / weights.sum()
    at, to = w @ source, w @ target
    a, b = source - at, target - to
    u, d, vt = np.linalg.svd((b * w[:, None]).T @ a)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / max((w @ (a * a)).sum(), 1e-300))
    return Similarity(scale=scale, rotation=rotation, translation=to - scale * rotation @ at)


def fit_level(source: Floats, target: Floats, weights: Floats) -> Similarity:
    """As ``fit``, but z stays z: turned about it alone; place, direction and scale from x and y, height from the weighted median."""
    import numpy as np

    w = weights / weights.sum()
    at, to = w @ source[:, :2], w @ target[:, :2]
    a, b = (source[:, :2] - at) @ [1, 1j], (target[:, :2] - to) @ [1, 1j]
    factor = (w * b * a.conj()).sum() / max((w * abs(a) ** 2).sum(), 1e-300)
    scale = float(abs(factor))
    c, s = (factor.real / scale, factor.imag / scale) if scale else (1.0, 0.0)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
    shift = to - scale * rotation[:2, :2] @ at
    height = weighted_median(target[:, 2] - scale * source[:, 2], w)
    return Similarity(scale=scale, rotation=rotation, translation=np.array([shift[0], shift[1], height]))


def fit_strip(up: Floats) -> Callable[[Floats, Floats, Floats], Similarity]:
    """A ``fit`` for points in one line: about the line, turned so that ``up`` (3,) of the source comes as near as can be to z."""
    import numpy as np

    def fit_one(source: Floats, target: Floats, weights: Floats) -> Similarity:
        w = weights / weights.sum()
        at, to = w @ source, w @ target
        a, b = source - at, target - to
        along_a = np.linalg.svd(a * np.sqrt(w)[:, None], full_matrices=False)[2][0]
        along_b = np.linalg.svd(b * np.sqrt(w)[:, None], full_matrices=False)[2][0]
        p, q = a @ along_a, b @ along_b
        if (w * p * q).sum() < 0:
            along_b, q = -along_b, -q
        rotation = _basis(along_b, np.array([0, 0, 1.0])) @ _basis(along_a, up).T
        scale = float((w * p * q).sum() / max((w * p * p).sum(), 1e-300))
        return Similarity(scale=scale, rotation=rotation, translation=to - scale * rotation @ at)

    return fit_one


def robust(
    source: Floats,
    target: Floats,
    weights: Floats | None = None,
    *,
    by: Callable[[Floats, Floats, Floats], Similarity] = fit,
    sample: int = 3,
    flat: bool = False,
) -> tuple[Similarity, Floats]:
    """The similarity that most points agree on, and (n,) distances after it. ``flat``: distances in x and y alone.

    Up to about 40 % of the points may be wrong. Raises numpy.linalg.LinAlgError for values that are not finite.
    """
    import numpy as np

    count = len(source)
    prior = np.ones(count) if weights is None else weights / weights.mean()

    def distances(found: Similarity) -> Floats:
        off = found.apply(source) - target
        lengths: Floats = np.linalg.norm(off[:, :2] if flat else off, axis=1)
        return lengths

    starts = [by(source, target, prior)]
    rng = np.random.default_rng(0)
    for _ in range(TRIALS if count > sample else 0):
        chosen = rng.choice(count, sample, replace=False)
        starts.append(by(source[chosen], target[chosen], prior[chosen]))
    best = min(starts, key=lambda found: weighted_median(distances(found), prior))
    for _ in range(ROUNDS):
        off = distances(best)
        unit = max(2 * weighted_median(off, prior), 1e-12)
        best = by(source, target, prior / (1 + (off / unit) ** 2))
    return best, distances(best)


def weighted_median(values: Floats, weights: Floats) -> float:
    import numpy as np

    order = np.argsort(values, kind="stable")
    sums = np.cumsum(weights[order])
    below = int(np.searchsorted(sums, sums[-1] / 2))
    above = int(np.searchsorted(sums, sums[-1] / 2, side="right"))
    last = len(values) - 1
    return float((values[order[min(below, last)]] + values[order[min(above, last)]]) / 2)


def nmad(values: Floats) -> float:
    """Standard deviation as the median of absolute deviations tells it; 0 for none."""
    import numpy as np

    return float(SIGMA * np.median(abs(values - np.median(values)))) if len(values) else 0.0


def mean_rotation(rotations: Floats) -> Floats:
    """(n, 3, 3) -> (3, 3) the nearest rotation to their median, element by element; up to 40 % may be wrong."""
    import numpy as np

    u, _, vt = np.linalg.svd(np.median(rotations, axis=0))
    near: Floats = (u * [1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))]) @ vt
    return near


def upright(up: Floats, ahead: Floats) -> Floats:
    """(3, 3) the rotation that brings ``up`` to z and ``ahead``, as far as it is level, to y."""
    import numpy as np

    z = up / np.linalg.norm(up)
    y = ahead - (ahead @ z) * z
    if np.linalg.norm(y) < 1e-6:
        y = np.eye(3)[int(abs(z).argmin())]
        y = y - (y @ z) * z
    y = y / np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z])


def _basis(along: Floats, up: Floats) -> Floats:
    """(3, 3) columns: along, up as far as it is square to it, and square to both."""
    import numpy as np

    square = up - (up @ along) * along
    square = square / max(float(np.linalg.norm(square)), 1e-12)
    return np.stack([along, square, np.cross(along, square)], axis=1)
