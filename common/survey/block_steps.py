"""Do submodels meet on the ground? Heights of each from its own pairs alone, compared where two have some: a step between them is a
median that is not 0. Tiles count differences in bins, so that the whole is the sum of the tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from .fusion import Cloud
from .geotiff import NODATA
from .grid import Grid
from .records import Record
from .surface_plan import SurfacePlan
from .surface_tile import heights

if TYPE_CHECKING:
    from .depth_index import PairEntry

BINS = 20
"""For each distance between points."""
REACH = 200
"""Distances between points: a larger step counts as this one."""
LEAST_CELLS = 100
"""Where fewer are compared, nothing is said."""


class Steps(Record, frozen=True, kw_only=True):
    """Of two submodels."""

    first: str
    second: str
    bins: dict[str, int]
    """Height of the second above the first, in whole bins -> number of cells."""


class Step(Record, frozen=True, kw_only=True):
    first: str
    second: str
    cells: int
    median: float
    """Metres, the second above the first."""
    nmad: float
    """Metres, 1.4826 times the median distance from the median."""


def count_steps(cloud: Cloud, pairs: Sequence[PairEntry], grid: Grid, plan: SurfacePlan) -> tuple[Steps, ...]:
    """In the cells of ``grid``, from all points of the pairs, agreed upon or not."""
    import numpy as np

    blocks = sorted({pair.block for pair in pairs if pair.block})
    if len(blocks) < 2:
        return ()
    block = np.array([blocks.index(pair.block) if pair.block else -1 for pair in pairs])[cloud.pair]
    maps = [heights(cloud.places[:, block == number], grid, plan, 0.5) for number in range(len(blocks))]
    found = []
    for one, two in combinations(range(len(blocks)), 2):
        both = (maps[one] != NODATA) & (maps[two] != NODATA)
        if both.any():
            away = (maps[two][both].astype(np.float64) - maps[one][both]) / plan.gsd
            numbers, counts = np.unique(np.rint(np.clip(away, -REACH, REACH) * BINS).astype(int), return_counts=True)
            bins = {str(number): int(count) for number, count in zip(numbers, counts, strict=True)}
            found.append(Steps(first=blocks[one], second=blocks[two], bins=bins))
    return tuple(found)


def measure_steps(parts: Sequence[Steps], gsd: float) -> tuple[Step, ...]:
    """From what all tiles counted, by names."""
    sums: dict[tuple[str, str], dict[int, int]] = {}
    for part in parts:
        bins = sums.setdefault((part.first, part.second), {})
        for number, count in part.bins.items():
            bins[int(number)] = bins.get(int(number), 0) + count
    steps = []
    for (first, second), bins in sorted(sums.items()):
        cells = sum(bins.values())
        if cells < LEAST_CELLS:
            continue
        middle = _median(bins)
        apart: dict[int, int] = {}
        for step, count in bins.items():
            apart[abs(step - middle)] = apart.get(abs(step - middle), 0) + count
        size = gsd / BINS
        steps.append(Step(first=first, second=second, cells=cells, median=middle * size, nmad=1.4826 * _median(apart) * size))
    return tuple(steps)


def _median(bins: Mapping[int, int]) -> int:
    left = sum(bins.values()) / 2
    for number, count in sorted(bins.items()):
        left -= count
        if left <= 0:
            return number
    raise ValueError("nothing was counted")
