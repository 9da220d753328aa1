"""The kind pointcloud with Open3D itself: scans of a known shape, moved about, come back to where they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
from clusterray.common.errors import StitchFailed, TaskFileError
from clusterray.common.kinds.pointcloud import POINTCLOUD, chosen_pairs
from clusterray.common.model import TaskSpec
from clusterray.common.survey.scans import Scan, read_scan, write_scan
from clusterray.common.testing_kinds import PlainFiles, check_kind, whole_task


def shape(count: int = 60_000) -> np.ndarray:
    """A hilly ground of 10 x 10 with boxes of all sizes."""
    numbers = np.random.default_rng(1)
    x, y = numbers.uniform(0, 10, (2, count))
    z = 0.5 * np.sin(1.3 * x) + 0.4 * np.cos(0.9 * y + 0.5 * x) + 0.15 * np.sin(2.9 * y)
    for wide, deep, tall, left, front in numbers.uniform((0.3, 0.3, 0.4, 0, 0), (1.2, 1.2, 2.0, 10, 10), (25, 5)):
        z[(abs(x - left) < wide / 2) & (abs(y - front) < deep / 2)] = tall
    return np.stack([x, y, z], axis=1)


def turn(angle: float, axis: int, shift: tuple[float, float, float]) -> np.ndarray:
    one, other = [number for number in range(3) if number != axis]
    pose = np.eye(4)
    pose[one, one] = pose[other, other] = np.cos(angle)
    pose[one, other], pose[other, one] = -np.sin(angle), np.sin(angle)
    pose[:3, 3] = shift
    return pose


POSES = (turn(0.0, 2, (0, 0, 0)), turn(2.0, 2, (5, -3, 1)), turn(0.7, 0, (-20, 4, 9)))
PARTS = ((0.0, 5.5), (2.5, 8.0), (5.0, 10.0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three scans that overlap by half; each has a coordinate system of its own."""
    root = tmp_path_factory.mktemp("scans")
    ground = shape()
    for name, pose, (low, high) in zip(("a.ply", "b.laz", "c.pcd"), POSES, PARTS, strict=True):
        part = ground[(ground[:, 0] >= low) & (ground[:, 0] <= high)]
        colors = np.clip(part * 25, 0, 255).astype(np.uint8)
        write_scan(Scan(points=part @ pose[:3, :3].T + pose[:3, 3], colors=colors), root / name)
    return root


def test_scans_come_back_to_where_they_were(folder, tmp_path):
    """The exam of all kinds, and: every point of the merged cloud lies where the first scan's frame has it, within a few millimetres."""
    spec = TaskSpec(kind="pointcloud", name="site", options={"mesh": "poisson", "mesh-octree-depth": 6, "mesh-size": 3000})
    made = whole_task(POINTCLOUD, spec, folder, tmp_path)
    poses = json.loads((tmp_path_file(made, tmp_path, "poses.json")).read_bytes())
    for name, pose in zip(("a.ply", "b.laz", "c.pcd"), POSES, strict=True):
        assert np.abs(np.array(poses[name]) @ pose - np.eye(4)).max() < 0.02, name
    merged = read_scan(tmp_path_file(made, tmp_path, "site.ply"), "site.ply")
    ground = shape()
    assert len(merged.points) > len(ground) and merged.colors is not None
    from scipy.spatial import cKDTree

    away = cKDTree(ground).query(merged.points)[0]
    assert np.percentile(away, 99) < 0.02, "of a shape of 10 units"
    assert json.loads(made["report.json"])["placed"] == 3
    assert made["site-mesh.ply"].startswith(b"ply") and made["preview.png"].startswith(b"\x89PNG")


def tmp_path_file(made, tmp_path, name):
    path = tmp_path / f"result-{name}"
    path.write_bytes(made[name])
    return path


def test_it_passes_the_exam_of_all_kinds(folder, tmp_path):
    """With scans that lie right already."""
    spec = TaskSpec(kind="pointcloud", name="site", options={"registration": "none", "merged-voxel": 0.2, "outliers": 3.0, "output": "laz"})

    def covers(task, regions):
        return "" if [region.data["name"] for region in regions] == ["a.ply", "b.laz", "c.pcd"] else "a scan is left out"

    check_kind(POINTCLOUD, spec, folder, tmp_path, covers)


def test_a_scan_that_fits_nowhere_is_named(folder, tmp_path):
    """The task fails and says which; or goes on without it where that was asked for."""
    alone = tmp_path / "in"
    alone.mkdir()
    for name in ("a.ply", "b.laz"):
        (alone / name).write_bytes((folder / name).read_bytes())
    ball = np.random.default_rng(2).normal(size=(8000, 3))
    write_scan(Scan(points=3 * ball / np.linalg.norm(ball, axis=1)[:, None], colors=None), alone / "moon.ply")
    spec = TaskSpec(kind="pointcloud", name="site", options={"min-overlap": 0.5, "outliers": 0.0})
    with pytest.raises((AssertionError, StitchFailed), match=r"moon\.ply fit to none of the others"):
        whole_task(POINTCLOUD, spec, alone, tmp_path / "one")
    made = whole_task(
        POINTCLOUD, TaskSpec(kind="pointcloud", name="site", options={"min-overlap": 0.5, "unplaced": "leave-out"}), alone, tmp_path / "two"
    )
    report = json.loads(made["report.json"])
    assert report["placed"] == 2 and "moon.ply" in report["notes"][0]


def test_what_cannot_be_read_is_named(folder, tmp_path):
    """A text file that is called .ply, an empty one, and a LAZ that was cut."""
    from clusterray.common.survey.errors import BadSurvey

    (tmp_path / "letter.ply").write_text("Dear farm,\n")
    (tmp_path / "empty.pcd").write_bytes(b"")
    (tmp_path / "cut.laz").write_bytes((folder / "b.laz").read_bytes()[:4000])
    for name in ("letter.ply", "empty.pcd", "cut.laz"):
        with pytest.raises(BadSurvey, match=name):
            read_scan(tmp_path / name, name)


def test_folders_without_scans_are_refused(tmp_path):
    """And not taken for ours; one scan alone is fine, with a warning."""
    assert not POINTCLOUD.recognise(PlainFiles(tmp_path))
    with pytest.raises(TaskFileError, match="no scan in this folder"):
        POINTCLOUD.examine(TaskSpec(kind="pointcloud", name="x"), PlainFiles(tmp_path))
    (tmp_path / "a.ply").write_bytes(b"x")
    assert "one scan only" in POINTCLOUD.examine(TaskSpec(kind="pointcloud", name="x"), PlainFiles(tmp_path)).warnings[0]


def test_which_pairs_are_tried():
    """All of a few scans; of many each with its next ones, so that the work grows with their number and not its square."""
    assert chosen_pairs(3, "auto") == [(0, 1), (0, 2), (1, 2)]
    assert len(chosen_pairs(100, "auto")) < 300 < len(chosen_pairs(100, "all")) == 4950
    assert chosen_pairs(3, "sequence") == [(0, 1), (0, 2), (1, 2)]
