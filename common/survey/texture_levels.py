"""Evens out the colours of a mesh along the seams between photos, whose exposure, vignetting and shine differ.

After Waechter, Moehrle and Goesele (2014): each vertex has for each photo that gives colour to a face around it a correction g, such that
the corrected colours meet at seams and g changes slowly elsewhere: least squares of

    sum over seams (f_a + g_a - f_b - g_b)^2 + SMOOTH * sum over edges of one photo (g_i - g_j)^2 + HOLD * sum g^2

The last term is ours: it lets the correction fade at sqrt(SMOOTH / HOLD) edges from a seam, so that a tile's colours do not depend on
what lies far away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .texture import Choice

SMOOTH = 10.0
APART = 24.0
"""Grey levels that a seam may differ from what its two photos usually differ by: beyond, they show two things there."""
ENOUGH = 20
"""Seams between two photos from which what they usually differ by is known; else it is taken to be nothing."""
SOLVES = 2
USUAL = 6.0
"""Grey levels that a seam may be off what its surroundings agree on before it counts less: the photos do not fit there, at a rim, say."""


def corrections(faces: NDArray[np.int32], choice: Choice, fade: float) -> NDArray[np.float32]:
    """(f, 3, 3): for each corner of each face what is added to red, green and blue; 0 where no photo sees the face.

    ``fade``: so many edges away from a seam little is left of a correction.
    """
    import numpy as np

    sparse = library("scipy.sparse", extra="survey")
    linalg = library("scipy.sparse.linalg", extra="survey")
    found = np.zeros((len(faces), 3, 3), np.float32)
    seen = choice.labels >= 0
    if not seen.any():
        return found
    views = len(choice.colors)
    keys = faces[seen].astype(np.int64) * views + choice.labels[seen, None]
    nodes, corner = np.unique(keys, return_inverse=True)
    corner = corner.reshape(-1, 3)
    vertex, view = nodes // views, nodes % views
    shown = choice.colors[view, vertex].astype(np.float64)
    seams = np.nonzero(vertex[1:] == vertex[:-1])[0]
    jump = shown[seams + 1] - shown[seams]
    edges = np.concatenate([corner[:, [0, 1]], corner[:, [1, 2]], corner[:, [2, 0]]])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    count = len(nodes)
    ends = np.concatenate([np.stack([seams, seams + 1], axis=1), edges])
    between = usual_jumps(view[seams] * views + view[seams + 1], jump)
    trust = (np.abs(jump - between).max(axis=1, initial=0) < APART).astype(np.float64)
    for _ in range(SOLVES):
        weights = np.concatenate([trust, np.full(len(edges), SMOOTH)])
        links = sparse.coo_matrix((weights, (ends[:, 0], ends[:, 1])), shape=(count, count)).tocsr()
        links = links + links.T
        whole = np.asarray(links.sum(axis=1)).ravel() + SMOOTH / fade**2
        system, inverse = (sparse.diags(whole) - links).tocsr(), sparse.diags(1 / whole)
        solved = np.zeros((count, 3))
        for channel in range(3):
            push = trust * jump[:, channel]
            wanted = np.bincount(seams, push, count) - np.bincount(seams + 1, push, count)
            solved[:, channel] = linalg.cg(system, wanted, rtol=1e-4, maxiter=2000, M=inverse)[0]
        left = np.abs(jump - (solved[seams] - solved[seams + 1])).max(axis=1)
        trust = np.minimum(trust, 1 / (1 + (left / USUAL) ** 2))
    found[seen] = solved[corner]
    return found


def usual_jumps(pairs: NDArray[np.int64], jump: NDArray[np.float64]) -> NDArray[np.float64]:
    """(s, 3) for each seam the median jump of all seams between the same two photos."""
    import numpy as np

    _, pair, many = np.unique(pairs, return_inverse=True, return_counts=True)
    middle = np.cumsum(many) - many + many // 2
    found = np.zeros((len(many), 3))
    for channel in range(3):
        found[:, channel] = jump[np.lexsort((jump[:, channel], pair)), channel][middle]
    usual: NDArray[np.float64] = np.where(many[:, None] >= ENOUGH, found, 0.0)[pair]
    return usual
