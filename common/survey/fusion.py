"""Points of many stereo pairs become one cloud: a point counts where the pairs of three photos or more agree on a small cube.

All is done on whole numbers: places in steps of ``unit``, cubes counted from the zero point of the coordinates. So sums do not depend on
the order, and what comes out of a place does not depend on which other places, or pairs that do not reach it, were looked at with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .stereo_file import Points

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

AGREE = 3
"""Photos: those of two pairs are three or four."""
FACES = ((0, 0, 0), (0, 0, 1), (0, 0, -1), (0, 1, 0), (0, -1, 0), (1, 0, 0), (-1, 0, 0))
"""A cube and its neighbours."""
COLUMN = FACES[:3]
"""A cube, and those above and below it: for ground seen from above."""


@dataclass(frozen=True, kw_only=True)
class Cloud:
    places: NDArray[np.int64]
    """(3, n) x, y, z in units"""
    colors: NDArray[np.uint8]
    """(n, 3)"""
    pair: NDArray[np.int32]
    """(n,) row of the pairs' table"""
    coarse: NDArray[np.bool_]
    """(n,) found in smaller pictures only: counts where others agree, never alone"""

    def __len__(self) -> int:
        return len(self.pair)

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Cloud:
        return replace(self, places=self.places[:, chosen], colors=self.colors[chosen], pair=self.pair[chosen], coarse=self.coarse[chosen])


def cloud_of(points: Points, pair: int, unit: float, shift: Sequence[float] = (0.0, 0.0, 0.0)) -> Cloud:
    """Of one pair; ``shift`` is added to its coordinates."""
    import numpy as np

    places = np.stack([np.rint((points.places[i] + shift[i]) / unit) for i in range(3)]).astype(np.int64)
    return Cloud(places=places, colors=points.colors, pair=np.full(places.shape[1], pair, np.int32), coarse=points.coarse)


def joined(clouds: Sequence[Cloud]) -> Cloud:
    import numpy as np

    if not clouds:
        nothing = np.zeros((3, 0), np.int64), np.zeros((0, 3), np.uint8), np.zeros(0, np.int32), np.zeros(0, bool)
        return Cloud(places=nothing[0], colors=nothing[1], pair=nothing[2], coarse=nothing[3])
    return Cloud(
        places=np.concatenate([cloud.places for cloud in clouds], axis=1),
        colors=np.concatenate([cloud.colors for cloud in clouds]),
        pair=np.concatenate([cloud.pair for cloud in clouds]),
        coarse=np.concatenate([cloud.coarse for cloud in clouds]),
    )


@dataclass(frozen=True, kw_only=True)
class Cubes:
    """Numbers for the cubes of a cloud, in which cubes beyond its own rim have one too."""

    low: tuple[int, int, int]
    size: tuple[int, int, int]

    def step(self, offset: tuple[int, int, int]) -> int:
        """What is added to a cube's number to have that of its neighbour."""
        return (offset[0] * self.size[1] + offset[1]) * self.size[2] + offset[2]

    @property
    def count(self) -> int:
        return self.size[0] * self.size[1] * self.size[2]


def cubes(places: NDArray[np.int64], side: int) -> tuple[NDArray[np.int64], Cubes]:
    """The number of each place's cube, ``side`` units wide. OverflowError where there are too many to be told apart."""
    at = [places[i] // side for i in range(3)]
    low = tuple(int(axis.min()) - 1 if len(axis) else 0 for axis in at)
    size = tuple(int(axis.max()) + 2 - first if len(axis) else 1 for axis, first in zip(at, low, strict=True))
    form = Cubes(low=(low[0], low[1], low[2]), size=(size[0], size[1], size[2]))
    if form.count >= 1 << 47:
        raise OverflowError("the points lie too far apart for their distance")
    return ((at[0] - low[0]) * size[1] + (at[1] - low[1])) * size[2] + (at[2] - low[2]), form


def votes(cloud: Cloud, photos: NDArray[np.int32], side: int, near: Sequence[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """(n,) how many photos have a part in points of the same cube or one ``near``, 255 at the most.

    photos: (p, 2) rows of photos that make each pair; their numbers are below 65536.
    """
    import numpy as np

    if not len(cloud):
        return np.zeros(0, np.uint8)
    number, form = cubes(cloud.places, side)
    pairs = len(photos)
    once = np.unique(number * pairs + cloud.pair)
    cube, pair = once // pairs, once % pairs
    _, rows = np.unique(photos, return_inverse=True)
    rows = rows.reshape(-1, 2).astype(np.int64)
    most = int(rows.max()) + 1
    keys = [(cube + form.step(offset)) * most + rows[pair, k] for offset in near for k in (0, 1)]
    seen = np.unique(np.concatenate(keys)) // most
    del keys
    at = np.searchsorted(seen, number, "left")
    count: NDArray[np.uint8] = np.minimum(np.searchsorted(seen, number, "right") - at, 255).astype(np.uint8)
    return count


@dataclass(frozen=True, kw_only=True)
class Thinned:
    """One point for each cube: the mean of those in it."""

    places: NDArray[np.int64]
    """(3, m) units; sorted by cube"""
    colors: NDArray[np.uint8]
    views: NDArray[np.uint8]
    """(m,) the most votes of a point in it"""


def thin(cloud: Cloud, views: NDArray[np.uint8], side: int) -> Thinned:
    import numpy as np

    if not len(cloud):
        return Thinned(places=cloud.places, colors=cloud.colors, views=views)
    number, _ = cubes(cloud.places, side)
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    count = np.diff(starts, append=len(order))
    places = np.stack([np.add.reduceat(axis[order], starts) // count for axis in cloud.places])
    colors = [np.add.reduceat(cloud.colors[order, i].astype(np.int64), starts) // count for i in range(3)]
    return Thinned(
        places=places, colors=np.stack(colors, axis=1).astype(np.uint8), views=np.maximum.reduceat(views[order], starts)
    )
