"""Pixels of previews: means over areas that add up exactly, the checkerboard of what is missing, whole files.

A preview's pixel is the mean of the pixels of the picture below it. The sums are kept as integers, so that the order in which pieces
come and the places where the picture is cut leave no trace: the joined preview is the one of the whole picture.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .png import BadPicture, Format
from .preview_rows import LIGHT_STEPS, bands, picture_shape
from .tiles import Rect

if TYPE_CHECKING:
    from numpy import ndarray

    Pixels = ndarray[Any, Any]
    """uint8, (rows, columns, 3)"""

LIGHT, DARK = (0x9C, 0x9C, 0xA4), (0x86, 0x86, 0x8E)
"""Of the checkerboard: greys in the middle, seen on a white page as on a black one, and beside a picture of either."""
SQUARE = 8
"""Pixels of a preview; at the full size as many more as it is larger."""


def checkerboard(top: int, left: int, rows: int, columns: int, square: int = SQUARE) -> Pixels:
    """A part of the one checkerboard that lies below the whole."""
    import numpy as np

    odd = (np.arange(top, top + rows)[:, None] // square + np.arange(left, left + columns)[None] // square) % 2
    squares: Pixels = np.array([LIGHT, DARK], np.uint8)[odd]
    return squares


class Means:
    """A picture of ``width`` x ``height`` shrunk to ``columns`` x ``rows``, gathered from parts of it in any order."""

    def __init__(self, width: int, height: int, columns: int, rows: int) -> None:
        import numpy as np

        self.width, self.height, self.columns, self.rows = width, height, columns, rows
        self.sums = np.zeros((rows, columns, 3), np.int64)
        """Weighted by area, in units of 1 / (columns * rows) of a pixel: at most 255 * width * height."""
        self.areas = np.zeros((rows, columns), np.int64)

    def add(self, left: int, top: int, parts: Iterable[Pixels]) -> None:
        """Put in a part whose upper left corner is here, given from above to below; all of it or, where reading it fails, nothing."""
        import numpy as np

        found = []
        for pixels in parts:
            high, wide = pixels.shape[:2]
            first, sums = _shrunk(np.moveaxis(pixels, 1, 0), left, self.width, self.columns)
            start, sums = _shrunk(np.moveaxis(sums, 0, 1), top, self.height, self.rows)
            _, across = _shrunk(np.ones(wide, np.uint8), left, self.width, self.columns)
            _, down = _shrunk(np.ones(high, np.uint8), top, self.height, self.rows)
            found.append(((slice(start, start + len(down)), slice(first, first + len(across))), sums, down[:, None] * across[None]))
            top += high
        for here, sums, areas in found:
            self.sums[here] += sums
            self.areas[here] += areas

    def means(self) -> Pixels:
        """The rounded means; 0 where nothing is."""
        import numpy as np

        area = np.maximum(self.areas, 1)[..., None]
        rounded: Pixels = (self.sums * 2 + area) // (2 * area)
        return rounded

    def picture(self) -> Pixels:
        """What is there, over the checkerboard."""
        import numpy as np

        return np.where(self.areas[..., None] > 0, self.means().astype(np.uint8), checkerboard(0, 0, self.rows, self.columns))


def _shrunk(values: Pixels, start: int, size: int, cells: int) -> tuple[int, Any]:
    """Sums along the first axis over the cells that ``values``, beginning at ``start`` of ``size``, touch: first cell, int64 sums.

    Each value is ``cells`` units long and each cell ``size``, so that every bound is an integer.
    """
    import numpy as np

    count = len(values)
    if cells == size:
        return start, values.astype(np.int64) * cells
    first, last = start * cells // size, -(-(start + count) * cells // size)
    bounds = np.clip(np.arange(first, last + 1) * size - start * cells, 0, count * cells)
    whole, part = bounds // cells, bounds % cells
    running = np.zeros((count + 1, *values.shape[1:]), np.int64)
    np.cumsum(values, axis=0, dtype=np.int64, out=running[1:])
    shape = (-1, *[1] * (values.ndim - 1))
    below = running[whole] * cells + part.reshape(shape) * values[np.minimum(whole, count - 1)].astype(np.int64)
    return first, np.diff(below, axis=0)


def fitted(width: int, height: int, size: int) -> tuple[int, int]:
    """Columns and rows so that the longer side is ``size`` at most; nothing is made larger, nothing vanishes."""
    longest = max(width, height)
    if not size or longest <= size:
        return width, height
    return max(1, round(width * size / longest)), max(1, round(height * size / longest))


def linear(path: Path, size: int) -> Any:
    """The light of a picture shrunk to ``size`` (0: not at all), float64 (rows, columns, 3), white is 1. Raises BadPicture and OSError."""
    width, height = picture_shape(path)
    means = Means(width, height, *fitted(width, height, size))
    means.add(0, 0, bands(path, light=True))
    return means.means() / LIGHT_STEPS


def save(pixels: Pixels, path: Path) -> None:
    """Write a PNG that others see whole or not at all."""
    from PIL import Image

    part = path.with_name(f".{path.name}.part")
    Image.fromarray(pixels).save(part, format="PNG", compress_level=1)
    part.replace(path)


def full_picture(width: int, height: int, parts: list[tuple[Rect, Path]], path: Path) -> None:
    """All parts in their places at the full size, by rows, with the memory of a band; what cannot be read stays a hole. Raises OSError.

    The rows lie in a file on the way: parts may be cut in any way, and a picture of 32,768 x 32,768 takes 3 GB.
    """
    import numpy as np

    from .images import BAND, PictureWriter

    form = Format(width=width, height=height, bits=8, channels=3)
    raw, part = path.with_name(f".{path.name}.raw"), path.with_name(f".{path.name}.part")
    try:
        with raw.open("w+b") as file:
            os.truncate(file.fileno(), form.stride * height)
            there = []
            for rect, source in parts:
                left, at = rect[:2]
                try:
                    for band in bands(source, rect):
                        for row in np.ascontiguousarray(band):
                            os.pwrite(file.fileno(), row.tobytes(), at * form.stride + left * 3)
                            at += 1
                except (BadPicture, FileNotFoundError):
                    continue
                there.append(rect)
            square = max(SQUARE, max(width, height) // 64)
            with PictureWriter(part, form, []) as picture:
                step = form.band(BAND)
                for top in range(0, height, step):
                    rows = min(step, height - top)
                    band = np.frombuffer(os.pread(file.fileno(), rows * form.stride, top * form.stride), np.uint8)
                    band = band.reshape(rows, width, 3).copy()
                    holes = np.ones((rows, width), bool)
                    for left, above, right, below in there:
                        if above < top + rows and below > top:
                            holes[max(0, above - top) : below - top, left:right] = False
                    band[holes] = checkerboard(top, 0, rows, width, square)[holes]
                    picture.rows(band.reshape(rows, -1))
        part.replace(path)
    finally:
        raw.unlink(missing_ok=True)
        part.unlink(missing_ok=True)
