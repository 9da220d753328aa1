"""How the photos are cut into submodels: cores that hold each photo once, and the neighbours' photos that both sides map.

Cores are halves of halves along the longer side of the area (without GPS: of the graph of matches, laid out in a plane), or the groups of
image_groups.txt. Overlap is chosen by matches, not by distance: photos that see most of what the other core sees tie best, however bad
the GPS is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .pairs import positions
from .records import Block, Matches, Photo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

WHOLE = 40
"""Photos below which cutting costs more than it gains."""
LARGEST = 100
"""Photos of a core by themselves: the time of mapping grows with the square of their number."""
SMALLEST = 30
"""Photos of a core, where more nodes are there than cores."""
SHARED = 0.15
"""Part of the smaller core that each of two neighbours gives the other: together 30 %."""
LEAST_SHARED = 3
"""Photos that each gives at least: 6 shared ones hold a similarity with one or two of them wrong."""
TIED = 3
"""Pairs of photos across a border that make two cores neighbours."""
COUNTED = 100
"""Matches of a pair that count for how well it ties: a few pairs with very many do not outweigh many."""


def count(photos: int, nodes: int, split: int) -> int:
    """How many submodels ``photos`` make; ``split``: photos for each, 0: by the numbers of photos and of nodes."""
    if split:
        return max(1, math.ceil(photos / max(2, split)))
    if photos < WHOLE:
        return 1
    return max(math.ceil(photos / LARGEST), min(nodes, photos // SMALLEST), 1)


def cut(photos: Sequence[Photo], matches: Matches, blocks: int, overlap: float = 0.0) -> list[Block]:
    """Blocks of ``photos`` (one island). ``blocks`` 0: by their groups. ``overlap``: metres, where they have GPS; 0: by matches."""
    ordered = sorted(photos, key=lambda photo: photo.number)
    ties = _ties(matches, [photo.number for photo in ordered])
    if blocks:
        labels = _halved(_layout(ordered, ties), blocks)
        _mend(labels, ties)
        order = {old: new for new, old in enumerate(dict.fromkeys(labels))}
        labels = [order[label] for label in labels]
        names = [f"block{index:03d}" for index in range(len(order))]
    else:
        names, labels = _groups(ordered, ties)
    cores = [[at for at, label in enumerate(labels) if label == index] for index in range(len(names))]
    wide = [set(core) for core in cores]
    places = positions(ordered)
    for index, core in enumerate(cores):
        for other in range(index):
            _share(core, cores[other], wide[index], wide[other], ties)
        if overlap:
            wide[index] |= _within(places, core, overlap)
    numbers = [photo.number for photo in ordered]
    return [
        Block(name=name, core=tuple(numbers[at] for at in core), photos=tuple(numbers[at] for at in sorted(all_)))
        for name, core, all_ in zip(names, cores, wide, strict=True)
    ]


def _ties(matches: Matches, numbers: Sequence[int]) -> NDArray[np.float64]:
    """(n, n) how well photos tie, symmetric: matches of each pair, up to COUNTED."""
    import numpy as np

    row = {number: at for at, number in enumerate(numbers)}
    ties = np.zeros((len(numbers), len(numbers)))
    for (first, second), size in zip(matches.pairs.tolist(), np.diff(matches.starts).tolist(), strict=True):
        if first in row and second in row:
            ties[row[first], row[second]] = ties[row[second], row[first]] = min(size, COUNTED)
    return ties


def _layout(photos: Sequence[Photo], ties: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) where the photos lie; those without GPS amid what they match. Without GPS on most: by the graph alone."""
    import numpy as np

    places = positions(photos)
    known = ~np.isnan(places[:, 0])
    if known.sum() * 2 <= len(photos):
        return _spectral(ties)
    while not known.all():
        tied = np.flatnonzero(~known & (ties[:, known].sum(axis=1) > 0))
        if not len(tied):
            places[~known] = np.median(places[known], axis=0)
            break
        weights = ties[np.ix_(tied, np.flatnonzero(known))]
        places[tied] = weights @ places[known] / weights.sum(axis=1, keepdims=True)
        known[tied] = True
    return places


def _spectral(ties: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) from the eigenvectors of the graph's normalised Laplacian with the smallest eigenvalues but the first (Shi & Malik 2000)."""
    import numpy as np

    degree = np.maximum(ties.sum(axis=1), 1.0)
    root = 1 / np.sqrt(degree)
    _, vectors = np.linalg.eigh(np.eye(len(ties)) - root[:, None] * ties * root)
    found = vectors[:, 1:3] * root[:, None]
    if found.shape[1] < 2:
        found = np.concatenate([found, np.zeros((len(found), 2 - found.shape[1]))], axis=1)
    signs = np.sign(found[np.abs(found).argmax(axis=0), [0, 1]])
    laid: NDArray[np.float64] = np.round(found * np.where(signs == 0, 1, signs), 9)
    return laid


def _halved(places: NDArray[np.float64], parts: int) -> list[int]:
    """(n, 2) -> label of each row; parts of equal size, each halved along its longer side."""
    import numpy as np

    labels = [0] * len(places)
    parts = min(parts, len(places) // 2 or 1)
    todo = [(list(range(len(places))), parts, 0)]
    while todo:
        rows, pieces, label = todo.pop()
        if pieces == 1:
            for row in rows:
                labels[row] = label
            continue
        centred = places[rows] - places[rows].mean(axis=0)
        _, _, axes = np.linalg.svd(centred, full_matrices=False)
        axis = axes[0] * (1 if axes[0][np.abs(axes[0]).argmax()] >= 0 else -1)
        along = np.round(centred @ axis, 6)
        ordered = [rows[at] for at in np.lexsort((rows, along))]
        first = pieces // 2
        middle = round(len(rows) * first / pieces)
        todo += [(ordered[middle:], pieces - first, label + first), (ordered[:middle], first, label)]
    return labels


def _groups(photos: Sequence[Photo], ties: NDArray[np.float64]) -> tuple[list[str], list[int]]:
    """Names of the groups, and the label of each photo; one that is in none joins those that it matches best."""
    import numpy as np

    names = sorted({photo.group for photo in photos if photo.group})
    labels = [names.index(photo.group) if photo.group else -1 for photo in photos]
    for _ in photos:
        open_ = [at for at, label in enumerate(labels) if label < 0]
        if not open_:
            break
        sums = np.array([[ties[at, [label == name for label in labels]].sum() for name in range(len(names))] for at in open_])
        best = int(sums.max(axis=1).argmax())
        labels[open_[best]] = int(sums[best].argmax())
    return [f"group{index:03d}-{re.sub('[^A-Za-z0-9]+', '-', name)[:40]}" for index, name in enumerate(names)], labels


def _mend(labels: list[int], ties: NDArray[np.float64]) -> None:
    """Photos that hang apart from the rest of their core go to the core that they match best. Changes ``labels``."""
    import numpy as np

    for _ in range(3):
        moved = False
        for label in sorted(set(labels)):
            rows = [at for at, other in enumerate(labels) if other == label]
            for part in _parts(rows, ties)[1:]:
                sums = {
                    other: float(ties[np.ix_(part, [at for at, one in enumerate(labels) if one == other])].sum()) for other in set(labels)
                }
                best = max(sorted(sums), key=lambda other: sums[other] if other != label else 0.0)
                if best != label and sums[best] > 0:
                    moved = True
                    for row in part:
                        labels[row] = best
        if not moved:
            return


def _parts(rows: Sequence[int], ties: NDArray[np.float64]) -> list[list[int]]:
    """Groups of rows that ties connect, the largest first."""
    left, parts = set(rows), []
    while left:
        part = [min(left)]
        left.discard(part[0])
        for row in part:  # grows on the way
            near = sorted(other for other in left if ties[row, other] > 0)
            part += near
            left.difference_update(near)
        parts.append(sorted(part))
    return sorted(parts, key=lambda part: (-len(part), part[0]))


def _share(core: list[int], other: list[int], wide: set[int], other_wide: set[int], ties: NDArray[np.float64]) -> None:
    """Give each of two neighbours what ties it best to the other one."""
    import numpy as np

    across = ties[np.ix_(core, other)]
    if (across > 0).sum() < TIED:
        return
    given = max(LEAST_SHARED, math.ceil(SHARED * min(len(core), len(other))))
    for rows, sums, to in ((core, across.sum(axis=1), other_wide), (other, across.sum(axis=0), wide)):
        best = np.lexsort((rows, -sums))[:given]
        to.update(rows[at] for at in best if sums[at] > 0)


def _within(places: NDArray[np.float64], core: list[int], radius: float) -> set[int]:
    """Rows that lie within ``radius`` metres of a row of ``core``."""
    import numpy as np

    squares = ((places[:, None] - places[core][None]) ** 2).sum(axis=2)
    return set(np.flatnonzero((squares <= radius * radius).any(axis=1)).tolist())
