"""The last stage: the files that people fetch are all there, under the names that they know, and open elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import laspy
import msgspec
import numpy as np
import pytest
import rasterio
from clusterray.common.errors import OutputRejected
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.kinds.survey.ortho import Ortho
from clusterray.common.kinds.survey.publish import Publish
from clusterray.common.model import TaskSpec
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.records import Frame, save
from clusterray.common.survey.surface_index import DTM
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_lost, check_refusals

from ....common.survey import built

MESH = ("odm_texturing/odm_textured_model_geo.glb", "odm_texturing/odm_textured_model_geo.obj")
ALWAYS = ("cameras.json", "images.json", "log.json", "odm_report/report.html", "odm_report/report.json", "odm_report/shots.geojson")
CLOUD = ("odm_georeferencing/odm_georeferenced_model.laz", "odm_georeferencing/odm_georeferenced_model.png")
RASTERS = (
    "odm_dem/dsm.png", "odm_dem/dsm.tif", "odm_dem/dtm.png", "odm_dem/dtm.tif", "odm_orthophoto/odm_orthophoto.png",
    "odm_orthophoto/odm_orthophoto.tif",
)  # fmt: skip


def rehearsal(task: Path, work: Path, stage: Any, **options: Any) -> Rehearsal:
    given = {"crop": 0.2, **{name.replace("_", "-"): value for name, value in options.items()}}
    spec = TaskSpec(kind="survey", name="box", options=dict(normalise("survey", OPTIONS, given)))
    return Rehearsal(kind=SURVEY, spec=spec, stage=stage, files=PlainFiles(task), inputs=task, work=work, warnings=())


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All stages before it done."""
    work = tmp_path_factory.mktemp("publish")
    task = built.build(work / "task", cut=(2, 1))
    for name, data in rehearsal(task, work / "ortho", Ortho()).whole().items():
        (task / "stages/ortho").mkdir(exist_ok=True)
        (task / "stages/ortho" / name).write_bytes(data)
    write_raster(task / DTM, np.full(built.GRID.shape, 250, np.float32), built.GRID, crs=built.HERE.crs, nodata=NODATA)
    for name in MESH:
        (task / "stages/mesh" / name).parent.mkdir(parents=True, exist_ok=True)
        (task / "stages/mesh" / name).write_bytes(name.encode())
    save({"notes": ["Mind the step."]}, task / "stages/surface/report.json")
    return task


@pytest.fixture(scope="module")
def assets(task: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All of them, on disk."""
    run = rehearsal(task, tmp_path_factory.mktemp("assets"), Publish(), dtm=True)
    run.whole("result")
    return run.work / "result"


def test_the_assets_are_exactly_these(assets: Path) -> None:
    assert set(PlainFiles(assets).names()) == {*ALWAYS, *CLOUD, *RASTERS, *MESH}


def test_all_results_are_cut_alike_and_lie_on_each_other(assets: Path) -> None:
    """crop = 0.2 m of a survey of 6 x 6 m."""
    with rasterio.open(assets / "odm_orthophoto/odm_orthophoto.tif") as ortho, rasterio.open(assets / "odm_dem/dsm.tif") as dsm:
        assert ortho.crs.to_epsg() == dsm.crs.to_epsg() == 32615
        for side in ("left", "bottom", "right", "top"):
            assert getattr(ortho.bounds, side) == pytest.approx(getattr(dsm.bounds, side), abs=0.06), side
        assert ortho.bounds.right - ortho.bounds.left == pytest.approx(5.6, abs=0.1)
        heights = dsm.read(1)
        assert heights[heights != NODATA].max() == pytest.approx(251.5)
    cloud = laspy.read(str(assets / CLOUD[0]))
    assert 576702.1 < cloud.x.min() < 576702.5 and cloud.header.parse_crs().to_epsg() == 32615
    assert len(cloud) > 4000


def test_the_orthophoto_and_the_surface_show_the_house_in_the_same_place(assets: Path) -> None:
    with rasterio.open(assets / "odm_orthophoto/odm_orthophoto.tif") as ortho, rasterio.open(assets / "odm_dem/dsm.tif") as dsm:
        blue = ortho.read(3).astype(float)
        for x, y in [(576705.0, 5188170.0), (576705.8, 5188170.8), (576703.0, 5188168.0), (576706.5, 5188170.0)]:
            house = dsm.read(1)[dsm.index(x, y)] > 251
            assert (blue[ortho.index(x, y)] < 100) == house, (x, y)


def test_what_stages_said_is_in_report_and_log(assets: Path) -> None:
    assert "Mind the step." in json.loads((assets / "odm_report/report.json").read_bytes())["notes"]
    assert "Mind the step." in (assets / "odm_report/report.html").read_text()
    stages = {stage["name"]: stage for stage in json.loads((assets / "log.json").read_bytes())["stages"]}
    assert stages["surface"]["messages"] == [{"message": "Mind the step.", "type": "warning"}]
    assert stages["ortho"]["report"]["made"] is True


def test_a_second_time_gives_the_same_bytes(task: Path, assets: Path, tmp_path: Path) -> None:
    again = rehearsal(task, tmp_path, Publish(), dtm=True).whole()
    for name, data in again.items():
        assert data == (assets / name).read_bytes(), name


def test_only_what_was_asked_for_is_made(task: Path, tmp_path: Path) -> None:
    run = rehearsal(task, tmp_path, Publish(), dsm=False, skip_report=True)
    assert [region.name for region in run.split()] == ["orthophoto", "cloud", "report"]
    assert "odm_report/report.html" not in run.whole()


def test_without_gps_there_are_points_and_mesh_and_the_report_says_why(tmp_path: Path) -> None:
    task = built.build(tmp_path / "task", built.SIX[:3], frame=Frame(georeferenced=False, by="none"))
    for name, data in rehearsal(task, tmp_path / "ortho", Ortho()).whole().items():
        (task / "stages/ortho").mkdir(exist_ok=True)
        (task / "stages/ortho" / name).write_bytes(data)
    found = rehearsal(task, tmp_path / "work", Publish()).whole()
    assert set(found) == {*ALWAYS, *CLOUD}
    (tmp_path / "cloud.laz").write_bytes(found[CLOUD[0]])
    assert laspy.read(str(tmp_path / "cloud.laz")).header.parse_crs() is None
    assert all(words in found["odm_report/report.html"] for words in (b"There is no orthophoto", b"seen from one of the photos"))


def test_damaged_files_are_refused_and_lost_ones_named(task: Path, tmp_path: Path) -> None:
    run = rehearsal(task, tmp_path, Publish())
    regions = run.split()
    pieces = [Piece(region=region, files=run.process(region)) for region in regions]
    for piece in pieces:
        run.stage.verify(run.spec, piece.region, piece.files)
        check_refusals(run, piece.region, piece.files)
    check_lost(run, pieces)


def test_a_file_that_only_looks_whole_is_refused(task: Path, tmp_path: Path) -> None:
    """Also where the list of digests speaks of it."""
    from clusterray.common.survey.seal import seal

    run = rehearsal(task, tmp_path, Publish())
    region = next(region for region in run.split() if region.name == "cloud")
    out = tmp_path / "cloud" / "out"
    run.process(region)
    whole = (out / CLOUD[0]).read_bytes()
    (out / CLOUD[0]).write_bytes(whole[: len(whole) // 2])
    seal(out)
    with pytest.raises(OutputRejected, match="is damaged"):
        run.stage.verify(run.spec, region, PlainFiles(out))


def test_another_crop_leaves_what_does_not_depend_on_it(task: Path, tmp_path: Path) -> None:
    """And another mesh-size leaves all but the report, in which it stands."""

    def keys(**options: Any) -> dict[str, bytes]:
        run = rehearsal(task, tmp_path, Publish(), **options)
        return {region.name: msgspec.json.encode([run.stage.reads(run.spec, region), region.needs]) for region in run.split()}

    one, cropped, meshed = keys(), keys(crop=1.0), keys(mesh_size=1000)
    assert all(one[name] != cropped[name] for name in one)
    assert {name for name in one if one[name] == meshed[name]} == {"orthophoto", "dem", "cloud"}
