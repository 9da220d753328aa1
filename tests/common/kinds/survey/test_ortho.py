"""The stage ``ortho``: which jobs there are, what is refused, how tiles become one picture, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.kinds.survey.ortho import Ortho, seam_report
from clusterray.common.model import TaskSpec
from clusterray.common.survey.geotiff import read_raster
from clusterray.common.survey.ortho_index import Seam
from clusterray.common.survey.records import Block, Frame, save
from clusterray.common.survey.surface_index import DSM
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_lost, check_refusals

from ....common.survey import built


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built.build(tmp_path_factory.mktemp("ortho") / "task")


def rehearsal(task: Path, work: Path, **options: Any) -> Rehearsal:
    given = {"tiles": [2, 2], **{name.replace("_", "-"): value for name, value in options.items()}}
    spec = TaskSpec(kind="survey", name="box", options=dict(normalise("survey", OPTIONS, given)))
    return Rehearsal(kind=SURVEY, spec=spec, stage=Ortho(), files=PlainFiles(task), inputs=task, work=work, warnings=())


def report(assets: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(assets["report.json"])
    return found


def test_the_joined_picture_does_not_depend_on_the_tiles(task: Path, tmp_path: Path) -> None:
    one = rehearsal(task, tmp_path / "one", tiles=[1, 1]).whole()
    several = rehearsal(task, tmp_path / "several", tiles=[3, 2]).whole()
    assert one["orthophoto.tif"] == several["orthophoto.tif"]
    assert report(one)["cells"] == report(several)["cells"] > 0
    (tmp_path / "one.tif").write_bytes(one["orthophoto.tif"])
    picture, grid = read_raster(tmp_path / "one.tif")
    assert picture.shape == (4, 120, 120) and grid.resolution == pytest.approx(0.05)
    assert np.abs(picture[2][:20, :20].astype(int) - 200).max() < 8, "the plain is blue"


def test_a_job_is_given_only_the_photos_that_see_its_tile(task: Path, tmp_path: Path) -> None:
    regions = rehearsal(task, tmp_path, tiles=[4, 4]).split()
    assert [region.name for region in regions[:2]] == ["r000c000", "r000c001"]
    photos = {region.name: [name for name in region.needs if name.startswith("images/")] for region in regions}
    assert "images/p05.png" in photos["r000c000"] and "images/p02.png" not in photos["r000c000"], "north-west: not the south-eastern one"
    assert "images/p02.png" in photos["r003c003"] and "images/p05.png" not in photos["r003c003"]
    assert all(region.data["photos"] == [int(name[8:10]) for name in photos[region.name]] for region in regions)
    assert all(DSM in region.needs for region in regions)


def test_damaged_tiles_are_refused_and_lost_ones_named(task: Path, tmp_path: Path) -> None:
    run = rehearsal(task, tmp_path)
    regions = run.split()
    pieces = [Piece(region=region, files=run.process(region)) for region in regions]
    run.stage.verify(run.spec, regions[0], pieces[0].files)
    check_refusals(run, regions[0], pieces[0].files)
    check_lost(run, pieces)


def test_pixels_are_not_finer_than_the_photos_unless_told_so(task: Path, tmp_path: Path) -> None:
    def side(**options: Any) -> float:
        (region,) = rehearsal(task, tmp_path / "side", tiles=[1, 1], **options).split()
        return float(region.data["grid"]["resolution"])

    assert side(orthophoto_resolution=1.0) == pytest.approx(0.02)
    assert side(orthophoto_resolution=1.0, ignore_gsd=True) == pytest.approx(0.01)
    assert side(orthophoto_resolution=7.0) == pytest.approx(0.07)
    assert any("instead of 1" in note for note in report(rehearsal(task, tmp_path / "told", orthophoto_resolution=1.0).whole())["notes"])


def test_without_gps_there_is_no_orthophoto_and_it_says_why(tmp_path: Path) -> None:
    task = built.build(tmp_path / "task", built.SIX[:2], frame=Frame(georeferenced=False, by="none"))
    run = rehearsal(task, tmp_path)
    assert run.split() == []
    told = report(run.stitch([]))
    assert told["made"] is False
    assert told["notes"] == ["There is no orthophoto: the photos have no GPS, so that nobody knows where they lie and what is up."]


def test_what_was_not_asked_for_is_not_made_and_not_mourned(task: Path, tmp_path: Path) -> None:
    run = rehearsal(task, tmp_path, skip_orthophoto=True)
    assert run.split() == []
    assert report(run.stitch([])) == {"made": False, "notes": []}


def test_seams_between_submodels_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = built.painted.paint

    def speckled(points: np.ndarray, box: np.ndarray) -> np.ndarray:
        return np.asarray(plain(points, box) * (0.7 + 0.3 * np.sin(41 * points[:, 0]) * np.sin(37 * points[:, 1]))[:, None])

    monkeypatch.setattr(built.painted, "paint", speckled)
    task = built.build(tmp_path / "task")
    west, east = (0, 1, 2), (3, 4, 5)
    save([Block(name="b0", core=west, photos=west), Block(name="b1", core=east, photos=east)], task / "stages/calibration/blocks.json")
    assets = rehearsal(task, tmp_path / "work", tiles=[1, 1], orthophoto_resolution=2.0).whole()
    told = report(assets)
    places = msgspec.json.decode(assets["seams.json"], type=list[Seam])
    crossing = [seam for seam in places if (seam.first in west) != (seam.second in west)]
    assert 0 < told["borders"]["places"] == len(crossing) < told["seams"]["places"] == len(places)


def test_of_no_seams_nothing_is_said() -> None:
    assert seam_report([], 0.05) is None
    told = seam_report([Seam(first=0, second=1, x=0, y=0, shift=0.2, step=1)], 0.05)
    assert told is not None and told.shift_median_metres == pytest.approx(0.01)


def test_a_change_of_options_that_it_does_not_read_keeps_its_tiles(task: Path, tmp_path: Path) -> None:
    one, other = rehearsal(task, tmp_path), rehearsal(task, tmp_path, crop=9.0, mesh_size=1000, pc_quality="low")
    for a, b in zip(one.split(), other.split(), strict=True):
        assert a == b and one.stage.reads(one.spec, a) == other.stage.reads(other.spec, b)
