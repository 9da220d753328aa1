"""What is told of the quality of a model: how far blocks, GPS and control points are from it.

The ground between two blocks is judged by points that both made of the same features: once each block was only moved as a whole ("before"),
and once the same observations, of each block by itself, are cast again from the adjusted cameras ("after"); and, the harder question, from
the photos of one core against those of the other, which share nothing ("seam"). Cameras that agree prove nothing about the ground.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .merge import Link, Submodel
from .records import load_features
from .similarity import Similarity, nmad

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Ints = NDArray[np.int64]


MANY = 50_000
"""Of more points, a part tells the median as well."""


@dataclass(kw_only=True)
class Rays:
    """Lines of sight of features by the poses of a model."""

    model: Any
    features: Path
    """Folder of the .npz"""

    def __post_init__(self) -> None:
        self._points: dict[int, Any] = {}
        self.numbers = frozenset(id - 1 for id in self.model.reg_image_ids())

    def of(self, number: int, pixels: Floats) -> tuple[Floats, Floats]:
        """(3,) where photo ``number`` was taken from, (n, 3) unit vectors to what is at ``pixels`` (n, 2)."""
        import numpy as np

        image = self.model.images[number + 1]
        normal = np.asarray(self.model.cameras[image.camera_id].cam_from_img(np.ascontiguousarray(pixels, np.float64)))
        sight = np.concatenate([normal, np.ones((len(normal), 1))], axis=1) @ image.cam_from_world().rotation.matrix()
        return image.projection_center(), sight / np.linalg.norm(sight, axis=1, keepdims=True)

    def cast(self, features: Ints, owners: Ints, count: int) -> Floats:
        """Points (count, 3) nearest to the rays of their ``features`` (photo << 32 | feature); nan where fewer than 2 photos see one."""
        import numpy as np

        photos = features >> 32
        at, sights = np.zeros((len(features), 3)), np.full((len(features), 3), np.nan)
        for number in np.unique(photos).tolist():
            if number not in self.numbers:
                continue
            if number not in self._points:
                self._points[number] = load_features(self.features / f"{number:05d}.npz").points
            mine = np.flatnonzero(photos == number)
            at[mine], sights[mine] = self.of(number, self._points[number][features[mine] & 0xFFFFFFFF])
        seen = np.isfinite(sights[:, 0])
        return nearest(at[seen], sights[seen], owners[seen], count)


def nearest(at: Floats, sights: Floats, owners: Ints, count: int) -> Floats:
    """(count, 3) the points with the least sum of squared distances from their rays, which begin ``at`` (n, 3); nan: too few rays."""
    import numpy as np

    square = np.eye(3) - sights[:, :, None] * sights[:, None, :]
    sums, sides, rays = np.zeros((count, 3, 3)), np.zeros((count, 3)), np.zeros(count)
    np.add.at(sums, owners, square)
    np.add.at(sides, owners, np.einsum("nij,nj->ni", square, at))
    np.add.at(rays, owners, 1)
    found = np.full((count, 3), np.nan)
    good = (rays >= 2) & (np.linalg.det(sums) > 1e-9)
    found[good] = np.linalg.solve(sums[good], sides[good][:, :, None])[:, :, 0]
    return found


def ground_sampling(model: Any) -> float:
    """Length of a pixel on the ground in units of the model: the median over photos of their points' median depth over the focal length."""
    import numpy as np

    seen: dict[int, list[Any]] = {}
    ids = sorted(model.point3D_ids())
    for id in ids[:: 1 + len(ids) // MANY]:
        point = model.points3D[id]
        for element in point.track.elements:
            seen.setdefault(element.image_id, []).append(point.xyz)
    spans = []
    for id, points in seen.items():
        pose = model.images[id].cam_from_world().matrix()
        depth = np.median(np.array(points) @ pose[2, :3] + pose[2, 3])
        spans.append(float(depth) / float(model.cameras[model.images[id].camera_id].mean_focal_length()))
    return float(np.median(spans)) if spans else 0.0


def between(
    link: Link, models: Mapping[str, Submodel], moves: Mapping[str, Similarity], rays: Rays, gsd: float
) -> dict[str, Any]:
    """For the report: how far two neighbours differ. ``moves``: from each block's frame to that of the adjusted model."""
    import numpy as np

    first, second = models[link.first], models[link.second]
    cameras = np.linalg.norm(
        moves[link.first].apply(first.centres(link.photos)) - moves[link.second].apply(second.centres(link.photos)), axis=1
    )
    a, b = link.rows.T
    before = moves[link.first].apply(first.points[a]) - moves[link.second].apply(second.points[b])
    parts = []  # for both blocks: what was seen, and of which row
    for model, chosen in ((first, a), (second, b)):
        owners = np.full(len(model.points), -1)
        owners[chosen] = np.arange(len(chosen))
        kept = owners[model.owners] >= 0
        parts.append((model.features[kept], owners[model.owners[kept]], chosen))
    casts = []
    for features, owners, chosen in parts:
        found = rays.cast(features, owners, len(chosen))
        last = np.zeros(int(chosen.max()) + 1, np.int64)  # a point in several rows was cast for the last of them
        last[chosen] = np.arange(len(chosen))
        casts.append(found[last[chosen]])
    after = casts[0] - casts[1]
    keys, rows = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    cores = []
    for model in (first, second):  # all that either block saw of a shared point, from the photos of one core alone
        own = np.isin(keys >> 32, np.array(model.block.core))
        pairs = np.unique(np.stack([keys[own], rows[own]], axis=1), axis=0)
        cores.append(rays.cast(pairs[:, 0], pairs[:, 1], len(a)))
    return {
        "blocks": [link.first, link.second],
        "photos": len(link.photos),
        "points": len(link.rows),
        "before": {
            "cameras": _spread(cameras, gsd),
            "ground": _spread(before[:, 2], gsd),
            "distance": _spread(np.linalg.norm(before, axis=1), gsd),
        },
        "after": {"ground": _spread(after[:, 2], gsd), "distance": _spread(np.linalg.norm(after, axis=1), gsd)},
        "seam": {"ground": _spread((cores[0] - cores[1])[:, 2], gsd)},
    }


def _spread(values: Floats, gsd: float) -> dict[str, Any]:
    """Median and NMAD, as they are and in GSD; null where there is nothing."""
    import numpy as np

    good = values[np.isfinite(values)]
    if not len(good):
        return {"count": 0, "median": None, "nmad": None, "median_gsd": None, "nmad_gsd": None}
    middle, wide = float(np.median(good)), nmad(good)
    return {
        "count": len(good),
        "median": round(middle, 5),
        "nmad": round(wide, 5),
        "median_gsd": round(middle / gsd, 3) if gsd else None,
        "nmad_gsd": round(wide / gsd, 3) if gsd else None,
    }


def rmse(off: Floats) -> list[float] | None:
    """(n, 3) -> for each axis; None of nothing."""
    import numpy as np

    return [round(float(value), 4) for value in np.sqrt((off**2).mean(axis=0))] if len(off) else None


def focal_change(focal: float, prior: float) -> float | None:
    """Per cent away from EXIF; None where EXIF told nothing."""
    return round(100 * (focal / prior - 1), 2) if prior > 0 else None


def names(found: Sequence[str], most: int = 5) -> str:
    """"a, b, c and 4 others" """
    rest = len(found) - most
    return ", ".join(found[:most]) + (f" and {rest} other{'s' * (rest > 1)}" if rest > 0 else "")
