"""The kind panorama with OpenCV itself: parts of a known picture become that picture again."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.errors import OutputRejected, StitchFailed, TaskFileError
from clusterray.common.kinds.panorama import PANORAMA, groups
from clusterray.common.model import Cause, Region, TaskSpec
from clusterray.common.survey.panorama import largest_rectangle
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_kind, check_refusals, rehearse, whole_task
from PIL import Image, ImageDraw

Pixels = np.ndarray[Any, Any]


def scene(width: int = 900, height: int = 520, seed: int = 1) -> Pixels:
    """Shapes of all sizes and colours."""
    numbers = np.random.default_rng(seed)
    picture = Image.new("RGB", (width, height), (110, 120, 100))
    draw = ImageDraw.Draw(picture)
    for radius, count in ((60, 40), (20, 400), (7, 2500)):
        for x, y, angle in numbers.uniform((0, 0, 0), (width, height, 6.3), (count, 3)):
            corners = np.cumsum(numbers.uniform(0.4, 2.0, 5)) + angle
            color = tuple(int(one) for one in numbers.integers(20, 235, 3))
            draw.polygon([(x + radius * np.cos(one), y + radius * np.sin(one)) for one in corners], fill=color)
    return np.asarray(picture)


def save(pixels: Pixels, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, quality=95)


@pytest.fixture(scope="module")
def whole() -> Pixels:
    return scene()


@pytest.fixture
def folder(whole: Pixels, tmp_path: Path) -> Path:
    """Four parts of a picture, each of which shares a third with its neighbours."""
    for number, (x, y) in enumerate(((0, 0), (360, 0), (0, 170), (360, 170)), 1):
        save(whole[y : y + 350, x : x + 540], tmp_path / "map" / f"{number}.jpg")
    return tmp_path / "map"


def spec(**options: Any) -> TaskSpec:
    return TaskSpec(kind="panorama", name="wide", options={"compose-megapixels": 0.0} | options)


def covers(task: TaskSpec, regions: Sequence[Region]) -> str:
    seen = [name for region in regions for name in region.data["pictures"]]
    return "" if sorted(seen) == ["1.jpg", "2.jpg", "3.jpg", "4.jpg"] else f"{len(seen)} pictures are looked at"


def test_the_exam(folder: Path, tmp_path: Path) -> None:
    """Everything that the farm relies on: damaged, missing and lost pieces among it."""
    check_kind(PANORAMA, spec(), folder, tmp_path / "exam", covers)


def test_parts_become_the_picture(folder: Path, whole: Pixels, tmp_path: Path) -> None:
    """Parts of a flat picture are taken for what they are, and joined they are that picture: its size, its pixels, nothing twice."""
    made = whole_task(PANORAMA, spec(format="png"), folder, tmp_path / "work")
    assert sorted(made) == ["report.json", "wide.png"]
    one = json.loads(made["report.json"])["panoramas"][0]
    assert (one["mode"], one["left_out"], len(one["placed"])) == ("scans", [], 4)
    joined = np.asarray(Image.open(io.BytesIO(made["wide.png"])).convert("RGB"))
    assert abs(joined.shape[0] - whole.shape[0]) <= 2 and abs(joined.shape[1] - whole.shape[1]) <= 2
    shifts = [patch_shift(joined, whole, x, y) for x in range(0, 760, 125) for y in range(0, 380, 75)]
    assert np.abs(shifts).max() < 0.3, "no part of it lies elsewhere"


def patch_shift(one: Pixels, other: Pixels, x: int, y: int, side: int = 128) -> tuple[float, float]:
    """Pixels by which a patch of one picture lies elsewhere in the other."""
    import cv2

    here = np.s_[y : y + side, x : x + side]
    gray = [np.float32(picture[here].mean(2)) for picture in (one, other)]
    return cv2.phaseCorrelate(*gray, cv2.createHanningWindow((side, side), cv2.CV_32F))[0]  # type: ignore[no-any-return]


def turned_views(whole: Pixels, angles: Sequence[float], size: tuple[int, int], focal: float) -> list[Pixels]:
    """What a camera that turns on the spot sees of a wall."""
    import cv2

    lens = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1.0]])
    wall = np.array([[focal, 0, whole.shape[1] / 2], [0, focal, whole.shape[0] / 2], [0, 0, 1.0]])
    views = []
    for angle in np.radians(angles):
        turn = np.array([[np.cos(angle), 0, -np.sin(angle)], [0, 1, 0], [np.sin(angle), 0, np.cos(angle)]])
        views.append(cv2.warpPerspective(whole, lens @ turn @ np.linalg.inv(wall), size))
    return views


def test_a_turned_camera_and_folders(whole: Pixels, folder: Path, tmp_path: Path) -> None:
    """Each folder makes one panorama of its own; photos of a camera that turned are told from scans; crop = inner leaves no empty rim."""
    for number, view in enumerate(turned_views(whole, (-14, 0, 14), (420, 380), 620.0)):
        save(view, folder / "turned" / f"{number}.jpg")
    for path in sorted(folder.glob("*.jpg")):
        path.rename(folder / "turned" / ".." / f"{path.stem}.JPG")
    made = whole_task(PANORAMA, spec(crop="inner", format="png"), folder, tmp_path / "work")
    assert sorted(made) == ["report.json", "turned.png", "wide.png"]
    modes = {one["panorama"]: one["mode"] for one in json.loads(made["report.json"])["panoramas"]}
    assert modes == {"turned": "panorama", "wide": "scans"}
    turned = Image.open(io.BytesIO(made["turned.png"]))
    assert turned.mode == "RGB", "nothing of it is transparent"
    assert turned.width > 620 and turned.height > 250


def test_strangers_are_named(folder: Path, tmp_path: Path) -> None:
    """A picture of something else, a broken one and one that is there twice are left out, each named; or the task fails, if so wished."""
    save(scene(seed=9)[:350, :540], folder / "other.jpg")
    (folder / "5.jpg").write_bytes((folder / "1.jpg").read_bytes())
    (folder / "torn.jpg").write_bytes((folder / "2.jpg").read_bytes()[:9000])
    (folder / "notes.txt").write_text("on the roof")
    made = whole_task(PANORAMA, spec(), folder, tmp_path / "work")
    said = json.loads(made["report.json"])["notes"]
    assert said[0] == "5.jpg is left out: it is the same picture as 1.jpg."
    assert said[1].startswith("torn.jpg is left out: it cannot be read (")
    assert said[2:] == ["wide.jpg: other.jpg fits to none of the others and is left out."]
    failed = second_stage(folder, tmp_path / "strict", unplaced="fail")
    code, tail = run_of(failed)
    failure = failed.recipe(failed.split()[0]).diagnose(code, tail)
    assert failure.cause is Cause.INPUT and "other.jpg fits to none of the others" in failure.sentence


def test_nothing_fits(folder: Path, tmp_path: Path) -> None:
    """Pictures without any overlap: the task fails at once, with what to do about it."""
    for path in folder.glob("[234].jpg"):
        path.unlink()
    save(scene(seed=9)[:350, :540], folder / "other.jpg")
    task = second_stage(folder, tmp_path / "work")
    code, tail = run_of(task)
    failure = task.recipe(task.split()[0]).diagnose(code, tail)
    assert failure.cause is Cause.INPUT and "they need to overlap by a quarter and more" in failure.sentence


def second_stage(folder: Path, work: Path, **options: Any) -> Rehearsal:
    """After the pictures were looked at."""
    first = rehearse(PANORAMA, spec(**options), folder, work)
    first.whole("pictures")
    inputs = work / "inputs"
    for name in first.files.names():
        (inputs / name).parent.mkdir(parents=True, exist_ok=True)
        (inputs / name).write_bytes(first.files.read(name))
    (inputs / "stages").mkdir()
    (work / "pictures").rename(inputs / "stages" / "pictures")
    return Rehearsal(
        kind=PANORAMA, spec=first.spec, stage=PANORAMA.stages(first.spec)[1], files=PlainFiles(inputs), inputs=inputs, work=work / "second",
        warnings=(),
    )  # fmt: skip


def run_of(task: Rehearsal) -> tuple[int, list[str]]:
    """Exit code and lines of the first job."""
    from clusterray.common.process import run

    recipe = task.recipe(task.split()[0])
    done = run(recipe.argv, timeout=60, cwd=task.work, env={"PATH": "/usr/bin:/bin", **recipe.env})
    return done.code, [*done.stdout.splitlines(), *done.stderr.splitlines()]


def test_the_panorama_itself_is_checked(folder: Path, tmp_path: Path) -> None:
    """A panorama that was damaged on its way, or is missing, is refused; the same pictures give the same bytes."""
    task = second_stage(folder, tmp_path / "work")
    region = task.split()[0]
    outputs = task.process(region)
    task.stage.verify(task.spec, region, outputs)
    before = {name: outputs.read(name) for name in outputs.names()}
    check_refusals(task, region, outputs)
    pieces = list(task.pieces([region]))
    assert {name: pieces[0].files.read(name) for name in pieces[0].files.names()} == before
    with pytest.raises(StitchFailed, match="panorama0000 is missing"):
        task.stitch([])


def test_mistakes_are_said_at_once(tmp_path: Path) -> None:
    """One picture alone, and none at all."""
    (tmp_path / "a").mkdir()
    with pytest.raises(TaskFileError, match="There is no picture"):
        PANORAMA.examine(spec(), PlainFiles(tmp_path))
    save(np.zeros((40, 40, 3), np.uint8), tmp_path / "a" / "x.png")
    with pytest.raises(TaskFileError, match=r"a/x\.png is alone in its folder"):
        PANORAMA.examine(spec(), PlainFiles(tmp_path))
    save(np.zeros((40, 40, 3), np.uint8), tmp_path / "a" / "y.png")
    assert groups(PlainFiles(tmp_path), "wide") == {"a": ("a/x.png", "a/y.png")}
    task = rehearse(PANORAMA, spec(), tmp_path, tmp_path.parent / "twins")
    with pytest.raises(StitchFailed, match=r"a has 1 picture of use; a panorama needs 2\. a/y\.png is left out: it is the same"):
        task.whole()
    with pytest.raises(OutputRejected):
        task.stage.verify(task.spec, task.split()[0], PlainFiles(tmp_path / "a"))


def test_the_largest_rectangle() -> None:
    """Of all rectangles without a hole the largest one."""
    mask = np.ones((40, 60), bool)
    mask[:5, :50] = mask[30:, 20:] = False
    mask[12, 3] = False
    assert largest_rectangle(mask) == (4, 5, 60, 30)
