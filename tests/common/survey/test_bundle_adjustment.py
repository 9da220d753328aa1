"""The global adjustment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from clusterray.common.survey import colmap
from clusterray.common.survey.bundle_adjustment import Adjuster, Ties
from clusterray.common.survey.control import Sighting, told
from clusterray.common.survey.records import Photos, load_matches
from clusterray.common.survey.residuals import Rays
from clusterray.common.survey.similarity import fit

from .worlds import Survey, flight, put


def adjuster(survey: Survey, folder: Path, photos: Photos | None = None, lenses: Any = None) -> Adjuster:
    stages = put(survey, folder) / "stages"
    found = Adjuster(
        photos=photos or survey.photos(), lenses=lenses or {"cam": survey.lens}, features=stages / "features", scratch=folder
    )
    found.prepare(load_matches(stages / "matching" / "matches.npz"), range(len(survey.centres)))
    return found


def shaken(survey: Survey, by: float) -> tuple[dict[int, Any], dict[int, Any]]:
    """Poses whose centres are off by ``by`` metres."""
    rng = np.random.default_rng(2)
    turns = dict(enumerate(survey.rotations))
    return turns, {number: -turn @ (survey.centres[number] + rng.normal(0, by, 3)) for number, turn in turns.items()}


def shape(survey: Survey, model: Any) -> float:
    """Metres from where the cameras were, of the worst, after a similarity."""
    found = np.array([centre for _, centre in sorted(colmap.centres(model).items())])
    return float(np.abs(fit(found, survey.centres, np.ones(len(found))).apply(found) - survey.centres).max())


def test_poses_come_right(tmp_path: Path) -> None:
    """Poses that are off by decimetres come right to centimetres, and no feature is lost or new."""
    survey = flight()
    work = adjuster(survey, tmp_path)
    model = work.triangulate(work.model(*shaken(survey, 0.15)))
    assert shape(survey, model) > 0.2
    work.adjust(model, Ties())
    model = work.triangulate(model)
    work.adjust(model, Ties())
    assert shape(survey, model) < 0.08
    assert model.compute_mean_reprojection_error() < 0.3
    assert [model.images[id].num_points2D() for id in range(1, 21)] == [len(seen) for seen in survey.seen]


def test_wrong_observations_go(tmp_path: Path) -> None:
    """Features that lie tens of pixels from their points are no observations of them any more, and leave no trace in the poses."""
    survey = flight()
    work = adjuster(survey, tmp_path)
    model = work.triangulate(work.model(*shaken(survey, 0.0)))
    wrong = [index for index in range(0, len(survey.seen[3]), 10) if model.images[4].points2D[index].has_point3D()]
    for index in wrong:
        model.images[4].points2D[index].xy = model.images[4].points2D[index].xy + np.array([40, -30])
    work.adjust(model, Ties())
    assert len(wrong) > 10
    assert not any(model.images[4].points2D[index].has_point3D() for index in wrong)
    assert shape(survey, model) < 0.08


def test_control_points_bend(tmp_path: Path) -> None:
    """A long flight whose ends lie 0.6 m below its middle against the survey: control points unbend it, which no similarity can; features
    stay as they were."""
    survey = flight(lines=2, each=14)
    work = adjuster(survey, tmp_path)
    model = work.triangulate(work.model(*shaken(survey, 0.0)))
    points = []
    for x, y, lift in ((0, 0, 0.3), (156, 0, 0.3), (156, 15, 0.3), (0, 15, 0.3), (78, 0, -0.3), (78, 15, -0.3)):
        place = np.array([x, y, 3 * np.sin(x / 11) + 3 * np.cos(y / 7)])
        pixels = {number: survey.project(number, place[None])[0][0] for number in range(28)}
        marks = {number: pixel for number, pixel in pixels.items() if (pixel > 0).all() and (pixel < [800, 600]).all()}
        points.append(Sighting(name=f"{x} {y}", position=place + np.array([0, 0, lift]), marks=marks, check=False))
    rays = Rays(model=model, features=work.features)
    before = told(points, rays)["rmse"][2]
    work.adjust(model, Ties(control={point.name: (point.position, point.marks) for point in points}))
    assert before == pytest.approx(0.3, abs=0.02)
    assert max(told(points, rays)["rmse"]) < 0.06
    assert model.compute_mean_reprojection_error() < 0.3
    assert [model.images[id].num_points2D() for id in range(1, 29)] == [len(seen) for seen in survey.seen]


def test_gps_pulls_by_its_accuracy(tmp_path: Path) -> None:
    """Positions of centimetres put the model in its place and size; the photos' shape is kept."""
    survey = flight()
    work = adjuster(survey, tmp_path)
    turns, shifts = shaken(survey, 0.0)
    model = work.triangulate(work.model(turns, {number: shift * 1.02 for number, shift in shifts.items()}))
    where = dict(enumerate(survey.centres + np.array([3.0, 2, 1])))
    work.adjust(model, Ties(positions=where, accuracies=dict.fromkeys(where, (0.02, 0.02))))
    found = colmap.centres(model)
    assert max(float(np.linalg.norm(found[number] - where[number])) for number in where) < 0.1


def test_lost_photo(tmp_path: Path) -> None:
    """A photo that shows next to nothing of the model is taken away by name."""
    survey = flight()
    survey.pixels[5] = survey.pixels[5][:5]
    survey.seen[5] = survey.seen[5][:5]
    work = adjuster(survey, tmp_path)
    model = work.triangulate(work.model(*shaken(survey, 0.0)))
    assert work.drop_lost(model) == ("p05.jpg",)
    assert 6 not in model.reg_image_ids()
    assert model.num_reg_images() == 19


def test_two_cameras(tmp_path: Path) -> None:
    """Of two cameras, one held and one free: the held one keeps every number, the free one comes right."""
    survey = flight()
    photos = survey.photos()
    two = tuple(
        photo if photo.number % 2 else msgspec.structs.replace(photo, camera="other") for photo in photos.photos
    )
    held = msgspec.structs.replace(survey.lens, held=True)
    lenses = {"cam": held, "other": msgspec.structs.replace(survey.lens, fx=707.0, fy=707.0)}
    work = adjuster(survey, tmp_path, msgspec.structs.replace(photos, photos=two), lenses)
    model = work.triangulate(work.model(*shaken(survey, 0.0)))
    work.adjust(model, Ties())
    ids = colmap.camera_ids(lenses)
    assert list(model.cameras[ids["cam"]].params) == [700, 400, 300, 0.01, 0]
    assert model.cameras[ids["other"]].mean_focal_length() == pytest.approx(700, abs=1)
