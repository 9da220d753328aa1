"""Films by POV-Ray with the real povray: every frame is the one that povray's own animation makes, pixel for pixel."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from clusterray.common.errors import OutputRejected, TaskFileError
from clusterray.common.kinds.keyframes import number
from clusterray.common.kinds.povray import POVRAY
from clusterray.common.kinds.povray_output import FilmProgress
from clusterray.common.model import Cause, FarmShape, Region, TaskSpec
from clusterray.common.process import run
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_refusals, rehearse, whole_task

from .povray_house import BALLS, ENV, SKY, folder, pixels

TURNS = BALLS.replace("-4>", "-4 + final_frame / 10>").replace("sphere { <1.2, 0, -1>", "sphere { <1.2 - 2*clock, clock_delta, -1>") + SKY
MOVES = BALLS.replace("sphere { 0, 1 ", "sphere { Place*x, Size ") + SKY
SMALL = {"width": 40, "height": 30}


def made(inputs: Path, work: Path, **options: Any) -> dict[str, bytes]:
    return whole_task(POVRAY, TaskSpec(kind="povray", name="film", options=SMALL | options), inputs, work)


def task_of(inputs: Path, work: Path, **options: Any) -> Rehearsal:
    return rehearse(POVRAY, TaskSpec(kind="povray", name="film", options=SMALL | options), inputs, work)


def frames(work: Path) -> dict[int, np.ndarray]:
    found = sorted((work / "0" / "result" / "frames").iterdir())
    return {int(path.stem.rpartition("_")[2]): pixels(path) for path in found}


def alone(inputs: Path, work: Path, *words: str) -> dict[int, np.ndarray]:
    """povray's own animation."""
    work.mkdir(parents=True)
    done = run(["povray", "+Iscene.pov", f"+O{work}/f.png", "-D", "+W40", "+H30", *words], timeout=100, cwd=inputs, env=ENV)
    assert done.code == 0, done.stderr
    return {int(path.stem[1:]): pixels(path) for path in work.iterdir()}


def same(ours: dict[int, np.ndarray], theirs: dict[int, np.ndarray]) -> None:
    assert sorted(ours) == sorted(theirs)
    assert all(np.array_equal(ours[frame], theirs[frame]) for frame in theirs)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"animation": {"frames": "1-5", "chunk": 2}}, ["+KFF5", "+FN"]),
        ({"args": ["+KFF11", "+KC", "+SF9", "+EF11"], "animation": {"chunk": 2}, "bits": 16}, ["+KFF11", "+KC", "+SF9", "+FN16"]),
        ({"animation": {"frames": "8-13x2", "chunk": 4}, "alpha": True}, ["+KFI8", "+KFF13", "+UA", "+FN"]),
        ({"animation": {"frames": "3-5"}, "grey": True, "antialias": 0.2}, ["+KFI3", "+KFF5", "+FNg", "+A0.2"]),
    ],
    ids=["plain", "cyclic subset", "step", "grey"],
)
def test_frames_are_those_of_one_run(options: dict[str, Any], words: list[str], tmp_path: Path) -> None:
    """By clock, clock_delta and final_frame, cyclic, with a step, at 8 and 16 bits; the files are povray's, not encoded anew."""
    inputs = folder(tmp_path, **{"scene.pov": TURNS})
    assets = made(inputs, tmp_path / "work", **options)
    ours, theirs = frames(tmp_path / "work"), alone(inputs, tmp_path / "alone", *words)
    same(ours, {frame: theirs[frame] for frame in (ours if "x" in options["animation"].get("frames", "") else theirs)})
    assert {"film.mp4", "film-poster.jpg", "film-contact.jpg"} <= assets.keys()
    assert len({picture.tobytes() for picture in ours.values()}) == len(ours), "the frames differ"


@pytest.mark.parametrize("head", ["#version 3.7;", "// no first\n#version 3.5;"])
def test_keyframes_are_declared_frame_by_frame(head: str, tmp_path: Path) -> None:
    """As one povray per frame with Declare= makes them, whatever version the scene says; a chunk is one process."""
    inputs = folder(tmp_path, **{"scene.pov": MOVES.replace("#version 3.7;", head)})
    curves = {"Place": {"points": [[1, -0.5], [4, 0.25]]}, "Size": {"points": [[1, 1], [4, 0.4]]}}
    task = task_of(inputs, tmp_path / "w", animation={"frames": "1-4", "chunk": 3}, keyframes=curves)
    assert [region.name for region in task.split()] == ["f000001-000003", "f000004"]
    made(inputs, tmp_path / "work", animation={"frames": "1-4", "chunk": 3}, keyframes=curves)

    def declared(frame: int) -> dict[int, np.ndarray]:
        place, size = number(round(-0.5 + 0.25 * (frame - 1), 9)), number(round(1 - 0.2 * (frame - 1), 9))
        words = [f"Declare=Place={place}", f"Declare=Size={size}", "+KFF4", f"+SF{frame}", f"+EF{frame}", "+FN"]
        return alone(inputs, tmp_path / f"alone{frame}", *words)

    with ThreadPoolExecutor(4) as pool:
        theirs = {frame: picture for one in pool.map(declared, range(1, 5)) for frame, picture in one.items()}
    same(frames(tmp_path / "work"), theirs)


def test_keyframes_have_all_their_digits(tmp_path: Path) -> None:
    """Declare= on a command line would round them to six; never an exponent; a header of the submitter's own sees them."""
    scene = '#debug concat("=~", str(A, 0, 17), " ", str(B, 0, 25), " ", str(C, 0, 1), "~=\\n")\n' + MOVES
    inputs = folder(tmp_path, **{"scene.pov": "#declare Place = 0; #declare Size = 1;" + scene, "my.inc": "#declare C = A * 10;"})
    curves = {"A": {"points": [[1, 0.7512345678901234], [2, 3]]}, "B": {"points": [[1, 1e-17], [2, 1]]}}
    task = task_of(inputs, tmp_path / "work", animation={"frames": "1-2", "chunk": 2}, keyframes=curves, args=["+HImy.inc"])
    recipe = task.recipe(task.split()[0])
    done = run([*recipe.argv, "+GD"], timeout=60, cwd=recipe.cwd or tmp_path, env=ENV | dict(recipe.env))
    said = re.findall("=~([^~]*)~=", done.stderr)
    assert done.code == 0 and said[0].split() == [f"{0.7512345678901234:.17f}", "0.0000000000000000100000000", "7.5"]


def test_a_frames_mistake_names_the_frame(tmp_path: Path) -> None:
    """And file and line as the submitter knows them, though a header of ours stands before the scene."""
    scene = MOVES.replace("light_source", '#if (frame_number = 3)\n#error "no third"\n#end\nlight_source')
    inputs = folder(tmp_path, **{"scene.pov": scene})
    curves = {"Place": {"points": [[1, 0], [4, 1]]}, "Size": {"points": [[1, 1], [4, 1]]}}
    task = task_of(inputs, tmp_path / "work", animation={"frames": "2-4", "chunk": 3}, keyframes=curves)
    recipe = task.recipe(task.split()[0])
    done = run(recipe.argv, timeout=60, cwd=recipe.cwd or tmp_path, env=ENV | dict(recipe.env))
    failure = recipe.diagnose(done.code, done.stderr.splitlines())
    assert failure.cause is Cause.INPUT and failure.sentence.startswith("Frame 3: File 'scene.pov' line 5: Parse Error"), failure
    assert "preceding the first #version" not in done.stderr.replace("\n ", " "), "it would be rendered as an old scene"
    assert recipe.finish is not None
    with pytest.raises(OutputRejected, match="no picture of frame 3"):
        recipe.finish()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keyframes": {"clock": {"points": [[1, 0], [2, 1]]}}}, 'a meaning of its own for "clock"'),
        ({"keyframes": {"frame_number": {"points": [[1, 0], [2, 1]]}}}, 'a meaning of its own for "frame_number"'),
        ({"keyframes": {"Size": {"points": [[1, 0], [2, 1]]}}, "args": ["Declare=Size=2"]}, "Size has keyframes, and Declare=Size"),
        ({"format": "tiff"}, "frames are png or exr"),
        ({"format": "jpeg"}, "JPEG would blur"),
        ({"format": "exr", "grey": True}, "no grey OpenEXR"),
    ],
)
def test_what_a_film_cannot_have(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    """In one sentence."""
    with pytest.raises(TaskFileError, match=words):
        task_of(folder(tmp_path), tmp_path / "work", animation={"frames": "1-2"}, **options)


def test_a_declaration_that_hides_keyframes_is_said(tmp_path: Path) -> None:
    """Only where nothing guards it."""
    curves = {"Size": {"points": [[1, 0], [2, 1]]}, "Place": {"points": [[1, 0], [2, 1]]}}
    scene = "#declare Size = 1;\n#ifndef (Place)\n#declare Place = 0;\n#end\n" + MOVES
    task = task_of(folder(tmp_path, **{"scene.pov": scene}), tmp_path / "work", animation={"frames": "1-2"}, keyframes=curves)
    assert [warning for warning in task.warnings if "overrides" in warning] == [
        "scene.pov:1: #declare Size overrides its keyframes; write #ifndef (Size) #declare Size = …; #end there."
    ]


def test_openexr_frames(tmp_path: Path) -> None:
    """As povray writes them, byte for byte of the pixels; other pictures are refused."""
    from clusterray.common.kinds.rasters import check_picture

    inputs = folder(tmp_path)
    task = task_of(inputs, tmp_path / "work", animation={"frames": "1-2", "codec": "none", "chunk": 2}, format="exr")
    (region,) = task.split()
    outputs = task.process(region)
    assert outputs.names() == ("000001.exr", "000002.exr")
    task.stage.verify(task.spec, region, outputs)
    check_picture(outputs.path("000002.exr"), width=40, height=30, format="exr", bits=16, channels="RGB")
    other = task_of(inputs, tmp_path / "other", animation={"frames": "1-2", "codec": "none"}, format="exr", width=20)
    with pytest.raises(OutputRejected, match="40 x 30 pixels instead of 20 x 30"):
        other.stage.verify(other.spec, region, outputs)


def test_damaged_frames_are_refused(tmp_path: Path) -> None:
    """Cut short, changed, empty or missing."""
    task = task_of(folder(tmp_path), tmp_path / "work", animation={"frames": "1-2", "chunk": 1})
    region = task.split()[1]
    check_refusals(task, region, task.process(region))


def test_what_a_frame_depends_on(tmp_path: Path) -> None:
    """Rate, quality of the film and tiles leave frames valid; the clock and the size do not."""

    def key(**options: Any) -> Any:
        task = task_of(folder(tmp_path / str(len(list(tmp_path.iterdir())))), tmp_path / "work", **options)
        region = Region(name="f000002", data={"frames": "2", "before": "", "after": ""})
        return msgspec.json.encode(task.stage.reads(task.spec, region))

    film = {"frames": "1-9"}
    assert key(animation=film) == key(animation=film | {"fps": 50, "crf": 30, "chunk": 3}, tiles=[2, 2])
    assert key(animation={"frames": "2-3"}, clock_frames="1-9") != key(animation={"frames": "2-3"})
    assert key(animation=film) != key(animation={"frames": "1-10"}), "the same frame has another clock"
    assert key(animation=film) != key(animation=film, width=41)


def test_progress_over_frames() -> None:
    """From 0 to 1 over all frames of a job."""
    told = FilmProgress(4)
    lines = [
        "Rendering frame 1 of 4",
        "Rendered 50 of 100 pixels (50%)",
        "Rendering frame 3 of 4",
        "Rendered 100 of 100 pixels (100%)",
        "x",
    ]
    assert [told(line) for line in lines] == [0.0, 0.125, 0.5, 0.75, None]


def test_a_long_film_measures_first(tmp_path: Path) -> None:
    """The stages of chunk = "auto"; each job is one run of consecutive frames."""
    task = task_of(folder(tmp_path), tmp_path / "work", animation={"frames": "1-100x2"})
    stages = POVRAY.stages(task.spec)
    assert [stage.name for stage in stages] == ["sample", "frames"]
    assert all("-" not in region.name for region in stages[1].split(task.spec, PlainFiles(task.inputs), FarmShape(slots=2)))
