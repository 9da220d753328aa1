"""The still pictures of a film: its poster, and a contact sheet of evenly chosen frames with their numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy import ndarray

    Pixels = ndarray[Any, Any]
    """uint8, (rows, columns, 3)"""

MOST = 48
"""Frames on a sheet."""
WIDTH = 1600
"""Pixels of a sheet, about; a 16:9 sheet of 48 frames is 6 columns of 256 pixels."""
GAP, LABEL, LETTERS = 8, 24, 16
BACK, INK = (24, 24, 26), (222, 222, 222)
QUALITY = 90


def chosen(frames: Sequence[int], most: int = MOST) -> tuple[int, ...]:
    """At most ``most`` frames, evenly spread, the first and the last among them."""
    if len(frames) <= most:
        return tuple(frames)
    return tuple(frames[round(at * (len(frames) - 1) / (most - 1))] for at in range(most))


def columns_for(count: int, ratio: float) -> int:
    """Columns of a sheet of ``count`` frames of width / height ``ratio`` that is about as wide as 4:3, with few empty places."""
    ideal = max(1.0, math.sqrt(count * (4 / 3) / ratio))
    near = range(max(1, math.floor(ideal * 0.8)), max(1, math.ceil(ideal * 1.25)) + 1)
    return min(near, key=lambda columns: (-count % columns, abs(columns - ideal)))


def thumbnail(frame: Pixels, columns: int) -> Any:
    """A frame as a pillow picture as wide as its place on a sheet; small frames are not made larger than twice."""
    from PIL import Image

    picture = Image.fromarray(frame)
    width = min((WIDTH - GAP) // columns - GAP, 2 * picture.width, 512)
    return picture.resize((width, max(1, round(width * picture.height / picture.width))), Image.Resampling.LANCZOS)


def contact_sheet(thumbnails: Sequence[tuple[int, Any]], columns: int, to: Path) -> None:
    """A JPEG of (frame number, pillow picture) of one size, row by row, each number below its frame."""
    from PIL import Image, ImageDraw, ImageFont

    wide, high = thumbnails[0][1].size
    rows = -(-len(thumbnails) // columns)
    sheet = Image.new("RGB", (columns * (wide + GAP) + GAP, rows * (high + LABEL + GAP) + GAP), BACK)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(LETTERS)
    for at, (number, picture) in enumerate(thumbnails):
        left, top = GAP + at % columns * (wide + GAP), GAP + at // columns * (high + LABEL + GAP)
        sheet.paste(picture, (left, top))
        draw.text((left + wide / 2, top + high + LABEL / 2), str(number), fill=INK, font=font, anchor="mm")
    sheet.save(to, quality=QUALITY)


def poster(frame: Pixels, to: Path) -> None:
    """A frame at its full size as a JPEG."""
    from PIL import Image

    Image.fromarray(frame).save(to, quality=QUALITY)
