"""The rows of a piece as previews take them: for a screen, or as light that can be averaged; from any of our formats, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .png import SIGNATURE
from .tiles import Rect

if TYPE_CHECKING:
    from numpy import ndarray

    from .raster_form import Source

    Pixels = ndarray[Any, Any]
    """uint8, (rows, columns, 3)"""

BRIGHTEST = 1000.0
"""Times white; sums of whole numbers have an end."""
LIGHT_STEPS = 1 << 20
"""Whole steps of light from black to white, finer than 8 bits of sRGB at its dark end."""


def bands(path: Path, rect: Rect | None = None, *, light: bool = False) -> Iterator[Pixels]:
    """A picture of any of our formats from above to below, a few rows at a time. Raises BadPicture and OSError.

    ``rect``: the piece's place; where a renderer wrote the whole picture with only this part in it, this part. ``light``: not as uint8
    for a screen, but int64 light, white is LIGHT_STEPS.
    """
    from . import rasters
    from .assembly import open_source
    from .colour import rgb8
    from .raster_form import BAND

    if not _by_rows(path):
        whole = rasters.as_rgb8(path)
        yield _light_of_codes(whole) if light else whole
        return
    source = open_source(path)
    try:
        shape = source.shape
        left, above, right, below = _place(source, rect)
        step = max(1, BAND // (shape.width * shape.pixel))
        for top in range(0, shape.height, step):
            planes = source.read(min(step, shape.height - top))
            if light and shape.format == "exr":
                rows = _light(source, planes)
            else:
                rows = _light_of_codes(rgb8(source, planes)) if light else rgb8(source, planes)
            rows = rows[max(0, above - top) : max(0, below - top), max(0, left) : max(0, right)]
            if rows.size:
                yield rows
    finally:
        source.close()


def _place(source: Source, rect: Rect | None) -> Rect:
    """Where the piece lies in its file, which shows just it or the whole picture; of the latter, an OpenEXR file may hold a part."""
    shape = source.shape
    if rect is None or (shape.width, shape.height) == (rect[2] - rect[0], rect[3] - rect[1]):
        return 0, 0, shape.width, shape.height
    parts = getattr(source, "parts", None)
    left, top = (parts[0].window[n] - parts[0].display[n] for n in (0, 1)) if parts else (0, 0)
    return rect[0] - left, rect[1] - top, rect[2] - left, rect[3] - top


def _by_rows(path: Path) -> bool:
    """Whether it is read by rows; pillow has JPEG and the odd sorts of PNG."""
    from . import jpeg
    from .png_rows import is_plain

    with path.open("rb") as file:
        head = file.read(len(SIGNATURE))
    return not head.startswith(jpeg.SIGNATURE) and (head != SIGNATURE or is_plain(path))


def _light(source: Source, planes: Sequence[Pixels]) -> Pixels:
    """The light of an OpenEXR file's rows, up to BRIGHTEST: that a highlight is far above white counts in a mean."""
    import numpy as np

    from .colour import seen_channels

    seen = np.stack([planes[channel] for channel in seen_channels(source.shape.channels)], axis=-1).astype(np.float64)
    light: Pixels = np.round(np.clip(np.nan_to_num(seen, posinf=BRIGHTEST), 0, BRIGHTEST) * LIGHT_STEPS).astype(np.int64)
    return light


def _light_of_codes(codes: Pixels) -> Pixels:
    import numpy as np

    steps = np.arange(256) / 255
    light = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    table: Pixels = np.round(light * LIGHT_STEPS).astype(np.int64)
    return table[codes]


def thumbnail(path: Path, size: int) -> Pixels:
    """A picture whose longer side is ``size`` at most. Raises BadPicture and OSError."""
    from .rasters import as_rgb8

    return as_rgb8(path, size)


def picture_shape(path: Path) -> tuple[int, int]:
    """Width and height. Raises BadPicture and OSError."""
    from .rasters import shape_of

    shape = shape_of(path)
    return shape.width, shape.height


def encoded(light: Any) -> Pixels:
    """Light as sRGB in 8 bits."""
    import numpy as np

    light = np.clip(light, 0, 1)
    codes: Pixels = np.round(255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)).astype(np.uint8)
    return codes
