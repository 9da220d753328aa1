"""Job of stage ``pairs``: how the second scan lies to the first."""

from __future__ import annotations

from typing import Any

from ..libraries import library
from .records import load_arrays, save
from .work import Job

TRIALS = 300_000
SURE = 0.999
REACHES = (1.5, 0.75)
"""Cells: how near matched points must come to each other."""
FLAT = 0.15
"""Cells: how far from the other surface a point may be that lies on it."""
FACING = 0.9
"""Cosine between the normals."""
STEPS = (4.0, 2.0, 1.0)
"""Cells: distances at which points are paired, from coarse to fine."""


def run(job: Job) -> None:
    """Writes ``<one>-<other>.json``: transformation (4 x 4, other -> one), overlap, rmse (of the points that overlap, from the other's
    surface), information (6 x 6)."""
    import numpy as np

    o3d = library("open3d", extra="survey")
    o3d.utility.set_verbosity_level(o3d.utility.VerbosityLevel.Error)
    o3d.utility.random.seed(0)
    one, other = job.data["pair"]
    scans = [load_arrays(job.inputs / f"stages/scans/{number:05d}.npz") for number in (one, other)]
    voxel = max(float(scan["voxel"][0]) for scan in scans)
    offset = np.floor(scans[0]["points"].mean(axis=0))
    target, source = (_cloud(o3d, scan, offset) for scan in scans)
    starts = [np.eye(4)] if job.options["registration"] == "refine" else _anywhere(o3d, scans, source, target, voxel)
    job.progress(0.5)
    tries = [_refined(o3d, source, target, start, voxel) for start in starts]
    scores = [overlap(source, target, found, voxel) for found in tries]
    best = scores.index(max(scores, key=lambda score: score[0]))
    found, (part, rmse) = tries[best], scores[best]
    information = o3d.pipelines.registration.get_information_matrix_from_point_clouds(source, target, 1.5 * voxel, found)
    home, away = np.eye(4), np.eye(4)
    home[:3, 3], away[:3, 3] = offset, -offset
    job.say(f"scans {one} and {other}: overlap {part:.0%}, {rmse:.4g} apart")
    save(
        {
            "pair": [one, other], "transformation": (home @ found @ away).tolist(), "overlap": part, "rmse": rmse,
            "information": information.tolist(), "voxel": voxel,
        },
        job.out / f"{one:05d}-{other:05d}.json",
    )  # fmt: skip


def overlap(source: Any, target: Any, pose: Any, voxel: float) -> tuple[float, float]:
    """Part of the smaller scan that lies on the surface of the other one, and how far from it (root mean square).

    A point lies on it where its nearest neighbour is as near as the cells allow, faces the same way, and its distance from the tangent
    plane there is a fraction of a cell. Nearness alone would take any two gently rolling grounds for the same.
    """
    import numpy as np

    tree = library("scipy.spatial", extra="survey").cKDTree(np.asarray(target.points))
    points = np.asarray(source.points) @ pose[:3, :3].T + pose[:3, 3]
    normals = np.asarray(source.normals) @ pose[:3, :3].T
    distance, nearest = tree.query(points)
    there = np.asarray(target.normals)[nearest]
    away = np.abs(((points - np.asarray(target.points)[nearest]) * there).sum(axis=1))
    on = (distance < 1.5 * voxel) & (away < FLAT * voxel) & (np.abs((normals * there).sum(axis=1)) > FACING)
    part = min(1.0, float(on.sum()) / min(len(source.points), len(target.points)))
    return part, float(np.sqrt((away[on] ** 2).mean())) if on.any() else 0.0


def _refined(o3d: Any, source: Any, target: Any, pose: Any, voxel: float) -> Any:
    """Point to plane, from coarse to fine."""
    registration = o3d.pipelines.registration
    for step in STEPS:
        pose = registration.registration_icp(
            source, target, step * voxel, pose,
            registration.TransformationEstimationPointToPlane(registration.TukeyLoss(k=voxel)),
            registration.ICPConvergenceCriteria(max_iteration=60),
        ).transformation  # fmt: skip
    return pose


def _cloud(o3d: Any, scan: Any, offset: Any) -> Any:
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(scan["points"] - offset))
    cloud.normals = o3d.utility.Vector3dVector(scan["normals"])
    return cloud


def _anywhere(o3d: Any, scans: Any, source: Any, target: Any, voxel: float) -> list[Any]:
    """By features: RANSAC over matches that are each other's nearest, for either side of the other scan's surface, more than once: a
    wrong answer that looks good is rarely found again."""
    registration = o3d.pipelines.registration

    def feature(values: Any) -> Any:
        made = registration.Feature()
        made.data = values.T.astype("float64")
        return made

    return [
        registration.registration_ransac_based_on_feature_matching(
            source, target, feature(scans[1][side]), feature(scans[0]["features"]), True, reach * voxel,
            registration.TransformationEstimationPointToPoint(False), 3,
            [registration.CorrespondenceCheckerBasedOnEdgeLength(0.9), registration.CorrespondenceCheckerBasedOnDistance(reach * voxel)],
            registration.RANSACConvergenceCriteria(TRIALS, SURE),
        ).transformation
        for side in ("features", "turned")
        for reach in REACHES
    ]  # fmt: skip
