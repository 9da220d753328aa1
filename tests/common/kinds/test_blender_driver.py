"""The script inside of Blender: one process serves job after job, says what is wrong, and goes on."""

from __future__ import annotations

import json

from clusterray.common.kinds.blender_output import picture_progress

LOOK = {"do": "look", "name": "look.json"}
EXR = {"format": "OPEN_EXR", "bits": 32, "color": "RGBA", "quality": 90}


def picture(name="a.exr", **changes):
    plain = {"do": "picture", "name": name, "frame": None, "format": EXR, "plain": True, "border": None, "subset": None, "guides": []}
    return plain | changes


def test_a_mistake_of_the_task_does_not_end_the_process(blender, tmp_path):
    """The scene without a camera fails with its sentence, and the next job is done."""
    answer = blender.ask(blender.scene("blind"), tmp_path / "a" / "out", LOOK)
    assert answer == "clusterray: failed The scene 'Scene' has no camera; set one in Blender, or name one with the option camera."
    assert blender.ask(blender.scene("plain"), tmp_path / "b" / "out", LOOK) == "clusterray: done"


def test_the_scene_is_loaded_once_for_jobs_of_a_task(blender, tmp_path):
    """Blender says when it reads a file: for the first of three jobs, and not for the others."""
    read = []
    for number in range(3):
        assert blender.ask(blender.scene("wide"), tmp_path / f"{number}" / "out", picture(), samples=2) == "clusterray: done"
        read.append(any("Read blend" in line for line in blender.heard))
    assert read == [True, False, False]


def test_a_job_leaves_nothing_to_the_next(blender, tmp_path):
    """A tile, a share of the samples, then the picture again: the same bytes as before them."""
    scene = blender.scene("wide")
    for name, request in (
        ("first", picture()),
        ("tile", picture(border=[0.1, 0.1, 0.5, 0.6])),
        ("share", picture(subset=[4, 4])),
        ("last", picture()),
    ):
        assert blender.ask(scene, tmp_path / name / "out", request, samples=8) == "clusterray: done"
    first, last = (tmp_path / name / "out" / "a.exr" for name in ("first", "last"))
    from clusterray.common.kinds.rasters import as_rgb8, shape_of

    assert shape_of(first) == shape_of(last)
    assert (as_rgb8(first) == as_rgb8(last)).all()


def test_progress_is_told_while_cycles_renders(blender, tmp_path):
    assert blender.ask(blender.scene("wide"), tmp_path / "out", picture(), samples=64) == "clusterray: done"
    told = [fraction for line in blender.heard if (fraction := picture_progress(line)) is not None]
    assert told and told == sorted(told) and told[-1] == 1.0


def test_what_was_found_in_the_file(blender, tmp_path):
    """Resolution with its percentage, samples, frames, and what the rest of the work depends on."""
    assert blender.ask(blender.scene("late"), tmp_path / "out", LOOK, width=80, height=60, percentage=50, samples=5) == "clusterray: done"
    look = json.loads((tmp_path / "out" / "look.json").read_text())
    assert (look["width"], look["height"], look["samples"], look["engine"]) == (40, 30, 5, "CYCLES")
    assert (look["denoise"], look["compositor"], look["layers"], look["unmixable"]) == (["ViewLayer"], True, ["ViewLayer"], ["z"])
    assert look["blender"].split(".")[0].isdigit()


def test_a_file_that_is_gone_is_found_on_the_node_too(blender, tmp_path):
    """Blender knows of files that the submitter's side does not look for."""
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "scene.blend").write_bytes((blender.scene("wood") / "scene.blend").read_bytes())
    request = blender.ask(folder, tmp_path / "out", LOOK, missing="ignore")
    assert request == "clusterray: done"
    assert "wood.png" in json.loads((tmp_path / "out" / "look.json").read_text())["notes"][0]


def test_a_device_that_is_not_there_is_no_reason_to_take_another(blender, tmp_path):
    """A job for a card fails on a machine without one, and says what Blender finds; only mixed = true takes the processor."""
    folder = blender.scene("wide")
    options = {"samples": 1, "device": "oneapi"}
    assert "oneapi" in blender.ask(folder, tmp_path / "a" / "out", picture(), **options).lower()
    assert blender.ask(folder, tmp_path / "b" / "out", picture(), mixed=True, **options) == "clusterray: done"
