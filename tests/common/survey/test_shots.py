"""Cameras and poses in the files that ODM's users read: they project as ours do."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from clusterray.common.survey.records import Frame, Lens, Photos, load
from clusterray.common.survey.scene import PHOTOS, Scene, load_scene
from clusterray.common.survey.shots import cameras_json, images_json, shots_geojson

from . import built, painted

PRIORS = {"made": painted.LENS}


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built.build(tmp_path_factory.mktemp("shots") / "task")


@pytest.fixture(scope="module")
def scene(task: Path) -> Scene:
    return load_scene(task)


def test_opensfm_formulas_give_our_pixels(scene: Scene) -> None:
    """x_n = focal * (x radial + tangential) + c, in parts of the longer side from the middle of the picture."""
    (camera,) = cameras_json(scene, PRIORS).values()
    view = scene.views[2]
    shot = next(one for one in shots_geojson(scene, PRIORS)["features"] if one["properties"]["filename"] == "p02.png")["properties"]
    points = np.random.default_rng(0).uniform((0, -3, 0), (3, 0, 1), (50, 3))
    rotation = cv2.Rodrigues(np.array(shot["rotation"]))[0]
    centre = np.array(shot["translation"]) - np.array(built.ORIGIN)
    x, y, depth = rotation @ (points - centre).T
    x, y = x / depth, y / depth
    square = x * x + y * y
    radial = 1 + square * (camera["k1"] + square * (camera["k2"] + square * camera["k3"]))
    u = camera["focal_x"] * (x * radial + 2 * camera["p1"] * x * y + camera["p2"] * (square + 2 * x * x)) + camera["c_x"]
    v = camera["focal_y"] * (y * radial + 2 * camera["p2"] * x * y + camera["p1"] * (square + 2 * y * y)) + camera["c_y"]
    found = np.stack([u * 320 + 160, v * 320 + 120], axis=1)
    assert np.abs(found - view.project(points)[0]).max() < 1e-2, "translations are rounded to 0.1 mm"


def test_a_camera_is_named_as_opensfm_does(scene: Scene) -> None:
    assert list(cameras_json(scene, PRIORS)) == ["v2 made 320 240 brown 0.8750 rgb"]


def test_shots_lie_where_the_photos_were_taken(task: Path, scene: Scene) -> None:
    photos = {photo.number: photo for photo in load(task / PHOTOS, Photos).photos}
    for number, shot in enumerate(shots_geojson(scene, PRIORS)["features"]):
        longitude, latitude, height = shot["geometry"]["coordinates"]
        assert longitude == pytest.approx(photos[number].longitude, abs=1e-8)
        assert latitude == pytest.approx(photos[number].latitude, abs=1e-8)
        assert height == pytest.approx(256)


def test_without_gps_shots_have_no_place(tmp_path: Path) -> None:
    task = built.build(tmp_path / "task", built.SIX[:2], frame=Frame(georeferenced=False, by="none"))
    shots = shots_geojson(load_scene(task), {"made": Lens(width=320, height=240, fx=1, fy=1, cx=0, cy=0, prior=0)})
    assert [shot["geometry"] for shot in shots["features"]] == [None, None]


def test_images_are_listed_as_odm_lists_them(task: Path) -> None:
    found = images_json(load(task / PHOTOS, Photos))
    assert [one["filename"] for one in found] == [f"p{n:02d}.png" for n in range(6)]
    assert {"width", "height", "camera_make", "camera_model", "latitude", "longitude", "altitude", "band_name", "utc_time"} <= set(found[0])
    assert found[0]["latitude"] == pytest.approx(46.84, abs=0.01) and found[0]["altitude"] == 256
