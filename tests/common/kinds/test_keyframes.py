"""Variables follow their points, in any notation of time, along curves that do what their names say."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.keyframes import CURVES, frames_per_sixteenth, number, parse_keyframes, plot, slopes
from clusterray.common.kinds.keyframes_plot import LEFT, RIGHT, WIDTH
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

VALUES = st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3))


def at(table: dict[str, Any], frame: float, fps: float = 25) -> float:
    return parse_keyframes(table, fps).at(frame)["v"]


def ramp(curve: str, **more: Any) -> dict[str, Any]:
    """From 10 at frame 1 to 30 at frame 11."""
    return {"v": {"curve": curve, "points": [[1, 10.0], [11, 30.0]], **more}}


@pytest.mark.parametrize(
    ("curve", "quarter", "half", "three_quarters"),
    [
        ("step", 10, 10, 10),
        ("linear", 15, 20, 25),
        ("smooth", 13.125, 20, 26.875),
        ("ease-in", 11.25, 15, 21.25),
        ("ease-out", 18.75, 25, 28.75),
        ("ease-in-out", 12.5, 20, 27.5),
        ("cubic", 15, 20, 25),
    ],
)
def test_each_curve(curve: str, quarter: float, half: float, three_quarters: float) -> None:
    """Worked out by hand at a quarter, half and three quarters; at its points and beyond them the points' own values."""
    found = [at(ramp(curve), frame) for frame in (3.5, 6, 8.5)]
    assert found == pytest.approx([quarter, half, three_quarters], abs=1e-12)
    assert [at(ramp(curve), frame) for frame in (-5, 0, 1, 11, 12, 999)] == [10, 10, 10, 30, 30, 30]


def test_the_exponent_of_2010() -> None:
    """value = start + delta * (n / length) ** exponent: 1 is linear, under 1 fast then slow, 0 the next value at once."""
    assert at(ramp("exponent", exponent=0.5), 3.5) == pytest.approx(10 + 20 * 0.25**0.5)
    assert at(ramp("exponent", exponent=1), 3.5) == at(ramp("linear"), 3.5)
    assert at(ramp("exponent", exponent=0), 1.001) == 30
    assert at({"v": {"exponent": 0.5, "points": [[1, 10], [11, 30]]}}, 3.5) == pytest.approx(20), "the exponent alone says the curve"
    assert at({"v": [[1, 10, 0.5], [11, 30]]}, 3.5) == pytest.approx(20), "a number in a point is an exponent"


def test_notations_of_time() -> None:
    """Frame numbers are absolute; seconds and bars count from the frame ``start``; one variable may mix them."""
    table = {"bpm": 120, "start": 1, "v": [["0.0.0", 0], ["1s", 1], ["1.0.0", 2], [76, 3], ["101f", 4]]}
    curves = parse_keyframes(table, 25)
    # 120 bpm: a beat lasts half a second, a bar of four 2 s = 50 frames
    assert [point.frame for point in curves.tracks["v"]] == [1, 26, 51, 76, 101]
    assert [curves.at(frame)["v"] for frame in (1, 26, 51, 76, 101)] == [0, 1, 2, 3, 4]
    waltz = {"bpm": 120, "beats": 3, "start": 100, "v": [["1.2.2", 1]]}
    # 3 + 2 beats and two sixteenths: 5.5 beats of 12.5 frames
    assert parse_keyframes(waltz, 25).tracks["v"][0].frame == pytest.approx(100 + 5.5 * 12.5)


def test_frames_per_sixteenth_the_right_way_up() -> None:
    """155 bpm at 30 fps: a beat lasts 60/155 = 0.3871 s = 11.613 frames, a sixteenth a quarter of it, 2.903; in 2010 it was 1.378."""
    assert frames_per_sixteenth(155, 30) == pytest.approx(2.9032258, abs=1e-7)
    curves = parse_keyframes({"bpm": 155, "v": [["0.0.0", 0], ["0.0.1", 1], ["0.1.0", 4], ["1.0.0", 16], ["24.0.0", 384]]}, 30)
    found = [point.frame for point in curves.tracks["v"]]
    assert found == pytest.approx([1, 3.9032, 12.6129, 47.4516, 1115.8387], abs=1e-4)
    assert curves.at(31)["v"] == pytest.approx(30 / 2.9032258), "linear in sixteenths, so the value is the time in sixteenths"


def test_a_curve_for_each_point() -> None:
    """The curve of a point leads to the next one, and wins over the variable's."""
    table = {"v": {"curve": "step", "points": [[0, 0], [10, 10, "linear"], [20, 20, "ease-in"], [30, 30]]}}
    assert [at(table, frame) for frame in (5, 15, 25)] == [0, 15, 22.5]


def test_cubic_against_values_worked_out_by_hand() -> None:
    """Points 0, 1, 4 at 0, 1, 2: inner slope 1/((1/1 + 1/3)/2) = 1.5, ends (3*1 - 3)/2 = 0 and (3*3 - 1)/2 = 4."""
    assert slopes([0, 1, 2], [0, 1, 4]) == pytest.approx([0, 1.5, 4])
    table = {"v": {"curve": "cubic", "points": [[0, 0], [1, 1], [2, 4]]}}
    # Hermite at a half: mean of the values + (left slope - right slope) / 8
    assert at(table, 0.5) == pytest.approx(0.5 + (0 - 1.5) / 8)
    assert at(table, 1.5) == pytest.approx(2.5 + (1.5 - 4) / 8)
    # uneven steps 1 and 3, rises 2 and 1: weights 2*3+1 = 7 and 3+2*1 = 5, slope 12 / (7/2 + 5/1)
    assert slopes([0, 1, 4], [0, 2, 5])[1] == pytest.approx(12 / 8.5)


@given(st.lists(st.tuples(st.integers(0, 500), VALUES), min_size=2, max_size=8, unique_by=lambda point: point[0]))
def test_cubic_never_overshoots(points: list[tuple[int, float]]) -> None:
    """Between two points it stays between their values and goes one way; it meets its points."""
    points.sort()
    curves = parse_keyframes({"v": {"curve": "cubic", "points": [list(point) for point in points]}}, 25)
    slack = 1e-9 * (1 + max(abs(value) for _, value in points))
    for (left, low), (right, high) in pairwise(points):
        found = [curves.at(left + (right - left) * i / 16)["v"] for i in range(17)]
        assert found[0] == low and found[-1] == high
        steps = [(b - a) * (1 if high >= low else -1) for a, b in pairwise(found)]
        assert min(steps) >= -slack


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(-20, 20)), min_size=3, max_size=6, unique_by=lambda point: point[0]))
def test_cubic_has_no_corner(points: list[tuple[int, int]]) -> None:
    """C1: at an inner point the slopes from both sides are equal."""
    points.sort()
    curves = parse_keyframes({"v": {"curve": "cubic", "points": [list(point) for point in points]}}, 25)
    for frame, value in points[1:-1]:
        step = 1e-6
        before = (value - curves.at(frame - step)["v"]) / step
        after = (curves.at(frame + step)["v"] - value) / step
        assert before == pytest.approx(after, abs=2e-3)


def test_a_cubic_run_ends_where_another_curve_begins() -> None:
    """What lies behind a linear piece does not bend the cubic before it."""
    one = {"v": {"curve": "cubic", "points": [[0, 0], [10, 5], [20, 6, "linear"], [30, 0]]}}
    other = {"v": {"curve": "cubic", "points": [[0, 0], [10, 5], [20, 6, "linear"], [30, 99]]}}
    assert [at(one, frame) for frame in (3, 7, 15)] == [at(other, frame) for frame in (3, 7, 15)]
    assert at(one, 25) == 3


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_reads_back_and_has_no_exponent(value: float) -> None:
    """Exactly, for every finite float, in digits, sign and point alone."""
    text = number(value)
    assert float(text) == value and math.copysign(1, float(text)) == math.copysign(1, value)
    assert set(text) <= set("0123456789.-")


def test_numbers_are_short() -> None:
    """The shortest text, not seventeen digits; what is no number is refused."""
    assert [number(value) for value in (0.1, 3.0, 1e-5, 1e21, -2.5e-7, 1 / 3)] == [
        "0.1", "3", "0.00001", "1000000000000000000000", "-0.00000025", "0.3333333333333333",
    ]  # fmt: skip
    for value in (math.inf, math.nan):
        with pytest.raises(ValueError, match="cannot be written"):
            number(value)


@pytest.mark.parametrize(
    ("table", "key", "words"),
    [
        ({}, "keyframes", "has no variable"),
        ({"bpm": 120}, "keyframes", "has no variable"),
        ({"bpm": 0, "v": [[1, 1]]}, "keyframes.bpm", "from 1 to 10000, not 0"),
        ({"v": {}}, "keyframes.v", "needs points"),
        ({"v": []}, "keyframes.v", "at least one"),
        ({"v": 3}, "keyframes.v", "v = 3: a variable: write [keyframes.v] with points"),
        ({"bmp": 120}, "keyframes.bmp", 'did you mean "bpm"'),
        ({"v": {"points": [[1, 1]], "curv": "step"}}, "keyframes.v", 'no key "curv"; did you mean "curve"?'),
        ({"v": {"curve": "smoth", "points": [[1, 1]]}}, "keyframes.v", 'no curve "smoth"; did you mean "smooth"?'),
        ({"v": [[1, 1], [2, 1, "wobble"]]}, "keyframes.v", 'point 2 of v: there is no curve "wobble"; known are'),
        ({"v": [[1, 1], [2]]}, "keyframes.v", "point 2 of v must be [time, value]"),
        ({"v": [[1, 1], [2, "x"]]}, "keyframes.v", 'point 2 of v: its value must be a number from -1e100 to 1e100, not "x"'),
        ({"v": [[1, True]]}, "keyframes.v", "not true"),
        ({"v": [[1, math.nan]]}, "keyframes.v", "not nan"),
        ({"v": [[1, 1e101]]}, "keyframes.v", "must be a number from"),
        ({"v": [["0.0.0", 1]]}, "keyframes.v", "is in bars, so bpm is needed"),
        ({"v": [["1:30", 1]]}, "keyframes.v", '"1:30" is no time'),
        ({"v": [[math.inf, 1]]}, "keyframes.v", "is no time"),
        ({"v": [[5, 1], [5, 2]]}, "keyframes.v", "point 2 of v (frame 5) must come after point 1"),
        ({"v": [["1s", 1], [20, 2]]}, "keyframes.v", "point 2 of v (frame 20) must come after point 1"),
        ({"v": {"curve": "exponent", "points": [[1, 1]]}}, "keyframes.v", "needs its exponent"),
        ({"v": {"exponent": 2, "points": [[1, 1]]}}, "keyframes.v", "from 0 to 1, and is not 2"),
        ({"v": [[1, 1, 1.5]]}, "keyframes.v", "point 1 of v: an exponent goes from 0 to 1"),
        ({"camera-x": [[1, 1]]}, "keyframes.camera-x", "cannot be a variable"),
        ({"lambda": [[1, 1]]}, "keyframes.lambda", "cannot be a variable"),
        ({"über": [[1, 1]]}, "keyframes.über", "cannot be a variable"),
    ],
)
def test_one_sentence_for_each_mistake(table: dict[str, Any], key: str, words: str) -> None:
    """It names the variable and the point, and carries the key by which the line is found."""
    with pytest.raises(TaskFileError) as caught:
        parse_keyframes(table, 25)
    assert words in str(caught.value) and caught.value.key == key, caught.value
    assert "\n" not in str(caught.value)


def test_names_in_the_order_of_the_file() -> None:
    """As the submitter wrote them."""
    assert parse_keyframes({"b": [[1, 1]], "bpm": 9, "a": [[1, 1]]}, 25).names == ("b", "a")


@given(st.sampled_from([curve for curve in CURVES if curve != "exponent"]), VALUES, VALUES, st.floats(0, 40))
def test_no_curve_leaves_the_span_of_its_points(curve: str, one: float, other: float, frame: float) -> None:
    """With two points every curve stays between them."""
    assume(one != other)
    found = at({"v": {"curve": curve, "points": [[10, one], [30, other]]}}, frame)
    slack = 1e-9 * (abs(one) + abs(other))
    assert min(one, other) - slack <= found <= max(one, other) + slack


def test_the_plot_shows_where_a_variable_is(tmp_path: Path) -> None:
    """A line in the variable's colour goes up by as much in each quarter; each variable has a panel of its own."""
    curves = parse_keyframes({"v": [[1, 0], [101, 5]], "w": [[1, 2]]}, 25)
    plot(curves, range(1, 102), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    blue = (picture[:, :, 0] < 60) & (picture[:, :, 2] > 150)
    heights = [float(np.flatnonzero(blue[:, x]).mean()) for x in (LEFT + width * (WIDTH - LEFT - RIGHT) // 4 for width in (1, 2, 3))]
    assert heights[0] > heights[1] > heights[2]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=1)
    plot(parse_keyframes({"v": [[1, 0]]}, 25), [7], tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as image:
        assert image.height < len(picture)
