"""How a still is cut: exact borders, and what speaks against parts."""

from __future__ import annotations

import numpy as np
import pytest
from clusterray.common.errors import OutputRejected, SplitFailed
from clusterray.common.kinds.blender import BLENDER
from clusterray.common.kinds.blender_plan import Look, border, plan, read_look, sample_parts
from clusterray.common.kinds.options import normalise
from clusterray.common.model import FarmShape
from hypothesis import given
from hypothesis import strategies as st

SIDES = st.integers(1, 65_536)


def pixels(fractions, width, height):
    """Blender's own sum (render/pipeline.cc): 32-bit floats, fractions cut off; rows from below."""
    low_x, low_y, high_x, high_y = (np.float32(value) for value in fractions)
    size_x, size_y = np.float32(width), np.float32(height)
    return int(low_x * size_x), height - int(high_y * size_y), int(high_x * size_x), height - int(low_y * size_y)


@given(st.data())
def test_a_border_is_exactly_its_pixels_after_blender_has_cut_off_fractions(data):
    """For any rectangle of any picture up to 65,536 pixels wide; fractions of the edges themselves would not do (next test)."""
    width, height = data.draw(SIDES), data.draw(SIDES)
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    rect = (left, top, data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height)))
    assert pixels(border(rect, width, height), width, height) == rect


def test_plain_fractions_would_lose_a_pixel():
    """Why the edges are put into the middle of their pixels: 41 / 61 of 61 is 40 in 32-bit floats that are cut off."""
    wrong = [size for size in range(2, 200) for edge in range(1, size) if int(np.float32(edge / size) * np.float32(size)) != edge]
    assert wrong


@pytest.mark.parametrize("rect", [(31, 20, 32, 21), (0, 0, 1, 1), (63, 47, 64, 48), (13, 7, 14, 48), (5, 11, 50, 12)])
def test_blender_renders_exactly_the_border(blender, tmp_path, rect):
    """Single pixels, rows and columns at odd places have the size that was meant."""
    from clusterray.common.kinds.rasters import shape_of

    form = {"format": "OPEN_EXR", "bits": 32, "color": "RGBA", "quality": 90}
    request = {"do": "picture", "name": "a.exr", "frame": None, "format": form, "plain": True, "subset": None, "guides": []}
    answer = blender.ask(blender.scene("wide"), tmp_path / "out", request | {"border": border(rect, 64, 48)}, samples=1)
    assert answer == "clusterray: done"
    shape = shape_of(tmp_path / "out" / "a.exr")
    assert (shape.width, shape.height) == (rect[2] - rect[0], rect[3] - rect[1])


def look(**changes):
    empty = {name: [] for name in ("denoise", "stored", "unmixable", "never", "better_not", "notes")}
    size = {"width": 640, "height": 480, "samples": 64, "frame": 1, "start": 1, "end": 250, "fps": 24.0}
    flags = {"adaptive": True, "guided": False, "dither": 1.0, "stamp": False, "compositor": False}
    names = {"blender": "5.0.1", "scene": "Scene", "engine": "CYCLES", "layers": ["ViewLayer"]}
    return Look(**empty | size | flags | names | changes)


def options(**given):
    checked = normalise("blender", BLENDER.options, given)
    checked["bits"] = checked["bits"] or (8 if checked["format"] in ("png", "jpeg") else 16)
    return checked | {"color": "rgba"}


FARM = FarmShape(slots=4)


def test_adaptive_sampling_gets_a_margin_and_nothing_else_does():
    """One pixel for each 16 samples, as far as a pixel's neighbours can matter."""
    assert plan(options(), look(), FARM).margin == 4
    assert plan(options(), look(samples=100_000), FARM).margin == 16
    assert plan(options(), look(adaptive=False), FARM).margin == 0
    assert plan(options(), look(guided=True), FARM).margin == 20


def test_blender_has_a_last_look_only_where_it_must():
    assert plan(options(), look(), FARM).finish, "dithering"
    assert not plan(options(), look(dither=0.0), FARM).finish
    assert not plan(options(format="multilayer"), look(), FARM).finish
    assert plan(options(format="multilayer"), look(denoise=["ViewLayer"]), FARM).finish
    assert plan(options(format="jpeg"), look(dither=0.0), FARM).finish
    assert not plan(options(), look(width=64, height=48, denoise=["ViewLayer"]), FARM).finish, "one tile is rendered whole"


def test_what_looks_across_a_picture_is_rendered_whole_with_a_note():
    found = plan(options(), look(better_not=["Freestyle draws its lines anew in each part"]), FARM)
    assert found.mode == "whole" and "Freestyle" in found.notes[0]
    asked = plan(options(split="tiles"), look(better_not=["Freestyle draws its lines anew in each part"]), FARM)
    assert asked.mode == "tiles" and "may show" in asked.notes[0]


@pytest.mark.parametrize(
    ("given", "found", "said"),
    [
        ({"split": "tiles"}, {"never": ["it renders several views (stereo)"]}, "several views"),
        ({"split": "samples"}, {"engine": "BLENDER_EEVEE"}, "Only Cycles"),
        ({"split": "samples", "format": "multilayer"}, {}, "bits = 32"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(given, found, said):
    with pytest.raises(SplitFailed, match=said.replace("(", r"\(")):
        plan(options(**given), look(**found), FARM)


@given(st.integers(1, 5000), st.integers(0, 64), st.integers(1, 64))
def test_shares_of_samples_cover_all_once(samples, parts, slots):
    try:
        shares = sample_parts(options(split="samples", parts=parts), look(samples=samples), FarmShape(slots=slots))
    except SplitFailed:
        assert parts > samples
        return
    assert [number for start, count in shares for number in range(start, start + count)] == list(range(samples))


def test_what_a_node_says_of_a_file_is_checked():
    for data in (b"", b"{}", b"[1]", b"\xff", b'{"width": -1}'):
        with pytest.raises(OutputRejected, match=r"look\.json"):
            read_look(data)
