"""The two maps beside a preview: seconds by region, and which node made what, each with its legend.

A map is a list of cells, rectangles that show a region each; a region may have several (its frames). Cells without a result show the
preview's checkerboard.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .preview_pixels import checkerboard, save
from .tiles import Rect

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont, ImageFont

    from .preview_pixels import Pixels

Colour = tuple[int, int, int]
Cell = tuple[str, Rect]
"""A region's name, or BEFORE, and where it is on the map."""
BEFORE = "/before"
"""What no region made, as it was there before; a region's name has no slash."""
QUIET: Colour = (0x58, 0x5A, 0x62)
"""Of what was there before: darker than the checkerboard, lighter than the ground, and grey as no node and no time is."""

HEAT: tuple[Colour, ...] = (
    (16, 26, 56), (65, 24, 118), (128, 6, 141), (180, 31, 127), (224, 61, 102), (255, 101, 68), (255, 155, 75), (255, 199, 106),
    (255, 239, 144),
)  # fmt: skip
"""From fast to slow: CIE lightness rises evenly from 10 to 94 while the hue goes from blue by red to yellow."""
SAFE: tuple[Colour, ...] = (
    (0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (213, 94, 0), (240, 228, 66), (0, 0, 0)
)  # fmt: skip
"""Okabe and Ito's colours, told apart with any sort of colour vision. The ninth node has the first again, hatched."""
HATCHES = 4
"""None, rising, falling, level: 32 nodes look different; the next begins again, and the legend still says its name."""
PANEL, INK, FAINT = (0x20, 0x22, 0x28), (0xF2, 0xF2, 0xF4), (0xA8, 0xAA, 0xB2)
"""A ground of its own, so that the legend reads on any page."""
LEAST_WIDTH, LEAST_HEIGHT = 240, 24
MARGIN, TEXT = 10, 13
MOST_NAMES = 32
LONGEST_NAME = 24
BEFORE_TEXT = "there before"


def heat_colour(fraction: float) -> Colour:
    """0 is the fastest, 1 the slowest."""
    at = min(1.0, max(0.0, fraction)) * (len(HEAT) - 1)
    low = min(int(at), len(HEAT) - 2)
    red, green, blue = (round(a + (b - a) * (at - low)) for a, b in zip(HEAT[low], HEAT[low + 1], strict=True))
    return red, green, blue


def node_pattern(number: int, rect: Rect) -> Pixels:
    """The node's colour over a rectangle, hatched from the ninth node on; stripes go on from one cell to the next."""
    import numpy as np

    left, top, right, bottom = rect
    colour = SAFE[number % len(SAFE)]
    out = np.empty((bottom - top, right - left, 3), np.uint8)
    out[:] = colour
    hatch = number // len(SAFE) % HATCHES
    if hatch:
        ys, xs = np.mgrid[top:bottom, left:right]
        stripes = (xs + ys, xs - ys, ys)[hatch - 1] % 8 < 3
        dark = 2 * colour[0] + 5 * colour[1] + colour[2] < 800
        out[stripes] = (255, 255, 255) if dark else (0, 0, 0)
    return out


def map_size(width: int, height: int, size: int) -> tuple[int, int]:
    """Of a map of something ``width`` x ``height``: the longer side ``size``, room for a line of the legend below."""
    scale = size / max(width, height)
    return max(1, round(width * scale)), max(min(size, LEAST_HEIGHT), round(height * scale))


def cells_of_rects(rects: Iterable[tuple[str, Rect]], width: int, height: int, size: int) -> tuple[int, int, list[Cell]]:
    """A map of a picture's regions: its columns and rows, and the cells, none empty."""
    columns, rows = map_size(width, height, size)
    cells = []
    for name, (left, top, right, bottom) in rects:
        x, y = left * columns // width, top * rows // height
        cells.append((name, (x, y, max(x + 1, right * columns // width), max(y + 1, bottom * rows // height))))
    return columns, rows, cells


def grid_layout(count: int, aspect: float, size: int) -> tuple[int, int, int, int]:
    """Columns, rows, and the width and height of a cell: the largest of this aspect (width by height) of which all fit into ``size``."""
    best = (0.0, 1)
    for columns in range(1, count + 1):
        rows = -(-count // columns)
        wide = min(size / columns, size / rows * aspect)
        if wide > best[0]:
            best = (wide, columns)
        if size / columns < best[0]:
            break
    wide, columns = best
    return columns, -(-count // columns), max(1, int(wide)), max(1, int(wide / aspect))


def cells_of_grid(names: Sequence[str], aspect: float, size: int) -> tuple[int, int, list[Cell]]:
    """A map of things in a row, read like a page."""
    columns, rows, wide, high = grid_layout(len(names), aspect, size)
    places = [(number % columns * wide, number // columns * high) for number in range(len(names))]
    cells = [(name, (x, y, x + wide, y + high)) for name, (x, y) in zip(names, places, strict=True)]
    return columns * wide, rows * high, cells


def draw_heat(columns: int, rows: int, cells: Sequence[Cell], seconds: Mapping[str, float], path: Path, what: str = "region") -> None:
    """``seconds`` by region's name, those that are done; the colours go from the least to the most."""
    least, most = min(seconds.values(), default=0.0), max(seconds.values(), default=0.0)

    def paint(name: str, rect: Rect) -> Colour | None:
        if name == BEFORE:
            return QUIET
        if name not in seconds:
            return None
        return heat_colour((seconds[name] - least) / (most - least) if most > least else 0.0)

    map_ = _map(columns, rows, cells, paint)
    wide = max(columns, LEAST_WIDTH)
    before = _has_before(cells)
    board, draw, font = _board(wide, rows, 72 if before else 52)
    _centred(board, map_)
    if seconds:
        for x in range(MARGIN, wide - MARGIN):
            fraction = (x - MARGIN) / (wide - 2 * MARGIN - 1)
            draw.line([(x, rows + 9), (x, rows + 22)], fill=heat_colour(fraction))
        draw.text((MARGIN, rows + 29), seconds_text(least), fill=INK, font=font)
        draw.text((wide - MARGIN, rows + 29), seconds_text(most), fill=INK, font=font, anchor="ra")
        title = f"time per {what}"
        if font.getlength(title) / 2 + MARGIN < wide / 2 - MARGIN - max(font.getlength(seconds_text(s)) for s in (least, most)):
            draw.text((wide / 2, rows + 29), title, fill=FAINT, font=font, anchor="ma")
    if before:
        _swatch(board, QUIET, MARGIN, rows + 50)
        draw.text((MARGIN + 28, rows + 49), BEFORE_TEXT, fill=INK, font=font)
    _save(board, path)


def draw_nodes(columns: int, rows: int, cells: Sequence[Cell], nodes: Mapping[str, str], order: Sequence[str], path: Path) -> None:
    """``nodes``: region's name -> node's name; ``order``: all names of nodes, a node's number is its place there."""
    numbers = {node: number for number, node in enumerate(order)}

    def paint(name: str, rect: Rect) -> Pixels | Colour | None:
        if name == BEFORE:
            return QUIET
        return node_pattern(numbers[nodes[name]], rect) if name in nodes else None

    map_ = _map(columns, rows, cells, paint)
    wide = max(columns, LEAST_WIDTH)
    made: dict[str, int] = dict.fromkeys(order, 0)
    for name in nodes:
        made[nodes[name]] += 1
    entries, high = _flow(order, made, wide)
    before = _has_before(cells)
    if before:
        high += 20
    board, draw, font = _board(wide, rows, high)
    _centred(board, map_)
    for number, text, x, y in entries:
        if number is not None:
            _swatch(board, node_pattern(number, (0, 0, 20, 12)), x, rows + y)
        draw.text((x + (28 if number is not None else 0), rows + y - 1), text, fill=INK, font=font)
    if before:
        _swatch(board, QUIET, MARGIN, rows + high - 24)
        draw.text((MARGIN + 28, rows + high - 25), BEFORE_TEXT, fill=INK, font=font)
    _save(board, path)


def seconds_text(seconds: float) -> str:
    if seconds >= 90:
        return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"
    return f"{seconds:.0f} s" if seconds >= 20 else f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"


def _flow(order: Sequence[str], made: Mapping[str, int], wide: int) -> tuple[list[tuple[int | None, str, int, int]], int]:
    """The legend's entries with their places, line by line, and its height."""
    font = _font()
    entries: list[tuple[int | None, str, int, int]] = []
    x, y = MARGIN, 11
    for node in sorted(order[:MOST_NAMES], key=_natural):
        number = order.index(node)
        plain = _plain(node)
        short = plain if len(plain) <= LONGEST_NAME else f"{plain[: LONGEST_NAME - 3]}..."
        text = f"{short} ({made[node]})"
        room = 28 + round(font.getlength(text))
        if x > MARGIN and x + room > wide - MARGIN:
            x, y = MARGIN, y + 20
        entries.append((number, text, x, y))
        x += room + 16
    if len(order) > MOST_NAMES:
        entries.append((None, f"and {len(order) - MOST_NAMES} more", MARGIN, y := y + 20))
    return entries, y + 24


def _has_before(cells: Sequence[Cell]) -> bool:
    return any(name == BEFORE for name, _ in cells)


def _swatch(board: Any, colour: Pixels | Colour, x: int, y: int) -> None:
    """A sample of a colour with a frame, for the legend."""
    import numpy as np
    from PIL import Image

    frame = np.full((14, 22, 3), FAINT, np.uint8)
    frame[1:-1, 1:-1] = colour
    board.paste(Image.fromarray(frame), (x, y))


def _plain(name: str) -> str:
    """Pillow's own font has the letters of ASCII: accents go, other letters become question marks."""
    return "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c)).encode("ascii", "replace").decode()


def _natural(name: str) -> list[tuple[int, str]]:
    """node2 comes before node10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _map(columns: int, rows: int, cells: Sequence[Cell], paint: Any) -> Pixels:
    """The cells over the checkerboard, with a line between those that are large enough for one."""
    map_ = checkerboard(0, 0, rows, columns)
    for name, (left, top, right, bottom) in cells:
        colour = paint(name, (left, top, right, bottom))
        if colour is not None:
            map_[top:bottom, left:right] = colour
        if right - left >= 6 and bottom - top >= 6:
            if right < columns:
                map_[top:bottom, right - 1] = PANEL
            if bottom < rows:
                map_[bottom - 1, left:right] = PANEL
    return map_


def _board(wide: int, rows: int, legend: int) -> tuple[Any, ImageDraw, FreeTypeFont | ImageFont]:
    from PIL import Image, ImageDraw

    board = Image.new("RGB", (wide, rows + legend), PANEL)
    return board, ImageDraw.Draw(board), _font()


def _font() -> FreeTypeFont | ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(TEXT)


def _centred(board: Any, map_: Pixels) -> None:
    from PIL import Image

    board.paste(Image.fromarray(map_), ((board.width - map_.shape[1]) // 2, 0))


def _save(board: Any, path: Path) -> None:
    import numpy as np

    save(np.asarray(board), path)
