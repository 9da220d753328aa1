"""Pictures for people: colours mean what the legend says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey import picture
from clusterray.common.survey.crop import Keep
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.scene import Scene, load_scene
from PIL import Image

from . import built

LEFT = Keep(polygons=((np.array([(576700.0, 5188160.0), (576705, 5188160), (576705, 5188180), (576700, 5188180)]),),))
"""West of the middle of the box."""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return load_scene(built.build(tmp_path_factory.mktemp("picture") / "task"))


def test_overlap_counts_the_photos_that_show_a_place(scene: Scene) -> None:
    count = picture.overlap(scene, (-8.0, -6.0, 8.0, 6.0), 0.0, size=160)
    points = np.stack(np.meshgrid((np.arange(160) + 0.5) * 0.1 - 8, 6 - (np.arange(120) + 0.5) * 0.1), axis=-1).reshape(-1, 2)
    wanted = np.zeros(len(points), int)
    for view in scene.views:
        pixels, _ = view.project(np.column_stack([points, np.zeros(len(points))]))
        near = np.abs(points - view.centre[:2]).max(axis=1) < 5
        wanted += near & (pixels > 0).all(axis=1) & (pixels < (view.lens.width, view.lens.height)).all(axis=1)
    assert np.array_equal(count, wanted.reshape(120, 160))
    assert count[0, 0] == 0 and count.max() >= 4


def test_the_map_shows_overlap_in_the_colours_of_the_legend(scene: Scene) -> None:
    count = np.full((120, 160), 2, np.int32)
    count[:, :80] = 7
    count[:10] = 0
    drawn = picture.survey_map(scene, (-8.0, -6.0, 8.0, 6.0), count, size=320)
    assert drawn.shape == (240, 320, 4)
    assert tuple(drawn[200, 20, :3]) == picture.OVERLAP[4] and tuple(drawn[200, 300, :3]) == picture.OVERLAP[1]
    assert drawn[5, 20, 3] == 0
    x, y, _ = scene.views[2].centre
    assert tuple(drawn[round((6 - y) * 20), round((x + 8) * 20)]) == picture.INK, "a dot where a photo was taken"


def test_high_and_low_differ_in_colour_and_slopes_in_light() -> None:
    x = np.mgrid[0:60, 0:80][1].astype(float)
    flat, _ = picture.relief(np.full((60, 80), 5.0), 1.0)
    assert len(np.unique(flat.reshape(-1, 4), axis=0)) == 1
    ramp, span = picture.relief(x, 1.0)
    assert span == (pytest.approx(0, abs=1), pytest.approx(79, abs=1))
    assert (ramp[30, 2, :3].astype(int) != ramp[30, 77, :3].astype(int)).any()
    roof = np.where(x < 40, x, 80 - x)  # a ridge from north to south: its western side faces the light
    lit, _ = picture.relief(roof, 1.0)
    assert lit[30, 20].astype(int).sum() > lit[30, 60].astype(int).sum()
    assert (picture.relief(np.where(x < 9, np.nan, x), 1.0)[0][:, :9] == 0).all()


def test_rasters_are_scaled_down_and_cut(tmp_path: Path) -> None:
    rgba = np.full((4, 150, 150), 255, np.uint8)
    write_raster(tmp_path / "o.tif", rgba, built.GRID, photometric="RGB", alpha="YES")
    found = picture.colours(tmp_path / "o.tif", LEFT, 75)
    assert found.shape == (75, 75, 4) and (found[:, :36, 3] == 255).all() and not found[:, 39:, 3].any()
    assert picture.trimmed(found).shape[1] in (37, 38)
    heights = built.heights(built.GRID)
    heights[:, 30:50] = NODATA
    write_raster(tmp_path / "d.tif", heights, built.GRID, nodata=NODATA)
    z, grid = picture.heights(tmp_path / "d.tif", LEFT, 75)
    assert grid.resolution == pytest.approx(0.08)
    assert np.isnan(z[:, 40:]).all() and np.isnan(z[:, 16:24]).all() and z[40, 5] == pytest.approx(250)


def test_points_are_drawn_as_a_photo_shows_them(scene: Scene) -> None:
    """Nearer points cover those behind."""
    view = scene.views[1]
    points = np.array([[0.0, -1.5, 0.0], [0.0, -1.5, 1.0], [1.0, -1.5, 0.0]])
    drawn = picture.seen_from(view, points, np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8), size=320)
    ((u, v),) = view.project(points[:1])[0]
    assert tuple(drawn[int(v), int(u)]) == (0, 255, 0, 255)
    assert (drawn[..., 3] > 0).sum() == 8, "two of the three are seen, 2 x 2 pixels each"


def test_pictures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        picture.save_png(np.arange(4800).reshape(30, 40, 4).astype(np.uint8), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as opened:
        assert opened.size == (40, 30) and opened.mode == "RGBA"
