"""The sizes that all tiles of a surface have in common: from the options and what the pairs gave, never from the tiles."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .depth_index import DepthIndex
from .grid import Grid, covering
from .records import Record

CUBE = 2.5
"""Side of the cubes in which pairs must agree, in distances between points: an error of depth is about one such distance."""
FILL = 10.0
"""Holes up to twice as wide are filled, in distances between points."""
WINDOW = 8.0
"""Side of the squares by which outliers are judged, in distances between points."""
UNIT = 1e-4
"""Metres: the step in which places are counted."""


class SurfacePlan(Record, frozen=True, kw_only=True):
    crs: str
    origin: tuple[float, float, float]
    """As in Frame."""
    gsd: float
    """Distance between points of a pair, metres."""
    resolution: float
    unit: float
    cube: int
    """Units."""
    thin: int
    """Units: the cloud has one point in each cube so wide."""
    window: int
    """Units."""
    fill: int
    """Cells."""
    filter: float
    """Standard deviations; 0: none."""

    @property
    def margin(self) -> float:
        """Metres around a tile within which points have a say in what comes out of it."""
        return self.fill * 2 * self.resolution + (2 * self.window + 2 * self.cube + self.thin) * self.unit + 2 * self.resolution


def make_plan(index: DepthIndex, options: Mapping[str, Any]) -> SurfacePlan:
    resolution = options["dem-resolution"] / 100
    if not options["ignore-gsd"]:
        resolution = max(resolution, round_up(index.photo_gsd))
    gsd = index.gsd
    return SurfacePlan(
        crs=index.frame.crs, origin=index.frame.origin, gsd=gsd, resolution=resolution, unit=UNIT, cube=max(1, round(CUBE * gsd / UNIT)),
        thin=max(1, round(max(options["pc-sample"], gsd) / UNIT)), window=max(1, round(WINDOW * gsd / UNIT)),
        fill=max(2, math.ceil(FILL * gsd / resolution)), filter=options["pc-filter"],
    )  # fmt: skip


def round_up(length: float) -> float:
    """To two digits, so that resolutions are numbers that a person may write down."""
    step: float = 10.0 ** (math.floor(math.log10(length)) - 1)
    return round(math.ceil(length / step - 1e-9) * step, 12)


def whole(index: DepthIndex, plan: SurfacePlan) -> Grid:
    """The grid of all that the pairs saw."""
    x, y, _ = plan.origin
    return covering(
        (
            min(pair.low[0] for pair in index.pairs) + x, min(pair.low[1] for pair in index.pairs) + y,
            max(pair.high[0] for pair in index.pairs) + x, max(pair.high[1] for pair in index.pairs) + y,
        ),
        plan.resolution,
    )  # fmt: skip
