"""Which photos are compared with which, and how the pairs are cut into jobs.

By GPS: with the nearest ones, and with those around it in all directions (edges of a Delaunay triangulation), as a strip flown densely has
all its nearest neighbours in itself. Altitude is not looked at: it drifts by more than the strips are apart. Photos without GPS, or far
off all others, or all at one place: by looks (``retrieval.py``). Few photos: all with all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..libraries import library
from .records import Photo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Pair = tuple[int, int]
ByLooks = Callable[[Sequence[int]], Iterable[Pair]]
"""Numbers of photos -> for each of them pairs with those (of all photos) that look most like it."""

NEIGHBOURS = 13
"""By GPS. A survey with 80 % and 60 % overlap has about 24 photos that see a place; 13 tie them twice over."""
ALL_WITH_ALL = 60
"""Photos without GPS up to which every pair is tried: 1,770 pairs, 5 minutes of one core."""
FEW = 16
"""Photos with GPS up to which every pair is tried: the nearest 13 would leave out next to none."""
FAR = 4.0
"""An edge of the triangulation counts up to so many times the distance of the farthest neighbour: those along the rim are too long."""
ASTRAY = 20.0
"""A photo whose nearest neighbour is so many times as far away as is usual has a wrong GPS, or shows another place."""
WIDE = 8.0
"""Standard errors that a set must extend over for its GPS to tell neighbours apart."""
IN_ROW = 2
"""Without GPS also each with the next ones by name: people walk around an object."""
EARTH = 6_371_000.0
PAIRS = 32
"""In a job: 5 to 10 s of one core."""
GROUP = 8
"""Photos that are kept together when pairs are cut: a job reads about twice as many."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    pairs: tuple[Pair, ...]
    """The smaller number first, sorted"""
    by: str
    """How they were found: all, gps, looks"""
    notes: tuple[str, ...] = ()


def positions(photos: Sequence[Photo]) -> NDArray[np.float64]:
    """(n, 2) metres east and north of the median, on a sphere (good to 1 % in a survey); nan where a photo has no GPS."""
    import numpy as np

    degrees = np.array([(photo.longitude, photo.latitude) if photo.latitude is not None else (np.nan, np.nan) for photo in photos], float)
    degrees = degrees.reshape(-1, 2)
    known = ~np.isnan(degrees[:, 0])
    if not known.any():
        return degrees
    first = degrees[known][0, 0]
    degrees[:, 0] = (degrees[:, 0] - first + 180) % 360 - 180  # a survey may lie on the date line
    middle = np.median(degrees[known], axis=0)
    metres: NDArray[np.float64] = np.radians(degrees - middle) * EARTH * np.array([np.cos(np.radians(middle[1])), 1.0])
    return metres


def choose(photos: Sequence[Photo], by_looks: ByLooks, *, neighbours: int = 0, accuracy: float = 3.0) -> Choice:
    """Pairs among ``photos``; ``neighbours`` 0: NEIGHBOURS. ``accuracy``: of the GPS in metres, where a photo does not say it."""
    import numpy as np

    numbers = [photo.number for photo in photos]
    places = positions(photos)
    known = ~np.isnan(places[:, 0])
    errors = [photo.accuracy[0] if photo.accuracy else accuracy for photo in photos]
    if len(photos) <= FEW and not neighbours:
        return Choice(pairs=_all(numbers), by="all")
    if known.sum() < 3 or _extent(places[known]) < WIDE * float(np.median(errors)):
        notes: tuple[str, ...] = (
            ("All photos have the same GPS position as far as it can tell; pairs are chosen by looks.",) if known.sum() >= 3 else ()
        )
        if len(photos) <= ALL_WITH_ALL:
            return Choice(pairs=_all(numbers), by="all", notes=notes if not neighbours else ())
        near = [pair for step in range(1, IN_ROW + 1) for pair in zip(numbers, numbers[step:], strict=False)]
        return Choice(pairs=_tidy([*near, *by_looks(numbers)]), by="looks", notes=notes)
    indices = np.flatnonzero(known)
    found, astray = _around(places[indices], neighbours or NEIGHBOURS)
    pairs = [(numbers[indices[a]], numbers[indices[b]]) for a, b in found]
    strays = [photos[indices[index]] for index in astray]
    lost = sorted([*(photo.number for photo in strays), *(numbers[index] for index in np.flatnonzero(~known))])
    notes = tuple(
        f"The GPS position of {photo.name} is far away from all others; the photos to compare it with are chosen by looks."
        for photo in strays
    )
    return Choice(pairs=_tidy([*pairs, *(by_looks(lost) if lost else ())]), by="gps", notes=notes)


def cut(pairs: Sequence[Pair], photos: Sequence[Photo]) -> list[list[Pair]]:
    """Pairs in runs of up to PAIRS, each of which touches few photos: those that are close to each other are numbered in a row first."""
    rank = _ranks(photos)
    keyed = []
    for pair in pairs:
        low, high = sorted(pair, key=rank.__getitem__)
        keyed.append((rank[low] // GROUP, rank[high] // GROUP, rank[low], rank[high], pair))
    ordered = [entry[-1] for entry in sorted(keyed)]
    count = -(-len(ordered) // PAIRS)
    return [sorted(ordered[len(ordered) * k // count : len(ordered) * (k + 1) // count]) for k in range(count)]


def _all(numbers: Sequence[int]) -> tuple[Pair, ...]:
    ordered = sorted(numbers)
    return tuple((first, second) for at, first in enumerate(ordered) for second in ordered[at + 1 :])


def _tidy(pairs: Iterable[Pair]) -> tuple[Pair, ...]:
    return tuple(sorted({(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}))


def _extent(places: NDArray[np.float64]) -> float:
    """Metres across, without the outermost tenth: one photo with a wrong GPS makes no wide survey."""
    import numpy as np

    low, high = np.quantile(places, (0.05, 0.95), axis=0)
    return float(np.hypot(*(high - low)))


def _around(places: NDArray[np.float64], neighbours: int) -> tuple[list[Pair], list[int]]:
    """(n, 2) metres -> pairs of rows, rows that lie astray."""
    import numpy as np

    spatial = library("scipy.spatial", extra="survey")
    count = min(neighbours, len(places) - 1)
    distances, rows = spatial.KDTree(places).query(places, k=count + 1)  # itself too; among photos at one place perhaps not
    reach, nearest = distances[:, -1], distances[:, min(count, 3)]
    astray = np.flatnonzero(nearest > ASTRAY * max(1.0, float(np.median(nearest))))
    pairs = [(at, int(row)) for at, found in enumerate(rows) for row in found if row != at]
    if np.linalg.matrix_rank(places - places[0], tol=1.0) == 2:
        for corners in spatial.Delaunay(places, qhull_options="QJ Pp").simplices:  # joggled: photos may have one position
            pairs += [(int(a), int(b)) for a, b in zip(corners, np.roll(corners, 1), strict=True)]
    lost = set(astray.tolist())
    good = [
        (a, b) for a, b in pairs if not {a, b} & lost and float(np.hypot(*(places[a] - places[b]))) <= FAR * max(reach[a], reach[b], 1.0)
    ]
    return good, sorted(lost)


def _ranks(photos: Sequence[Photo]) -> dict[int, int]:
    """Photo number -> place in a row in which neighbours are close: halved again and again along the longer side; without GPS by name."""
    import numpy as np

    places = positions(photos)
    known = np.flatnonzero(~np.isnan(places[:, 0])).tolist()
    row: list[int] = []
    todo = [known] if known else []
    while todo:
        some = todo.pop()
        if len(some) <= GROUP:
            row += some
            continue
        axis = int(np.argmax(np.ptp(places[some], axis=0)))
        some = sorted(some, key=lambda index: (places[index, axis], index))
        middle = max(1, round(len(some) / 2 / GROUP)) * GROUP
        todo += [some[middle:], some[:middle]]
    row += np.flatnonzero(np.isnan(places[:, 0])).tolist()
    return {photos[index].number: at for at, index in enumerate(row)}
