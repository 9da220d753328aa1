"""Job of stage ``merge``: all scans placed by one pose graph, joined in full density, filtered, meshed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .errors import BadSurvey
from .records import load, save
from .scans import Scan, cloud_of, read_scan, write_scan
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PREVIEW = 800
"""Pixels of the longer side."""
NEIGHBOURS = 16


def run(job: Job) -> None:
    import numpy as np

    o3d = library("open3d", extra="survey")
    o3d.utility.set_verbosity_level(o3d.utility.VerbosityLevel.Error)
    names: list[str] = job.data["names"]
    poses, notes, edges = place(job, len(names))
    job.progress(0.2)
    points, colors, crs = [], [], ""
    for number, name in enumerate(names):
        if number not in poses:
            continue
        scan = read_scan(job.inputs / name, name)
        crs = crs or scan.crs
        points.append(scan.points @ poses[number][:3, :3].T + poses[number][:3, 3])
        colors.append(scan.colors)
        job.progress(0.2 + 0.4 * (number + 1) / len(names))
    missing = [names[number] for number, one in zip(sorted(poses), colors, strict=True) if one is None]
    if missing and len(missing) < len(colors):
        notes.append(f"{_list(missing)} without colours; they are grey in the merged cloud.")
    merged = Scan(
        points=np.concatenate(points),
        colors=None
        if len(missing) == len(colors)
        else np.concatenate([np.full((len(p), 3), 128, np.uint8) if c is None else c for p, c in zip(points, colors, strict=True)]),
        crs=crs,
    )
    before = len(merged.points)
    merged = thin(merged, job.options["merged-voxel"])
    merged = filtered(merged, job.options["outliers"])
    job.progress(0.75)
    cloud = job.out / f"{job.data['task']}.{job.options['output']}"
    write_scan(merged, cloud)
    sizes = {cloud.name: cloud.stat().st_size}
    report: dict[str, Any] = {"scans": len(names), "placed": len(poses), "points_read": before, "points": len(merged.points)}
    report["pairs"] = edges
    if job.options["mesh"] == "poisson":
        path = job.out / f"{job.data['task']}-mesh.ply"
        report["mesh"] = mesh(merged, job.options["mesh-octree-depth"], job.options["mesh-size"], path)
        sizes[path.name] = path.stat().st_size
    picture(merged, job.out / "preview.png")
    save({names[number]: pose.tolist() for number, pose in sorted(poses.items())}, job.out / "poses.json")
    save({**report, "notes": notes, "sizes": sizes}, job.out / "report.json")


def place(job: Job, count: int) -> tuple[dict[int, NDArray[np.float64]], list[str], list[dict[str, Any]]]:
    """Scan -> pose (4 x 4, scan -> world: the world is that of the first scan of the largest group); notes; the pairs that count."""
    import numpy as np

    if job.options["registration"] == "none":
        return {number: np.eye(4) for number in range(count)}, [], []
    o3d = library("open3d", extra="survey")
    names = job.data["names"]
    found = load(job.inputs / "stages/pairs/pairs.json", list[dict[str, Any]])
    good = sorted((one for one in found if one["overlap"] >= job.options["min-overlap"]), key=lambda one: (-one["overlap"], one["pair"]))
    group = {number: {number} for number in range(count)}
    tree = []
    for edge in good:  # the best pairs that hold all together: Kruskal's tree
        one, other = edge["pair"]
        if group[one] is not group[other]:
            joined = group[one] | group[other]
            for number in joined:
                group[number] = joined
            tree.append(edge)
    largest = max(group.values(), key=lambda members: (len(members), -min(members)))
    lost = [names[number] for number in range(count) if number not in largest]
    notes = []
    if lost:
        best = max((one["overlap"] for one in found), default=0.0)
        sentence = f"{_list(lost)} fit to none of the others: the best pair left overlaps by less than {job.options['min-overlap']:.0%}"
        if job.options["unplaced"] == "fail" or len(largest) == 1:
            raise BadSurvey(
                f"{sentence} (the best of all by {best:.0%}). Scan with more overlap, lower min-overlap, or set unplaced = \"leave-out\"."
            )
        notes.append(f"{sentence}; left out.")
    poses = {min(largest): np.eye(4)}
    edges = [edge for edge in tree if edge["pair"][0] in largest]
    while len(poses) < len(largest):
        for edge in edges:
            one, other = edge["pair"]
            matrix = np.array(edge["transformation"])
            if one in poses and other not in poses:
                poses[other] = poses[one] @ matrix
            elif other in poses and one not in poses:
                poses[one] = poses[other] @ np.linalg.inv(matrix)
    return refined(o3d, poses, [edge for edge in good if edge["pair"][0] in largest], edges), notes, [_told(edge, names) for edge in good]


def refined(o3d: Any, poses: dict[int, Any], good: list[dict[str, Any]], tree: list[dict[str, Any]]) -> dict[int, Any]:
    """One pose graph over all pairs, so that errors do not add up along the chain; pairs that contradict the rest lose their weight."""
    import numpy as np

    if len(good) <= len(tree):
        return poses
    registration = o3d.pipelines.registration
    numbers = sorted(poses)
    at = {number: position for position, number in enumerate(numbers)}
    middle, back = np.eye(4), np.eye(4)  # rotations about a far origin would be badly conditioned
    offset = np.floor(np.mean([np.array(edge["transformation"])[:3, 3] for edge in good], axis=0))
    middle[:3, 3], back[:3, 3] = offset, -offset
    graph = registration.PoseGraph()
    for number in numbers:
        graph.nodes.append(registration.PoseGraphNode(back @ poses[number] @ middle))
    sure = [edge["pair"] for edge in tree]
    for edge in good:
        one, other = edge["pair"]
        matrix, doubtful = back @ np.array(edge["transformation"]) @ middle, edge["pair"] not in sure
        graph.edges.append(registration.PoseGraphEdge(at[other], at[one], matrix, np.array(edge["information"]), doubtful))
    registration.global_optimization(
        graph,
        registration.GlobalOptimizationLevenbergMarquardt(),
        registration.GlobalOptimizationConvergenceCriteria(),
        registration.GlobalOptimizationOption(max_correspondence_distance=max(edge["voxel"] for edge in good), reference_node=0),
    )
    anchor = poses[numbers[0]] @ np.linalg.inv(middle @ np.array(graph.nodes[0].pose) @ back)
    return {number: anchor @ middle @ np.array(graph.nodes[at[number]].pose) @ back for number in numbers}


def thin(scan: Scan, voxel: float) -> Scan:
    """The mean of the points of each cell."""
    import numpy as np

    if not voxel:
        return scan
    cloud = cloud_of(scan).voxel_down_sample(voxel)
    colors = None if scan.colors is None else np.rint(np.asarray(cloud.colors) * 255).astype(np.uint8)
    points = np.asarray(cloud.points)
    order = np.lexsort(points.T)  # a hash map's order is nobody's promise
    return Scan(points=points[order], colors=None if colors is None else colors[order], crs=scan.crs)


def filtered(scan: Scan, deviations: float) -> Scan:
    """Without points whose mean distance to their neighbours is so many standard deviations above the usual."""
    import numpy as np

    if not deviations or len(scan.points) <= NEIGHBOURS:
        return scan
    tree = library("scipy.spatial", extra="survey").cKDTree(scan.points)
    distance = tree.query(scan.points, k=NEIGHBOURS + 1)[0][:, 1:].mean(axis=1)
    good = distance <= distance.mean() + deviations * np.std(distance)
    return Scan(points=scan.points[good], colors=None if scan.colors is None else scan.colors[good], crs=scan.crs)


def mesh(scan: Scan, depth: int, size: int, path: Path) -> dict[str, int]:
    """Poisson's reconstruction (Kazhdan and Hoppe 2013), cut where there are no points, with the colours of the points."""
    import numpy as np

    o3d = library("open3d", extra="survey")
    cloud = cloud_of(scan)
    cloud.estimate_normals(o3d.geometry.KDTreeSearchParamKNN(30))
    cloud.orient_normals_consistent_tangent_plane(20)
    made, density = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth, n_threads=1)
    made.remove_vertices_by_mask(np.asarray(density) < np.quantile(np.asarray(density), 0.02))
    if len(made.triangles) > size:
        made = made.simplify_quadric_decimation(size)
    o3d.io.write_triangle_mesh(str(path), made)
    return {"vertices": len(made.vertices), "faces": len(made.triangles)}


def picture(scan: Scan, path: Path) -> None:
    """The cloud from above and from the side, the higher and the nearer points in front."""
    import numpy as np
    from PIL import Image

    low, high = np.percentile(scan.points, (0.5, 99.5), axis=0)
    step = float((high - low).max()) / PREVIEW or 1.0
    height = (scan.points[:, 2] - low[2]) / (float(high[2] - low[2]) or 1.0)
    shade = np.clip(np.stack([80 + 175 * height, 120 + 100 * height, 220 - 120 * height], axis=1), 0, 255).astype(np.uint8)
    colors = shade if scan.colors is None else scan.colors
    rows = []
    for across, up, depth, toward in ((0, 1, 2, 1.0), (0, 2, 1, -1.0)):
        wide, tall = (int((high[axis] - low[axis]) / step) + 1 for axis in (across, up))
        canvas = np.full((tall, PREVIEW + 1, 3), 24, np.uint8)
        order = np.argsort(toward * scan.points[:, depth], kind="stable")
        x = ((scan.points[order, across] - low[across]) / step).astype(np.int64)
        y = tall - 1 - ((scan.points[order, up] - low[up]) / step).astype(np.int64)
        inside = (x >= 0) & (x < wide) & (y >= 0) & (y < tall)
        canvas[y[inside], x[inside]] = colors[order][inside]
        rows.append(canvas)
    Image.fromarray(np.concatenate([rows[0], np.zeros((4, PREVIEW + 1, 3), np.uint8), rows[1]])).save(path)


def _told(edge: dict[str, Any], names: list[str]) -> dict[str, Any]:
    return {"scans": [names[number] for number in edge["pair"]], "overlap": edge["overlap"], "rmse": edge["rmse"]}


def _list(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
