"""Films on a real farm: the frames are those of povray alone, whatever dies meanwhile, and none is rendered twice."""

from __future__ import annotations

import subprocess
from pathlib import Path

import av
import numpy as np
from PIL import Image

from .box import until

SHIPPED = Path(__file__).parents[2] / "misc" / "scenes" / "film" / "film.pov"
FRAMES = 12
TASK = """\
kind = "povray"
name = "loop"
[options]
width = 64
height = 36
cyclic = true
args = ["Declare=Sun=30"]
[animation]
frames = "1-12"
fps = 12
chunk = 2
"""


def film_folder(folder: Path) -> Path:
    folder.mkdir()
    (folder / "film.pov").write_bytes(SHIPPED.read_bytes())
    (folder / "task.toml").write_text(TASK)
    return folder


def alone(folder: Path, out: Path) -> list[np.ndarray]:
    """povray's own animation."""
    out.mkdir()
    argv = ["povray", "+Ifilm.pov", f"+O{out}/f.png", "+W64", "+H36", "+KFF12", "+KC", "Declare=Sun=30", "-D", "-GA", "+WT1"]
    subprocess.run(argv, cwd=folder, check=True, capture_output=True)
    return [pixels(path) for path in sorted(out.iterdir())]


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def frames(result: Path) -> list[np.ndarray]:
    return [pixels(result / "frames" / f"loop_{frame:04d}.png") for frame in range(1, FRAMES + 1)]


def attempts(box, ident):
    return [attempt for job in box.task(ident)["job_list"] for attempt in job["attempts"]]


def test_a_film_survives_the_death_of_a_node(box):
    """kill -9 in the middle: its frames go to the other node, the frames are povray's own pixel for pixel, the film has all twelve."""
    box.node("victim")
    box.node("heir")
    folder = film_folder(box.folder / "scene")
    ident = box.detach(folder)

    def victim_works():
        """the victim has a job"""
        return any(attempt["node"] == "victim" and attempt["state"] == "leased" for attempt in attempts(box, ident))

    until(victim_works)
    box.kill("victim")
    box.run("watch", ident, timeout=100)
    result = box.folder / "scene-result"
    theirs = alone(folder, box.folder / "alone")
    assert len(theirs) == FRAMES
    assert all(np.array_equal(one, other) for one, other in zip(frames(result), theirs, strict=True))
    with av.open(str(result / "loop.mp4")) as film:
        shown = list(film.decode(video=0))
        assert len(shown) == FRAMES and (shown[0].width, shown[0].height) == (64, 36)
        assert film.streams.video[0].average_rate == 12
    assert {"loop-poster.jpg", "loop-contact.jpg"} <= {path.name for path in result.iterdir()}
    assert any(attempt["node"] == "victim" and attempt["state"] == "lost" for attempt in attempts(box, ident))


def test_a_restart_with_an_option_that_cannot_be_is_refused_and_loses_nothing(box):
    """One sentence at once that names the word; the film can still be fetched, and the next restart knows nothing of it."""
    box.node("one", slots=2)
    ident = box.detach(film_folder(box.folder / "scene"))
    box.run("watch", ident, timeout=100)
    for word, sentence in (("animation.crf=99", "crf must be a whole number from 0 to 51"), ("options.scene=no.pov", 'no scene "no.pov"')):
        done = box.run("restart", ident, "-o", word, ok=False)
        assert done.returncode == 1 and f"-o {word}: " in done.stderr and sentence in done.stderr
    assert box.task(ident)["state"] == "completed"
    box.run("fetch", ident, "--into", "again")
    box.run("restart", ident)
    until(lambda: box.task(ident)["run"] == 2 and box.task(ident)["state"] == "completed")


def test_a_restart_renders_no_frame_again(box):
    """Also with other speed and quality: all frames are taken over, and the film is made anew from them."""
    box.node("one", slots=2)
    ident = box.detach(film_folder(box.folder / "scene"))
    box.run("watch", ident, timeout=100)
    before = frames(box.folder / "scene-result")
    leases = {attempt["lease"] for attempt in attempts(box, ident)}
    box.run("restart", ident, "-o", "animation.fps=24", "-o", "animation.crf=40")
    box.run("watch", ident, timeout=100)
    result = box.folder / "again"
    box.run("fetch", ident, "--into", result)
    assert all(np.array_equal(one, other) for one, other in zip(frames(result), before, strict=True))
    with av.open(str(result / "loop.mp4")) as film:
        assert film.streams.video[0].average_rate == 24
    assert (result / "loop.mp4").stat().st_size < (box.folder / "scene-result" / "loop.mp4").stat().st_size
    assert {attempt["lease"] for attempt in attempts(box, ident)} == leases, "no job of the new run was leased"
