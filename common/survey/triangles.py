"""Triangles: the mesh that is textured, normals, which faces are neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Triangles:
    """Counter-clockwise seen from outside."""

    vertices: NDArray[np.float64]
    """(n, 3) in the model's frame"""
    faces: NDArray[np.int32]
    """(f, 3) rows of ``vertices``"""
    normals: NDArray[np.float32]
    """(n, 3) of length 1, of the vertices"""
    core: NDArray[np.bool_]
    """(f,) belongs to this piece; the rest is margin, there so that what is decided at the rim is decided as the neighbour does"""


def crosses(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float64]:
    """(f, 3) normals whose length is twice the area."""
    import numpy as np

    first = vertices[faces[:, 0]]
    return np.cross(vertices[faces[:, 1]] - first, vertices[faces[:, 2]] - first)


def vertex_normals(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """(n, 3) the mean of the faces around, by area; up where there is none."""
    import numpy as np

    each = crosses(vertices, faces)
    total = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            total[:, axis] += np.bincount(faces[:, corner], each[:, axis], len(vertices))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    total = np.where(length > 0, total / np.where(length > 0, length, 1.0), [0.0, 0.0, 1.0])
    return total.astype(np.float32)


def neighbours(faces: NDArray[np.int32]) -> NDArray[np.int32]:
    """(p, 2) pairs of faces that share an edge, the smaller first, sorted. Where more than two share it, each with the next."""
    import numpy as np

    sides = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    low, high = sides.min(axis=1), sides.max(axis=1)
    owner = np.tile(np.arange(len(faces), dtype=np.int32), 3)
    order = np.lexsort((owner, high, low))
    low, high, owner = low[order], high[order], owner[order]
    same = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
    pairs = np.stack([owner[:-1][same], owner[1:][same]], axis=1)
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def components(count: int, pairs: NDArray[np.int32]) -> NDArray[np.int32]:
    """(count,) number of the connected part that each of ``count`` faces lies in."""
    import numpy as np

    sparse = library("scipy.sparse", extra="survey")
    graph = library("scipy.sparse.csgraph", extra="survey")
    links = sparse.coo_matrix((np.ones(len(pairs), np.int8), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    found: NDArray[np.int32] = graph.connected_components(links, directed=False)[1]
    return found


def compact(mesh: Triangles, keep: NDArray[np.bool_]) -> Triangles:
    """Only the faces of ``keep`` (f,), and the vertices that they use, in the same order."""
    import numpy as np

    faces = mesh.faces[keep]
    used = np.zeros(len(mesh.vertices), bool)
    used[faces.ravel()] = True
    number = (np.cumsum(used) - 1).astype(np.int32)
    return Triangles(
        vertices=mesh.vertices[used], faces=number[faces].reshape(-1, 3), normals=mesh.normals[used], core=mesh.core[keep]
    )  # fmt: skip
