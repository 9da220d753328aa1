"""The cloud of an object, seen from all sides: all pairs at once, with normals; the background is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library
from .cloud import write_cloud
from .depth_index import DepthIndex
from .fusion import AGREE, FACES, Cloud, cloud_of, cubes, joined, thin, votes
from .records import Record, save, save_arrays
from .seal import seal
from .stereo_file import Points, load_stereo, points_of
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STEPS = 64
"""Units in the distance between points."""
CUBE = 2.0
"""Side of the cubes in which pairs must agree, in distances between points."""
NEIGHBOURS = 12


class ObjectFacts(Record, frozen=True, kw_only=True):
    """``object.json``."""

    points: int
    raw: int
    """Of all pairs, before the vote."""


def fuse_object(job: Job, index: DepthIndex) -> None:
    """``object.npz``, ``object.laz`` and ``object.json``; of a model without scale the units are its own."""
    import numpy as np

    unit = index.gsd / STEPS
    side = round(CUBE * STEPS)
    clouds, directions = [], []
    raw = 0
    for number, pair in enumerate(index.pairs):
        stereo = load_stereo(job.inputs / "stages" / "depth" / f"{pair.name}.npz")
        points = _subject(points_of(stereo), index)
        raw += points.places.shape[1]
        one = _once(cloud_of(points, number, unit), max(STEPS // 2, round(job.options["pc-sample"] / unit)))
        clouds.append(one)
        middle = stereo.rig.centre + stereo.rig.rotation[0] * (stereo.rig.base / 2)
        directions.append((middle / unit)[:, None] - one.places)
        job.progress(0.6 * (number + 1) / len(index.pairs))
    cloud = joined(clouds)
    photos = np.array([(pair.first, pair.second) for pair in index.pairs], np.int32).reshape(-1, 2)
    views = votes(cloud, photos, side, FACES)
    good = views >= (AGREE if len(index.pairs) > 1 else 2)
    way = np.concatenate(directions, axis=1)[:, good] if clouds else np.zeros((3, 0))
    found = thin(cloud.of(good), views[good], max(STEPS, round(job.options["pc-sample"] / unit)))
    toward = _mean_way(cloud.of(good), way, max(STEPS, round(job.options["pc-sample"] / unit)))
    places = (found.places * unit).T.astype(np.float64)
    kept, normals = _normals(places, toward, job.options["pc-filter"], job.cores)
    job.progress(0.9)
    places, colors, seen = places[kept], found.colors[kept], found.views[kept]
    save_arrays(
        job.out / "object.npz", points=places.astype(np.float32), colors=colors, normals=normals[kept].astype(np.float32), views=seen
    )
    scale = 10.0 ** np.floor(np.log10(index.gsd / 10)) if index.gsd else 0.001
    write_cloud(job.out / "object.laz", places, colors, seen, scale=float(scale))
    save(ObjectFacts(points=len(places), raw=raw), job.out / "object.json")
    seal(job.out)
    job.say(f"{raw} points of {len(index.pairs)} pairs, {len(places)} kept")


def _subject(points: Points, index: DepthIndex) -> Points:
    import numpy as np

    good = np.ones(points.places.shape[1], bool)
    for axis in range(3):
        good &= (points.places[axis] >= index.low[axis]) & (points.places[axis] <= index.high[axis])
    return Points(places=points.places[:, good], colors=points.colors[good], coarse=points.coarse[good])


def _once(cloud: Cloud, side: int) -> Cloud:
    """One point of the pair in each small cube: near cameras give far more points than the object needs."""
    import numpy as np

    found = thin(cloud, np.zeros(len(cloud), np.uint8), side)
    pair = cloud.pair[: found.places.shape[1]]
    return Cloud(places=found.places, colors=found.colors, pair=pair, coarse=np.zeros(len(pair), bool))


def _mean_way(cloud: Cloud, way: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """(m, 3) for each point of ``thin(cloud, …, side)`` the mean direction from which it was seen."""
    import numpy as np

    if not len(cloud):
        return np.zeros((0, 3))
    number, _ = cubes(cloud.places, side)
    order = np.argsort(number, kind="stable")
    starts = np.flatnonzero(np.diff(number[order], prepend=-1))
    unit = way / np.maximum(np.sqrt((way * way).sum(0)), 1e-12)
    return np.stack([np.add.reduceat(axis[order], starts) for axis in unit], axis=1)


def _normals(
    places: NDArray[np.float64], toward: NDArray[np.float64], limit: float, cores: int
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which points are near enough to their neighbours, and for each the direction in which its neighbours spread least, to the cameras."""
    import numpy as np

    if len(places) <= NEIGHBOURS:
        return np.ones(len(places), bool), toward / np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
    tree = library("scipy.spatial", extra="survey").cKDTree(places)
    kept = np.ones(len(places), bool)
    normals = np.zeros(places.shape)
    mean = np.zeros(len(places))
    for start in range(0, len(places), 100_000):
        part = slice(start, start + 100_000)
        distance, near = tree.query(places[part], NEIGHBOURS + 1, workers=cores)
        mean[part] = distance[:, 1:].mean(1)
        around = places[near]
        around = around - around.mean(1, keepdims=True)
        _, vectors = np.linalg.eigh(np.einsum("nki,nkj->nij", around, around))
        normal = vectors[:, :, 0]
        normals[part] = np.where((normal * toward[part]).sum(1, keepdims=True) < 0, -normal, normal)
    if limit:
        kept = mean <= mean.mean() + limit * mean.std()
    return kept, normals
