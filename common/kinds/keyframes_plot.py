"""A chart of a film's variables over its frames: one panel for each, with its points and its highest and lowest value."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from .keyframes import Curves, Point

WIDTH = 1000
PANEL = 150
"""Pixels of height for each variable; a film with very many has flatter ones."""
TALLEST = 8000
LEFT, RIGHT, TOP, BOTTOM, GAP = 96, 24, 14, 34, 30
INK, GREY, GRID, PAPER = (34, 34, 34), (110, 110, 110), (226, 226, 226), (255, 255, 255)
COLOURS = ((0, 90, 181), (200, 60, 20), (0, 125, 90), (150, 60, 160), (150, 105, 0), (70, 70, 160))
FINE = 2
"""Drawn so many times larger and scaled down, as Pillow's lines are jagged."""


def draw(curves: Curves, frames: Sequence[int], to: Path) -> None:
    """Write the PNG; the horizontal axis is the film's frames, and points outside of them are not seen."""
    from PIL import Image

    count = len(curves.names)
    panel = max(44, min(PANEL, (TALLEST - TOP - BOTTOM) // count))
    height = TOP + count * panel + BOTTOM
    lines = Image.new("RGB", (WIDTH * FINE, height * FINE), PAPER)
    panels = [
        _Panel(name, points, frames, TOP + number * panel + GAP, TOP + (number + 1) * panel, COLOURS[number % len(COLOURS)])
        for number, (name, points) in enumerate(curves.tracks.items())
    ]
    for one in panels:
        one.lines(lines, curves)
    chart = lines.resize((WIDTH, height), Image.Resampling.LANCZOS)
    for one in panels:
        one.words(chart)
    _frame_numbers(chart, frames, height - BOTTOM)
    chart.save(to, "PNG", optimize=True)


class _Panel:
    """One variable between ``top`` and ``bottom``, in pixels of the finished chart."""

    def __init__(
        self, name: str, points: Sequence[Point], frames: Sequence[int], top: int, bottom: int, colour: tuple[int, int, int]
    ) -> None:
        self.name, self.points, self.frames, self.top, self.bottom, self.colour = name, points, frames, top, bottom, colour
        self.low = self.high = 0.0

    def x(self, frame: float) -> float:
        first, last = self.frames[0], self.frames[-1]
        return LEFT + (WIDTH - LEFT - RIGHT) * ((frame - first) / (last - first) if last > first else 0.5)

    def y(self, value: float) -> float:
        if self.high == self.low:
            return (self.top + self.bottom) / 2
        return self.bottom - (self.bottom - self.top) * ((value - self.low) / (self.high - self.low))

    def lines(self, image: Image.Image, curves: Curves) -> None:
        from PIL import ImageDraw

        pen = ImageDraw.Draw(image)
        first, last = self.frames[0], self.frames[-1]
        samples = 2 * (WIDTH - LEFT - RIGHT)
        seen = {point.frame for point in self.points if first <= point.frame <= last}
        at = sorted(seen | {first + (last - first) * i / samples for i in range(samples + 1)})
        path: list[tuple[float, float]] = []
        for frame in at:
            value = curves.value(self.name, frame)
            # where a step ends the curve jumps: the value just before is drawn too
            turn = bisect_left(self.points, frame, key=lambda point: point.frame)
            if turn < len(self.points) and self.points[turn].frame == frame and turn and self.points[turn - 1].curve == "step":
                path.append((frame, self.points[turn - 1].value))
            path.append((frame, value))
        self.low, self.high = min(value for _, value in path), max(value for _, value in path)
        for x in (self.x(tick) for tick in _ticks(first, last)):
            pen.line([(x * FINE, self.top * FINE), (x * FINE, self.bottom * FINE)], fill=GRID, width=FINE)
        for y in (self.top, self.bottom):
            pen.line([(LEFT * FINE, y * FINE), ((WIDTH - RIGHT) * FINE, y * FINE)], fill=GRID, width=FINE)
        spots = [(self.x(frame) * FINE, self.y(value) * FINE) for frame, value in path]
        pen.line(spots, fill=self.colour, width=2 * FINE, joint="curve")
        for point in self.points:
            if first <= point.frame <= last:
                at_x, at_y, r = self.x(point.frame) * FINE, self.y(point.value) * FINE, 4 * FINE
                pen.ellipse([at_x - r, at_y - r, at_x + r, at_y + r], fill=PAPER, outline=self.colour, width=2 * FINE)

    def words(self, image: Image.Image) -> None:
        from PIL import ImageDraw, ImageFont

        pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
        pen.text((LEFT, self.top - 6), self.name, fill=self.colour, font=font, anchor="ls")
        values = {self.y(self.low): self.low} if self.low == self.high else {self.bottom: self.low, self.top: self.high}
        for y, value in values.items():
            pen.text((LEFT - 10, y), f"{value:.4g}", fill=INK, font=font, anchor="rm")


def _ticks(first: int, last: int) -> list[int]:
    """About ten round frame numbers."""
    step = next(digit * 10**power for power in range(7) for digit in (1, 2, 5) if (last - first) / (digit * 10**power) <= 12)
    return list(range(-(-first // step) * step, last + 1, step)) or [first]


def _frame_numbers(image: Image.Image, frames: Sequence[int], y: int) -> None:
    from PIL import ImageDraw, ImageFont

    pen, font = ImageDraw.Draw(image), ImageFont.load_default(12)
    first, last = frames[0], frames[-1]
    for tick in _ticks(first, last):
        x = LEFT + (WIDTH - LEFT - RIGHT) * ((tick - first) / (last - first) if last > first else 0.5)
        pen.text((x, y + 9), str(tick), fill=GREY, font=font, anchor="mt")
    pen.text((LEFT - 10, y + 9), "frame", fill=GREY, font=font, anchor="rt")
