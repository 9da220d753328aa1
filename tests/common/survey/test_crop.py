"""What is kept of the results: a boundary, the area of the cameras, and no frayed rim."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import pytest
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.survey.crop import Keep, around, hull_depth, keep_of
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.grid import Grid
from clusterray.common.survey.records import Frame, save
from clusterray.common.survey.surface_index import DSM, SURFACE, Surface

GRID = Grid(resolution=0.5, west=576700.0, north=5188200.0, columns=200, rows=160)
FRAME = Frame(georeferenced=True, crs="EPSG:32615", origin=(576700.0, 5188100.0, 0.0), by="gps")
CAMERAS = np.array([[576720.0, 5188140, 60], [576780, 5188140, 60], [576780, 5188180, 60], [576720, 5188180, 60]])


def survey(folder: Path, valid: Any = None) -> Path:
    """100 x 80 m, the part ``valid`` of it measured."""
    heights = np.full(GRID.shape, 10, np.float32)
    if valid is not None:
        heights[~valid] = NODATA
    write_raster(folder / DSM, heights, GRID, crs=FRAME.crs, nodata=NODATA)
    save(Surface(gsd=0.1, georeferenced=True, resolution=0.5, bounds=GRID.bounds, shape=GRID.shape), folder / SURFACE)
    return folder


def kept(folder: Path, **options: Any) -> Keep:
    given = normalise("survey", OPTIONS, {"crop": 0.0} | {name.replace("_", "-"): value for name, value in options.items()})
    return keep_of(folder, dict(given), FRAME, CAMERAS)


def polygon(west: float, south: float, east: float, north: float) -> str:
    """A rectangle in the CRS as GeoJSON."""
    way = pyproj.Transformer.from_crs(FRAME.crs, "EPSG:4326", always_xy=True)
    corners = [list(way.transform(x, y)) for x, y in [(west, south), (east, south), (east, north), (west, north)]]
    return json.dumps({"type": "Polygon", "coordinates": [[*corners, corners[0]]]})


def test_the_rim_is_cut_back_by_so_many_metres(tmp_path: Path) -> None:
    mask = kept(survey(tmp_path), crop=5.0).mask(GRID)
    assert mask[10:150, 10:190].mean() == 1, "5 m are 10 cells"
    assert not mask[:9].any() and not mask[-9:].any() and not mask[:, :9].any() and not mask[:, -9:].any()


def test_a_lake_in_the_middle_keeps_its_shores(tmp_path: Path) -> None:
    valid = np.ones(GRID.shape, bool)
    valid[60:100, 80:130] = False
    assert kept(survey(tmp_path, valid), crop=3.0).mask(GRID)[56:104, 76:134].all()


def test_fringes_at_the_rim_are_cut_off(tmp_path: Path) -> None:
    """Thin arms that reach out of the survey are what crop is there for."""
    valid = np.zeros(GRID.shape, bool)
    valid[40:120, 40:160] = True
    valid[70:74, 160:195] = True
    mask = kept(survey(tmp_path, valid), crop=3.0).mask(GRID)
    assert not mask[:, 162:].any()
    assert mask[50:110, 50:150].all()


def test_a_survey_that_is_narrower_than_crop_is_kept_and_it_is_said(tmp_path: Path) -> None:
    valid = np.zeros(GRID.shape, bool)
    valid[70:80, 40:160] = True
    keep = kept(survey(tmp_path, valid), crop=9.0)
    assert keep.mask(GRID).all()
    assert keep.notes and "crop = 9 m" in keep.notes[0]


def test_the_cut_does_not_depend_on_which_part_is_asked_for(tmp_path: Path) -> None:
    """Strips and tiles are cut as the whole."""
    keep = kept(survey(tmp_path), crop=4.2, boundary=polygon(576710, 5188130, 576790, 5188190))
    whole = keep.mask(GRID)
    part = GRID.part(13, 21, 90, 77)
    assert np.array_equal(keep.mask(part), whole[GRID.slices(part)])


def test_outside_of_the_boundary_nothing_is_kept(tmp_path: Path) -> None:
    mask = kept(survey(tmp_path), boundary=polygon(576710, 5188130, 576790, 5188190)).mask(GRID)
    assert mask[22:138, 22:178].all()
    assert mask.sum() == pytest.approx(160 * 120, rel=0.02)


def test_a_boundary_may_be_a_file_of_the_task(tmp_path: Path) -> None:
    survey(tmp_path)
    (tmp_path / "area.geojson").write_text(polygon(576710, 5188130, 576790, 5188190))
    assert 0 < kept(tmp_path, boundary="area.geojson").mask(GRID).sum() < GRID.columns * GRID.rows
    with pytest.raises(BadSurvey, match=r"there is no file areal.geojson"):
        kept(tmp_path, boundary="areal.geojson")
    with pytest.raises(BadSurvey, match="there is no file"):
        kept(tmp_path, boundary="../../etc/passwd")


def test_a_boundary_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSurvey, match="lies elsewhere"):
        kept(survey(tmp_path), boundary=polygon(577710, 5188130, 577790, 5188190))


def test_the_area_of_the_cameras_is_their_hull_and_some_room(tmp_path: Path) -> None:
    """Their neighbours are 40 m away, so there are 40 m of room."""
    mask = kept(survey(tmp_path), auto_boundary=True).mask(GRID)
    assert mask[:, 45:].all(), "x from 576720 - 40 on"
    ring = around(CAMERAS[:, :2])
    assert ring[:, 0].min() == pytest.approx(576680, abs=0.5) and ring[:, 1].max() == pytest.approx(5188220, abs=0.5)


def test_all_is_kept_where_nothing_is_asked_for(tmp_path: Path) -> None:
    keep = kept(survey(tmp_path))
    assert keep.mask(GRID).all() and keep.window(GRID) == GRID


def test_the_window_holds_all_that_is_kept(tmp_path: Path) -> None:
    keep = kept(survey(tmp_path), crop=2.0, boundary=polygon(576710, 5188130, 576790, 5188190))
    window = keep.window(GRID)
    assert window.columns < 165 and window.rows < 125
    assert keep.mask(window).sum() == keep.mask(GRID).sum()


def test_a_large_surface_is_looked_at_coarsely(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clusterray.common.survey import crop

    fine = kept(survey(tmp_path), crop=5.0).mask(GRID)
    monkeypatch.setattr(crop, "MOST_CELLS", 3000)
    depth, grid = hull_depth(tmp_path / DSM, 5.0)
    assert grid.resolution > 1
    assert abs(int(Keep(depth=depth, grid=grid).mask(GRID).sum()) - int(fine.sum())) < 0.03 * fine.sum()
