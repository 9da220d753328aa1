"""Which photos make stereo pairs: for each photo a few partners with a good angle, a large common part and a like scale, on all sides."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .scene import Scene

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PARTNERS = 4
LEAST_ANGLE, BEST_ANGLE, MOST_ANGLE = 4.0, 14.0, 40.0
"""Degrees between the lines of sight: below, depth is vague; above, the two pictures look too different to be matched. From 30 on it is
a makeshift, for low flights whose neighbouring strips are far apart."""
LEAST_SHARED = 12
"""Sparse points that both photos see."""
LEAST_PART = 0.1
"""Of the points of the photo with fewer."""
CHUNK = 8
"""Pairs of a job, at the most. Not by the number of slots: so the jobs, and with them their results, stay when a node comes or goes."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """``first`` < ``second``."""

    first: int
    second: int
    middle: tuple[float, float, float]
    """Between the two cameras."""
    angle: float
    """Degrees, median over the points that both see."""
    score: float

    @property
    def name(self) -> str:
        return pair_name(self.first, self.second)


def pair_name(first: int, second: int) -> str:
    return f"{first:05d}-{second:05d}"


def choose(scene: Scene, partners: int = PARTNERS) -> tuple[Pair, ...]:
    """The pairs, each once, by name: every photo's best partners. The next partner is worth less the nearer it is to one chosen before, as
    what is hidden from one side is seen from another."""
    candidates = _candidates(scene)
    centres = {view.number: view.centre for view in scene.views}
    by_photo: dict[int, list[Pair]] = {}
    for pair in candidates:
        by_photo.setdefault(pair.first, []).append(pair)
        by_photo.setdefault(pair.second, []).append(pair)
    chosen: dict[str, Pair] = {}
    for number, pairs in sorted(by_photo.items()):
        for pair in _spread(number, pairs, centres, partners):
            chosen[pair.name] = pair
    return tuple(chosen[name] for name in sorted(chosen))


def _candidates(scene: Scene) -> list[Pair]:
    """All pairs that could be matched, by numbers."""
    import numpy as np

    views = {view.number: view for view in scene.views}
    seen: dict[int, list[int]] = {number: [] for number in views}
    for point, track in enumerate(scene.tracks):
        for number in track.tolist():
            if number in seen:
                seen[number].append(point)
    shared: dict[tuple[int, int], list[int]] = {}
    for point, track in enumerate(scene.tracks):
        numbers = [number for number in track.tolist() if number in views]
        for i, one in enumerate(numbers):
            for two in numbers[i + 1 :]:
                shared.setdefault((one, two), []).append(point)
    found = []
    for (one, two), points in sorted(shared.items()):
        least = min(len(seen[one]), len(seen[two]))
        if len(points) < max(LEAST_SHARED, LEAST_PART * least):
            continue
        a, b = views[one], views[two]
        places = scene.points[points]
        angle = float(np.median(_angles(a.centre, b.centre, places)))
        away = np.linalg.norm(places - a.centre, axis=1) / a.lens.fx, np.linalg.norm(places - b.centre, axis=1) / b.lens.fx
        ratio = float(np.median(away[0] / away[1]))
        scale = min(ratio, 1 / ratio)
        axes = math.degrees(math.acos(max(-1.0, min(1.0, float(a.axis @ b.axis)))))
        if not LEAST_ANGLE <= angle <= MOST_ANGLE or scale < 0.5 or axes > 50 or _along(a.centre, b.centre, a.axis + b.axis) > 0.85:
            continue
        width = 7.0 if angle < BEST_ANGLE else 10.0
        score = math.sqrt(len(points) / least) * math.exp(-(((angle - BEST_ANGLE) / width) ** 2) / 2) * scale
        middle = (a.centre + b.centre) / 2
        found.append(
            Pair(first=one, second=two, middle=(float(middle[0]), float(middle[1]), float(middle[2])), angle=angle, score=score)
        )
    return found


def _angles(one: NDArray[np.float64], two: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    a, b = points - one, points - two
    cosine = (a * b).sum(1) / np.maximum(np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1), 1e-12)
    degrees: NDArray[np.float64] = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return degrees


def _along(one: NDArray[np.float64], two: NDArray[np.float64], axis: NDArray[np.float64]) -> float:
    """How much the base points where the cameras look, 0 to 1."""
    import numpy as np

    base = two - one
    return abs(float(base @ axis)) / max(float(np.linalg.norm(base) * np.linalg.norm(axis)), 1e-12)


def _spread(number: int, pairs: Sequence[Pair], centres: Mapping[int, NDArray[np.float64]], most: int) -> list[Pair]:
    import numpy as np

    def way(pair: Pair) -> NDArray[np.float64]:
        other = pair.second if pair.first == number else pair.first
        base = centres[other] - centres[number]
        unit: NDArray[np.float64] = base / max(float(np.linalg.norm(base)), 1e-12)
        return unit

    left = {pair.name: pair.score for pair in pairs}
    by_name = {pair.name: pair for pair in pairs}
    chosen: list[Pair] = []
    while left and len(chosen) < most:
        name = max(left, key=lambda one: (left[one], one))
        del left[name]
        chosen.append(by_name[name])
        direction = way(by_name[name])
        for other in left:
            left[other] *= 1 - 0.7 * max(0.0, float(direction @ way(by_name[other]))) ** 2
    return chosen


def chunks(pairs: Sequence[Pair], most: int = CHUNK) -> tuple[tuple[Pair, ...], ...]:
    """Pairs that lie together, so that a job reads few photos: halved along the longer side until each part has at most ``most``."""
    if len(pairs) <= most:
        return (tuple(sorted(pairs, key=lambda pair: pair.name)),) if pairs else ()
    sides = [[pair.middle[axis] for pair in pairs] for axis in range(3)]
    longest = max(range(3), key=lambda axis: (max(sides[axis]) - min(sides[axis]), -axis))
    ordered = sorted(pairs, key=lambda pair: (pair.middle[longest], pair.name))
    half = (len(ordered) + 1) // 2
    return chunks(ordered[:half], most) + chunks(ordered[half:], most)
