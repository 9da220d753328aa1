"""Surveys from photos to results, by real processes, judged by a place of which everything is known: misc/examples/survey-truth.

The photos are rendered by the farm that reconstructs them. One node is killed on the way.
"""

from __future__ import annotations

import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .box import Box, until

OPTIONS = ("min-num-features=2500", "mesh-size=8000", "texture-size=1024", "split=1000", "tiles=[2,1]")
pytestmark = pytest.mark.timeout(900)  # the first test waits for all runs of the farm, on a machine that has other things to do
STAGES = ("features", "matching", "calibration", "mapping", "adjustment", "depth", "surface", "ortho", "mesh", "publish")
ASSETS = (
    "odm_orthophoto/odm_orthophoto.tif",
    "odm_orthophoto/odm_orthophoto.png",
    "odm_dem/dsm.tif",
    "odm_georeferencing/odm_georeferenced_model.laz",
    "odm_texturing/odm_textured_model_geo.obj",
    "odm_texturing/odm_textured_model_geo.glb",
    "cameras.json",
    "images.json",
    "odm_report/shots.geojson",
    "odm_report/report.json",
    "odm_report/report.html",
    "log.json",
)


@dataclass(frozen=True)
class Made:
    """What the farm made, run by run."""

    truth: Any
    folder: Path
    """With ortho_truth.tif."""
    once: Path
    """Photos -> results, while a node was killed."""
    coarse: Path
    """The same task restarted with a coarser orthophoto."""
    split: Path
    """The same task restarted with two submodels."""
    anew: dict[str, frozenset[str]]
    """Run -> the stages in which jobs were done."""
    killed: str
    """The job that node one did when it was killed."""
    attempts: dict[str, int]
    """Job of the first run -> attempts that were begun."""


@pytest.fixture(scope="module")
def survey_truth(checkout):
    """The package of the example."""
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(checkout / "misc/examples/survey-truth")
    import survey_truth.measure
    import survey_truth.studio

    yield survey_truth
    patch.undo()
    for name in [name for name in sys.modules if name.partition(".")[0] == "survey_truth"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def made(survey_truth):
    """One farm for all of it: it costs the most of this file's time."""
    box = Box(Path(tempfile.mkdtemp(prefix="cr-survey-")))
    try:
        box.server().login()
        for name in ("one", "two"):
            box.node(name, CLUSTERRAY_NODE_CORES="1")
        yield whole_story(box, survey_truth)
    finally:
        box.close()


def whole_story(box: Box, package: Any) -> Made:
    folder = box.folder / "place"
    truth = package.studio.write_scenes(folder, package.place.SIZES["small"], 4)
    box.run("submit", folder / "photo", folder / "above")
    truth = package.studio.finish(folder, truth, package.photos.Faults())
    said = [word for option in OPTIONS for word in ("-o", option)]
    ident = box.detach(folder / "task", "--kind", "survey", *said)

    def at_work() -> list[str]:
        """a job of the stage depth runs on node one"""
        return [job["id"] for job in box.task(ident)["job_list"] if job["stage"] == "depth" and on_node(job, "one")]

    until(lambda: ", stage depth (" in box.log("server"), 400)
    killed = until(at_work, 60, every=0.3)[0]
    box.kill("one")
    box.node("one", wait=False, CLUSTERRAY_NODE_CORES="1")
    anew: dict[str, frozenset[str]] = {}
    leases: set[str] = set()
    once = ended(box, ident, "once")
    attempts = {job["id"]: len(job["attempts"]) for job in box.task(ident)["job_list"]}
    anew["once"] = stages_with_work(box, ident, leases)
    box.run("restart", ident, "-o", "orthophoto-resolution=40")
    coarse = ended(box, ident, "coarse")
    anew["coarse"] = stages_with_work(box, ident, leases)
    box.run("restart", ident, "-o", "orthophoto-resolution=5", "-o", "split=8")
    split = ended(box, ident, "split")
    anew["split"] = stages_with_work(box, ident, leases)
    return Made(truth, folder, once, coarse, split, anew, killed, attempts)


def ended(box: Box, ident: str, name: str) -> Path:
    """Wait for the run's end and fetch what it made."""
    box.run("watch", ident, ok=False, timeout=400)
    task = box.task(ident)
    assert task["state"] == "completed", task
    box.run("fetch", ident, "--into", box.folder / name)
    return box.folder / name


def on_node(job: dict[str, Any], name: str) -> bool:
    return any(attempt["node"] == name and attempt["state"] == "leased" for attempt in job["attempts"])


def stages_with_work(box: Box, ident: str, before: set[str]) -> frozenset[str]:
    """In which stages of the task's last run a node did something; the rest was taken over: its leases are among those of ``before``."""
    leases = {attempt["lease"]: job["stage"] for job in box.task(ident)["job_list"] for attempt in job["attempts"]}
    new = set(leases) - before
    before |= new
    return frozenset(leases[lease] for lease in new)


def places_of(made: Made, package: Any, result: Path) -> Any:
    return package.measure.measure_places(made.truth, package.measure.read_places(result / "odm_report/shots.geojson"))


def move_of(made: Made, package: Any, result: Path) -> Any:
    return package.measure.onto_truth(made.truth, package.measure.read_places(result / "odm_report/shots.geojson"))


def heights_of(made: Made, package: Any, result: Path) -> Any:
    """Once the cameras lie upon the true ones: the tilt and shift that the GPS's noise gives so small a place are not what is measured."""
    return package.measure.measure_heights(made.truth, result / "odm_dem/dsm.tif", move_of(made, package, result))


def test_all_photos_are_placed_where_they_were_taken(made, survey_truth):
    """Every photo has a place, to a third of a pixel on the ground; all lie where the GPS's noise lets them; the focal length is right."""
    places = places_of(made, survey_truth, made.once)
    gsd = made.truth.gsd
    assert (places.placed, places.of) == (15, 15)
    assert places.rmse < 0.32 * gsd
    assert places.absolute < places.expected + 1.0 * gsd
    focal = survey_truth.measure.read_focal(made.once / "odm_report/shots.geojson")
    assert abs(focal / made.truth.cameras[0].focal - 1) < 0.003


def test_heights_are_true(made, survey_truth):
    """Roofs and ground are as high as they are: the usual error is below 1.2 pixels, and hardly a cell is without a height."""
    heights = heights_of(made, survey_truth, made.once)
    gsd = made.truth.gsd
    assert heights.nmad < 1.2 * gsd
    assert heights.near >= 0.95
    assert heights.covered > 0.99
    assert abs(heights.median) < 0.5 * gsd
    raw = survey_truth.measure.measure_heights(made.truth, made.once / "odm_dem/dsm.tif")
    assert abs(raw.median) < 0.5, "the GPS's error in height is 0.5 m for one photo; fifteen of them know better"


def test_the_orthophoto_lies_right(made, survey_truth):
    """Against a picture from straight above, no patch is off by as much as a pixel, once the GPS's own shift is taken off."""
    move = move_of(made, survey_truth, made.once)
    shift = survey_truth.measure.measure_ortho(
        made.truth, made.once / "odm_orthophoto/odm_orthophoto.tif", made.folder / "ortho_truth.tif", move
    )
    assert shift.patches > 20 and shift.covered > 0.99
    assert shift.median < 0.5 and shift.p90 < 1.0, "what the GPS did to the cameras, it did to the ground, and nothing else happened"


def test_every_asset_is_there_and_opens(made):
    """The files that users of ODM know, each read by a program that is not ours."""
    import laspy
    import rasterio
    import trimesh
    from PIL import Image

    for name in ASSETS:
        assert (made.once / name).stat().st_size > 0, name
    for name in ("odm_orthophoto/odm_orthophoto.tif", "odm_dem/dsm.tif"):
        with rasterio.open(made.once / name) as file:
            assert file.crs.to_epsg() == 32632 and file.read().any(), name
    with Image.open(made.once / "odm_orthophoto/odm_orthophoto.png") as picture:
        picture.load()
    with laspy.open(made.once / "odm_georeferencing/odm_georeferenced_model.laz") as cloud:
        assert cloud.header.point_count > 10_000 and cloud.header.parse_crs().to_epsg() == 32632
        points = cloud.read()
    ground = made.truth.ground
    x, y = points.x - 546_300.0, points.y - 5_256_400.0
    inside = (abs(x) < 10) & (abs(y) < 10)
    assert abs(float((points.z[inside] - 400.0).mean()) - float(ground.heights(x[inside], y[inside]).mean())) < 1.0
    mesh = trimesh.load(made.once / "odm_texturing/odm_textured_model_geo.glb")
    assert sum(len(part.faces) for part in mesh.geometry.values()) > 500
    assert len(json.loads((made.once / "images.json").read_text())) == 15


def test_a_killed_node_costs_its_job_and_nothing_else(made):
    """kill -9 of a node in the middle of the dense stage: its job is done again by another one, and all others are done once."""
    assert made.attempts[made.killed] >= 2
    assert {job for job, count in made.attempts.items() if count > 1} == {made.killed}
    assert made.anew["once"] <= set(STAGES)


def test_a_restart_with_a_late_option_keeps_the_early_stages(made):
    """A coarser orthophoto needs no feature, no match, no depth and no surface to be computed again."""
    assert made.anew["coarse"], "something was done anew"
    assert not made.anew["coarse"] & {"features", "matching", "calibration", "mapping", "adjustment", "depth", "surface"}
    import rasterio

    with rasterio.open(made.coarse / "odm_orthophoto/odm_orthophoto.tif") as file:
        assert file.res == (0.4, 0.4)


def test_a_survey_in_two_parts_is_as_good_as_one(made, survey_truth):
    """Cut into two submodels, it is no worse than 1.1 times the whole one; features and matches of before are kept."""
    assert not made.anew["split"] & {"features", "matching"}
    one, two = (places_of(made, survey_truth, result) for result in (made.once, made.split))
    assert two.placed == one.placed == 15
    assert two.rmse < 1.1 * one.rmse + 0.002
    whole, parts = (heights_of(made, survey_truth, result) for result in (made.once, made.split))
    assert parts.nmad < 1.1 * whole.nmad
    assert parts.near > whole.near - 0.01 and parts.covered > 0.99
    assert json.loads((made.split / "log.json").read_text()), "the log has something to say"
