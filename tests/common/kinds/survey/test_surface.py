"""The stage ``surface``: tiles that together are what one job would have made, near the truth."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import laspy
import msgspec
import numpy as np
import pytest
from clusterray.common.errors import SplitFailed
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.survey.depth import Depth
from clusterray.common.kinds.survey.surface import Surface
from clusterray.common.survey.depth_index import INDEX, DepthIndex
from clusterray.common.survey.geotiff import NODATA, read_raster
from clusterray.common.survey.records import Block, Frame, load, load_arrays, save, save_arrays
from clusterray.common.survey.surface_index import Surface as SurfaceRecord
from clusterray.common.testing_kinds import check_lost, check_refusals

from ....common.survey import built, grained, painted
from .rounds import rehearsal, through


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After the stage depth, in two submodels."""
    place = tmp_path_factory.mktemp("surface")
    task = grained.build(place / "task")
    save([Block(name="west", core=(0, 1, 5), photos=(0, 1, 4, 5)), Block(name="east", core=(2, 3, 4), photos=(1, 2, 3, 4))],
         task / "stages/calibration/blocks.json")  # fmt: skip
    through(Depth(), task, place / "depth")
    return task


def made(folder: Path, work: Path, **options: Any) -> dict[str, bytes]:
    return rehearsal(Surface(), folder, work, **{"dtm": True, "dem_resolution": 1.0, **options}).whole()


@pytest.fixture(scope="module")
def one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """In one tile."""
    return made(folder, tmp_path_factory.mktemp("one") / "work", tiles=[1, 1])


def points(files: dict[str, bytes], at: Path) -> np.ndarray:
    """(n, 7) x, y, z, red, green, blue, views of all files, sorted."""
    rows = []
    for name in sorted(name for name in files if name.endswith(".laz")):
        (at / "cloud.laz").write_bytes(files[name])
        found = laspy.read(at / "cloud.laz")
        rows.append(np.column_stack([found.xyz, found.red, found.green, found.blue, found.views]))
    whole = np.concatenate(rows)
    return whole[np.lexsort(whole.T[::-1])]


def raster(data: bytes, at: Path) -> tuple[np.ndarray, Any]:
    (at / "a.tif").write_bytes(data)
    array, grid = read_raster(at / "a.tif")
    return array[0], grid


def test_tiles_make_exactly_what_one_makes(folder: Path, one: dict[str, bytes], tmp_path: Path) -> None:
    """The surface and terrain models byte for byte, the same set of points, the same numbers in the report."""
    several = made(folder, tmp_path / "work", tiles=[3, 2])
    assert several["dsm.tif"] == one["dsm.tif"] and several["dtm.tif"] == one["dtm.tif"]
    assert several["report.json"] == one["report.json"]
    assert (points(several, tmp_path) == points(one, tmp_path)).all()
    record = load(several["surface.json"], SurfaceRecord)
    assert len(record.tiles) == 6 == sum(name.endswith(".laz") for name in several)


def test_heights_are_near_the_truth(one: dict[str, bytes], tmp_path: Path) -> None:
    """Where three photos look: little is missing, the error is below 1.2 of a pixel on the ground, the roof is where it should be."""
    dsm, grid = raster(one["dsm.tif"], tmp_path)
    assert grid.resolution == pytest.approx(0.022) and grid == load(one["surface.json"], SurfaceRecord).grid
    x, y = (values - start for values, start in zip(grid.centres(), built.ORIGIN, strict=False))
    x, y = np.meshgrid(x, y)
    inner = (np.abs(x) < 2) & (np.abs(y) < 2)
    assert np.mean(dsm[inner] != NODATA) > 0.98, "but for what the box hides, which is a quarter as high as the flight"
    off = dsm[inner] - built.ORIGIN[2] - grained.heights(x, y)[inner]
    assert abs(np.median(off)) < 0.5 * grained.GSD
    assert 1.4826 * np.median(np.abs(off - np.median(off))) < 1.2 * grained.GSD
    assert np.mean(np.abs(off) < 3 * grained.GSD) > 0.9
    roof = (np.abs(x) < 0.9) & (np.abs(y) < 0.9)
    assert np.mean(np.abs(dsm[roof] - built.ORIGIN[2] - painted.HEIGHT) < 3 * grained.GSD) > 0.97


def test_the_terrain_has_no_box(one: dict[str, bytes], tmp_path: Path) -> None:
    dtm, _ = raster(one["dtm.tif"], tmp_path)
    assert dtm[dtm != NODATA].max() < built.ORIGIN[2] + 0.5


def test_the_cloud_has_one_surface(one: dict[str, bytes], tmp_path: Path) -> None:
    """Colours of the ground, photos that agree, no second layer above or below."""
    cloud = points(one, tmp_path)
    x, y, z = (cloud[:, axis] - start for axis, start in enumerate(built.ORIGIN))
    away = np.maximum(np.abs(x), np.abs(y)) > painted.HALF + 0.15
    assert len(cloud) > 50_000 and np.mean(np.abs(z[away]) < 3 * grained.GSD) > 0.985
    views = cloud[:, 6]
    assert views.min() == 2 and views.max() == 6, "2: at the rim, where no other pair looks"
    inner = away & (np.maximum(np.abs(x), np.abs(y)) < 2.0)
    truth = grained.paint(x[inner], y[inner])
    assert np.corrcoef(truth[:, 0], cloud[inner, 3])[0, 1] > 0.6


def test_a_resolution_that_the_photos_do_not_give_is_told(one: dict[str, bytes]) -> None:
    """1 cm was asked for."""
    (told,) = [note for note in msgspec.json.decode(one["report.json"])["notes"] if "cm per pixel instead of 1:" in note]
    assert "ignore-gsd" in told


def test_submodels_are_compared_on_the_ground(one: dict[str, bytes]) -> None:
    (step,) = msgspec.json.decode(one["report.json"])["steps"]
    assert (step["first"], step["second"]) == ("east", "west")
    assert abs(step["median"]) < grained.GSD and step["nmad"] < 2 * grained.GSD and step["cells"] > 1000


def test_a_step_between_submodels_is_told(folder: Path, tmp_path: Path) -> None:
    """Depth of one that lies 20 cm too high: the note names both."""
    task = tmp_path / "task"
    shutil.copytree(folder, task)
    for pair in load(task / INDEX, DepthIndex).pairs:
        if pair.block == "west":
            path = task / "stages/depth" / f"{pair.name}.npz"
            arrays = dict(load_arrays(path))
            arrays["centre"] = arrays["centre"] + (0, 0, 0.2)
            save_arrays(path, **arrays)
    report = msgspec.json.decode(made(task, tmp_path / "work", tiles=[2, 1])["report.json"])
    assert report["steps"][0]["median"] == pytest.approx(0.2, abs=0.03)
    assert any("east and west do not meet" in note for note in report["notes"])


def test_a_job_is_given_only_the_pairs_that_reach_its_tile(folder: Path, tmp_path: Path) -> None:
    regions = rehearsal(Surface(), folder, tmp_path / "work", tiles=[8, 8]).split()
    pairs = len(load(folder / INDEX, DepthIndex).pairs)
    assert min(len(region.needs) for region in regions) < pairs == max(len(region.needs) for region in regions)
    assert all(name.startswith("stages/depth/") for region in regions for name in region.needs)


def test_resolution_follows_the_photos_unless_told_otherwise(folder: Path, tmp_path: Path) -> None:
    """Photos of 2.1 cm a pixel."""

    def side(**options: Any) -> float:
        region = rehearsal(Surface(), folder, tmp_path / str(options), **options).split()[0]
        return float(region.data["plan"]["resolution"])

    assert side(dem_resolution=1.0) == pytest.approx(0.022)
    assert side(dem_resolution=1.0, ignore_gsd=True) == pytest.approx(0.01)
    assert side(dem_resolution=10.0) == pytest.approx(0.1)


def test_damaged_tiles_are_refused_and_lost_ones_named(folder: Path, tmp_path: Path) -> None:
    run = rehearsal(Surface(), folder, tmp_path / "work", tiles=[3, 1], dem_resolution=10.0)
    pieces = [Piece(region=region, files=run.process(region)) for region in run.split()]
    run.stage.verify(run.spec, pieces[0].region, pieces[0].files)
    check_refusals(run, pieces[0].region, pieces[0].files)
    check_lost(run, pieces)


@pytest.fixture(scope="module")
def thing(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without GPS."""
    task = tmp_path_factory.mktemp("thing") / "task"
    shutil.copytree(folder, task)
    index = load(task / INDEX, DepthIndex)
    save(msgspec.structs.replace(index, frame=Frame(georeferenced=False, nadir=False), high=(2.5, 2.5, 9.0)), task / INDEX)
    return task


def test_an_object_is_a_cloud_with_normals(thing: Path, tmp_path: Path) -> None:
    """No surface model; points near the truth, normals towards the cameras, nothing from beyond the subject."""
    run = rehearsal(Surface(), thing, tmp_path / "work")
    regions = run.split()
    assert [region.name for region in regions] == ["object"]
    pieces = list(run.pieces(regions))
    files = run.stitch(pieces)
    assert set(files) == {"points/object.npz", "points/object.laz", "surface.json", "report.json"}
    assert not load(files["surface.json"], SurfaceRecord).georeferenced
    found = np.load(tmp_path / "work/result/points/object.npz")
    x, y, z = found["points"].T.astype(float)
    flat = np.maximum(np.abs(x), np.abs(y)) > painted.HALF + 0.2
    assert len(x) > 20_000 and np.mean(np.abs(z[flat]) < 3 * grained.GSD) > 0.98
    assert x.max() <= 2.5 and y.max() <= 2.5
    assert np.allclose(np.linalg.norm(found["normals"], axis=1), 1, atol=1e-3)
    assert np.mean(found["normals"][flat, 2] > 0.7) > 0.9
    assert found["views"].min() >= 3
    again = rehearsal(Surface(), thing, tmp_path / "again")
    assert again.process(regions[0]).read("object.npz") == pieces[0].files.read("object.npz")
    check_refusals(run, regions[0], pieces[0].files)


def test_without_depth_there_is_no_surface(folder: Path, tmp_path: Path) -> None:
    """The task fails with a sentence that says what to do."""
    task = tmp_path / "task"
    shutil.copytree(folder, task)
    save(msgspec.structs.replace(load(task / INDEX, DepthIndex), pairs=()), task / INDEX)
    with pytest.raises(SplitFailed, match="overlap"):
        rehearsal(Surface(), task, tmp_path / "work").split()
