"""report.json: what all stages said, together."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from clusterray.common.survey.crop import Keep
from clusterray.common.survey.records import LeftOut, Photos, load, save
from clusterray.common.survey.report_data import gather
from clusterray.common.survey.scene import PHOTOS, load_scene

from . import built

WEST = Keep(
    polygons=((np.array([(576700.0, 5188160.0), (576705, 5188160), (576705, 5188180), (576700, 5188180)]),),), notes=("Cut.",)
)  # fmt: skip


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    task = built.build(tmp_path_factory.mktemp("report") / "task", built.SIX[:4])
    photos = load(task / PHOTOS, Photos)
    more = msgspec.structs.replace(photos.photos[0], number=9, name="images/far.png")
    left = (LeftOut(name="notes.txt", why="It is a text file."),)
    save(Photos(photos=(*photos.photos, more), left_out=left, notes=("One photo was left out.",)), task / PHOTOS)
    save({"notes": ["One photo was left out.", "Second."], "reprojection": 0.44, "gsd": 0.02}, task / "stages/adjustment/report.json")
    return task


def test_it_holds_numbers_notes_and_reasons(task: Path) -> None:
    found = gather(task, "box", {"crop": 3.0}, load(task / PHOTOS, Photos), load_scene(task), Keep())
    summary = found["summary"]
    assert (summary["photos_given"], summary["photos_used"], summary["not_placed"]) == (6, 4, ["images/far.png"])
    assert summary["left_out"] == [{"name": "notes.txt", "why": "It is a text file."}]
    assert summary["reprojection"] == 0.44 and summary["gsd"] == 0.02 and summary["crs"] == "EPSG:32615"
    assert summary["flying_height"] == pytest.approx(6.0) and summary["area"] == pytest.approx(36.0)
    assert found["notes"] == ["One photo was left out.", "Second."], "each once, in the order of the stages"
    assert found["stages"]["adjustment"]["reprojection"] == 0.44
    assert {"numpy", "rasterio", "pycolmap"} <= set(found["libraries"])


def test_the_area_is_that_of_what_is_kept(task: Path) -> None:
    found = gather(task, "box", {}, load(task / PHOTOS, Photos), load_scene(task), WEST)
    assert found["summary"]["area"] == pytest.approx(18.0, rel=0.01)
    assert found["notes"][-1] == "Cut."
