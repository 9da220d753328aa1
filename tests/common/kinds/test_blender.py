"""Stills and films of Blender: what parts are joined into is what one Blender renders, and denoising, compositor and files come once."""

from __future__ import annotations

import json
import shutil

import numpy as np
import OpenEXR
import pytest
from clusterray.common.errors import OutputRejected, SplitFailed
from clusterray.common.kinds.blender import BLENDER
from clusterray.common.kinds.blender_stills import Rendering
from clusterray.common.model import FarmShape, TaskSpec
from clusterray.common.testing_kinds import PlainFiles, check_lost, check_refusals, whole_task
from PIL import Image


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture).astype(int)


def channels(path):
    """Every channel of every part of an EXR by name."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: one.pixels for number in range(len(file.parts)) for name, one in file.channels(number).items()}


def largest(left, right):
    """The largest difference of two EXRs, whose channels and types are the same."""
    a, b = channels(left), channels(right)
    assert {name: plane.dtype for name, plane in a.items()} == {name: plane.dtype for name, plane in b.items()}
    return max(float(np.abs(a[name].astype(float) - b[name].astype(float)).max()) for name in a)


def pair(blender, tmp_path, scene, **options):
    """The picture of one job, and the one of four tiles with edges at odd places."""
    split = {"tiles": [3, 2]} if "split" not in options else {}
    alone = {name: value for name, value in options.items() if name != "parts"}
    whole = blender.task(scene, tmp_path / "whole", **(alone | {"split": "whole"}))
    return whole, blender.task(scene, tmp_path / "parts", **options, **split)


def test_tiles_of_a_scene_with_adaptive_sampling_and_dithering_are_the_unsplit_png(blender, tmp_path):
    """Blender's defaults: adaptive sampling looks at neighbours, dithering at where a pixel lies; both come out as in one piece."""
    whole, tiles = pair(blender, tmp_path, "plain", samples=128, rna={"scene.cycles.adaptive_threshold": 0.01})
    assert (pixels(whole / "pic.png") == pixels(tiles / "pic.png")).all()
    assert len(np.unique(pixels(whole / "pic.png"))) > 20, "the scene shows something"


def test_tiles_in_fog_are_exact(blender, tmp_path):
    """Since 5.0 volumes look at pixels around them; a margin keeps every bit of the light the same."""
    whole, tiles = pair(blender, tmp_path, "fog", format="exr", bits=32)
    assert largest(whole / "pic.exr", tiles / "pic.exr") == 0


def test_tiles_of_a_png_without_dithering_are_joined_as_they_are(blender, tmp_path):
    whole, tiles = pair(blender, tmp_path, "wide", bits=16)
    assert (pixels(whole / "pic.png") == pixels(tiles / "pic.png")).all()
    assert not json.loads((tmp_path / "parts" / "render" / "result" / "plan.json").read_text())["finish"]


def test_tiles_of_a_multilayer_exr_have_every_pass_bit_for_bit(blender, tmp_path):
    whole, tiles = pair(blender, tmp_path, "passes", format="multilayer", bits=32)
    assert largest(whole / "pic.exr", tiles / "pic.exr") == 0
    assert {"ViewLayer.Combined.R", "ViewLayer.Normal.X"} <= channels(tiles / "pic.exr").keys()


def denoises(blender, tmp_path) -> bool:
    """Debian's Blender cannot denoise; then it must say so."""
    try:
        blender.task("late", tmp_path / "try", split="whole", samples=1)
    except OutputRejected as error:
        assert "OpenImageDenoise" in str(error)
        return False
    return True


def test_denoising_and_the_compositor_run_once_on_the_joined_picture(blender, tmp_path):
    """At 8 bits no pixel differs from one Blender's own denoised and composited picture."""
    if not denoises(blender, tmp_path):
        return
    whole, tiles = pair(blender, tmp_path, "late")
    assert (pixels(whole / "pic.png") == pixels(tiles / "pic.png")).all()
    noisy = blender.task("late", tmp_path / "noisy", split="whole", denoise="off")
    assert (pixels(whole / "pic.png") != pixels(noisy / "pic.png")).any(), "denoising does something here"


def test_a_denoised_multilayer_exr_has_the_noisy_picture_and_the_composite_too(blender, tmp_path):
    """Channels and types are those of one Blender's file; light differs by less than 1e-4."""
    if not denoises(blender, tmp_path):
        return
    whole, tiles = pair(blender, tmp_path, "late", format="multilayer", bits=32)
    assert largest(whole / "pic.exr", tiles / "pic.exr") < 1e-4
    assert {"Composite.Combined.R", "ViewLayer.Noisy Image.R"} <= channels(tiles / "pic.exr").keys()


def test_a_jpeg_of_tiles_is_encoded_once(blender, tmp_path):
    whole, tiles = pair(blender, tmp_path, "wide", format="jpeg", quality=75)
    assert (pixels(whole / "pic.jpg") == pixels(tiles / "pic.jpg")).all()


def test_shares_of_the_samples_recombine(blender, tmp_path):
    """Three shares of unequal size, averaged by their weights, are the render of all samples to 1e-5."""
    whole, parts = pair(blender, tmp_path, "wide", format="exr", bits=32, split="samples", parts=3)
    assert largest(whole / "pic.exr", parts / "pic.exr") < 1e-5
    regions = PlainFiles(tmp_path / "parts" / "render").names()
    assert {name.split("/")[0] for name in regions} >= {"s000000-000009", "s000010-000020", "s000021-000031"}


def test_a_process_for_each_job_gives_what_the_shared_one_gives(blender, tmp_path):
    """The fallback, one Blender per job, makes the same picture as the warm process."""
    options = {"tiles": [2, 1], "samples": 4}
    warm = blender.task("plain", tmp_path / "warm", **options)
    spec = TaskSpec(kind="blender", name="pic", options=options)
    (tmp_path / "cold").mkdir()
    cold = whole_task(BLENDER, spec, blender.scene("plain"), tmp_path / "cold", programs={"blender": blender.program})
    assert list(cold) == ["pic.png"]
    (tmp_path / "cold.png").write_bytes(cold["pic.png"])
    assert (pixels(warm / "pic.png") == pixels(tmp_path / "cold.png")).all()


def test_a_film_has_the_frames_of_the_scene_s_own_animation(blender, tmp_path):
    """Frames in chunks, by one Blender each, are those of single renders; a film and a poster come with them."""
    film = blender.task("work", tmp_path / "film", animation={"frames": "1-5x2", "fps": 10, "chunk": 2})
    assert {"pic.mp4", "pic-poster.jpg", "frames/pic_0003.png"} <= set(PlainFiles(film).names())
    still = blender.task("work", tmp_path / "still", frame=3)
    assert (pixels(film / "frames" / "pic_0003.png") == pixels(still / "pic.png")).all()
    assert (pixels(film / "frames" / "pic_0001.png") != pixels(still / "pic.png")).any()


def test_a_keyframed_variable_drives_a_property(blender, tmp_path):
    """With [rna] "…" = "$name" a frame is what setting the property to the curve's value gives."""
    spin = "objects['Cube'].rotation_euler[2]"
    keys = {"turn": {"points": [[1, 0.0], [3, 1.0]]}}
    film = blender.task("work", tmp_path / "film", animation={"frames": "1-3", "chunk": 3}, keyframes=keys, rna={spin: "$turn"})
    still = blender.task("work", tmp_path / "still", frame=2, rna={spin: 0.5})
    assert (pixels(film / "frames" / "pic_0002.png") == pixels(still / "pic.png")).all()


def test_a_long_film_is_measured_first_and_its_frames_have_the_file_s_size(blender, tmp_path):
    """chunk = "auto" renders a few frames first, which are frames of the film; one of another size is refused."""
    film = blender.task("work", tmp_path / "film", animation={"frames": "1-25", "codec": "none"})
    assert len(list((film / "frames").iterdir())) == 25
    merged = tmp_path / "film" / "inputs"
    shutil.rmtree(merged / "stages" / "sample")
    options = {"animation": {"frames": "1-25", "codec": "none"}}
    spec = BLENDER.examine(TaskSpec(kind="blender", name="pic", options=options), PlainFiles(merged)).spec
    _, sample, _ = BLENDER.stages(spec)
    job = next(iter(sample.split(spec, PlainFiles(merged), FarmShape(slots=2))))
    region = tmp_path / "film" / "sample" / job.name
    sample.verify(spec, job, PlainFiles(region / "out"))
    for path in (region / "out").iterdir():
        with Image.open(path) as picture:
            picture.crop((0, 0, 63, 48)).save(path)
    with pytest.raises(OutputRejected, match="63 x 48 pixels instead of 64 x 48"):
        sample.verify(spec, job, PlainFiles(region / "out"))


def test_workbench_is_rendered_whole_and_the_result_says_so(blender, tmp_path):
    result = blender.task("work", tmp_path)
    assert pixels(result / "pic.png").shape == (48, 64, 4)
    assert "effects in screen space" in (result / "pic-notes.txt").read_text()


def test_wrong_and_lost_parts_are_noticed(blender, tmp_path):
    """Parts that are cut short, damaged or of another size are refused; a lost one is named."""
    blender.task("plain", tmp_path / "all", tiles=[3, 1], samples=1, format="exr")
    merged = tmp_path / "all" / "inputs"
    spec = BLENDER.examine(
        TaskSpec(kind="blender", name="pic", options={"tiles": [3, 1], "samples": 1, "format": "exr"}), PlainFiles(merged)
    ).spec
    task = blender.rehearsal(spec, Rendering(), merged, tmp_path / "again")
    regions = task.split()
    assert task.split() == regions
    pieces = list(task.pieces(regions))
    check_refusals(task, regions[1], pieces[1].files)
    check_lost(task, pieces)
    with pytest.raises(OutputRejected, match="pixels"):
        task.stage.verify(spec, regions[0], pieces[1].files)


def test_what_cannot_be_cut_says_why(blender, tmp_path):
    """Averaging a depth pass would make a depth that is nowhere; the task fails with the way out."""
    with pytest.raises(SplitFailed, match=r'passes z hold no light.*split = "tiles"'):
        blender.task("passes", tmp_path, split="samples", parts=2, format="multilayer", bits=32)


def test_a_farm_with_cards_renders_on_them_unless_told_otherwise(blender):
    """auto: the farm's cards, one for each job; cpu: none. Neither can be rendered here, but what is asked of nodes can be seen."""

    def settled(cards, **options):
        spec = BLENDER.examine(TaskSpec(kind="blender", name="pic", options=options), PlainFiles(blender.scene("plain"))).spec
        after = BLENDER.settle(spec, FarmShape(slots=2, gpus=cards))
        return after.options["device"], after.needs.gpu

    assert settled(()) == ("cpu", 0)
    assert settled(("NVIDIA RTX 4090",)) == ("optix", 1)
    assert settled(("AMD Radeon RX 7900",)) == ("hip", 1)
    assert settled(("Intel Arc A770",)) == ("oneapi", 1)
    assert settled(("NVIDIA RTX 4090",), device="cpu") == ("cpu", 0)
    assert settled((), device="cuda") == ("cuda", 1)
    assert settled(("NVIDIA RTX 4090",), mixed=True) == ("optix", 0)
