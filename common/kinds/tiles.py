"""Exact tilings of a picture: every pixel lies in exactly one tile, whatever the numbers.

Bounds are integers throughout: tile ``i`` of ``n`` over ``size`` pixels ends where tile ``i + 1`` begins, at ``size * i // n``.
Rectangles are half-open: ``(left, top, right, bottom)`` covers the columns left … right - 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..model import FarmShape

Rect = tuple[int, int, int, int]

BLOCK = 32
"""POV-Ray renders in blocks of 32 x 32 pixels, counted from the corner of what it renders."""
ROOMY = 4 * BLOCK
"""Tiles at least this wide are cut at multiples of BLOCK: no tile gains or loses more than an eighth at either edge."""
PER_SLOT = 4
"""Tiles per slot: costs differ 4:1 within one picture, so a queue of this depth keeps all slots busy to the end."""
SMALL = 160 * 160
"""Pixels under which ``auto`` does not cut further: a process costs 0.65 s whatever it renders."""


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One tile of a grid."""

    column: int
    row: int
    rect: Rect

    @property
    def name(self) -> str:
        return tile_name(self.column, self.row)


def tile_name(column: int, row: int) -> str:
    """``r003c012``: sorts in the order of the rows, fit for a file name."""
    return f"r{row:03d}c{column:03d}"


def cuts(size: int, parts: int, block: int = BLOCK) -> list[int]:
    """``parts + 1`` bounds from 0 to ``size``, no part empty; on multiples of ``block`` where the parts are ROOMY.

    Raises ValueError where there are more parts than pixels.
    """
    if not 1 <= parts <= size:
        raise ValueError(f"{size} pixels cannot be cut into {parts} parts")
    exact = [size * i // parts for i in range(parts + 1)]
    if size // parts < ROOMY:
        return exact
    return [0, *(round(bound / block) * block for bound in exact[1:-1]), size]


def grid(width: int, height: int, columns: int, rows: int) -> Iterator[Tile]:
    """The tiles of a grid, row by row. Raises ValueError as cuts()."""
    xs, ys = cuts(width, columns), cuts(height, rows)
    for row in range(rows):
        for column in range(columns):
            yield Tile(column=column, row=row, rect=(xs[column], ys[row], xs[column + 1], ys[row + 1]))


def automatic(width: int, height: int, farm: FarmShape) -> tuple[int, int]:
    """Columns and rows for this farm: PER_SLOT tiles per slot, about square, none SMALL, never finer than blocks.

    One slot alone gets the picture whole, unless it is big enough that losing it in mid-render would hurt.
    """
    area = width * height
    wanted = PER_SLOT * farm.slots if farm.slots > 1 else (PER_SLOT if area >= 1 << 20 else 1)
    wanted = max(1, min(wanted, area // SMALL, (width // BLOCK or 1) * (height // BLOCK or 1)))
    best, least = (1, 1), float("inf")
    for rows in range(1, min(wanted, max(1, height // BLOCK)) + 1):
        columns = min(max(1, round(wanted / rows)), max(1, width // BLOCK))
        shape = (width / columns) / (height / rows)
        cost = abs(columns * rows - wanted) / wanted + 0.25 * (max(shape, 1 / shape) - 1)
        if cost < least:
            best, least = (columns, rows), cost
    return best


def grown(rect: Rect, width: int, height: int, block: int) -> Rect:
    """``rect`` grown to the block grid of the whole picture, and never one column or row at its left or upper edge alone.

    The second part is POV-Ray's trap: a last column or row of 1 means 100 %, so such a tile is rendered two wide and cropped.
    """
    left, top, right, bottom = rect
    left, top = left // block * block, top // block * block
    right, bottom = min(width, -(-right // block) * block), min(height, -(-bottom // block) * block)
    return left, top, max(right, min(2, width)), max(bottom, min(2, height))
