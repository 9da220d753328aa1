"""Joining submodels: each has a frame of its own, and shares photos and points of the ground with its neighbours.

Two neighbours are brought together by the photos that are in both: their rotations tell the turn, their places the shift, and these and
the points that were made of the same features in both the scale. The height of the ground has no say: a focal length that came out
otherwise shifts it against the cameras, and the global adjustment mends that from poses that fit. From the block with most links they
are chained along the strongest links; each photo takes its pose from the block whose core it is in. What differs then is for the
global adjustment to take away (``bundle_adjustment.py``), and for ``residuals.py`` to measure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .records import Block
from .similarity import Similarity, identity, mean_rotation, nmad

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]

LEAST_PHOTOS = 3
LEAST_POINTS = 20
WORST_GROUND = 10.0
"""GSD: by more than this the ground of a block that fits does not scatter about its neighbour's (measured: 1 to 5)."""
WORST_SCALE = 0.05
"""Cameras and ground of a block that fits do not tell scales that differ by more."""
WORST_TURN = 2.0
"""Degrees between two blocks' opinions on how the shared photos lie to each other, in the median."""


@dataclass(frozen=True, kw_only=True)
class Submodel:
    """A model of mapping, as arrays."""

    block: Block
    numbers: tuple[int, ...]
    """Photos that were placed, sorted."""
    rotations: Mapping[int, Floats]
    """World -> camera"""
    translations: Mapping[int, Floats]
    points: Floats
    """(n, 3)"""
    features: Ints
    """(o,) photo << 32 | feature, sorted: what the points were seen as"""
    owners: Ints
    """(o,) index of the point"""
    gsd: float
    """In its own units: the median depth of its points over the focal length."""

    @property
    def name(self) -> str:
        return self.block.name

    def centres(self, numbers: Sequence[int]) -> Floats:
        """(n, 3)"""
        import numpy as np

        return np.array([-self.rotations[number].T @ self.translations[number] for number in numbers]).reshape(-1, 3)


@dataclass(frozen=True, kw_only=True)
class Link:
    """What two blocks share."""

    first: str
    second: str
    photos: tuple[int, ...]
    rows: Ints
    """(m, 2) points of the first, of the second, made of the same feature"""
    move: Similarity | None
    """Second -> first; None: they do not fit"""
    why: str = ""
    """What is wrong, as the end of a sentence: "… fit by …"."""


@dataclass(frozen=True, kw_only=True)
class Joined:
    rotations: Mapping[int, Floats]
    translations: Mapping[int, Floats]
    moves: Mapping[str, Similarity]
    """Block -> its frame to the common one; the blocks that are in"""
    links: tuple[Link, ...]
    """Between blocks that are in"""
    left_out: tuple[tuple[str, str], ...]
    """Block and the reason, a sentence"""


def submodel(block: Block, model: Any) -> Submodel:
    """Of a pycolmap.Reconstruction."""
    import numpy as np

    numbers = tuple(sorted(id - 1 for id in model.reg_image_ids()))
    poses = {number: model.images[number + 1].cam_from_world().matrix() for number in numbers}
    ids = sorted(model.point3D_ids())
    points, keys, owners = [], [], []
    for index, id in enumerate(ids):
        point = model.points3D[id]
        points.append(point.xyz)
        for element in point.track.elements:
            keys.append((element.image_id - 1) << 32 | element.point2D_idx)
            owners.append(index)
    features, places = np.array(keys, np.int64), np.array(owners, np.int64)
    order = np.argsort(features, kind="stable")
    xyz = np.array(points, np.float64).reshape(-1, 3)
    features, places = features[order], places[order]
    focal = {number: float(model.cameras[model.images[number + 1].camera_id].mean_focal_length()) for number in numbers}
    spans = []
    for number in numbers:
        mine = places[np.searchsorted(features, number << 32) : np.searchsorted(features, (number + 1) << 32)]
        depth = xyz[mine] @ poses[number][2, :3] + poses[number][2, 3]
        if len(depth):
            spans.append(float(np.median(depth)) / focal[number])
    return Submodel(
        block=block,
        numbers=numbers,
        rotations={number: np.array(pose[:, :3]) for number, pose in poses.items()},
        translations={number: np.array(pose[:, 3]) for number, pose in poses.items()},
        points=xyz,
        features=features,
        owners=places,
        gsd=float(np.median(spans)) if spans else 0.0,
    )


def link(first: Submodel, second: Submodel) -> Link | None:
    """None where they share no photo."""
    import numpy as np

    photos = tuple(sorted(set(first.numbers) & set(second.numbers)))
    if not photos:
        return None
    _, a, b = np.intersect1d(first.features, second.features, assume_unique=True, return_indices=True)
    rows = np.unique(np.stack([first.owners[a], second.owners[b]], axis=1), axis=0)
    move = identity()
    if len(photos) < LEAST_PHOTOS:
        why = f"they share {len(photos)} photo{'s' * (len(photos) != 1)}, {LEAST_PHOTOS} are needed"
    elif len(rows) < LEAST_POINTS:
        why = f"they share {len(rows)} points of the ground, {LEAST_POINTS} are needed"
    else:
        move, why = _fit(first, second, photos, rows)
    return Link(first=first.name, second=second.name, photos=photos, rows=rows, move=None if why else move, why=why)


def _fit(first: Submodel, second: Submodel, photos: Sequence[int], rows: Ints) -> tuple[Similarity, str]:
    """Second -> first, and what is wrong with it."""
    import numpy as np

    to_points, points = first.points[rows[:, 0]], second.points[rows[:, 1]]
    to_centres, centres = first.centres(photos), second.centres(photos)
    turns = np.array([first.rotations[number].T @ second.rotations[number] for number in photos])
    turn = mean_rotation(turns)
    angles = np.degrees(np.arccos(np.clip((np.einsum("nij,ij->n", turns, turn) - 1) / 2, -1, 1)))
    by_cameras, by_ground = _scale(centres @ turn.T, to_centres), _scale(points @ turn.T, to_points)
    # the wider of the two tells the scale better; both are as wide as the overlap, so mostly they agree to a thousandth
    wide = [float(np.median(np.linalg.norm(some - np.median(some, axis=0), axis=1))) for some in (to_centres, to_points)]
    scale = float((by_cameras * wide[0] ** 2 + by_ground * wide[1] ** 2) / max(wide[0] ** 2 + wide[1] ** 2, 1e-300))
    move = Similarity(scale=scale, rotation=turn, translation=_middle(to_centres - scale * centres @ turn.T))
    axis = np.mean([first.rotations[number][2] for number in photos], axis=0)
    scatter = nmad((move.apply(points) - to_points) @ (axis / max(float(np.linalg.norm(axis)), 1e-12))) / max(first.gsd, 1e-300)
    if np.median(angles) > WORST_TURN:
        return move, f"the photos that they share are turned by {np.median(angles):.1f} degrees against each other"
    if abs(by_cameras / by_ground - 1) > WORST_SCALE:
        return move, f"their cameras tell a scale {abs(by_cameras / by_ground - 1):.0%} away from what their ground tells"
    if scatter > WORST_GROUND:
        return move, f"their ground scatters by {scatter:.0f} GSD ({WORST_GROUND:.0f} at most)"
    return move, ""


def _scale(source: Floats, target: Floats) -> float:
    """Of points that are turned alike already, each set about its own middle; up to 40 % may be wrong."""
    import numpy as np

    a, b = source - np.median(source, axis=0), target - np.median(target, axis=0)
    scale = float(np.median(np.linalg.norm(b, axis=1)) / max(float(np.median(np.linalg.norm(a, axis=1))), 1e-300))
    for _ in range(20):
        off = b - scale * a
        weights = _weights(np.linalg.norm(off - np.median(off, axis=0), axis=1))
        weights = weights / weights.sum()
        a, b = a - weights @ a, b - weights @ b
        scale = float((weights @ (a * b)).sum() / max(float((weights @ (a * a)).sum()), 1e-300))
    return scale


def _weights(off: Floats) -> Floats:
    """Cauchy's, by twice the median distance."""
    import numpy as np

    found: Floats = 1 / (1 + (off / max(2 * float(np.median(off)), 1e-12)) ** 2)
    return found


def _middle(points: Floats) -> Floats:
    """(3,) the mean of those that are near each other."""
    import numpy as np

    middle: Floats = np.median(points, axis=0)
    for _ in range(10):
        weights = _weights(np.linalg.norm(points - middle, axis=1))
        middle = weights @ points / weights.sum()
    return middle


def join(models: Sequence[Submodel]) -> Joined:
    """Bring all into the frame of the block with most links. A block without a way to it by links that fit is left out."""
    by_name = {model.name: model for model in models}
    names = sorted(by_name)
    found = (link(by_name[a], by_name[b]) for index, a in enumerate(names) for b in names[index + 1 :])
    links = [one for one in found if one is not None]
    good = [one for one in links if one.move is not None]

    def strength(name: str) -> tuple[int, int, int]:
        return _size(name, good), sum(len(one.rows) for one in good if name in (one.first, one.second)), len(by_name[name].numbers)

    root = max(names, key=strength)  # the first of equals
    moves = {root: identity()}
    while True:
        ways = [one for one in good if (one.first in moves) != (one.second in moves)]
        if not ways:
            break
        best = max(ways, key=lambda one: len(one.rows))
        assert best.move is not None
        if best.first in moves:
            moves[best.second] = moves[best.first].after(best.move)
        else:
            moves[best.first] = moves[best.second].after(best.move.inverse())
    left_out = tuple((name, _reason(name, links, moves)) for name in names if name not in moves)
    rotations, translations = {}, {}
    for core in (False, True):  # the pose from its own core wins
        for name in sorted(moves, key=lambda name: (len(by_name[name].numbers), name)):
            model = by_name[name]
            for number in model.numbers:
                if (number in model.block.core) == core:
                    rotations[number], translations[number] = moves[name].pose(model.rotations[number], model.translations[number])
    inside = tuple(one for one in links if one.first in moves and one.second in moves)
    return Joined(rotations=rotations, translations=translations, moves=moves, links=inside, left_out=left_out)


def _size(name: str, good: Sequence[Link]) -> int:
    """How many blocks hang together with it."""
    seen, todo = {name}, [name]
    while todo:
        at = todo.pop()
        for one in good:
            if at in (one.first, one.second):
                other = one.second if at == one.first else one.first
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
    return len(seen)


def _reason(name: str, links: Sequence[Link], moves: Mapping[str, Similarity]) -> str:
    tried = [one for one in links if name in (one.first, one.second)]
    if not tried:
        return f"Submodel {name} shares no photo with the others."
    near = max(tried, key=lambda one: ((one.first in moves) or (one.second in moves), len(one.rows)))
    other = near.second if near.first == name else near.first
    if near.move is not None:
        return f"Submodel {name} fits {other} only, which does not fit the others."
    return f"Submodel {name} does not fit its neighbour {other}: {near.why}."
