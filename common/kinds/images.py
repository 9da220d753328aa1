"""Joining tiles into one PNG by bands of rows, in the same memory for any size; numpy is loaded where it is needed.

The reader takes any filter that libpng chooses. Paeth and Average depend on the pixel to the left and on the row above, so
they are undone along diagonals: all pixels of one diagonal at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .png import BadPicture, ChunkWriter, FilteredRows, Format

if TYPE_CHECKING:
    from numpy import ndarray

    Bytes = ndarray[Any, Any]
    """uint8, (rows, bytes of a row)"""

BAND = 4 << 20
"""Bytes of a band of the joined picture."""
FAST_FROM = 1 << 26
"""Pixels from which a picture is written with one filter at a low level: the best effort would take minutes."""
_SOFTWARE = b"Software\x00POV-Ray, joined by ClusterRay"


def gamma_chunks(bits: int, channels: int, file_gamma: str) -> list[tuple[bytes, bytes]]:
    """The chunks that POV-Ray writes for this ``file_gamma`` (``sRGB`` or a number): gAMA, sRGB, sBIT, oFFs."""
    gamma = 2.2 if file_gamma == "sRGB" else float(file_gamma)
    chunks = [(b"gAMA", struct.pack(">I", int(100_000 / gamma + 0.5)))]
    if file_gamma == "sRGB":
        chunks.append((b"sRGB", b"\x00"))
    return [*chunks, (b"sBIT", bytes([bits]) * channels), (b"oFFs", bytes(9)), (b"tEXt", _SOFTWARE)]


class TileReader:
    """The rows of a tile, as arrays, band by band. Raises BadPicture."""

    def __init__(self, path: Path, *, load: bool = False) -> None:
        self._rows = FilteredRows(path, load=load)
        self.form = self._rows.form
        self._above: Bytes | None = None

    def read(self, rows: int) -> Bytes:
        """The next rows without filter bytes."""
        import numpy as np

        raw = np.frombuffer(self._rows.read(rows), np.uint8).reshape(-1, self.form.stride + 1)
        data = raw[:, 1:].copy()
        if self._above is not None:
            data[0] += self._above
        np.add.accumulate(data, axis=0, out=data)
        self._above = data[-1].copy()
        return data

    def close(self) -> None:
        self._rows.close()

    def __enter__(self) -> TileReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def any_rows(path: Path) -> Iterator[Bytes]:
    """The rows of any 8 or 16 bit PNG without interlace, as arrays (rows, bytes of a row), in bands. Raises BadPicture."""
    import numpy as np

    with FilteredRows(path) as rows:
        above = np.zeros(rows.form.stride, np.uint8)
        for band in rows.bands():
            raw = np.frombuffer(band, np.uint8).reshape(-1, rows.form.stride + 1)
            data = unfilter(raw[:, 0], raw[:, 1:], above, rows.form.pixel)
            above = data[-1]
            yield data


def unfilter(filters: Bytes, rows: Bytes, above: Bytes, pixel: int) -> Bytes:
    """Undo PNG filters: ``filters`` (rows,), ``rows`` (rows, bytes), ``above`` the row before the first. Raises BadPicture."""
    import numpy as np

    if filters.max(initial=0) > 4:
        raise BadPicture("a row has an unknown filter")
    out = np.empty_like(rows)
    at = 0
    while at < len(rows):
        here = int(filters[at])
        end = at + 1
        while end < len(rows) and (int(filters[end]) == here if here < 3 else int(filters[end]) >= 3):
            end += 1
        block = rows[at:end]
        if here == 0:
            out[at:end] = block
        elif here == 1:
            pixels = block.reshape(len(block), -1, pixel)
            out[at:end] = np.add.accumulate(pixels, axis=1, dtype=np.uint8).reshape(block.shape)
        elif here == 2:
            out[at:end] = np.add.accumulate(block, axis=0, dtype=np.uint8) + above
        else:
            out[at:end] = _diagonals(filters[at:end], block, above, pixel)
        above = out[end - 1]
        at = end
    return out


def _diagonals(filters: Bytes, rows: Bytes, above: Bytes, pixel: int) -> Bytes:
    """Average (3) and Paeth (4): on diagonal d lie the pixels (y, d - y), which depend on diagonals d - 1 and d - 2 alone.

    Arrays are skewed, ``skewed[d + 2, y + 1]``, so that a diagonal is a slice; row 0 is ``above``, and left of the picture is 0.
    """
    import numpy as np

    count, width = len(rows), rows.shape[1] // pixel
    skewed = np.zeros((width + count + 2, count + 1, pixel), np.int16)
    source = np.zeros((width + count + 2, count + 1, pixel), np.int16)
    ys, xs = np.mgrid[0:count, 0:width]
    source[ys + xs + 2, ys + 1] = rows.reshape(count, width, pixel)
    skewed[np.arange(width) + 1, 0] = above.reshape(width, pixel)
    paeth = np.concatenate(([False], filters == 4))[:, None]
    for d in range(2, width + count + 1):
        first, last = max(1, d - 1 - width + 1), min(count, d - 1)
        here = slice(first, last + 1)
        left, up, corner = skewed[d - 1, here], skewed[d - 1, first - 1 : last], skewed[d - 2, first - 1 : last]
        guess = left + up - corner
        to_left, to_up, to_corner = np.abs(guess - left), np.abs(guess - up), np.abs(guess - corner)
        best = np.where((to_left <= to_up) & (to_left <= to_corner), left, np.where(to_up <= to_corner, up, corner))
        skewed[d, here] = (source[d, here] + np.where(paeth[here], best, (left + up) >> 1)) & 255
    straight: Bytes = skewed[ys + xs + 2, ys + 1].reshape(rows.shape).astype(np.uint8)
    return straight


class PictureWriter:
    """A PNG from bands of unfiltered rows; filter and level suit the size."""

    def __init__(self, path: Path, form: Format, extra: list[tuple[bytes, bytes]]) -> None:
        self._form = form
        self._big = form.width * form.height >= FAST_FROM
        self._file = ChunkWriter(path, form, level=2 if self._big else 6, extra=extra)
        self._above: Bytes | None = None

    def rows(self, data: Bytes) -> None:
        """Write the next rows, uint8 (rows, bytes of a row)."""
        import numpy as np

        above = np.zeros((1, self._form.stride), np.uint8) if self._above is None else self._above
        over = np.concatenate((above, data[:-1]))
        out = np.empty((len(data), self._form.stride + 1), np.uint8)
        up = data - over
        if self._big:
            out[:, 0], out[:, 1:] = 2, up
        else:
            left = _shifted(data, self._form.pixel)
            candidates = np.stack((data - left, up, data - _paeth(left, over, _shifted(over, self._form.pixel))))
            # the usual heuristic: the filter whose differences, taken as signed, are smallest together
            costs = np.abs(candidates.view(np.int8).astype(np.int16)).sum(axis=2, dtype=np.int64)
            best = costs.argmin(axis=0)
            out[:, 0] = np.array([1, 2, 4], np.uint8)[best]
            out[:, 1:] = candidates[best, np.arange(len(data))]
        self._above = data[-1:].copy()
        self._file.rows(out.tobytes())

    def __enter__(self) -> PictureWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.__exit__(kind, error, trace)


def _shifted(data: Bytes, pixel: int) -> Bytes:
    """The bytes one pixel to the left, 0 at the edge."""
    import numpy as np

    left = np.zeros_like(data)
    left[:, pixel:] = data[:, :-pixel]
    return left


def _paeth(left: Bytes, up: Bytes, corner: Bytes) -> Bytes:
    import numpy as np

    a, b, c = (side.astype(np.int16) for side in (left, up, corner))
    to_a, to_b, to_c = np.abs(b - c), np.abs(a - c), np.abs(a + b - 2 * c)
    best: Bytes = np.where((to_a <= to_b) & (to_a <= to_c), left, np.where(to_b <= to_c, up, corner))
    return best
