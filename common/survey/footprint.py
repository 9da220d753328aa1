"""Where a photo looks: convex polygons on level ground, counter-clockwise, in coordinates of the model, and what lies above them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .records import Record
from .scene import View
from .stereo import rim_rays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Polygon = tuple[tuple[float, float], ...]
STEEPEST = 0.2
"""Least part of a line of sight that goes down, as part of its length: what is further out is the horizon."""


class Sight(Record, frozen=True, kw_only=True):
    """What a photo looks at, for those who do not have the scene at hand."""

    centre: tuple[float, float, float]
    height: float
    """Of the level ground."""
    ground: Polygon
    """Nothing where the photo does not look down: nothing is known of it then."""


def sight(view: View, height: float) -> Sight:
    x, y, z = (float(value) for value in view.centre)
    return Sight(centre=(x, y, z), height=height, ground=footprint(view, height))


def footprint(view: View, height: float) -> Polygon:
    """Of the photo's corners at ``height``; nothing where one of them does not look down."""
    import numpy as np

    rim = rim_rays(view)
    rays = rim[:: len(rim) // 4] @ view.rotation
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    if (rays[:, 2] > -STEEPEST).any() or view.centre[2] <= height:
        return ()
    places = view.centre + rays * ((height - view.centre[2]) / rays[:, 2:])
    corners = [places[0], places[1], places[2], places[3]]
    polygon = tuple((float(corner[0]), float(corner[1])) for corner in corners)
    return polygon if _area(polygon) > 0 else polygon[::-1]


def within(polygon: Polygon, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which places lie inside."""
    import numpy as np

    good = np.full(np.broadcast(x, y).shape, len(polygon) >= 3)
    for (ax, ay), (bx, by) in zip(polygon, (*polygon[1:], *polygon[:1]), strict=True):
        good &= (bx - ax) * (y - ay) - (by - ay) * (x - ax) >= 0
    return good


def looks(sight: Sight, x: NDArray[np.float64], y: NDArray[np.float64], z: NDArray[np.float64] | float) -> NDArray[np.bool_]:
    """Whether a photo shows these places, if nothing stands before them: on a roof it shows less than on the ground below."""
    import numpy as np

    if not sight.ground:
        return np.ones(np.broadcast(x, y, z).shape, bool)
    cx, cy, cz = sight.centre
    below = np.maximum(cz - z, 1e-9)
    reach = (cz - sight.height) / below
    return within(sight.ground, cx + (x - cx) * reach, cy + (y - cy) * reach) & (z < cz)


def _area(polygon: Sequence[tuple[float, float]]) -> float:
    """Twice the area; below 0: clockwise."""
    return sum(ax * by - bx * ay for (ax, ay), (bx, by) in zip(polygon, (*polygon[1:], *polygon[:1]), strict=True))
