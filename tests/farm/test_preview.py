"""How far a task is, to be seen while it runs: with the real povray, two nodes, and the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from clusterray.common.kinds.preview_maps import QUIET
from PIL import Image

from .box import until
from .test_film import TASK, film_folder
from .test_render import scene_folder, unsplit

CHECKERBOARD = ((0x9C, 0x9C, 0xA4), (0x86, 0x86, 0x8E))


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def holes(picture: np.ndarray) -> np.ndarray:
    return np.any([(picture == grey).all(axis=2) for grey in CHECKERBOARD], axis=0)


def test_a_task_under_way_shows_its_preview_with_holes_and_its_maps(box):
    """`show --preview` writes three pictures: first with holes, then whole; each pixel that is there is the finished picture's, scaled."""
    box.node("alpha")
    folder = scene_folder(box.folder / "scene", "biscuit", 640, 480, [2, 3], ["+A0.3"])
    ident = box.detach(folder)
    nothing = box.run("show", ident, "--preview", "-o", "now", ok=False)
    assert nothing.returncode == 1 and "biscuit" in nothing.stderr and nothing.stdout == ""
    until(lambda: box.task(ident)["jobs"]["done"] >= 1, 60)
    said = box.run("show", ident, "--preview", "-o", "now").stdout.split()
    assert said == [str(box.folder / "now" / f"biscuit-{part}.png") for part in ("preview", "heat", "nodes")]
    part = pixels(box.folder / "now" / "biscuit-preview.png")
    assert part.shape == (384, 512, 3) and 0.05 < holes(part).mean() < 0.95
    (full,) = box.json("show", ident, "--preview", "--full", "-o", "now")
    large = pixels(Path(full["file"]))
    assert large.shape == (480, 640, 3) and 0.05 < holes(large).mean() < 0.95
    kept = box.data / "server" / "previews" / ident / "run-1" / "stage-0" / "preview.png"
    until(kept.exists)

    box.node("beta")
    box.run("watch", ident, timeout=100)
    files = [row["file"] for row in box.json("show", ident, "--preview", "-o", "end")]
    whole = pixels(unsplit(folder / "biscuit.pov", box.folder / "alone.png", 640, 480, "+A0.3"))
    done = pixels(Path(files[0]))
    fine = whole.repeat(4, 0).repeat(4, 1).reshape(384, 5, 512, 5, 3)  # 640 to 512: what lies below each pixel
    assert np.array_equal(done, (2 * fine.sum(axis=(1, 3), dtype=np.int64) + 25) // 50)
    there = ~holes(large)
    assert np.array_equal(large[there], whole[there])
    assert pixels(Path(files[1])).shape[1] == pixels(Path(files[2])).shape[1] == 512
    box.run("remove", ident)
    assert not kept.exists()


def test_the_preview_of_a_finished_film_has_no_hole(box):
    """Some of its frames were rendered by the stage before, to be measured: they stand in the sheet and are grey in the maps."""
    box.node("alpha")
    folder = film_folder(box.folder / "scene")
    (folder / "task.toml").write_text(TASK.replace("1-12", "1-26").replace("chunk = 2\n", ""))
    ident = box.detach(folder)
    box.run("watch", ident, timeout=100)
    files = [Path(row["file"]) for row in box.json("show", ident, "--preview", "-o", "end")]
    sheet, *maps = (pixels(path) for path in files)
    assert not holes(sheet).any()
    assert all((drawn == QUIET).all(axis=2).mean() > 0.05 for drawn in maps)
