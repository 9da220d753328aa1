"""The same picture: what the farm joins equals what one machine makes, pixel for pixel, whatever dies meanwhile."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from .box import until

ADVANCED = Path("/usr/share/doc/povray/examples/advanced")


def unsplit(scene: Path, out: Path, width, height, *args):
    """The picture that povray makes alone."""
    subprocess.run(
        ["povray", f"+I{scene.name}", f"+O{out}", f"+W{width}", f"+H{height}", "-D", "-GA", "+WT1", *args],
        cwd=scene.parent,
        check=True,
        capture_output=True,
    )
    return out


def same(a: Path, b: Path):
    with Image.open(a) as left, Image.open(b) as right:
        assert (left.size, left.mode) == (right.size, right.mode)
        box = ImageChops.difference(left, right).getbbox()
    assert box is None, f"{a} and {b} differ in {box}"


def scene_folder(folder: Path, name: str, width, height, tiles, args=()):
    folder.mkdir()
    shutil.copy(ADVANCED / f"{name}.pov", folder)
    (folder / "task.toml").write_text(
        f'kind = "povray"\nname = "{name}"\n[options]\nscene = "{name}.pov"\nwidth = {width}\nheight = {height}\n'
        f"tiles = {json.dumps(tiles)}\nargs = {json.dumps(list(args))}\n"
    )
    return folder


def test_two_nodes_make_the_picture_of_one(box):
    """A folder goes in; beside it lies one picture, equal to the unsplit one, under the task's name."""
    box.node("one")
    box.node("two")
    folder = scene_folder(box.folder / "scene", "biscuit", 317, 211, [3, 2], ["+AM2", "+A0.1"])
    done = box.run("submit", folder)
    result = box.folder / "scene-result"
    assert [path.name for path in result.iterdir()] == ["biscuit.png"]
    same(result / "biscuit.png", unsplit(folder / "biscuit.pov", box.folder / "alone.png", 317, 211, "+AM2", "+A0.1"))
    assert done.stdout.strip() == str(result)
    (task,) = box.json("tasks")
    assert (task["state"], task["jobs"]["total"], task["jobs"]["done"]) == ("completed", 6, 6)


def test_a_bare_folder_with_one_scene_is_enough(box):
    """No task file at all: one .pov in the folder is a task."""
    box.node()
    folder = box.folder / "bare scene é"
    folder.mkdir()
    (folder / "my ball.pov").write_text("camera { location -5*z look_at 0 } light_source { -9*z+9*y 1 } sphere { 0, 1 pigment { rgb x } }")
    box.run("submit", folder, "-o", "width=160", "-o", "height=120")
    (picture,) = (box.folder / "bare scene é-result").iterdir()
    with Image.open(picture) as image:
        assert image.size == (160, 120)
        assert image.getpixel((80, 60))[0] > 100


def test_a_node_killed_in_mid_render_costs_nothing_but_time(box):
    """kill -9 of a node with everything it runs: its tiles go to the other one, the picture is the same."""
    box.node("victim")
    box.node("heir")
    folder = scene_folder(box.folder / "scene", "drums", 320, 240, [2, 4]) if (ADVANCED / "drums.pov").exists() else None
    folder = folder or scene_folder(box.folder / "scene", "biscuit", 640, 480, [2, 4], ["+A0.1", "+AM2"])
    ident = box.detach(folder)

    def victim_works():
        """the victim has a job"""
        return any(a["node"] == "victim" and a["state"] == "leased" for j in box.task(ident)["job_list"] for a in j["attempts"])

    until(victim_works)
    box.kill("victim")
    box.run("watch", ident, timeout=100)
    scene = next(folder.glob("*.pov"))
    with Image.open(box.folder / "scene-result" / f"{scene.stem}.png") as image:
        size = image.size
    args = ["+A0.1", "+AM2"] if scene.stem == "biscuit" else []
    same(box.folder / "scene-result" / f"{scene.stem}.png", unsplit(scene, box.folder / "alone.png", *size, *args))
    lost = [a for j in box.task(ident)["job_list"] for a in j["attempts"] if a["state"] == "lost"]
    assert lost and all(a["node"] == "victim" for a in lost)


def test_the_server_killed_in_mid_render_goes_on_where_it_was(box):
    """kill -9 of the server while tiles render: after a start the nodes finish, nothing is rendered twice, the picture is the same."""
    box.node("one")
    folder = scene_folder(box.folder / "scene", "biscuit", 640, 480, [2, 3], ["+A0.1", "+AM2"])
    ident = box.detach(folder)
    until(lambda: box.task(ident)["jobs"]["done"] >= 1, 60)
    box.kill("server")
    box.server()
    box.run("watch", ident, timeout=100)
    same(box.folder / "scene-result" / "biscuit.png", unsplit(folder / "biscuit.pov", box.folder / "alone.png", 640, 480, "+A0.1", "+AM2"))
    assert all(len(job["attempts"]) == 1 for job in box.task(ident)["job_list"])


def test_a_syntax_error_is_shown_as_povray_says_it_and_never_tried_again(box):
    """The submitter sees povray's own message with file and line; one attempt, exit code 1."""
    box.node()
    folder = box.folder / "broken"
    folder.mkdir()
    (folder / "scene.pov").write_text("camera { location -5*z }\n\nsphere { 0, 1 pigmnt { rgb 1 } }\n")
    done = box.run("submit", folder, "-o", "width=64", "-o", "height=48", ok=False)
    assert done.returncode == 1
    assert "scene.pov" in done.stdout + done.stderr and "line 3" in (done.stdout + done.stderr).replace(":3", "line 3")
    assert "pigmnt" in done.stdout + done.stderr or "Parse Error" in done.stdout + done.stderr
    (task,) = box.json("tasks")
    assert task["state"] == "failed"
    attempts = [a for job in box.task(task["id"])["job_list"] for a in job["attempts"] if a["state"] == "failed"]
    assert len(attempts) == 1


@pytest.mark.parametrize("tiles", [[1, 1], [7, 1]])
def test_local_needs_no_farm(make_box, tiles):
    """`submit --local` renders with nothing set up, and leaves neither processes nor folders."""
    box = make_box()
    folder = scene_folder(box.folder / "scene", "biscuit", 97, 61, tiles, ["+A0.3"])
    box.run("submit", "--local", folder, CLUSTERRAY_DATA=str(box.folder / "own"))
    same(box.folder / "scene-result" / "biscuit.png", unsplit(folder / "biscuit.pov", box.folder / "alone.png", 97, 61, "+A0.3"))
