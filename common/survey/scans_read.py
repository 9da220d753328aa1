"""Job of stage ``scans``: one scan, thinned, with normals and features (FPFH), for registration."""

from __future__ import annotations

from typing import Any

from ..libraries import library
from .records import save_arrays
from .scans import cloud_of, read_scan
from .work import Job

FINENESS = 120
"""Cells along the diagonal of a scan, where no size is given: some ten thousand points, which register in seconds."""
REACH = 4
"""Cells: how far normals look; features look 2.5 times as far, as Open3D's own examples have it."""
NEIGHBOURS = 15
SHEET = 0.3
"""Variance across to the lesser one along."""


def orient(cloud: Any) -> None:
    """All normals to one side: of a scan that is more of a sheet, to one side of its plane; else as neighbours agree."""
    import numpy as np

    spread, axes = np.linalg.eigh(np.cov(np.asarray(cloud.points).T))
    if spread[0] < SHEET * spread[1]:
        normals = np.asarray(cloud.normals)
        normals = normals * np.where(normals @ axes[:, 0] < 0, -1, 1)[:, None]
        cloud.normals = library("open3d", extra="survey").utility.Vector3dVector(normals)
    elif len(cloud.points) > NEIGHBOURS:
        cloud.orient_normals_consistent_tangent_plane(NEIGHBOURS)


def run(job: Job) -> None:
    """Writes ``<number>.npz``: points (n, 3) of the thinned scan, normals (n, 3), features (n, 33), turned (the same of turned normals),
    voxel (the size of its cells), count (of all points)."""
    import numpy as np

    o3d = library("open3d", extra="survey")
    o3d.utility.set_verbosity_level(o3d.utility.VerbosityLevel.Error)
    name = job.data["name"]
    scan = read_scan(job.inputs / name, name)
    job.say(f"{name}: {len(scan.points)} points")
    job.progress(0.3)
    low, high = np.percentile(scan.points, (1, 99), axis=0)
    voxel = job.options["voxel"] or float(np.linalg.norm(high - low)) / FINENESS or 1.0
    offset = np.floor(scan.points.mean(axis=0))  # features in single precision far from the origin are noise
    cloud = cloud_of(scan).translate(-offset).voxel_down_sample(voxel)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamHybrid(radius=voxel * REACH, max_nn=30))
    orient(cloud)
    job.progress(0.6)
    features = []
    for _ in range(2):  # which side is outside nobody can tell of a part of a surface, so the pair tries both
        near = o3d.geometry.KDTreeSearchParamHybrid(radius=voxel * REACH * 2.5, max_nn=100)
        found = o3d.pipelines.registration.compute_fpfh_feature(cloud, near)
        features.append(np.nan_to_num(np.asarray(found.data).T.astype(np.float32)))
        cloud.normals = o3d.utility.Vector3dVector(-np.asarray(cloud.normals))
    save_arrays(
        job.out / f"{job.data['number']:05d}.npz",
        points=np.asarray(cloud.points) + offset,
        normals=np.nan_to_num(np.asarray(cloud.normals)),
        features=features[0],
        turned=features[1],
        voxel=np.array([voxel]),
        count=np.array([len(scan.points)]),
    )
