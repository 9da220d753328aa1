"""The orthophoto: what it shows is where it is, whatever stands there, and tiles join without a trace."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from clusterray.common.survey import ortho
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.geotiff import read_raster
from clusterray.common.survey.grid import Grid, covering, tiles
from clusterray.common.survey.ortho_index import TileFacts
from clusterray.common.survey.records import load
from scipy.ndimage import maximum_filter, minimum_filter

from . import built, painted

GRID = covering(built.GRID.bounds, 0.03)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built.build(tmp_path_factory.mktemp("ortho") / "task")


def tile(task: Path, out: Path, grid: Grid, name: str = "r000c000", photos: tuple[int, ...] = (0, 1, 2, 3, 4, 5)) -> np.ndarray:
    ortho.run(built.job(task, out, {"tile": name, "grid": msgspec.to_builtins(grid), "photos": list(photos)}))
    return read_raster(out / f"{name}.tif")[0]


def inside(grid: Grid, by: int = 2) -> np.ndarray:
    """Cells that are no edge of the box, which one cell of the surface model blurs."""
    heights = built.heights(grid) > 251
    size = (2 * by + 1, 2 * by + 1)
    rim: np.ndarray = maximum_filter(heights, size) != minimum_filter(heights, size)
    return ~rim


def test_it_shows_each_place_as_it_is_seen_from_straight_above(task: Path, tmp_path: Path) -> None:
    rgba = tile(task, tmp_path / "out", GRID)
    off = np.abs(rgba[:3].transpose(1, 2, 0) - built.truth(GRID)).max(axis=2)
    good = inside(GRID) & (rgba[3] > 0)
    assert np.median(off[good]) < 3
    assert (off[good] > 25).mean() < 0.01


def test_a_house_does_not_lean_over_the_ground_behind_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The photo that looks more steeply shows the red wall where ground is; the other one is taken, though it looks more flatly."""
    views = [painted.view(n, (x, 0, 6), (x, 0, 0), up=(0, 1, 0)) for n, x in enumerate((1.3, -4.5))]
    task = built.build(tmp_path / "task", views)

    def red(out: Path) -> int:
        rgba = tile(task, out, GRID, photos=(0, 1))
        x, y = (values - start for values, start in zip(GRID.centres(), built.ORIGIN, strict=False))
        ground = (x[None, :] < -1.05) & (x[None, :] > -1.7) & (np.abs(y)[:, None] < 0.9)
        return int((rgba[2][ground] < 110).sum())

    assert red(tmp_path / "with") == 0
    monkeypatch.setattr(ortho, "depth_below", lambda view, relief, x, y, z, reach: np.full(z.shape, -1.0))
    assert red(tmp_path / "without") > 500


def test_tiles_are_pixel_for_pixel_the_whole(task: Path, tmp_path: Path) -> None:
    whole = tile(task, tmp_path / "whole", GRID)
    for part in tiles(GRID, 3, 2):
        rows, columns = GRID.slices(part.grid)
        assert np.array_equal(tile(task, tmp_path / part.name, part.grid, part.name), whole[:, rows, columns]), part.name


def test_photos_that_do_not_see_a_tile_change_nothing(task: Path, tmp_path: Path) -> None:
    """A node is given the photos that see the tile, and no others."""
    part = GRID.part(0, 0, 40, 40)
    facts = tmp_path / "all" / "r000c000.json"
    everything = tile(task, tmp_path / "all", part)
    used = load(facts, TileFacts).photos
    assert len(used) < 6
    assert np.array_equal(tile(task, tmp_path / "some", part, photos=used), everything)


def test_the_same_photos_give_the_same_bytes(task: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        tile(task, tmp_path / name, GRID.part(0, 0, 90, 90))
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_wide_holes_stay_transparent_and_narrow_ones_are_filled(tmp_path: Path) -> None:
    """From 6 m above, a hole of 0.8 m is filled and one of 2.4 m is not; the picture says how much it guessed."""
    task = built.build(tmp_path / "task", built.SIX[:3], hole=(slice(110, 150), slice(5, 65)))
    rgba = tile(task, tmp_path / "wide", built.GRID, photos=(0, 1, 2))
    assert (rgba[:, 125:, 25:50] == 0).all()
    assert (rgba[3, 100:108, 5:65] == 255).all()
    task = built.build(tmp_path / "other", built.SIX[:3], hole=(slice(120, 140), slice(20, 40)))
    filled = tile(task, tmp_path / "narrow", built.GRID, photos=(0, 1, 2))
    assert (filled[3, 120:140, 20:40] == 255).all()
    assert load(tmp_path / "narrow" / "r000c000.json", TileFacts).filled == 400
    assert not rgba[:, rgba[3] == 0].any(), "what is transparent is black"


def test_photos_of_different_brightness_meet_without_a_cut(tmp_path: Path) -> None:
    """One photo is 20 % darker; at the seams less than half of the step is left."""
    gains = {1: 0.8, 4: 0.8}
    task = built.build(tmp_path / "task", gains=gains)
    rgba = tile(task, tmp_path / "out", GRID)
    plain = inside(GRID) & (built.heights(GRID) < 251) & (rgba[3] > 0)
    blue = rgba[2].astype(float)
    low, high = np.percentile(blue[plain], [1, 99])
    assert high - low < 0.5 * (200 - 160)


def test_seams_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = painted.paint

    def speckled(points: np.ndarray, box: np.ndarray) -> np.ndarray:
        """Blots of 10 cm, so that a shift can be told."""
        x, y, _ = points.T
        return plain(points, box) * (0.7 + 0.3 * np.sin(41 * x + 9 * np.sin(17 * y)) * np.sin(37 * y))[:, None]

    monkeypatch.setattr(painted, "paint", speckled)
    tile(built.build(tmp_path / "task"), tmp_path / "out", GRID)
    facts = load(tmp_path / "out" / "r000c000.json", TileFacts)
    assert len(facts.seams) >= 2
    assert np.median([seam.shift for seam in facts.seams]) < 0.5
    assert all(seam.first < seam.second for seam in facts.seams)
    assert facts.cells == int((read_raster(tmp_path / "out" / "r000c000.tif")[0][3] > 0).sum())


def test_a_photo_that_is_damaged_is_named(tmp_path: Path) -> None:
    task = built.build(tmp_path / "task", built.SIX[:2])
    path = task / built.SIX[1].photo.name
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(BadSurvey, match=r"p01\.png is damaged"):
        tile(task, tmp_path / "out", built.GRID, photos=(0, 1))


def test_coarse_cells_do_not_flicker(tmp_path: Path) -> None:
    """At 5 pixels of a photo to a cell, a cell has their mean: a fine chessboard is grey."""
    from PIL import Image

    task = built.build(tmp_path / "task", built.SIX[:1])
    chess = ((np.indices((240, 320)).sum(axis=0) % 2) * 255).astype(np.uint8)
    Image.fromarray(np.repeat(chess[:, :, None], 3, axis=2)).save(task / painted.view(0, (0, 0, 1), (0, 0, 0), up=(0, 1, 0)).photo.name)
    rgba = tile(task, tmp_path / "out", covering(built.GRID.bounds, 0.12), photos=(0,))
    grey = rgba[0][rgba[3] > 0].astype(float)
    assert grey.std() < 12 and abs(grey.mean() / np.median(grey) - 1) < 0.1
