"""Variables per frame: keyframes in a table, and the curves between them.

    [keyframes]
    bpm = 155                      # for times in bars.beats.sixteenths; beats = 4 to a bar
    start = 1                      # the frame at time 0
    [keyframes.camera_x]
    curve = "smooth"
    points = [["0.0.0", 3.0], ["4.0.0", 1.0, "linear"], ["2.5s", 2], [120, 4.5]]

A point is ``[time, value]`` or ``[time, value, curve]``; its curve leads to the next point. A time is a frame number (``120``,
``"120f"``), or counts from time 0, which is the frame ``start``: seconds (``"2.5s"``) or bars.beats.sixteenths from 0 (``"4.0.0"``). Times
are not rounded to frames. Before the first point a variable has its value, after the last point that one's.
"""

from __future__ import annotations

import keyword
import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import TaskFileError
from .kind import Option
from .options import nearest, shown

KEYFRAMES = Option(
    name="keyframes",
    type="table",
    help="variables per frame: [keyframes.NAME] with curve and points = [[time, value], …]; beside them bpm, beats, start",
)
CURVES = ("step", "linear", "smooth", "cubic", "ease-in", "ease-out", "ease-in-out", "exponent")
"""Of t, 0 to 1 between two points: step 0; linear t; smooth t^2 (3 - 2t); ease-in t^2; ease-out t (2 - t); ease-in-out 2 t^2, mirrored
from the middle on; exponent t^e with e from 0 (the next value at once) to 1 (linear), the curve of 2010; cubic: see slopes()."""
LARGEST = 1e100
"""Of a value: what is computed between two of them stays finite."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_BARS = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_SECONDS = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*(s|f)")
_SETTINGS = ("bpm", "beats", "start")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One keyframe. ``frame`` need not be whole; ``slope`` (per frame, where its curve or the one before is cubic) is worked out."""

    frame: float
    value: float
    curve: str
    exponent: float = 1.0
    slope: float = 0.0
    """Of the cubic that begins here."""
    arrival: float = 0.0
    """Of the cubic that ends here."""


@dataclass(frozen=True, kw_only=True)
class Curves:
    """All variables of a film; ``tracks``: points by name, ascending in time."""

    tracks: Mapping[str, tuple[Point, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.tracks)

    def at(self, frame: float) -> dict[str, float]:
        """Every variable at an absolute frame number."""
        return {name: _value(points, frame) for name, points in self.tracks.items()}

    def value(self, name: str, frame: float) -> float:
        """One variable, at any time between frames too."""
        return _value(self.tracks[name], frame)


def parse_keyframes(table: Mapping[str, Any], fps: float) -> Curves:
    """See the head of this file; ``fps`` turns seconds and bars into frames. Raises TaskFileError with the key ``keyframes.NAME``."""
    clock = _Clock(table, fps)
    tracks: dict[str, tuple[Point, ...]] = {}
    for name, said in table.items():
        if name in _SETTINGS:
            continue
        if not _NAME.fullmatch(name) or keyword.iskeyword(name):
            raise _fault(name, f"{shown(name)} cannot be a variable; take up to 40 letters, digits and _, such as camera_x.")
        tracks[name] = _track(name, said, clock)
    if not tracks:
        raise TaskFileError("[keyframes] has no variable; write [keyframes.NAME] with points = [[time, value], …].", key="keyframes")
    return Curves(tracks=tracks)


def slopes(frames: Sequence[float], values: Sequence[float]) -> list[float]:
    """Slopes at the points of a monotone piecewise cubic: C1, and between two points it never leaves the span of their values.

    F. N. Fritsch, J. Butland: A method for constructing local monotone piecewise cubic interpolants, SIAM J. Sci. Stat. Comput. 5
    (1984): the weighted harmonic mean for uneven steps. Ends: C. Moler, Numerical Computing with MATLAB (2004), section 3.4 (pchip).
    """
    steps = [right - left for left, right in pairwise(frames)]
    rises = [(right - left) / step for (left, right), step in zip(pairwise(values), steps, strict=True)]
    if len(rises) == 1:
        return [rises[0], rises[0]]
    inner = []
    for k in range(1, len(rises)):
        before, after = rises[k - 1], rises[k]
        if before * after <= 0:
            inner.append(0.0)
            continue
        left, right = 2 * steps[k] + steps[k - 1], steps[k] + 2 * steps[k - 1]
        inner.append((left + right) / (left / before + right / after))
    return [_end(steps[0], steps[1], rises[0], rises[1]), *inner, _end(steps[-1], steps[-2], rises[-1], rises[-2])]


def number(value: float) -> str:
    """The shortest decimal text that float() reads back exactly, never with an exponent. ValueError for infinities and NaN."""
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written as a decimal number")
    text = format(Decimal(repr(float(value))), "f")
    return text.removesuffix(".0") if "." in text else text


def plot(curves: Curves, frames: Sequence[int], to: Path) -> None:
    """Draw every variable over the frames of a film, one panel below the other, as a PNG."""
    from .keyframes_plot import draw

    draw(curves, frames, to)


class _Clock:
    """Times -> frame numbers."""

    def __init__(self, table: Mapping[str, Any], fps: float) -> None:
        self.fps = fps
        self.bpm = _setting(table, "bpm", None, 1, 10_000)
        self.beats = _setting(table, "beats", 4, 1, 64)
        self.start = _setting(table, "start", 1, 0, 999_999)

    def frame(self, time: Any) -> float:
        """Raises ValueError with a half-sentence."""
        if isinstance(time, int | float) and not isinstance(time, bool) and math.isfinite(time):
            return float(time)
        text = time.strip() if isinstance(time, str) and time.isascii() else ""
        if match := _BARS.fullmatch(text):
            if not self.bpm:
                raise ValueError(f'the time "{text}" is in bars, so bpm is needed under [keyframes], such as bpm = 120')
            sixteenths = 4 * (self.beats * int(match[1]) + int(match[2])) + int(match[3])
            return self.start + sixteenths * frames_per_sixteenth(self.bpm, self.fps)
        if match := _SECONDS.fullmatch(text):
            return self.start + float(match[1]) * self.fps if match[2] == "s" else float(match[1])
        raise ValueError(f'{shown(time)} is no time; write a frame number, seconds as "2.5s", or bars.beats.sixteenths as "1.2.3"')


def frames_per_sixteenth(bpm: float, fps: float) -> float:
    """A beat is four sixteenths and lasts 60 / bpm seconds; 155 bpm at 30 fps: 2.903. (ClusterRay of 2010 had the inverse.)"""
    return 60 * fps / (4 * bpm)


def _setting(table: Mapping[str, Any], name: str, default: float | None, low: float, high: float) -> float:
    value = table.get(name, default)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise _fault(name, f"{name} must be a number from {low:g} to {high:.0f}, not {shown(value)}.")
    return value


def _track(name: str, said: Any, clock: _Clock) -> tuple[Point, ...]:
    if isinstance(said, list):
        said = {"points": said}
    if not isinstance(said, Mapping):
        near = nearest(name, _SETTINGS)
        meant = f"{near[:-1]}, or is it a variable? Then" if near.startswith("did") else "a variable:"
        raise _fault(name, f"{name} = {shown(said)}: {meant} write [keyframes.{name}] with points = [[time, value], …].")
    for key in said:
        if key not in ("curve", "exponent", "points"):
            raise _fault(name, f'{name} has no key "{key}"; {nearest(key, ("curve", "exponent", "points"))}')
    exponent = _exponent(name, said["exponent"]) if "exponent" in said else None
    curve = _curve(name, said.get("curve", "linear" if exponent is None else "exponent"), "")
    given = said.get("points")
    if not isinstance(given, list) or not given:
        raise _fault(name, f"{name} needs points = [[time, value], …], at least one.")
    points: list[Point] = []
    for at, one in enumerate(given, 1):
        points.append(_point(name, at, one, curve, exponent, clock))
        if at > 1 and not points[-1].frame > points[-2].frame:
            where = f"frame {number(round(points[-1].frame, 3))}"
            raise _fault(name, f"point {at} of {name} ({where}) must come after point {at - 1}, in time order.")
    return _with_slopes(points)


def _point(name: str, at: int, said: Any, curve: str, exponent: float | None, clock: _Clock) -> Point:
    where = f"point {at} of {name}"
    if not isinstance(said, list | tuple) or not 2 <= len(said) <= 3:
        raise _fault(name, f"{where} must be [time, value] or [time, value, curve], not {shown(said)}.")
    try:
        frame = clock.frame(said[0])
    except ValueError as error:
        raise _fault(name, f"{where}: {error}.") from None
    value = said[1]
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= LARGEST:
        raise _fault(name, f"{where}: its value must be a number from -1e100 to 1e100, not {shown(value)}.")
    if len(said) == 3 and not isinstance(said[2], str):
        curve, exponent = "exponent", _exponent(name, said[2], where)
    elif len(said) == 3:
        curve = _curve(name, said[2], where)
    if curve == "exponent" and exponent is None:
        raise _fault(name, f"{where}: the curve exponent needs its exponent from 0 to 1, such as exponent = 0.3 under [keyframes.{name}].")
    return Point(frame=frame, value=float(value), curve=curve, exponent=1.0 if exponent is None else exponent)


def _curve(name: str, said: Any, where: str) -> str:
    if not isinstance(said, str) or said not in CURVES:
        near = nearest(said, CURVES) if isinstance(said, str) else f"known are {', '.join(CURVES)}."
        raise _fault(name, f"{where or name}: there is no curve {shown(said)}; {near}")
    return said


def _exponent(name: str, said: Any, where: str = "") -> float:
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= 1:
        raise _fault(name, f"{where or name}: an exponent goes from 0 to 1, and is not {shown(said)}; for slow, then fast take ease-in.")
    return float(said)


def _fault(name: str, sentence: str) -> TaskFileError:
    return TaskFileError(sentence, key=f"keyframes.{name}")


def _with_slopes(points: Sequence[Point]) -> tuple[Point, ...]:
    """Each run of cubic segments is a spline of its own: what lies beyond it has corners by its submitter's wish."""
    leaving, arriving = [0.0] * len(points), [0.0] * len(points)
    at = 0
    while at < len(points) - 1:
        last = at
        while last < len(points) - 1 and points[last].curve == "cubic":
            last += 1
        if last > at:
            found = slopes([p.frame for p in points[at : last + 1]], [p.value for p in points[at : last + 1]])
            leaving[at:last], arriving[at + 1 : last + 1] = found[:-1], found[1:]
        at = max(last, at + 1)
    return tuple(
        Point(frame=p.frame, value=p.value, curve=p.curve, exponent=p.exponent, slope=leave, arrival=arrive)
        for p, leave, arrive in zip(points, leaving, arriving, strict=True)
    )


def _end(step: float, next_step: float, rise: float, next_rise: float) -> float:
    """Moler's pchipend: three points, kept to the sign of the first rise and to three times it."""
    slope = ((2 * step + next_step) * rise - step * next_rise) / (step + next_step)
    if slope * rise <= 0:
        return 0.0
    return 3 * rise if rise * next_rise <= 0 and abs(slope) > abs(3 * rise) else slope


def _value(points: Sequence[Point], frame: float) -> float:
    at = bisect_right(points, frame, key=lambda point: point.frame)
    if at == 0:
        return points[0].value
    if at == len(points):
        return points[-1].value
    left, right = points[at - 1], points[at]
    length = right.frame - left.frame
    t = (frame - left.frame) / length
    if left.curve == "cubic":
        # Hermite's form
        rest = 1 - t
        return (
            left.value * (1 + 2 * t) * rest * rest
            + right.value * t * t * (3 - 2 * t)
            + length * (left.slope * t * rest * rest - right.arrival * t * t * rest)
        )
    eased = _eased(left, t)
    return right.value if eased == 1 else left.value + (right.value - left.value) * eased


def _eased(point: Point, t: float) -> float:
    match point.curve:
        case "step":
            return 0.0
        case "smooth":
            return t * t * (3 - 2 * t)
        case "ease-in":
            return t * t
        case "ease-out":
            return t * (2 - t)
        case "ease-in-out":
            return 2 * t * t if t < 0.5 else 1 - 2 * (1 - t) * (1 - t)
        case "exponent":
            return float(t**point.exponent)
        case _:
            return t
