"""The poses of a model, read without COLMAP."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest
from clusterray.common.survey.poses import read_views
from clusterray.common.survey.records import Lens, Photos, load
from clusterray.common.survey.scene import MODEL, PHOTOS, load_scene

from . import built, painted


def views(task: Path) -> tuple[object, ...]:
    return read_views(task / MODEL / "images.bin", task / MODEL / "cameras.bin", load(task / PHOTOS, Photos))


OBLONG = Lens(width=320, height=240, fx=280, fy=281, cx=161, cy=119, k1=-0.1, p1=1e-3, p2=-2e-3, prior=0)


@pytest.mark.parametrize("lens", [painted.LENS, OBLONG])
def test_poses_and_lenses_are_those_that_colmap_reads(tmp_path: Path, lens: Lens) -> None:
    shown = [painted.view(n, (n - 1.0, 0.3 * n, 6.0), (0.2, 0, 0), lens=lens) for n in range(3)]
    task = built.build(tmp_path / "task", shown)
    for one, other in zip(views(task), load_scene(task).views, strict=True):
        assert one.photo == other.photo and one.lens == other.lens  # type: ignore[attr-defined]
        assert np.allclose(one.rotation, other.rotation, atol=1e-12)  # type: ignore[attr-defined]
        assert np.array_equal(one.translation, other.translation)  # type: ignore[attr-defined]


def test_a_model_that_is_cut_short_or_of_another_survey_is_named(tmp_path: Path) -> None:
    task = built.build(tmp_path / "task", built.SIX[:2])
    images = task / MODEL / "images.bin"
    whole = images.read_bytes()
    images.write_bytes(whole[:60])
    with pytest.raises(ValueError, match="cut short"):
        views(task)
    images.write_bytes(whole)
    with pytest.raises(ValueError, match="none of the photos"):
        read_views(images, task / MODEL / "cameras.bin", Photos(photos=()))


def test_a_camera_that_this_program_does_not_use_is_named(tmp_path: Path) -> None:
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(model="OPENCV_FISHEYE", width=10, height=10, params=[9, 9, 5, 5, 0, 0, 0, 0], camera_id=1)
    model.add_camera_with_trivial_rig(camera)
    model.write(str(tmp_path))
    with pytest.raises(ValueError, match="unknown form"):
        read_views(tmp_path / "images.bin", tmp_path / "cameras.bin", Photos(photos=()))
