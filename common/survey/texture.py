"""Which photo gives each face of a mesh its colours: the sharpest that sees it, in patches as large as can be.

A face's score in a photo is the number of pixels that it covers there, beside the most that it has in any photo, so that nearness,
resolution and angle count as they should. A photo counts where all of the face is in it, from the front, with nothing in between, and
where the colour agrees with what the other photos show (someone who walked through one of them does not). Scores are then averaged over
neighbouring faces: patches come out large, and keep away from the rims of what a photo sees. After Lempitsky and Ivanov (2007) and
Waechter, Moehrle and Goesele (2014), with that averaging instead of their graph cut. All steps look a bounded number of faces far (REACH),
so that a tile with a margin decides as its neighbour does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .triangles import Triangles, components, crosses, neighbours

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .scene import View

RIM = 3.0
"""Pixels that a face keeps from the edge of a photo."""
FLATTEST = 0.1
"""Least cosine between a face's normal and the way to the camera."""
WIDE = 1.2
"""How far outside of the photo, without distortion, a point may be before its projection is not believed: the model of Brown folds back."""
ROUNDS = 16
"""How often scores are averaged over neighbours."""
TIDY = 4
"""How often a face goes with two of its three neighbours."""
SMALL = 16
"""A patch of fewer faces goes to a neighbour, where that photo sees all of it."""
MERGES = 2
ENOUGH = 0.25
"""Part of its best score that a face accepts for the sake of its neighbours."""
REACH = ROUNDS + TIDY + MERGES * SMALL
"""So many faces away nothing changes a choice any more."""
WITNESSES = 3
"""Photos that must see a face before the colour of one can be called wrong."""
ODD = 30.0
"""Grey levels that a photo's colour may differ from the middle of all, beside twice what they usually differ: exposure does not count."""

Read = Callable[["View"], "NDArray[np.uint8]"]
"""A photo's pixels: (height, width, 3) red, green, blue, as they are stored."""
Sight = Callable[["View", "NDArray[np.int64]"], "NDArray[np.bool_]"]
"""Photo, faces -> whether nothing stands in between."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    labels: NDArray[np.int32]
    """(f,) index of a view; -1: no photo sees the face"""
    colors: NDArray[np.uint8]
    """(views, n, 3) what each photo shows at each vertex, a little blurred; 0 outside"""
    pairs: NDArray[np.int32]
    """Faces that share an edge"""


def choose(mesh: Triangles, views: Sequence[View], sight: Sight, read: Read, progress: Callable[[float], None]) -> Choice:
    """A photo for each face."""
    import numpy as np

    sparse = library("scipy.sparse", extra="survey")
    count = len(mesh.faces)
    pairs = neighbours(mesh.faces)
    colors = np.zeros((len(views), len(mesh.vertices), 3), np.uint8)
    if not views or not count:
        return Choice(labels=np.full(count, -1, np.int32), colors=colors, pairs=pairs)
    rows, values = [], []
    for number, view in enumerate(views):
        pixels, inside = frame(view, mesh.vertices)
        faces, areas = covered(mesh, view, pixels, inside)
        if len(faces):
            free = sight(view, faces)
            faces, areas = faces[free], areas[free]
        if len(faces):
            colors[number] = look(read(view), pixels, inside, float(np.median(areas)))
        rows.append(faces)
        values.append(areas)
        progress((number + 1) / len(views))
    starts = np.concatenate([[0], np.cumsum([len(faces) for faces in rows])])
    areas_of = sparse.csc_matrix((np.concatenate(values), np.concatenate(rows), starts), shape=(count, len(views))).tocsr()
    drop_odd(areas_of, mesh.faces, colors)
    labels = best(areas_of, count, pairs)
    table = _table(count, pairs)
    for _ in range(TIDY):
        labels = tidy(labels, table, areas_of)
    for _ in range(MERGES):
        labels = merge(labels, pairs, areas_of)
    return Choice(labels=labels, colors=colors, pairs=pairs)


def frame(view: View, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(n, 2) pixels and whether they mean something: in front of the camera and RIM within the photo."""
    import numpy as np

    lens = view.lens
    camera = points @ view.rotation.T + view.translation
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = camera[:, :2] / camera[:, 2:]
        pixels, depth = view.project(points)
        wide = WIDE * max(lens.cx, lens.width - lens.cx) / lens.fx, WIDE * max(lens.cy, lens.height - lens.cy) / lens.fy
        inside = (depth > 0) & (np.abs(plain) < wide).all(axis=1)
        inside &= (pixels >= RIM).all(axis=1) & (pixels <= (lens.width - RIM, lens.height - RIM)).all(axis=1)
    return np.where(inside[:, None], pixels, 0.0), inside


def covered(
    mesh: Triangles, view: View, pixels: NDArray[np.float64], inside: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Faces that lie in the photo whole and show it their front, and how many pixels each covers."""
    import numpy as np

    faces = np.nonzero(inside[mesh.faces].all(axis=1))[0]
    corners = mesh.faces[faces]
    normal = crosses(mesh.vertices, corners)
    way = view.centre - mesh.vertices[corners].mean(axis=1)
    length = np.linalg.norm(normal, axis=1) * np.linalg.norm(way, axis=1)
    cosine = (normal * way).sum(axis=1) / np.maximum(length, 1e-30)
    a, b, c = (pixels[corners[:, n]] for n in range(3))
    area = 0.5 * np.abs((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))
    good = (cosine > FLATTEST) & (area > 0)
    return faces[good], area[good].astype(np.float32)


def look(picture: NDArray[np.uint8], pixels: NDArray[np.float64], inside: NDArray[np.bool_], area: float) -> NDArray[np.uint8]:
    """(n, 3) colours at ``pixels``, each the mean of about as much as a face of ``area`` pixels covers."""
    import numpy as np

    cv2 = library("cv2", extra="survey")
    soft = cv2.GaussianBlur(picture, (0, 0), min(6.0, max(0.6, 0.3 * area**0.5)))
    found = np.zeros((len(pixels), 3), np.uint8)
    place = np.floor(pixels[inside]).astype(np.int64)
    found[inside] = soft[np.minimum(place[:, 1], picture.shape[0] - 1), np.minimum(place[:, 0], picture.shape[1] - 1)]
    return found


def drop_odd(areas: Any, faces: NDArray[np.int32], colors: NDArray[np.uint8]) -> None:
    """Take out of ``areas`` (csr, faces x views) the photos whose colour of a face is unlike what the others show."""
    import numpy as np

    views = len(colors)
    step = max(1, 3_000_000 // max(1, views))
    for first in range(0, len(faces), step):
        last = min(len(faces), first + step)
        begin, end = areas.indptr[first], areas.indptr[last]
        row = np.repeat(np.arange(last - first), np.diff(areas.indptr[first : last + 1]))
        view = areas.indices[begin:end]
        shown = colors[view[:, None], faces[first:last][row]].astype(np.float32).mean(axis=1)
        # the entries of a face lie side by side: give each its place in a table as wide as the most that see one
        seen = np.bincount(row, minlength=last - first)
        place = np.arange(len(row)) - np.repeat(np.cumsum(seen) - seen, seen)
        table = np.full((last - first, max(1, int(seen.max(initial=1))), 3), np.inf, np.float32)
        table[row, place] = shown
        at = np.maximum(seen - 1, 0) // 2
        middle = np.take_along_axis(np.sort(table, axis=1), at[:, None, None], axis=1)[:, 0]
        apart = np.abs(shown - middle[row]).max(axis=1)
        far = np.full(table.shape[:2], np.inf, np.float32)
        far[row, place] = apart
        usual = np.take_along_axis(np.sort(far, axis=1), at[:, None], axis=1)[:, 0]
        areas.data[begin:end][(apart > ODD + 2 * usual[row]) & (seen[row] >= WITNESSES)] = 0
    areas.eliminate_zeros()


def best(areas: Any, count: int, pairs: NDArray[np.int32]) -> NDArray[np.int32]:
    """(count,) the photo with the best averaged score among those that see the face."""
    import numpy as np

    sparse = library("scipy.sparse", extra="survey")
    most = np.maximum(areas.max(axis=1).toarray().ravel(), 1e-30)
    ones = np.ones(len(pairs), np.float32)
    links = sparse.coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(count, count)).tocsr()
    links = (links + links.T + sparse.identity(count, np.float32, "csr")).tocsr()
    links.sum_duplicates()
    links.data[:] = 1
    share = 1 / np.asarray(links.sum(axis=1)).ravel()
    labels, highest = np.full(count, -1, np.int32), np.zeros(count)
    columns = areas.tocsc()
    for view in range(areas.shape[1]):
        faces = columns.indices[columns.indptr[view] : columns.indptr[view + 1]]
        score = np.zeros(count)
        score[faces] = columns.data[columns.indptr[view] : columns.indptr[view + 1]] / most[faces]
        enough = faces[score[faces] >= ENOUGH]
        for _ in range(ROUNDS):
            score = share * (links @ score)
        better = enough[score[enough] > highest[enough]]
        labels[better], highest[better] = view, score[better]
    return labels


def tidy(labels: NDArray[np.int32], table: NDArray[np.int32], areas: Any) -> NDArray[np.int32]:
    """Faces two of whose neighbours agree go with them, where that photo sees them well enough."""
    import numpy as np

    around = np.where(table >= 0, labels[table], -1)
    a, b, c = around.T
    wanted = np.where((a == b) | (a == c), a, np.where(b == c, b, -1))
    ask = np.nonzero((wanted >= 0) & (labels >= 0) & (wanted != labels))[0]
    fine = well_seen(areas, ask, wanted[ask])
    after = labels.copy()
    after[ask[fine]] = wanted[ask[fine]]
    return after


def merge(labels: NDArray[np.int32], pairs: NDArray[np.int32], areas: Any) -> NDArray[np.int32]:
    """Patches of less than SMALL faces go to the larger neighbour whose photo shows them best."""
    import numpy as np

    part, size = patches(labels, pairs)
    capped = np.minimum(size, SMALL)
    ways = np.concatenate([pairs, pairs[:, ::-1]])
    inner, outer = part[ways[:, 0]], part[ways[:, 1]]
    mine, theirs = labels[ways[:, 0]], labels[ways[:, 1]]
    larger = (capped[outer] > capped[inner]) | ((capped[outer] == capped[inner]) & (theirs < mine))
    asks = (mine >= 0) & (theirs >= 0) & (mine != theirs) & (size[inner] < SMALL) & larger
    offers = np.unique(np.stack([inner[asks], theirs[asks]], axis=1), axis=0)
    if not len(offers):
        return labels
    order = np.argsort(part, kind="stable")
    starts = np.concatenate([[0], np.cumsum(size)])
    lengths = size[offers[:, 0]]
    offer = np.repeat(np.arange(len(offers)), lengths)
    inside = np.arange(len(offer)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    face = order[starts[offers[offer, 0]] + inside]
    seen = np.asarray(areas[face, offers[offer, 1]]).ravel()
    whole = np.bincount(offer, seen > 0) == lengths
    worth = np.where(whole, np.bincount(offer, seen), -1.0)
    rank = np.lexsort((offers[:, 1], -worth, offers[:, 0]))
    first = rank[np.concatenate([[True], np.diff(offers[rank, 0]) > 0])]
    first = first[whole[first]]
    to = np.full(len(size), -1, np.int32)
    to[offers[first, 0]] = offers[first, 1]
    return np.where(to[part] >= 0, to[part], labels).astype(np.int32)


def patches(labels: NDArray[np.int32], pairs: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(f,) number of the connected patch of one photo, and how many faces each patch has."""
    import numpy as np

    part = components(len(labels), pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]])
    return part, np.bincount(part)


def well_seen(areas: Any, faces: NDArray[np.int64], views: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether each face has ENOUGH of its best score in the photo beside it."""
    import numpy as np

    if not len(faces):
        return np.zeros(0, bool)
    found = np.asarray(areas[faces, views]).ravel()
    most = areas[faces].max(axis=1).toarray().ravel()
    well: NDArray[np.bool_] = (found > 0) & (found >= ENOUGH * most)
    return well


def _table(count: int, pairs: NDArray[np.int32]) -> NDArray[np.int32]:
    """(count, 3) neighbours of each face, -1 where there are fewer; more than three are left out."""
    import numpy as np

    ways = np.concatenate([pairs, pairs[:, ::-1]])
    ways = ways[np.lexsort((ways[:, 1], ways[:, 0]))]
    many = np.bincount(ways[:, 0], minlength=count)
    place = np.arange(len(ways)) - np.repeat(np.cumsum(many) - many, many)
    table = np.full((count, 3), -1, np.int32)
    fits = place < 3
    table[ways[fits, 0], place[fits]] = ways[fits, 1]
    return table
