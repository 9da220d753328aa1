"""Pieces of pictures put together by bands of rows: what joining, cropping and montage have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from . import exr, jpeg, png, tiff
from .png import BadPicture
from .png_rows import PngSource
from .raster_form import BAND, FORMATS, Source, Spot

if TYPE_CHECKING:
    from .raster_form import Plane

MOST_OPEN = 128
"""Pieces from which PNG files are loaded into memory, still packed, while their rows are joined: a process may have 1,024 files open."""


def open_source(path: Path, *, load: bool = False) -> Source:
    """The rows of a PNG, TIFF or OpenEXR file, by its content. Raises BadPicture."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(png.SIGNATURE):
        return PngSource(path, load=load)
    if head.startswith(exr.MAGIC):
        from .exr_rows import ExrSource

        return ExrSource(path)
    if head.startswith(tiff.SIGNATURES):
        return tiff.TiffSource(path)
    if head.startswith(jpeg.SIGNATURE):
        raise BadPicture("it is a JPEG, whose pixels cannot be kept as they are; let the renderer write PNG, TIFF or OpenEXR")
    raise BadPicture("it is no PNG, JPEG, TIFF or OpenEXR picture" if head else "it is empty")


def assemble(spots: Sequence[Spot], width: int, height: int, to: Path, *, holes: bool = False) -> None:
    """Put pieces of one form together, into a file like the first. Raises BadPicture naming the piece, or rows not covered once."""
    _check_cover(spots, width, height, holes)
    first = _named(spots[0], width, height, False)
    try:
        rows = max(1, BAND // max(1, first.source.block * width * first.source.shape.pixel)) * first.source.block
        first.source.write(to, width, height, _bands(spots, (width, height), rows, first.source))
    finally:
        first.source.close()


class _Piece:
    """An open source, from whose rows the spot's columns are taken."""

    def __init__(self, spot: Spot, source: Source, width: int, height: int) -> None:
        self.spot, self.source = spot, source
        left, top, right, bottom = spot.rect
        wide, high = right - left, bottom - top
        self.left, at = _place(spot, source, wide, high, (width, height))
        shape = source.shape
        if self.left < 0 or at < 0 or self.left + wide > shape.width or at + high > shape.height:
            taken = f"{wide} x {high} are to be taken from ({self.left}, {at}) on"
            raise BadPicture(f"it is {shape.width} x {shape.height} pixels where {taken}")
        self.width = wide
        self._skip(at)

    def read(self, rows: int) -> list[Plane]:
        return [plane[:, self.left : self.left + self.width] for plane in self.source.read(rows)]

    def _skip(self, rows: int) -> None:
        step = max(1, BAND // (self.source.shape.width * self.source.shape.pixel))
        for at in range(0, rows, step):
            self.source.read(min(step, rows - at))


def _place(spot: Spot, source: Source, wide: int, high: int, whole: tuple[int, int]) -> tuple[int, int]:
    """Where the spot begins in its file: said; or the file is just the spot; or it is a picture of the whole size, perhaps cut down."""
    if spot.left is not None and spot.top is not None:
        return spot.left, spot.top
    shape = source.shape
    if (shape.width, shape.height) == (wide, high):
        return 0, 0
    parts = getattr(source, "parts", None)
    window, display = (parts[0].window, parts[0].display) if parts else ((0, 0), (0, 0, shape.width, shape.height))
    if (display[2] - display[0], display[3] - display[1]) != whole:
        raise BadPicture(f"it is {shape.width} x {shape.height} pixels instead of {wide} x {high}")
    return spot.rect[0] + display[0] - window[0], spot.rect[1] + display[1] - window[1]


def _named(spot: Spot, width: int, height: int, load: bool) -> _Piece:
    try:
        source = open_source(spot.path, load=load)
        try:
            return _Piece(spot, source, width, height)
        except BaseException:
            source.close()
            raise
    except BadPicture as error:
        raise _said(spot, error) from error


def _said(spot: Spot, error: object) -> BadPicture:
    left, top, right, bottom = spot.rect
    return BadPicture(f"the piece for columns {left} to {right - 1}, rows {top} to {bottom - 1} ({spot.path.name}): {error}")


def _bands(spots: Sequence[Spot], size: tuple[int, int], rows: int, first: Source) -> Iterator[list[Plane]]:
    """The joined picture, ``rows`` at a time; pieces are opened when their first row comes and closed after their last."""
    import numpy as np

    width, height = size
    waiting = sorted(spots, key=lambda spot: (spot.rect[1], spot.rect[0]), reverse=True)
    load = len(spots) > MOST_OPEN
    active: list[_Piece] = []
    kinds = first.planes
    try:
        for y in range(0, height, rows):
            end = min(height, y + rows)
            while waiting and waiting[-1].rect[1] < end:
                piece = _named(waiting.pop(), width, height, load)
                active.append(piece)
                if (piece.source.shape.format, piece.source.form) != (first.shape.format, first.form):
                    raise _said(piece.spot, f"it is {_form(piece.source)} where the first piece is {_form(first)}")
            out: list[Plane] = [np.zeros((end - y, width, *rest), kind) for kind, rest in kinds]
            for piece in active:
                left, top, right, bottom = piece.spot.rect
                above, below = max(y, top), min(end, bottom)
                try:
                    for plane, part in zip(out, piece.read(below - above), strict=True):
                        plane[above - y : below - y, left:right] = part
                    if below == bottom == top + piece.source.shape.height:
                        piece.source.end()
                except BadPicture as error:
                    raise _said(piece.spot, error) from error
            for piece in active:
                if piece.spot.rect[3] <= end:
                    piece.source.close()
            active = [piece for piece in active if piece.spot.rect[3] > end]
            yield out
    finally:
        for piece in active:
            piece.source.close()


def _form(source: Source) -> str:
    return f"{FORMATS[source.shape.format]}, {source.shape.bits} bits, {', '.join(source.shape.channels)}"


def _check_cover(spots: Sequence[Spot], width: int, height: int, holes: bool) -> None:
    """Raise BadPicture where a piece sticks out, or where a row of pixels is not covered exactly once (``holes``: at most once)."""
    if not spots or width < 1 or height < 1:
        raise BadPicture("there is nothing to join")
    edges = {0, height}
    for spot in spots:
        left, top, right, bottom = spot.rect
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise _said(spot, f"it lies outside of the picture of {width} x {height}")
        edges |= {top, bottom}
    bounds = sorted(edges)
    starting: dict[int, list[Spot]] = {}
    for spot in spots:
        starting.setdefault(spot.rect[1], []).append(spot)
    here: list[Spot] = []
    for y, end in pairwise(bounds):
        here = sorted([spot for spot in here if spot.rect[3] > y] + starting.get(y, []), key=lambda spot: spot.rect[0])
        at = 0
        for spot in here:
            if spot.rect[0] < at:
                raise _said(spot, "another piece is there already")
            if spot.rect[0] > at and not holes:
                break
            at = spot.rect[2]
        if at != width and not holes:
            raise BadPicture(f"no piece covers the pixels from column {at} on in the rows {y} to {end - 1}")
