"""The sheet of a film under way: thumbnails of its frames in their order, with their numbers, on a grid that never changes.

Where the frames are too many to be seen, each of as many equal parts of the film shows one: the first that is rendered in the first
pass, else the first. So the sheet of a film with a first pass fills evenly, and early.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from .preview_maps import INK, PANEL, grid_layout
from .preview_pixels import checkerboard
from .preview_rows import thumbnail

if TYPE_CHECKING:
    from .preview_pixels import Pixels

LEAST = 80
"""Pixels of the longer side of a thumbnail in which one recognises something."""
FULL = 8192
"""Pixels of the longer side of a sheet at the full size."""
GAP = 2
NUMBERED = 48
"""Width from which a thumbnail has room for its number."""


def chosen(turns: Sequence[tuple[int, int]], most: int) -> list[int]:
    """Of frames in order, each with the turn in which it is rendered, those that a sheet of ``most`` shows."""
    parts = min(len(turns), most)
    bounds = [len(turns) * part // parts for part in range(parts + 1)]
    return [min(turns[a:b], key=lambda frame: frame[1])[0] for a, b in pairwise(bounds)]


def capacity(count: int, aspect: float, size: int) -> int:
    """How many of ``count`` thumbnails fit with LEAST pixels each."""
    few, many = 1, count
    while few < many:
        middle = (few + many + 1) // 2
        _, _, wide, high = grid_layout(middle, aspect, size)
        few, many = (middle, many) if max(wide, high) - GAP >= LEAST else (few, middle - 1)
    return few


@dataclass(frozen=True)
class Sheet:
    """Where each frame is."""

    frames: tuple[int, ...]
    columns: int
    wide: int
    high: int

    @classmethod
    def of(cls, turns: Sequence[tuple[int, int]], shape: tuple[int, int], size: int) -> Sheet:
        """For frames of ``shape`` (width, height); ``size`` 0: as large as FULL allows, and no larger than the frames."""
        aspect = shape[0] / shape[1]
        limit = size or FULL
        frames = chosen(turns, capacity(len(turns), aspect, limit))
        columns, _, wide, high = grid_layout(len(frames), aspect, limit)
        if wide > shape[0] + GAP:
            wide, high = shape[0] + GAP, shape[1] + GAP
        return cls(tuple(frames), columns, wide, high)

    def empty(self) -> Pixels:
        """The sheet with all its holes."""
        rows = -(-len(self.frames) // self.columns)
        image = _image((rows * self.high, self.columns * self.wide, 3))
        for frame in self.frames:
            x, y = self._place(frame)
            image[y : y + self.high - GAP, x : x + self.wide - GAP] = checkerboard(y, x, self.high - GAP, self.wide - GAP)
            self._number(image, frame)
        return image

    def shown(self, frames: Sequence[int]) -> list[int]:
        """Those of some frames that have a place."""
        return [frame for frame in frames if frame in self.frames]

    def put(self, image: Pixels, frame: int, path: Path) -> None:
        """Draw a frame into its place. Raises BadPicture and OSError."""
        wide, high = self.wide - GAP, self.high - GAP
        small = thumbnail(path, max(wide, high))[:high, :wide]
        x, y = self._place(frame)
        image[y : y + high, x : x + wide] = PANEL
        left, top = x + (wide - small.shape[1]) // 2, y + (high - small.shape[0]) // 2
        image[top : top + small.shape[0], left : left + small.shape[1]] = small
        self._number(image, frame)

    def _place(self, frame: int) -> tuple[int, int]:
        at = self.frames.index(frame)
        return at % self.columns * self.wide, at // self.columns * self.high

    def _number(self, image: Pixels, frame: int) -> None:
        """In the lower left corner, on a ground of its own."""
        if self.wide < NUMBERED:
            return
        import numpy as np
        from PIL import Image, ImageDraw, ImageFont

        font = ImageFont.load_default(max(10, self.wide // 24))
        width, height = (round(side) for side in font.getbbox(str(frame))[2:])
        plate = Image.new("RGB", (width + 6, height + 4), PANEL)
        ImageDraw.Draw(plate).text((3, 1), str(frame), fill=INK, font=font)
        x, y = self._place(frame)
        bottom = y + self.high - GAP
        pixels = np.asarray(plate)[: self.high - GAP, : self.wide - GAP]
        image[bottom - pixels.shape[0] : bottom, x : x + pixels.shape[1]] = pixels


def _image(shape: tuple[int, ...]) -> Pixels:
    import numpy as np

    image: Pixels = np.empty(shape, np.uint8)
    image[:] = PANEL
    return image
