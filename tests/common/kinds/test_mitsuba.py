"""The Mitsuba kind with the real Mitsuba: split by samples, its mean is as good as one render with all of them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from clusterray.common.errors import OutputRejected
from clusterray.common.kinds.mitsuba import FACTS, MITSUBA, PICTURE
from clusterray.common.kinds.mitsuba_job import Progress, diagnose
from clusterray.common.kinds.rasters import shape_of
from clusterray.common.model import Cause, FarmShape, Region, TaskSpec
from clusterray.common.process import run
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_kind, rehearse, whole_task
from PIL import Image

from .raster_cases import read_exr

SHIPPED = Path(__file__).parents[3] / "misc" / "scenes" / "mitsuba"
SMALL = {"width": 48, "height": 32}


def task_of(tmp_path: Path, inputs: Path = SHIPPED, **options: Any) -> Rehearsal:
    return rehearse(MITSUBA, TaskSpec(kind="mitsuba", name="picture", options=SMALL | options), inputs, tmp_path / "work")


def mean_of(tmp_path: Path, name: str, **options: Any) -> np.ndarray[Any, Any]:
    """The joined light of a task, (rows, columns, 3)."""
    task = task_of(tmp_path / name, **options, output=["exr"])
    task.whole()
    found = read_exr(task.work / "result" / "picture.exr")
    return np.stack([found[channel] for channel in "RGB"], axis=-1).astype("f8")


def covers(spec: TaskSpec, regions: Sequence[Region]) -> str:
    samples = sum(region.data["samples"] for region in regions)
    seeds = {region.data["seed"] for region in regions}
    return "" if samples == spec.options["samples"] and len(seeds) == len(regions) else f"{samples} samples, {len(seeds)} seeds"


def test_the_exam(tmp_path: Path) -> None:
    """Everything that the farm relies on: damaged, missing and lost parts among it; the same split gives the same bytes."""
    spec = TaskSpec(kind="mitsuba", name="spheres", options=SMALL | {"samples": 10, "parts": 3})
    assert list(check_kind(MITSUBA, spec, SHIPPED, tmp_path, covers)) == ["spheres.exr", "spheres.png"]


def test_parts_are_as_good_as_the_whole(tmp_path: Path) -> None:
    """4 x 16 samples with four seeds are as near to the truth as 64 in one, but for 15 %; 16 alone are much further off."""
    truth = mean_of(tmp_path, "truth", samples=2048, seed=1000, parts=2)

    def error(picture: np.ndarray[Any, Any]) -> float:
        # glints are rare and bright: where they fall says nothing of the whole
        return float(np.sqrt(np.mean(np.minimum(np.abs(picture - truth), 1) ** 2)))

    split, single = mean_of(tmp_path, "split", samples=64, parts=4), mean_of(tmp_path, "single", samples=64, parts=1, seed=500)
    quarter = mean_of(tmp_path, "quarter", samples=16, parts=1)
    assert error(split) <= 1.15 * error(single)
    assert max(error(split), error(single)) < 0.7 * error(quarter)


def test_parts_weigh_as_many_as_their_samples(tmp_path: Path) -> None:
    """7 samples in 3 parts are 2, 2 and 3; the mean is the weighted one, in 32-bit float; the PNG is that of Mitsuba's own conversion."""
    task = task_of(tmp_path, samples=7, parts=3)
    regions = task.split()
    assert [region.data["samples"] for region in regions] == [2, 2, 3]
    pieces = list(task.pieces(regions))
    task.stitch(pieces)
    parts = [read_exr(piece.files.path(PICTURE)) for piece in pieces]
    found = read_exr(task.work / "result" / "picture.exr")
    for channel in "RGB":
        wanted = (2 * parts[0][channel].astype("f8") + 2 * parts[1][channel] + 3 * parts[2][channel].astype("f8")) / 7
        assert found[channel].dtype == np.float32 and (found[channel] == wanted.astype("f4")).all()
    code = (
        "import sys, mitsuba as mi; mi.set_variant('scalar_rgb'); import drjit; drjit.set_thread_count(2);"
        "mi.Bitmap(sys.argv[1]).convert(mi.Bitmap.PixelFormat.RGB, mi.Struct.Type.UInt8, srgb_gamma=True).write(sys.argv[2])"
    )
    result, theirs = task.work / "result", tmp_path / "theirs.png"
    done = run([*task.recipe(regions[0]).argv[:1], "-c", code, str(result / "picture.exr"), str(theirs)], timeout=60)
    assert done.code == 0, done.stderr
    with Image.open(theirs) as a, Image.open(result / "picture.png") as b:
        assert a.mode == b.mode == "RGB" and np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


def test_16_bits_and_one_output(tmp_path: Path) -> None:
    """A PNG of 16 bits alone, by automatic parts, and a preview on the way."""
    task = task_of(tmp_path, samples=16, bits=16, output=["png"])
    regions = task.split(FarmShape(slots=2))
    pieces = list(task.pieces(regions))
    assert len(regions) == 2 and list(task.stitch(pieces)) == ["picture.png"]
    assert shape_of(task.work / "result" / "picture.png").bits == 16
    assert task.stage.preview(task.spec, task.files, regions, pieces[:1], tmp_path, 40) and (tmp_path / "preview.png").is_file()


def test_an_output_that_does_not_belong_to_its_facts_is_refused(tmp_path: Path) -> None:
    """More samples claimed than were rendered, or another part's picture: the sum over both tells."""
    task = task_of(tmp_path, samples=4, parts=2)
    regions = task.split()
    good = [task.process(region) for region in regions]
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for picture, facts in [(0, 1), (1, 0)]:
        shutil.copy(good[picture].path(PICTURE), mixed)
        shutil.copy(good[facts].path(FACTS), mixed)
        with pytest.raises(OutputRejected, match="one of them is damaged"):
            task.stage.verify(task.spec, regions[picture], PlainFiles(mixed))
    shutil.copy(good[0].path(PICTURE), mixed)
    (mixed / FACTS).write_bytes(good[0].read(FACTS).replace(b"2,", b"9,"))
    with pytest.raises(OutputRejected, match="one of them is damaged"):
        task.stage.verify(task.spec, regions[0], PlainFiles(mixed))
    fewer = msgspec.structs.replace(regions[0], data=regions[0].data | {"samples": 3})
    with pytest.raises(OutputRejected, match="2 samples instead of 3"):
        task.stage.verify(task.spec, fewer, good[0])


def test_layers_alpha_crops_and_includes(tmp_path: Path) -> None:
    """AOVs are averaged like the picture, alpha ends up straight in the PNG, a crop stays, files come from where the scene says."""
    inputs = tmp_path / "in"
    (inputs / "sub").mkdir(parents=True)
    (inputs / "sub" / "ball.xml").write_text(
        '<scene version="3.0.0"><shape type="sphere"><bsdf type="diffuse"><texture type="bitmap" name="reflectance">'
        '<string name="filename" value="t.png"/></texture></bsdf></shape></scene>'
    )
    (inputs / "pictures").mkdir()
    Image.new("RGB", (2, 2), (255, 0, 0)).save(inputs / "pictures" / "t.png")
    (inputs / "scène é.xml").write_text(
        """<scene version="3.0.0"><path value="pictures"/><include filename="sub/ball.xml"/>
        <integrator type="aov"><string name="aovs" value="dd:depth"/><integrator type="direct"/></integrator>
        <sensor type="perspective"><transform name="to_world"><lookat origin="0, 0, 6" target="0, 0, 0" up="0, 1, 0"/></transform>
        <sampler type="stratified"><integer name="sample_count" value="16"/></sampler>
        <film type="hdrfilm"><integer name="width" value="60"/><integer name="height" value="40"/><integer name="crop_width" value="50"/>
        <integer name="crop_height" value="30"/><integer name="crop_offset_x" value="4"/><string name="pixel_format" value="rgba"/></film>
        </sensor><emitter type="point"><point name="position" x="0" y="3" z="6"/></emitter></scene>""",
        "utf-8",
    )
    spec = TaskSpec(kind="mitsuba", name="x", options={"samples": 16, "parts": 2})
    task = rehearse(MITSUBA, spec, inputs, tmp_path / "work")
    assert any("spreads its samples" in warning for warning in task.warnings)
    assert [region.data["samples"] for region in task.split()] == [9, 9]
    task.whole()
    result = task.work / "result"
    assert (shape_of(result / "x.exr").width, shape_of(result / "x.exr").height) == (50, 30)
    assert "dd.T" in shape_of(result / "x.exr").channels
    with Image.open(result / "x.png") as picture:
        pixels = np.asarray(picture)
    assert pixels.shape == (30, 50, 4) and pixels[0, 0, 3] == 0 and pixels[:, :, 3].max() == 255
    inside = pixels[pixels[:, :, 3] == 255]
    assert inside[:, 0].max() > 0 and inside[:, 1].max() == 0


def test_a_film_by_parameters(tmp_path: Path) -> None:
    """Each frame is what a still with these parameters is; two frames in one process."""
    spec = TaskSpec(
        kind="mitsuba",
        name="film",
        options=SMALL
        | {
            "samples": 4,
            "animation": {"frames": "1-3", "codec": "none", "chunk": 2},
            "keyframes": {"turn": {"curve": "linear", "points": [[1, 0], [3, 90]]}},
        },
    )
    assets = whole_task(MITSUBA, spec, SHIPPED, tmp_path / "film")
    frames = [assets[f"frames/film_{number:04d}.png"] for number in (1, 2, 3)]
    assert len(set(frames)) == 3
    still = task_of(tmp_path / "still", samples=4, parts=1, seed=2, parameters={"turn": 45})
    single = still.whole()["picture.png"]
    (tmp_path / "a.png").write_bytes(frames[1])
    (tmp_path / "b.png").write_bytes(single)
    with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ('<shape type="spherex"/>', 'scene.xml (line 3, col 2): failed to instantiate shape plugin of type "spherex"'),
        ('<shape type="sphere"><float name="radius" value="wide"/></shape>', 'could not parse floating point value "wide"'),
    ],
)
def test_what_mitsuba_cannot_load_reaches_the_submitter(more: str, words: str, tmp_path: Path) -> None:
    """Mitsuba's own words with file and line as the submitter knows them; never tried again."""
    inputs = tmp_path / "in"
    inputs.mkdir()
    (inputs / "scene.xml").write_text(f'<scene version="3.0.0">\n<integrator type="path"/><sensor type="perspective"/>\n{more}\n</scene>')
    task = task_of(tmp_path, inputs)
    recipe = task.recipe(task.split()[0])
    done = run(recipe.argv, timeout=60, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **recipe.env})
    failure = recipe.diagnose(done.code, (done.stdout + done.stderr).splitlines())
    assert failure.cause is Cause.INPUT and words in failure.sentence and "parser.cpp" not in failure.sentence, failure
    assert str(tmp_path) not in failure.sentence


def test_progress_is_of_the_whole_job(tmp_path: Path) -> None:
    """Mitsuba's bar, scaled to the picture's share; a real job's lines go up to 1."""
    told = Progress()
    lines = ("clusterray: picture 0.500000 0.250000", "Rendering [==  ] (1s, ETA: 2s)", "noise")
    assert [told(line) for line in lines] == [0.5, 0.625, None]
    task = task_of(tmp_path, samples=2)
    recipe = task.recipe(task.split()[0])
    done = run(recipe.argv, timeout=60, cwd=tmp_path, env={"PATH": "/usr/bin:/bin", **recipe.env})
    assert recipe.progress is not None
    fractions = [recipe.progress(line) for line in done.stdout.replace("\r", "\n").splitlines()]
    assert [fraction for fraction in fractions if fraction is not None][-1] == 1.0


@pytest.mark.parametrize(
    ("code", "tail", "cause", "words"),
    [
        (1, ["clusterray: memory"], Cause.MEMORY, "ran out of memory"),
        (1, ["terminate called after throwing an instance of 'std::bad_alloc'"], Cause.MEMORY, "ran out of memory"),
        (-9, [], Cause.MEMORY, "was killed"),
        (137, [], Cause.MEMORY, "was killed"),
        (-24, [], Cause.TIMEOUT, "processor time"),
        (-11, [], Cause.ERROR, "signal 11"),
        (3, ["clusterray: library NameError: name '_drjit_ext' is not defined"], Cause.ERROR, "libatomic1"),
        (1, ["clusterray: error RuntimeError: no"], Cause.ERROR, "Mitsuba failed: RuntimeError: no"),
        (7, ["what"], Cause.ERROR, "exited with 7: what"),
    ],
)
def test_ends(code: int, tail: list[str], cause: Cause, words: str) -> None:
    """What is said of each way to end."""
    failure = diagnose(code, tail)
    assert failure.cause is cause and words in failure.sentence and failure.exit_code == code
