"""One cloud from tiles: no point is lost or made up, and others can read it."""

from __future__ import annotations

import datetime
from pathlib import Path

import laspy
import numpy as np
import pytest
from clusterray.common.survey import cloud_join
from clusterray.common.survey.cloud import write_cloud
from clusterray.common.survey.cloud_join import join
from clusterray.common.survey.crop import Keep

BOUNDS = (576700.0, 5188100.0, 576720.0, 5188110.0)
WEST = Keep(polygons=((np.array([(576700.0, 5188100), (576705, 5188100), (576705, 5188110), (576700, 5188110)]),),))


@pytest.fixture
def tiles(tmp_path: Path) -> list[Path]:
    """Two halves with 4000 points each, as the stage surface leaves them."""
    random = np.random.default_rng(0)
    paths = []
    for number, west in enumerate((576700, 576710)):
        places = random.uniform((west, 5188100, 200), (west + 10, 5188110, 210), (4000, 3))
        colours = random.integers(0, 256, (4000, 3)).astype(np.uint8)
        paths.append(tmp_path / f"r000c00{number}.laz")
        write_cloud(paths[-1], places, colours, np.full(4000, 3 + number, np.uint8), crs="EPSG:32615")
    return paths


def test_all_points_come_through_with_all_that_is_known_of_them(tiles: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_join, "AT_ONCE", 700)
    told = join(tiles, tmp_path / "out.laz", crs="EPSG:32615", bounds=BOUNDS, keep=Keep())
    found, parts = laspy.read(str(tmp_path / "out.laz")), [laspy.read(str(tile)) for tile in tiles]
    assert told.points == found.header.point_count == 8000 and told.dropped == 0
    for name in ("red", "green", "blue", "views", "return_number", "number_of_returns"):
        assert np.array_equal(found[name], np.concatenate([part[name] for part in parts])), name
    for axis in "xyz":
        assert np.abs(np.asarray(found[axis]) - np.concatenate([np.asarray(part[axis]) for part in parts])).max() < 1e-6
    assert found.header.parse_crs().to_epsg() == 32615
    assert found.header.maxs[0] == pytest.approx(told.bounds[3])


def test_points_outside_of_the_boundary_are_dropped_and_counted(tiles: list[Path], tmp_path: Path) -> None:
    told = join(tiles, tmp_path / "out.laz", crs="EPSG:32615", bounds=BOUNDS, keep=WEST)
    x = np.asarray(laspy.read(str(tmp_path / "out.laz")).x)
    assert told.points + told.dropped == 8000
    assert x.max() < 576705.2 and 1800 < len(x) < 2200


def test_the_same_points_are_the_same_bytes(tiles: list[Path], tmp_path: Path) -> None:
    for name in ("a.laz", "b.laz"):
        join(tiles, tmp_path / name, crs="EPSG:32615+5773", bounds=BOUNDS, keep=Keep())
    assert (tmp_path / "a.laz").read_bytes() == (tmp_path / "b.laz").read_bytes()
    with laspy.open(str(tmp_path / "a.laz")) as file:
        assert file.header.creation_date == datetime.date(2000, 1, 1), "not that of the day"
        assert "EGM96" in file.header.parse_crs().to_wkt()


def test_a_model_without_a_place_has_no_crs(tiles: list[Path], tmp_path: Path) -> None:
    join(tiles[:1], tmp_path / "out.laz", crs="", bounds=BOUNDS, keep=Keep())
    assert laspy.read(str(tmp_path / "out.laz")).header.parse_crs() is None


def test_where_no_point_is_kept_the_file_is_empty_and_whole(tiles: list[Path], tmp_path: Path) -> None:
    told = join(tiles[1:], tmp_path / "out.laz", crs="EPSG:32615", bounds=BOUNDS, keep=WEST)
    assert told.points == 0 and told.picture is None
    assert len(laspy.read(str(tmp_path / "out.laz"))) == 0


def test_the_picture_shows_the_highest_points(tmp_path: Path) -> None:
    places = np.array([[576701.0, 5188109.0, 200.0], [576701.0, 5188109.0, 205.0], [576719.0, 5188101.0, 190.0]])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    write_cloud(tmp_path / "t.laz", places, colours, np.full(3, 2, np.uint8), crs="EPSG:32615")
    picture = join([tmp_path / "t.laz"], tmp_path / "out.laz", crs="", bounds=BOUNDS, keep=Keep(), size=20).picture
    assert picture is not None and picture.shape == (10, 20, 4)
    assert picture[1, 1].tolist() == [0, 255, 0, 255] and picture[9, 19].tolist() == [0, 0, 255, 255]
    assert int((picture[..., 3] > 0).sum()) == 2
