"""What all raster formats have in common: a picture's form, and how it is read and written by bands of rows.

A Source gives a picture's rows from the top as *planes*, arrays of the same rows: one plane for PNG and TIFF, one for each channel
for OpenEXR. A Source can also write another picture like itself, so that joining, cropping and averaging are written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from numpy import ndarray

    Plane = ndarray[Any, Any]
    """(rows, width) or (rows, width, samples)"""

BAND = 4 << 20
"""Bytes of a band, about."""
FORMATS = {"png": "PNG", "jpeg": "JPEG", "tiff": "TIFF", "exr": "OpenEXR"}
"""Names for people."""
LETTERS = {1: ("Y",), 2: ("Y", "A"), 3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The form of a picture. Of an OpenEXR file, width and height are those of the data window: of the pixels that are there."""

    width: int
    height: int
    bits: int
    """Of a sample; where channels differ, the most."""
    floating: bool
    channels: tuple[str, ...]
    """Y, Y A, R G B or R G B A (C M Y K of a JPEG); an OpenEXR file's own names, with ``part.`` in front where it has several parts."""
    format: str
    """png, jpeg, tiff or exr"""

    @property
    def pixel(self) -> int:
        """Bytes of a pixel, at most."""
        return len(self.channels) * self.bits // 8

    def __str__(self) -> str:
        kind = "floating point" if self.floating else "whole numbers"
        return f"{FORMATS[self.format]}, {self.width} x {self.height}, {self.bits} bits of {kind}, {', '.join(self.channels)}"


class Source(Protocol):
    """An open picture, read once from the top."""

    shape: Shape
    form: Any
    """Pictures can be joined where this is equal; ``str()`` says it to people."""
    block: int
    """write() wants bands of a multiple of this many rows, but for the last."""
    planes: tuple[tuple[str, tuple[int, ...]], ...]
    """Of each plane the numpy type, and what follows (rows, width) in its shape."""
    gamma: float
    """A sample to this power is light; 0: samples are as screens want them (sRGB)."""
    straight: bool
    """Colours are not multiplied by alpha yet."""

    def read(self, rows: int) -> list[Plane]:
        """The next rows, fewer at the end. Raises BadPicture."""

    def end(self) -> None:
        """Raise BadPicture where what follows the last row is not the end."""

    def write(self, to: Path, width: int, height: int, bands: Iterator[list[Plane]]) -> None:
        """A picture of another size, of the same channels, depth, compression and metadata."""

    def close(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Spot:
    """Where a piece goes: the ``rect`` of the result shows ``path`` from its pixel (``left``, ``top``) on; None: find it (see exr.py)."""

    rect: tuple[int, int, int, int]
    path: Path
    left: int | None = None
    top: int | None = None
