"""Our files as COLMAP sees them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pycolmap
import pytest
from clusterray.common.survey import colmap
from clusterray.common.survey.records import Lens, load_features
from clusterray.common.survey.scene import lens_of

from .described import put, straight, truth


def test_a_lens_goes_there_and_back() -> None:
    """With what each camera model holds: one focal length and two terms, or all."""
    plain = Lens(width=800, height=600, fx=700.0, fy=700.0, cx=401.0, cy=299.0, k1=0.02, k2=-0.01, prior=690.0)
    tilted = msgspec.structs.replace(plain, fy=702.0, p1=0.001)
    for lens, model in ((plain, "RADIAL"), (tilted, "OPENCV")):
        made = colmap.camera(lens, 3)
        assert made.model.name == model and made.camera_id == 3 and made.has_prior_focal_length
        assert lens_of(made, 690.0) == lens
    assert not colmap.camera(msgspec.structs.replace(plain, prior=0.0), 1).has_prior_focal_length


def test_a_database_holds_what_was_chosen(tmp_path: Path) -> None:
    """Photos by number + 1, cameras by the place of their key, pairs among the chosen photos alone."""
    survey = straight(5)
    photos = put(tmp_path, survey)
    matches = truth(survey)
    lenses = {"cam": survey.lens, "another": survey.lens}
    path = tmp_path / "base.db"
    for _ in range(2):  # the second time in place of the first
        colmap.database(path, photos, lenses, tmp_path / "stages/features", matches, [1, 2, 4])
    with pycolmap.Database.open(str(path)) as base:
        assert {image.image_id: (image.name, image.camera_id) for image in base.read_all_images()} == {
            2: ("images/001.jpg", 2), 3: ("images/002.jpg", 2), 5: ("images/004.jpg", 2)
        }  # fmt: skip
        ids, geometries = base.read_two_view_geometries()
        found = {pycolmap.pair_id_to_image_pair(id): geometry for id, geometry in zip(ids, geometries, strict=True)}
        assert set(found) <= {(2, 3), (3, 5), (2, 5)} and (2, 3) in found
        at = matches.pairs.tolist().index([1, 2])
        assert np.array_equal(found[2, 3].inlier_matches, matches.of(at))
        keypoints = base.read_keypoints(3)
        points = keypoints if isinstance(keypoints, np.ndarray) else pycolmap.keypoints_to_matrix(keypoints)
        assert np.allclose(points[:, :2], load_features(tmp_path / "stages/features/00002.npz").points)


def test_a_model_goes_there_and_back_with_its_colours(tmp_path: Path) -> None:
    """Centres, axes and colours: a point has the mean of the features that it was seen as (photo 0 is 1, photo 1 is 2: 2 by rounding)."""
    survey = straight(2)
    put(tmp_path, survey)
    made = pycolmap.Reconstruction()
    made.add_camera_with_trivial_rig(colmap.camera(survey.lens, 1))
    for number in (0, 1):
        image = pycolmap.Image(name=f"{number}", keypoints=survey.pixels[number].astype(float), camera_id=1, image_id=number + 1)
        turn = survey.rotations[number]
        made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.column_stack([turn, -turn @ survey.centres[number]])))
    row = truth(survey).of(0)[0]
    made.add_point3D(
        survey.points[survey.seen[0][row[0]]], pycolmap.Track([pycolmap.TrackElement(1, row[0]), pycolmap.TrackElement(2, row[1])])
    )
    colmap.colour(made, tmp_path / "stages/features")
    colmap.write_model(made, tmp_path / "model")
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == sorted(colmap.FILES)
    read = colmap.read_model(tmp_path / "model")
    assert [colmap.centres(read)[number].tolist() for number in (0, 1)] == [pytest.approx(survey.centres[n].tolist()) for n in (0, 1)]
    assert colmap.axes(read)[1].tolist() == pytest.approx([0, 0, -1], abs=1e-9)
    (point,) = read.points3D.values()
    assert point.color.tolist() == [2, 2, 2]
