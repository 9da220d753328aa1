"""Blender on a real farm: the picture is the one that Blender makes alone, one process serves the jobs of a slot, and faults are said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ..common.kinds.blender_cases import alone, make


def pixels(path: Path):
    with Image.open(path) as image:
        return np.asarray(image)


def folder_of(box, scene: str, task: str) -> Path:
    """A task's folder with a scene that Blender wrote."""
    make(box.folder, f"{scene}/scene.blend")
    (box.folder / scene / "task.toml").write_text(f'kind = "blender"\nname = "pic"\n{task}')
    return box.folder / scene


def test_tiles_of_two_nodes_make_the_picture_of_one_blender(box):
    """Adaptive sampling and dithering on, as Blender has them; eight jobs read the scene four times at most, once in a slot and stage."""
    box.node("one")
    box.node("two")
    folder = folder_of(box, "plain", "[options]\ntiles = [3, 2]\n")
    box.run("submit", folder)
    result = box.folder / "plain-result"
    assert [path.name for path in result.iterdir()] == ["pic.png"]
    assert (pixels(result / "pic.png") == pixels(alone(folder / "scene.blend", box.folder / "alone.png"))).all()
    (task,) = box.json("tasks")
    jobs = box.task(task["id"])["job_list"]
    assert sorted(job["stage"] for job in jobs) == ["finish", "look", *["render"] * 6]
    assert all(len(job["attempts"]) == 1 for job in jobs)
    assert 3 <= box.run("log", task["id"]).stdout.count("Read blend") <= 4
    programs = {program["name"]: program["version"] for program in box.json("nodes")[0]["programs"]}
    assert programs["blender"].split(".")[0].isdigit()


def test_a_film_of_a_scene_s_own_animation(box):
    """Frames in chunks, a film with them; a frame is Blender's own."""
    box.node("one")
    folder = folder_of(box, "work", '[animation]\nframes = "1-4"\nfps = 8\nchunk = 2\n')
    box.run("submit", folder)
    result = box.folder / "work-result"
    assert (result / "pic.mp4").stat().st_size > 0
    expected = pixels(alone(folder / "scene.blend", box.folder / "alone.png", "3"))
    assert (pixels(result / "frames" / "pic_0003.png") == expected).all()


def test_a_wrong_property_ends_the_task_at_once_with_its_name(box):
    """The first job finds it, no other node tries it again."""
    box.node("one")
    folder = folder_of(box, "wide", "[rna]\n\"objects['Cubo'].location\" = [0, 0, 1]\n")
    done = box.run("submit", folder, ok=False)
    assert done.returncode != 0
    assert "objects has no 'Cubo'; did you mean 'Cube'?" in done.stdout + done.stderr
    (task,) = box.json("tasks")
    assert task["state"] == "failed"
    assert sum(len(job["attempts"]) for job in box.task(task["id"])["job_list"]) == 1
