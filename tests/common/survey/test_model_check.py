"""Models read through without COLMAP."""

from __future__ import annotations

import struct

import pytest
from clusterray.common.survey import colmap
from clusterray.common.survey.model_check import check_model

from .worlds import flight, put


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes, bytes, int]:
    folder = put(flight(lines=1, each=4, points=200), tmp_path_factory.mktemp("model")) / "stages" / "mapping" / "all"
    points = colmap.read_model(folder).num_points3D()
    return *((folder / f"{name}.bin").read_bytes() for name in ("images", "points3D", "cameras")), points


def test_good(model: tuple[bytes, bytes, bytes, int]) -> None:
    """What COLMAP wrote passes, with its images and points counted."""
    images, points, cameras, count = model
    assert check_model(images, points, cameras) == (frozenset({1, 2, 3, 4}), count)


def test_cut_and_damaged(model: tuple[bytes, bytes, bytes, int]) -> None:
    """Cut anywhere, something behind the end, counts or numbers that are none: refused, never read on into nothing."""
    images, points, cameras, _ = model
    for at in (0, 4, 8, 30, len(images) // 2, len(images) - 1):
        with pytest.raises(ValueError):
            check_model(images[:at], points, cameras)
    for at in (0, 4, 30, len(points) // 2, len(points) - 1):
        with pytest.raises(ValueError):
            check_model(images, points[:at], cameras)
    huge = struct.pack("<Q", 2**60)
    nan = struct.pack("<d", float("nan"))
    for bad_images, bad_points in (
        (images + b"x", points),
        (images, points + b"x"),
        (huge + images[8:], points),
        (images, huge + points[8:]),
        (images[:12] + nan + images[20:], points),
        (images, points[:16] + nan + points[24:]),
    ):
        with pytest.raises(ValueError):
            check_model(bad_images, bad_points, cameras)


def test_cameras(model: tuple[bytes, bytes, bytes, int]) -> None:
    """A damaged camera would end the next stage's process, on another node: cut, of no known model, endless, absent."""
    images, points, cameras, _ = model
    for bad in (
        cameras[:-1], cameras + b"x", cameras[:12] + struct.pack("<i", 99) + cameras[16:], struct.pack("<Q", 2**60) + cameras[8:],
        cameras[:16] + struct.pack("<Q", 2**40) + cameras[24:], cameras[:32] + struct.pack("<d", float("inf")) + cameras[40:],
        cameras[:32] + struct.pack("<d", -1.0) + cameras[40:], struct.pack("<Q", 0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="camera"):
            check_model(images, points, bad)
