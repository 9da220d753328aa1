"""The POV-Ray kind with the real povray: the joined picture is the one that a single povray makes, pixel for pixel."""

from __future__ import annotations

import resource
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.errors import OutputRejected, StitchFailed, TaskFileError
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.png import Format, write_tile
from clusterray.common.kinds.povray import POVRAY
from clusterray.common.model import Cause, FarmShape, Region, TaskSpec
from clusterray.common.process import run
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_kind, rehearse, whole_task

from .povray_house import BALLS, ENV, SKY, chunk, folder, pixels, unsplit

EXAMPLES = Path("/usr/share/doc/povray/examples/advanced")
SHIPPED = Path(__file__).parents[3] / "misc" / "scenes"


def task_of(inputs: Path, work: Path, cores: int = 1, **options: Any) -> Rehearsal:
    return rehearse(POVRAY, TaskSpec(kind="povray", name="picture", options=options), inputs, work, cores=cores)


def joined(task: Rehearsal, farm: FarmShape | None = None) -> np.ndarray:
    """The stitched picture as (rows, bytes); tiles are rendered side by side, because povray mostly sleeps."""
    regions = task.split(farm)
    with ThreadPoolExecutor(6) as pool:
        outputs = list(pool.map(task.process, regions))
    for region, output in zip(regions, outputs, strict=True):
        task.stage.verify(task.spec, region, output)
    assets = task.stitch(Piece(region=region, files=output) for region, output in zip(regions, outputs, strict=True))
    assert list(assets) == ["picture.png"]
    return pixels(task.work / "result" / "picture.png")


@pytest.mark.parametrize(
    ("size", "tiles", "options", "switches"),
    [
        ((101, 67), [3, 2], {}, ["+FN"]),
        ((101, 67), [4, 3], {"antialias": 0.2}, ["+FN", "+A0.2"]),
        ((101, 67), [3, 2], {"antialias": 0.1, "antialias_method": 2, "bits": 16}, ["+FN16", "+A0.1", "+AM2"]),
        ((300, 40), [2, 1], {"antialias": 0.2, "bits": 16, "quality": 8}, ["+FN16", "+A0.2", "+Q8"]),
        ((7, 5), [7, 1], {"antialias": 0.1}, ["+FN", "+A0.1"]),
        ((7, 5), [7, 1], {}, ["+FN"]),
        ((5, 6), [1, 6], {"antialias": 0.1, "antialias_method": 2}, ["+FN", "+A0.1", "+AM2"]),
        ((1, 9), [1, 3], {}, ["+FN"]),
        ((64, 50), [2, 2], {"grey": True, "antialias": 0.2}, ["+FNg", "+A0.2"]),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, list | tuple) else None,
)
def test_any_tiling_is_exact(size: tuple[int, int], tiles: list[int], options: dict[str, Any], switches: list[str], tmp_path: Path) -> None:
    """Columns of one pixel, sizes that do not divide, both antialiasing methods, 8 and 16 bits."""
    inputs = folder(tmp_path)
    made = joined(task_of(inputs, tmp_path / "work", width=size[0], height=size[1], tiles=tiles, **options))
    assert (made == unsplit(inputs, tmp_path, f"+W{size[0]}", f"+H{size[1]}", *switches)).all()


@pytest.mark.parametrize(("bits", "kind"), [(8, "+FN"), (16, "+FN16")])
def test_alpha_is_exact(bits: int, kind: str, tmp_path: Path) -> None:
    """A transparent background, which POV-Ray writes in PNG only: that way needs the general reader."""
    inputs = folder(tmp_path, **{"scene.pov": BALLS})
    made = joined(task_of(inputs, tmp_path / "work", width=90, height=70, tiles=[2, 2], alpha=True, bits=bits, antialias=0.3))
    assert (made == unsplit(inputs, tmp_path, "+W90", "+H70", "+UA", "+A0.3", kind)).all()
    alpha = made.reshape(70, 90, 4, -1)[:, :, 3, 0]
    assert alpha.min() == 0 and alpha.max() == 255


@pytest.mark.parametrize("scene", ["biscuit.pov", "woodbox.pov"])
def test_real_scenes_are_exact(scene: str, tmp_path: Path) -> None:
    """Scenes that came with POV-Ray, with its own includes."""
    inputs = tmp_path / "scene"
    inputs.mkdir()
    shutil.copy(EXAMPLES / scene, inputs)
    made = joined(task_of(inputs, tmp_path / "work", width=121, height=83, tiles=[3, 2], args=["+A0.3"]))
    assert (made == unsplit(inputs, tmp_path, "+W121", "+H83", "+A0.3", "+FN", scene=scene)).all()


def test_focal_blur_area_lights_and_photons_are_exact(tmp_path: Path) -> None:
    """Photons are shot by one thread, whatever the slot's share, once for all tiles or anew in each, so that all see the same."""
    scene = BALLS.replace("look_at 0", "look_at 0 aperture .3 focal_point 0 blur_samples 12").replace(
        "assumed_gamma 1.0", "assumed_gamma 1.0 photons { count 3000 }"
    )
    scene = scene.replace("interior {", "photons { target refraction on reflection on } interior {")
    scene += "light_source { <-5, 5, -5> rgb .5 area_light x*3, y*3, 4, 4 adaptive 1 }\n" + SKY
    inputs = folder(tmp_path, **{"scene.pov": scene})
    wanted = unsplit(inputs, tmp_path, "+W90", "+H60", "+FN", "+WT1")
    for photons in ("shared", "each"):
        spec = TaskSpec(kind="povray", name="picture", options={"width": 90, "height": 60, "tiles": [2, 2], "photons": photons})
        whole_task(POVRAY, spec, inputs, tmp_path / photons, cores=2)
        last = max(path for path in (tmp_path / photons).iterdir() if path.name.isdigit())
        assert (pixels(last / "result" / "picture.png") == wanted).all(), photons
        saved = tmp_path / photons / "inputs" / "stages" / "photons" / "photons.map"
        assert (saved.stat().st_size > 1000) if photons == "shared" else not saved.exists()
        assert any("Photons" in warning for warning in rehearse(POVRAY, spec, inputs, tmp_path / "w").warnings)


def test_the_shipped_demo_is_exact(tmp_path: Path) -> None:
    """The picture of the README, small, by its own task.toml's settings and automatic tiles."""
    task = task_of(SHIPPED / "demo", tmp_path / "work", width=192, height=200, antialias=0.1, antialias_method=2, antialias_depth=2)
    assert len(task.split(FarmShape(slots=2))) == 1 and not task.warnings
    task.spec.options["tiles"] = [2, 1]
    wanted = unsplit(SHIPPED / "demo", tmp_path, "+W192", "+H200", "+FN", "+A0.1", "+AM2", "+R2", scene="demo.pov")
    assert (joined(task) == wanted).all()


def covers(spec: TaskSpec, regions: Sequence[Region]) -> str:
    count = np.zeros((spec.options["height"], spec.options["width"]), int)
    for region in regions:
        left, top, right, bottom = region.data["rect"]
        count[top:bottom, left:right] += 1
    return "" if (count == 1).all() else f"{int((count != 1).sum())} pixels are not covered once"


def test_the_exam(tmp_path: Path) -> None:
    """Everything that the farm relies on: damaged, missing, foreign and lost tiles among it."""
    spec = TaskSpec(kind="povray", name="quick", options={"tiles": [3, 1], "width": 64})
    assets = check_kind(POVRAY, spec, SHIPPED / "quick", tmp_path, covers)
    assert list(assets) == ["quick.png"]


@pytest.mark.parametrize(("gamma", "bits"), [("sRGB", 8), ("1.8", 16)])
def test_the_png_says_what_povrays_says(gamma: str, bits: int, tmp_path: Path) -> None:
    """Size, depth and the gamma chunks, so that viewers show the same colours."""
    inputs = folder(tmp_path)
    made = joined(task_of(inputs, tmp_path / "work", width=20, height=10, file_gamma=gamma, bits=bits))
    wanted = unsplit(inputs, tmp_path, "+W20", "+H10", f"+FN{bits}", f"File_Gamma={gamma}")
    assert (made == wanted).all()
    ours, theirs = (path.read_bytes() for path in (tmp_path / "work" / "result" / "picture.png", tmp_path / "unsplit.png"))
    for tag in (b"IHDR", b"gAMA", b"sRGB", b"sBIT", b"oFFs"):
        assert chunk(ours, tag) == chunk(theirs, tag), tag


@pytest.mark.parametrize("head", ["#version 3.5;", "", "#version 3.7; global_settings { assumed_gamma 2.2 }"])
@pytest.mark.parametrize("bits", ["", "16"])
def test_povrays_ppm_has_the_values_of_its_png(head: str, bits: str, tmp_path: Path) -> None:
    """What the cheap way of cropping rests on."""
    body = BALLS.split("\n", 2)[2]
    inputs = folder(tmp_path, **{"scene.pov": head + body})
    png = unsplit(inputs, tmp_path, "+W40", "+H30", f"+FN{bits}")
    done = run(["povray", "+Iscene.pov", f"+O{tmp_path}/x.ppm", "-D", "+W40", "+H30", f"+FP{bits}"], timeout=60, cwd=inputs, env=ENV)
    assert done.code == 0
    assert (tmp_path / "x.ppm").read_bytes().endswith(png.tobytes())


def test_odd_names_and_places(tmp_path: Path) -> None:
    """Blanks, quotes and accents in names and paths; includes beside the scene, at the top, in a library; a file that the scene writes."""
    inputs = tmp_path / 'my "scène"'
    (inputs / "sub dir" / "parts").mkdir(parents=True)
    (inputs / "lib é").mkdir()
    (inputs / "sub dir" / "é 'b'.pov").write_text(
        '#include "parts/a.inc"\n#include "top.inc"\n#include "lib.inc"\n#fopen F "note.txt" write\n#write (F, "hi")\n#fclose F\n' + BALLS
    )
    (inputs / "sub dir" / "parts" / "a.inc").write_text("#declare A = 1;")
    (inputs / "top.inc").write_text("#declare B = A;")
    (inputs / "lib é" / "lib.inc").write_text("#declare C = B;")
    (inputs / "sub dir" / "povray.ini").write_text("Antialias=On\nWidth=9")
    task = task_of(inputs, tmp_path / "wörk", width=20, height=10, library=["lib é"])
    assert joined(task).shape == (10, 60)
    assert not (inputs / "sub dir" / "note.txt").exists()


def test_a_syntax_error_reaches_the_submitter(tmp_path: Path) -> None:
    """POV-Ray's own words with file and line as the submitter knows them; never tried again."""
    inputs = folder(tmp_path, **{"scene.pov": '#include "parts.inc"\n', "parts.inc": "sphere { 0, 1 }\nfoo (\n"})
    (inputs / "deep").mkdir()
    (inputs / "deep" / "wéird.pov").write_text("sphere { 0 1 pigmen {}}")
    for scene, words in [
        ("scene.pov", "File 'parts.inc' line 2: Parse Error"),
        ("deep/wéird.pov", "File 'deep/wéird.pov' line 1: Parse Error"),
    ]:
        task = task_of(inputs, tmp_path / scene[:4], width=20, height=10, scene=scene)
        recipe = task.recipe(task.split()[0])
        done = run(recipe.argv, timeout=60, cwd=recipe.cwd or tmp_path, env={"PATH": "/usr/bin:/bin", **recipe.env})
        failure = recipe.diagnose(done.code, done.stderr.splitlines())
        assert failure.cause is Cause.INPUT and failure.sentence.startswith(words), failure


def test_povray_that_wrote_nothing_is_no_success(tmp_path: Path) -> None:
    """Exit code 0 alone is never believed: a missing or cut off picture is refused on the node."""
    task = task_of(folder(tmp_path), tmp_path / "work", width=20, height=10)
    recipe = task.recipe(task.split()[0])
    assert recipe.finish is not None
    with pytest.raises(OutputRejected, match="no picture"):
        recipe.finish()
    (tmp_path / "work" / "r000c000" / "room" / "clusterray-tile.ppm").write_bytes(b"P6\n20 10\n255\n" + bytes(599))
    with pytest.raises(OutputRejected, match="cut short"):
        recipe.finish()


@pytest.mark.parametrize(
    ("extra", "args", "tiles", "count", "words"),
    [
        ("global_settings { radiosity { count 20 } }", [], "auto", 1, "rendered whole"),
        ("global_settings { radiosity { count 20 } }", ["+RFI", "+RFscene.pov"], "auto", 8, "always_sample off"),
        ("", ["+TH"], "auto", 1, "dithering"),
        ("", ["+TH"], [3, 2], 6, "tiles may show"),
        ("light_source { 0 rgb 1 area_light x, y, 3, 3 jitter }", [], "auto", 8, "random numbers"),
        ("", [], "auto", 8, ""),
    ],
)
def test_what_does_not_tile_stays_whole(extra: str, args: list[str], tiles: Any, count: int, words: str, tmp_path: Path) -> None:
    """``auto`` avoids seams, an explicit grid is obeyed, and either way the submitter is told why."""
    inputs = folder(tmp_path, **{"scene.pov": BALLS + extra})
    task = task_of(inputs, tmp_path / "work", tiles=tiles, args=args)
    assert len(task.split(FarmShape(slots=2))) == count
    assert (words in " ".join(task.warnings)) and bool(task.warnings) == bool(words)


def test_which_scene_is_meant(tmp_path: Path) -> None:
    """One is enough; of two, one must be named, and how is said; an .ini names it too."""
    inputs = folder(tmp_path, **{"other.pov": BALLS})
    with pytest.raises(
        TaskFileError, match=r"2 scenes \(other\.pov, scene\.pov\); name one with scene = \"other\.pov\" .* or with -o scene=other\.pov"
    ):
        task_of(inputs, tmp_path / "work")
    (inputs / "x.ini").write_text("Input_File_Name=other.pov\nWidth=33\n")
    task = task_of(inputs, tmp_path / "work")
    assert (task.spec.options["scene"], task.spec.options["width"]) == ("other.pov", 33)
    with pytest.raises(TaskFileError, match=r'no scene "othr\.pov" in the folder; did you mean "other\.pov"'):
        task_of(inputs, tmp_path / "work", scene="othr.pov")


def test_very_many_columns_need_few_open_files(tmp_path: Path) -> None:
    """A picture in columns of one pixel is joined without running out of file descriptors, and a tile lost among them is named."""
    task = task_of(folder(tmp_path), tmp_path / "work", width=700, height=3, tiles=[700, 1])
    form = Format(width=1, height=3, bits=8, channels=3)
    regions = task.split()
    for number, region in enumerate(regions):
        out = tmp_path / "tiles" / region.name
        out.mkdir(parents=True)
        write_tile(out / "tile.png", form, [bytes([number % 251, row, 7]) for row in range(3)])
    pieces = [Piece(region=region, files=PlainFiles(tmp_path / "tiles" / region.name)) for region in regions]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    try:
        task.stitch(pieces)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    middle = pixels(tmp_path / "work" / "result" / "picture.png")[1]
    assert middle.tolist() == [byte for number in range(700) for byte in (number % 251, 1, 7)]
    with pytest.raises(StitchFailed, match="r000c321 is missing"):
        task.stitch(pieces[:321] + pieces[322:], "lost")


def test_needs(tmp_path: Path) -> None:
    """povray, in the version that was asked for, and room for the full-size picture that each tile costs."""
    task = task_of(folder(tmp_path), tmp_path / "work", width=1000, height=1000)
    assert task.spec.needs.program == "povray" and task.spec.needs.scratch > 6_000_000


def test_a_node_needs_no_numpy_for_rgb(tmp_path: Path) -> None:
    """An agent stays small: cropping a tile loads no picture library."""
    program = (
        "import sys, clusterray.common.kinds.registry as r; r.kinds()\n"
        "from pathlib import Path; from clusterray.common.kinds.povray_tile import crop; from clusterray.common.kinds.png import Format\n"
        "p = Path('x.ppm'); p.write_bytes(b'P6\\n4 4\\n255\\n' + bytes(48))\n"
        "crop(p, Format(width=2, height=2, bits=8, channels=3), (4, 4), (1, 1, 3, 3), Path('t.png'))\n"
        "print([m for m in ('numpy', 'PIL', 'cv2') if m in sys.modules])"
    )
    done = run([sys.executable, "-c", program], timeout=60, cwd=tmp_path, env=ENV)
    assert done.stdout.strip() == "[]", done
