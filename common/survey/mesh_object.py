"""A cloud of points with normals as a mesh: Poisson's reconstruction, cut back to where points are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..libraries import library
from .triangles import Triangles, compact, components, crosses, neighbours, vertex_normals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .scene import View

FAR = 4.0
"""A vertex so many times the usual distance between points away from the nearest one was invented."""
HOLE = 0.03
"""An invented part up to this share of the object's diagonal wide closes a hole in the points, and stays."""
ISLAND = 0.01
"""A part with less than this share of the largest part's area is dropped."""
NEAR_RIM = 0.1
"""How far towards a corner from the middle of a face the rays begin is 1 minus this: on an edge they would hit the neighbour."""


def object_mesh(
    points: NDArray[np.float32], normals: NDArray[np.float32], *, depth: int, limit: int
) -> Triangles:  # fmt: skip
    """The mesh of a cloud, at most ``limit`` triangles; without faces where the points make none."""
    import numpy as np

    o3d = library("open3d", extra="survey")
    spacing = usual_spacing(points)
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    cloud.normals = o3d.utility.Vector3dVector(normals.astype(np.float64))
    # one thread: with more the sums come out in another order each time
    found, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth, n_threads=1)
    mesh = _triangles(np.asarray(found.vertices), np.asarray(found.triangles))
    mesh = drop_islands(drop_invented(mesh, points, spacing))
    if len(mesh.faces) > limit:
        small = _open3d_mesh(mesh).simplify_quadric_decimation(limit)
        small.remove_degenerate_triangles()
        small.remove_duplicated_triangles()
        small.remove_non_manifold_edges()
        mesh = drop_islands(_triangles(np.asarray(small.vertices), np.asarray(small.triangles)))
    return mesh


def usual_spacing(points: NDArray[np.float32]) -> float:
    """The median distance of a point to its nearest neighbour, in a sample of at most 20,000."""
    import numpy as np

    spatial = library("scipy.spatial", extra="survey")
    sample = points[:: max(1, len(points) // 20_000)]
    distances, _ = spatial.cKDTree(points).query(sample, k=2)
    return float(np.median(distances[:, 1]))


def drop_invented(mesh: Triangles, points: NDArray[np.float32], spacing: float) -> Triangles:
    """Without the faces that are far from all points, but for small ones that close a hole."""
    import numpy as np

    spatial = library("scipy.spatial", extra="survey")
    distance, _ = spatial.cKDTree(points).query(mesh.vertices)
    edges = np.linalg.norm(mesh.vertices[mesh.faces[:, 0]] - mesh.vertices[mesh.faces[:, 1]], axis=1)
    reach = FAR * max(spacing, float(np.median(edges)) if len(edges) else 0.0)
    far = (distance > reach)[mesh.faces].any(axis=1)
    keep = ~far
    invented = np.nonzero(far)[0]
    if len(invented):
        pairs = neighbours(mesh.faces)
        number = np.full(len(mesh.faces), -1)
        number[invented] = np.arange(len(invented))
        both = far[pairs].all(axis=1)
        part = components(len(invented), number[pairs[both]].astype(np.int32))
        size = widths(mesh.vertices[mesh.faces[invented]].mean(axis=1), part)
        diagonal = float(np.linalg.norm(np.ptp(np.percentile(points, [1, 99], axis=0), axis=0)))
        at_rim = np.zeros(part.max() + 1, bool)
        rim = np.bincount(pairs.ravel(), minlength=len(mesh.faces)) < 3
        at_rim[part[rim[invented]]] = True
        keep[invented] = ((size < HOLE * diagonal) & ~at_rim)[part]
    return compact(mesh, keep)


def widths(centres: NDArray[np.float64], part: NDArray[np.int32]) -> NDArray[np.float64]:
    """(parts,) the diagonal of the box around each part's points."""
    import numpy as np

    low = np.full((part.max() + 1, 3), np.inf)
    high = -low
    np.minimum.at(low, part, centres)
    np.maximum.at(high, part, centres)
    found: NDArray[np.float64] = np.linalg.norm(high - low, axis=1)
    return found


def drop_islands(mesh: Triangles) -> Triangles:
    """Without the parts that are small beside the largest."""
    import numpy as np

    if not len(mesh.faces):
        return mesh
    part = components(len(mesh.faces), neighbours(mesh.faces))
    area = np.bincount(part, np.linalg.norm(crosses(mesh.vertices, mesh.faces), axis=1))
    return compact(mesh, (area >= ISLAND * area.max())[part])


class Rays:
    """Answers what a photo sees of a mesh, by rays from its faces to the camera."""

    def __init__(self, mesh: Triangles, cores: int = 1) -> None:
        import numpy as np

        o3d = library("open3d", extra="survey")
        self._mesh, self._o3d, self._threads = mesh, o3d, cores
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=cores)
        self._scene.add_triangles(mesh.vertices.astype(np.float32), mesh.faces.astype(np.uint32))
        extent = np.ptp(mesh.vertices, axis=0) if len(mesh.vertices) else np.zeros(3)
        self._near = 1e-4 * float(np.linalg.norm(extent))

    def in_sight(self, view: View, faces: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether nothing stands between the photo and the middle of a face, nor its three corners (just inside)."""
        import numpy as np

        corners = self._mesh.vertices[self._mesh.faces[faces]]
        middle = corners.mean(axis=1)
        free = np.ones(len(faces), bool)
        for start in (middle, *(middle + (1 - NEAR_RIM) * (corners[:, n] - middle) for n in range(3))):
            rest = np.nonzero(free)[0]
            way = view.centre - start[rest]
            length = np.linalg.norm(way, axis=1, keepdims=True)
            rays = np.concatenate([start[rest], way / length], axis=1).astype(np.float32)
            hidden = self._scene.test_occlusions(self._o3d.core.Tensor(rays), tnear=self._near, nthreads=self._threads).numpy()
            free[rest[hidden]] = False
        return free


def _triangles(vertices: NDArray[np.float64], faces: NDArray[np.int32]) -> Triangles:
    import numpy as np

    vertices, faces = vertices.astype(np.float64), faces.astype(np.int32).reshape(-1, 3)
    return Triangles(vertices=vertices, faces=faces, normals=vertex_normals(vertices, faces), core=np.ones(len(faces), bool))


def _open3d_mesh(mesh: Triangles) -> Any:
    o3d = library("open3d", extra="survey")
    return o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.faces))
