"""The kind survey as a whole: its options, and what it asks of a node."""

from __future__ import annotations

from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.model import Needs, TaskSpec

ODM = {
    "feature-quality", "min-num-features", "matcher-neighbors", "pc-quality", "dsm", "dtm", "dem-resolution",
    "orthophoto-resolution", "mesh-size", "crop", "gps-accuracy", "use-exif", "split", "split-overlap", "boundary",
    "auto-boundary", "skip-3dmodel", "skip-orthophoto", "skip-report", "ignore-gsd", "pc-filter", "pc-sample",
    "mesh-octree-depth", "use-fixed-camera-params", "force-gps", "gcp", "geo",
}  # fmt: skip


def spec(**options):
    return TaskSpec(kind="survey", name="site", options=normalise("survey", OPTIONS, options))


def test_options_have_the_names_that_odm_users_know():
    """So that WebODM's form and old notes fit; each has a default and says what it is for."""
    assert {option.name for option in SURVEY.options} >= ODM
    assert all(option.help and option.default is not None for option in SURVEY.options)


def test_the_stages_in_their_order():
    """They are the names that `restart --from` takes."""
    names = [stage.name for stage in SURVEY.stages(spec())]
    assert names == ["features", "matching", "calibration", "mapping", "adjustment", "depth", "surface", "ortho", "mesh", "publish"]


def test_a_job_asks_for_the_libraries_and_for_memory():
    """More for whole photos; what the task says itself holds."""
    usual, large = SURVEY.needs(spec()), SURVEY.needs(spec(**{"pc-quality": "ultra"}))
    assert usual.program == "survey" and 1 << 30 < usual.memory < large.memory
    own = TaskSpec(kind="survey", name="site", options={}, needs=Needs(memory=5, program="survey==4.2.1"))
    assert SURVEY.needs(own) == own.needs
