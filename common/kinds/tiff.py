"""TIFF as a Source, by tifffile: 8, 16 and 32-bit samples, grey or RGB, with or without alpha, by bands of rows.

Read: stored in strips or in tiles, plain, deflated or packed as tifffile does it alone; LZW and JPEG inside of TIFF would need the
library imagecodecs, and are refused with that sentence. Written: strips, deflated, with the difference predictor where samples are whole
numbers; BigTIFF where the raw samples would not fit into 4 GB.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .png import BadPicture
from .raster_form import LETTERS, Shape

if TYPE_CHECKING:
    from .raster_form import Plane

SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
STRIP = 1 << 18
"""Bytes of a strip, about."""
BIG = 4_000_000_000
"""Raw bytes from which the file is a BigTIFF; deflate never adds the 7 % that are left."""
LEVEL = 4
_TYPES = {"uint8": ("u1", 8), "uint16": ("u2", 16), "float16": ("f2", 16), "float32": ("f4", 32)}
_PACKED = {1: "none", 8: "deflate", 32946: "deflate", 32773: "PackBits", 34925: "LZMA"}
"""What tifffile unpacks alone."""
_WORDS = {5: "LZW", 7: "JPEG", 50000: "Zstandard"}
KEPT = (34675, 282, 283, 296, 270, 305, 306, 315, 33432, 700, 271, 272, 301)
"""ICC profile, resolution and its unit, description, software, date, artist, copyright, XMP, make, model, transfer function."""


@dataclass(frozen=True, kw_only=True)
class TiffForm:
    """What tiles have in common."""

    type: str
    channels: int
    extra: tuple[int, ...]
    """0 unspecified, 1 multiplied alpha, 2 straight alpha"""
    white_is_zero: bool

    def __str__(self) -> str:
        return f"{_TYPES_BACK[self.type]}, {', '.join(LETTERS[self.channels])}{' (white is zero)' if self.white_is_zero else ''}"


_TYPES_BACK = {short: name for name, (short, _) in _TYPES.items()}


class TiffSource:
    """The rows of the first picture of a file. Raises BadPicture."""

    def __init__(self, path: Path) -> None:
        tifffile = library("tifffile", extra="images")
        try:
            self._file = tifffile.TiffFile(path)
        except Exception as error:  # tifffile meets damaged numbers with whatever Python says of them
            raise BadPicture(f"its header is damaged ({error})") from error
        try:
            self._page: Any = self._file.pages.first
            self._look()
        except BadPicture:
            self._file.close()
            raise
        except Exception as error:
            self._file.close()
            raise BadPicture(f"its header is damaged ({error})") from error
        self._done = self._segment = 0
        self._kept: Plane | None = None

    def _look(self) -> None:
        page = self._page
        packed = int(page.compression)
        if packed not in _PACKED:
            raise BadPicture(f"its compression, {_WORDS.get(packed, packed)}, is not read here; write it uncompressed or deflated")
        if int(page.predictor) == 3:
            raise BadPicture("its predictor for floating point is not read here; write it without, or as OpenEXR")
        channels = page.samplesperpixel
        if str(page.dtype) not in _TYPES or channels not in LETTERS or int(page.photometric) not in (0, 1, 2) or page.imagedepth != 1:
            raise BadPicture(f"its form ({page.dtype}, {channels} samples, {page.photometric.name}) is not read here")
        if int(page.planarconfig) != 1 and channels > 1:
            raise BadPicture("it stores each colour apart, which is not read here")
        if not page.imagewidth or not page.imagelength:
            raise BadPicture("it is empty: it has no pixels")
        if (int(page.photometric) == 2 and channels < 3) or (int(page.photometric) != 2 and channels > 2):
            raise BadPicture("it has more samples than its colours need")
        if len(self._file.pages) > 1:
            raise BadPicture("it holds several pictures; only files of one are read here")
        kind, bits = _TYPES[str(page.dtype)]
        extra = tuple(int(sample) for sample in page.extrasamples)
        self.form = TiffForm(type=kind, channels=channels, extra=extra, white_is_zero=int(page.photometric) == 0)
        self.shape = Shape(
            width=page.imagewidth, height=page.imagelength, bits=bits, floating=kind[0] == "f", channels=LETTERS[channels], format="tiff"
        )
        self.planes: tuple[tuple[str, tuple[int, ...]], ...] = ((kind, (channels,)),)
        self.gamma = 1.0 if kind[0] == "f" else 0.0
        self.straight = extra == (2,)
        self._tall = page.tilelength if page.is_tiled else min(page.rowsperstrip, page.imagelength)
        self._across = -(-page.imagewidth // page.tilewidth) if page.is_tiled else 1
        self.block = 1

    def read(self, rows: int) -> list[Plane]:
        import numpy as np

        rows = min(rows, self.shape.height - self._done)
        parts = [] if self._kept is None else [self._kept]
        while sum(map(len, parts)) < rows:
            parts.append(self._next())
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        self._kept = whole[rows:]
        self._done += rows
        return [whole[:rows]]

    def _next(self) -> Plane:
        """The next strip, or row of tiles."""
        import numpy as np

        page = self._page
        top = self._segment * self._tall
        rows = min(self._tall, self.shape.height - top)
        out = np.zeros((rows, self.shape.width, self.form.channels), self.form.type)
        for column in range(self._across):
            index = self._segment * self._across + column
            try:
                offset, size = page.dataoffsets[index], page.databytecounts[index]
                self._file.filehandle.seek(offset)
                data = self._file.filehandle.read(size)
                if len(data) != size or not size:
                    raise BadPicture("it is cut short")
                pixels, at, shape = page.decode(data, index)
            except BadPicture:
                raise
            except Exception as error:  # zlib.error, lzma's, ValueError of a reshape: what a codec says of damaged data
                raise BadPicture(f"its data are damaged ({error})") from error
            left = at[-2]
            high, wide = min(shape[1], rows), min(shape[2], self.shape.width - left)
            if pixels is None or pixels.shape[1] < high or pixels.shape[2] < wide:
                raise BadPicture("its data are cut short")
            out[:high, left : left + wide] = pixels[0, :high, :wide]
        self._segment += 1
        return out

    def end(self) -> None:
        """A TIFF has no end to look at: its parts may lie anywhere."""

    def write(self, to: Path, width: int, height: int, bands: Iterator[list[Plane]]) -> None:
        tifffile = library("tifffile", extra="images")
        form = self.form
        stride = width * form.channels * int(form.type[1])
        rows = max(1, min(height, STRIP // stride))
        predictor = 2 if form.type[0] == "u" else 1
        with tifffile.TiffWriter(to, bigtiff=stride * height >= BIG, byteorder="<") as file:
            file.write(
                _strips(bands, rows, predictor, form.type),
                shape=(height, width, form.channels) if form.channels > 1 else (height, width),
                dtype=form.type,
                photometric="rgb" if form.channels > 2 else "miniswhite" if form.white_is_zero else "minisblack",
                planarconfig="contig" if form.channels > 1 else None,
                extrasamples=form.extra or None,
                rowsperstrip=rows,
                compression="zlib",
                predictor=predictor,
                software=False,
                metadata=None,
                extratags=self._tags(),
                **self._resolution(),
            )

    def _tags(self) -> list[tuple[int, int, int, Any, bool]]:
        found = []
        for code in KEPT:
            tag = self._page.tags.get(code)
            if tag is not None and code not in (282, 283, 296):
                found.append((code, int(tag.dtype), tag.count, tag.value, True))
        return found

    def _resolution(self) -> dict[str, Any]:
        tags = self._page.tags
        if 282 not in tags or 283 not in tags:
            return {}
        return {"resolution": (tags[282].value, tags[283].value), "resolutionunit": int(tags[296].value) if 296 in tags else 2}

    def close(self) -> None:
        self._file.close()


def write_rows(to: Path, width: int, height: int, bits: int, channels: int, bands: Iterator[Plane]) -> None:
    """A TIFF from bands of samples (rows, width, channels) of 8 or 16 bits, for renderers that write none. Alpha is straight."""
    from ..libraries import library

    kind = f"u{bits // 8}"
    stride = width * channels * bits // 8
    rows = max(1, min(height, STRIP // stride))
    with library("tifffile", extra="images").TiffWriter(to, bigtiff=stride * height >= BIG, byteorder="<") as file:
        file.write(
            _strips(([band] for band in bands), rows, 2, kind),
            shape=(height, width, channels) if channels > 1 else (height, width),
            dtype=kind,
            photometric="rgb" if channels > 2 else "minisblack",
            planarconfig="contig" if channels > 1 else None,
            extrasamples=(2,) if channels in (2, 4) else None,
            rowsperstrip=rows,
            compression="zlib",
            predictor=2,
            software=False,
            metadata=None,
        )


def _strips(bands: Iterator[list[Plane]], rows: int, predictor: int, kind: str) -> Iterator[bytes]:
    """Bands cut anew into strips of exactly ``rows``, each deflated."""
    import numpy as np

    left: Plane | None = None
    for (band,) in bands:
        data = band if left is None else np.concatenate((left, band))
        whole = len(data) // rows * rows
        for at in range(0, whole, rows):
            yield _strip(data[at : at + rows], predictor, kind)
        left = data[whole:]
    if left is not None and len(left):
        yield _strip(left, predictor, kind)


def _strip(rows: Plane, predictor: int, kind: str) -> bytes:
    """Deflated; each sample less the one to its left of the same channel, where the predictor says so."""
    data = rows.astype("<" + kind)
    if predictor == 2:
        data[:, 1:] -= rows[:, :-1]
    return zlib.compress(data.tobytes(), LEVEL)
