"""Scans as arrays: reading the forms that scanners write, and writing the merged cloud."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .errors import BadSurvey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Scan:
    points: NDArray[np.float64]
    """(n, 3)"""
    colors: NDArray[np.uint8] | None
    """(n, 3); None: the scan has none"""
    crs: str = ""
    """WKT of a .las file, where it has one"""


def read_scan(path: Path, name: str) -> Scan:
    """All points that are numbers. Raises BadSurvey where the file cannot be read or is empty."""
    import numpy as np

    if name.lower().endswith((".las", ".laz")):
        points, colors, crs = _las(path, name)
    else:
        points, colors, crs = _by_open3d(path, name)
    good = np.isfinite(points).all(axis=1)
    if not good.any():
        raise BadSurvey(f"{name} has no points: is it a point cloud, and whole?")
    return Scan(points=points[good], colors=None if colors is None else colors[good], crs=crs)


def _las(path: Path, name: str) -> tuple[Any, Any, str]:
    import numpy as np

    laspy = library("laspy", extra="survey")
    try:
        cloud = laspy.read(path)
        points = np.stack([cloud.x, cloud.y, cloud.z], axis=1).astype(np.float64)
        crs = cloud.header.parse_crs()
    except Exception as error:  # laspy and its decoders throw what they like at a damaged file
        raise BadSurvey(f"{name} cannot be read as LAS or LAZ ({error}): export it once more.") from error
    colors = None
    if {"red", "green", "blue"} <= set(cloud.point_format.dimension_names):
        wide = np.stack([cloud.red, cloud.green, cloud.blue], axis=1)
        colors = (wide >> 8 if wide.size and wide.max() > 255 else wide).astype(np.uint8)  # some write 8 bits where 16 belong
    return points, colors, crs.to_wkt() if crs is not None else ""


def _by_open3d(path: Path, name: str) -> tuple[Any, Any, str]:
    import numpy as np

    o3d = library("open3d", extra="survey")
    o3d.utility.set_verbosity_level(o3d.utility.VerbosityLevel.Error)
    if path.stat().st_size == 0:
        raise BadSurvey(f"{name} is empty: export it once more.")
    cloud = o3d.io.read_point_cloud(str(path), format=name.rpartition(".")[2].lower())
    points = np.asarray(cloud.points, np.float64).copy()
    if not len(points):
        raise BadSurvey(f"{name} cannot be read as a point cloud: export it once more, as PLY or LAZ.")
    colors = np.rint(np.asarray(cloud.colors) * 255).astype(np.uint8) if cloud.has_colors() else None
    return points, colors, ""


def write_scan(scan: Scan, path: Path) -> None:
    """By the ending of ``path``: .ply, .pcd (binary) or .laz."""
    import numpy as np

    if path.suffix == ".laz":
        from datetime import date

        laspy = library("laspy", extra="survey")
        header = laspy.LasHeader(version="1.4", point_format=7 if scan.colors is not None else 6)
        header.creation_date = date(2000, 1, 1)  # the same cloud is the same bytes
        size = float(np.ptp(scan.points, axis=0).max()) or 1.0
        header.offsets = np.floor(scan.points.min(axis=0))
        header.scales = np.full(3, 10.0 ** np.ceil(np.log10(size / 2**30)))  # what 32 bits give
        if scan.crs:
            header.add_crs(library("pyproj", extra="survey").CRS.from_wkt(scan.crs))
        cloud = laspy.LasData(header)
        cloud.x, cloud.y, cloud.z = scan.points.T
        if scan.colors is not None:
            cloud.red, cloud.green, cloud.blue = scan.colors.astype(np.uint16).T * 257
        cloud.write(str(path), laz_backend=laspy.LazBackend.Lazrs)
        return
    o3d = library("open3d", extra="survey")
    o3d.io.write_point_cloud(str(path), cloud_of(scan), write_ascii=False, compressed=False)


def cloud_of(scan: Scan) -> Any:
    """As open3d.geometry.PointCloud."""
    o3d = library("open3d", extra="survey")
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(scan.points))
    if scan.colors is not None:
        cloud.colors = o3d.utility.Vector3dVector(scan.colors / 255.0)
    return cloud
