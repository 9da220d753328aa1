"""PNG as a Source: 8 and 16 bits, grey or RGB, with or without alpha, any filter; what its chunks say of colour and size is kept."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .png import SIGNATURE, BadPicture, FilteredRows, Format
from .raster_form import LETTERS, Shape

if TYPE_CHECKING:
    from .raster_form import Plane

KEPT = (b"gAMA", b"sRGB", b"cHRM", b"iCCP", b"cICP", b"mDCV", b"cLLI", b"sBIT", b"bKGD", b"pHYs", b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks that say the same of a tile and of the whole. Not oFFs and tIME."""
SRGB = ((b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\x00"))
_MOST = 1 << 24
"""Bytes of a chunk that is kept."""
_SCREEN = 2.2


class PngSource:
    """The rows of one file. Raises BadPicture for palettes, interlace and depths below 8 bits: those are not joined."""

    block = 1

    def __init__(self, path: Path, *, load: bool = False) -> None:
        self._rows = FilteredRows(path, load=load)
        try:
            self._extra = kept_chunks(path)
        except BaseException:
            self._rows.close()
            raise
        self._form = form = self._rows.form
        self.form = (form.bits, form.channels)
        self.planes: tuple[tuple[str, tuple[int, ...]], ...] = ((_samples(form), (form.channels,)),)
        self.shape = png_shape(form.width, form.height, form.bits, form.channels)
        self.gamma = _gamma(dict(self._extra))
        self.straight = form.channels in (2, 4)
        self._above: Plane | None = None
        self._done = 0

    def read(self, rows: int) -> list[Plane]:
        import numpy as np

        from .images import unfilter

        form = self._form
        rows = min(rows, form.height - self._done)
        raw = np.frombuffer(self._rows.read(rows), np.uint8).reshape(rows, form.stride + 1)
        above = np.zeros(form.stride, np.uint8) if self._above is None else self._above
        data = unfilter(raw[:, 0], raw[:, 1:], above, form.pixel)
        self._above = data[-1]
        self._done += rows
        return [data.view(_samples(form)).reshape(rows, form.width, form.channels)]

    def end(self) -> None:
        self._rows.check_end()

    def write(self, to: Path, width: int, height: int, bands: Iterator[list[Plane]]) -> None:
        write_png(to, Format(width=width, height=height, bits=self._form.bits, channels=self._form.channels), self._extra, bands)

    def close(self) -> None:
        self._rows.close()


def write_png(to: Path, form: Format, extra: list[tuple[bytes, bytes]], bands: Iterator[list[Plane]]) -> None:
    """A PNG from bands of one plane (rows, width, channels), of uint8 or of uint16 in any byte order."""
    from .images import PictureWriter

    with PictureWriter(to, form, extra) as picture:
        for (band,) in bands:
            rows = band.astype(_samples(form), copy=False)
            picture.rows(rows.reshape(len(rows), -1).view("u1"))


def check_png(path: Path) -> None:
    """Raise BadPicture where anything of the file is missing, damaged or too much: all of it is inflated, and every sum is checked."""
    with FilteredRows(path) as rows:
        for band in rows.bands():
            if max(band[:: rows.form.stride + 1]) > 4:
                raise BadPicture("a row has an unknown filter")


def png_shape(width: int, height: int, bits: int, channels: int) -> Shape:
    return Shape(width=width, height=height, bits=bits, floating=False, channels=LETTERS[channels], format="png")


def is_plain(path: Path) -> bool:
    """Whether a PNG is of a sort that is joined; else pillow reads it."""
    with path.open("rb") as file:
        head = file.read(33)
    return len(head) < 33 or (head[24] in (8, 16) and head[25] in (0, 2, 4, 6) and head[26:29] == b"\0\0\0")


def kept_chunks(path: Path) -> list[tuple[bytes, bytes]]:
    """The chunks of KEPT, in the file's order; the pixels between them are skipped. Raises BadPicture."""
    found = []
    size = path.stat().st_size
    with path.open("rb") as file:
        at = len(SIGNATURE)
        while at + 12 <= size:
            file.seek(at)
            length, tag = struct.unpack(">I4s", file.read(8))
            if tag in KEPT and length <= _MOST:
                data = file.read(length)
                if len(data) != length:
                    raise BadPicture("it is cut short")
                found.append((tag, data))
            at += length + 12
    return found


def _samples(form: Format) -> str:
    return "u1" if form.bits == 8 else ">u2"


def _gamma(chunks: dict[bytes, bytes]) -> float:
    """What Source.gamma says. A profile or sRGB beats gAMA; values about 1/2.2 are what screens want."""
    said = chunks.get(b"gAMA", b"")
    if b"sRGB" in chunks or b"iCCP" in chunks or b"cICP" in chunks or len(said) != 4:
        return 0.0
    gamma = 100_000 / max(1, struct.unpack(">I", said)[0])
    return 0.0 if abs(gamma - _SCREEN) < 0.1 else min(10.0, gamma)
