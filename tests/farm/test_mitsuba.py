"""Mitsuba on a real farm: real nodes that found the wheel by themselves, real parts, one picture."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import OpenEXR
from clusterray.common.kinds.mitsuba import MITSUBA
from clusterray.common.model import TaskSpec
from clusterray.common.testing_kinds import whole_task
from PIL import Image

SHIPPED = Path(__file__).parents[2] / "misc" / "scenes" / "mitsuba"
OPTIONS = {"width": 60, "height": 40, "samples": 18, "parts": 4, "parameters": {"turn": 30}}
TASK = """\
kind = "mitsuba"
name = "spheres"
[options]
width = 60
height = 40
samples = 18
parts = 4
[parameters]
turn = 30
"""
FILM = """\
kind = "mitsuba"
name = "round"
[options]
width = 48
height = 32
samples = 4
[animation]
frames = "1-4"
chunk = 2
fps = 4
[keyframes.turn]
points = [[1, 0], [4, 90]]
"""


def scene(folder: Path, task: str) -> Path:
    folder.mkdir()
    shutil.copy(SHIPPED / "spheres.xml", folder)
    (folder / "task.toml").write_text(task)
    return folder


def light(path: Path):
    """All samples of an OpenEXR file, as one array."""
    channels = OpenEXR.File(str(path), separate_channels=True).channels()
    return np.stack([channels[name].pixels for name in sorted(channels)])


def test_two_nodes_share_the_samples(box):
    """A folder goes in, the mean comes out: the picture that one machine makes of the same parts, and a PNG of it."""
    box.node("one")
    box.node("two")
    folder = scene(box.folder / "scene", TASK)
    box.run("submit", folder)
    result = box.folder / "scene-result"
    assert sorted(path.name for path in result.iterdir()) == ["spheres.exr", "spheres.png"]
    whole_task(MITSUBA, TaskSpec(kind="mitsuba", name="spheres", options=OPTIONS), SHIPPED, box.folder / "alone")
    # a slot of several cores adds up its blocks in another order: the last bits may differ
    assert np.abs(light(result / "spheres.exr") - light(box.folder / "alone" / "0" / "result" / "spheres.exr")).max() < 1e-4
    with Image.open(result / "spheres.png") as picture:
        assert (picture.size, picture.mode) == ((60, 40), "RGB")
    (task,) = box.json("tasks")
    assert (task["state"], task["jobs"]["done"]) == ("completed", 4)


def test_a_film_and_a_scene_that_does_not_load(box):
    """Frames by keyframed parameters and a film of them; a fault of the scene is told in Mitsuba's words, after one attempt."""
    box.node()
    folder = scene(box.folder / "film", FILM)
    box.run("submit", folder)
    names = sorted(path.relative_to(box.folder / "film-result").as_posix() for path in (box.folder / "film-result").rglob("*.*"))
    assert [name for name in names if name.startswith("frames/")] == [f"frames/round_{number:04d}.png" for number in range(1, 5)]
    assert "round.mp4" in names
    bad = scene(box.folder / "bad", 'kind = "mitsuba"\n')
    text = (bad / "spheres.xml").read_text().replace('type="dielectric"', 'type="dielectrik"', 1)
    (bad / "spheres.xml").write_text(text)
    done = box.run("submit", bad, ok=False)
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode and 'failed to instantiate bsdf plugin of type "dielectrik"' in said and "spheres.xml" in said, said
    (failed,) = [task for task in box.json("tasks") if task["name"] == "bad"]
    attempts = [len(job["attempts"]) for job in box.task(failed["id"])["job_list"]]
    assert max(attempts) == 1
