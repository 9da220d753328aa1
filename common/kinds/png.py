"""PNG files by bands, in plain Python: chunks, checks, and what a tile on its way to the server looks like.

A tile is a PNG whose rows all carry filter 2 (Up), deflated at level 1: any viewer opens it, and with this one filter both
directions are a single operation over the whole band. The subtraction of 2 * 10**6 bytes at once is done on two big
integers, so that a node needs no numpy. images.py has the general reader and writer, which use it.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

SIGNATURE = b"\x89PNG\r\n\x1a\n"
UP = 2
_BAND = 1 << 21
_CHUNK = 1 << 18
_LONGEST = 1 << 30
_COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
_CHANNELS = {colour: channels for channels, colour in _COLOURS.items()}


class BadPicture(ValueError):
    """A PNG that is cut short, damaged or of a sort that is not read here."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A picture's form. ``channels``: 1 grey, 2 grey with alpha, 3 RGB, 4 RGB with alpha."""

    width: int
    height: int
    bits: int
    channels: int

    @property
    def pixel(self) -> int:
        """Bytes."""
        return self.channels * self.bits // 8

    @property
    def stride(self) -> int:
        """Bytes of a row."""
        return self.width * self.pixel

    def band(self, size: int = _BAND) -> int:
        """Rows of about ``size`` bytes together."""
        return max(1, size // self.stride)

    def __str__(self) -> str:
        colours = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGB with alpha"}[self.channels]
        return f"{self.width} x {self.height}, {self.bits} bits, {colours}"


class ChunkWriter:
    """The file around deflated rows: header chunks, IDAT, IEND. ``rows()`` takes filtered rows, each with its filter byte in front."""

    def __init__(self, path: Path, form: Format, *, level: int, extra: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._file = path.open("wb")
        self._packer = zlib.compressobj(level, zlib.DEFLATED, 15, 9)
        self._pending = bytearray()
        self._file.write(SIGNATURE)
        self._chunk(b"IHDR", struct.pack(">IIBBBBB", form.width, form.height, form.bits, _COLOURS[form.channels], 0, 0, 0))
        for tag, data in extra:
            self._chunk(tag, data)

    def rows(self, data: bytes) -> None:
        self._pending += self._packer.compress(data)
        while len(self._pending) >= _CHUNK:
            self._chunk(b"IDAT", bytes(self._pending[:_CHUNK]))
            del self._pending[:_CHUNK]

    def finish(self) -> None:
        self._pending += self._packer.flush()
        if self._pending:
            self._chunk(b"IDAT", bytes(self._pending))
            self._pending.clear()
        self._chunk(b"IEND", b"")

    def __enter__(self) -> ChunkWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self._file.close()

    def _chunk(self, tag: bytes, data: bytes) -> None:
        self._file.write(struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(tag))))


def write_tile(path: Path, form: Format, rows: Iterable[bytes]) -> None:
    """Write rows of samples (big-endian, without filter bytes) as a tile. Raises BadPicture where they are not ``form.height`` many."""
    done = 0
    above = bytes(form.stride)
    with ChunkWriter(path, form, level=1) as file:
        band: list[bytes] = []
        for row in rows:
            band.append(row)
            done += 1
            if len(band) == form.band():
                file.rows(_up(above, band))
                above, band = band[-1], []
        if band:
            file.rows(_up(above, band))
    if done != form.height:
        raise BadPicture(f"{done} of {form.height} rows")


def _up(above: bytes, rows: list[bytes]) -> bytes:
    """Each byte less the one above it, with filter bytes: one subtraction modulo 256 in all lanes of two long integers."""
    stride = len(above)
    size = stride * len(rows)
    here = int.from_bytes(b"".join(rows), "little")
    over = int.from_bytes(b"".join((above, *rows[:-1])), "little")
    high = int.from_bytes(b"\x80" * size, "little")
    low = high ^ ((1 << 8 * size) - 1)
    # without borrow between lanes: the seven low bits with the eighth set, then the eighth bit apart
    less = ((here | high) - (over & low)) ^ ((here ^ over ^ high) & high)
    data = less.to_bytes(size, "little")
    return b"".join(b"\x02" + data[at : at + stride] for at in range(0, size, stride))


class FilteredRows:
    """Reads a PNG's rows as they are stored, filter byte first, without holding the picture. Every check of the format is here.

    ``load``: take the file into memory, still packed, and keep nothing open: for hundreds at a time.
    """

    def __init__(self, path: Path, *, load: bool = False) -> None:
        self._file: BinaryIO = io.BytesIO(path.read_bytes()) if load else path.open("rb")
        self._left = path.stat().st_size
        self._unpacker = zlib.decompressobj()
        self._bytes = bytearray()
        self._rows = 0
        self._input = b""
        self._ended = False
        try:
            self.form = self._header()
        except BaseException:
            self._file.close()
            raise

    def read(self, rows: int) -> bytes:
        """The next ``rows`` rows, fewer at the end. Raises BadPicture."""
        rows = min(rows, self.form.height - self._rows)
        wanted = rows * (self.form.stride + 1)
        while len(self._bytes) < wanted:
            self._more(wanted - len(self._bytes))
        data = bytes(self._bytes[:wanted])
        del self._bytes[:wanted]
        self._rows += rows
        return data

    def bands(self) -> Iterator[bytes]:
        """All rows that are left, in bands; then the end is checked."""
        while self._rows < self.form.height:
            yield self.read(self.form.band())
        self.check_end()

    def check_end(self) -> None:
        """Raise BadPicture where anything but the end comes now."""
        while not self._ended:
            self._more(1)
            if self._bytes:
                raise BadPicture("it holds more rows than it says")
        if not self._unpacker.eof:
            raise BadPicture("its data are cut short")
        if self._left:
            raise BadPicture("something follows its end")

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> FilteredRows:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _header(self) -> Format:
        if self._take(len(SIGNATURE)) != SIGNATURE:
            raise BadPicture("it is no PNG file")
        tag, data = self._chunk()
        if tag != b"IHDR" or len(data) != 13:
            raise BadPicture("it does not begin with IHDR")
        width, height, bits, colour, *methods = struct.unpack(">IIBBBBB", data)
        if bits not in (8, 16) or colour not in _CHANNELS or methods != [0, 0, 0] or not width or not height:
            raise BadPicture(f"its form ({width} x {height}, {bits} bits, colour type {colour}) is not read here")
        return Format(width=width, height=height, bits=bits, channels=_CHANNELS[colour])

    def _more(self, wanted: int) -> None:
        if not self._input:
            if self._ended:
                raise BadPicture("its data are cut short")
            tag, data = self._chunk()
            if tag == b"IEND":
                self._ended = True
            elif tag == b"IDAT":
                self._input = data
            return
        try:
            self._bytes += self._unpacker.decompress(self._input, max(wanted, 4096))
        except zlib.error as error:
            raise BadPicture(f"its data are damaged ({error})") from error
        self._input = self._unpacker.unconsumed_tail
        if self._unpacker.eof:
            self._input = b""

    def _chunk(self) -> tuple[bytes, bytes]:
        length, tag = struct.unpack(">I4s", self._take(8))
        if length > min(_LONGEST, self._left):
            raise BadPicture("it is cut short")
        data = self._take(length)
        (check,) = struct.unpack(">I", self._take(4))
        if check != zlib.crc32(data, zlib.crc32(tag)):
            raise BadPicture(f"its chunk {tag!r} is damaged")
        return tag, data

    def _take(self, size: int) -> bytes:
        data = _read(self._file, size)
        self._left -= size
        return data


def _read(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise BadPicture("it is cut short")
    return data


def check_tile(path: Path, form: Format) -> None:
    """Raise BadPicture where ``path`` is not a whole tile of this form, as write_tile() makes them."""
    with FilteredRows(path) as rows:
        if rows.form != form:
            raise BadPicture(f"it is {rows.form} instead of {form}")
        for band in rows.bands():
            filters = band[:: form.stride + 1]
            if filters.strip(bytes([UP])):
                raise BadPicture("its rows are not filtered as a tile's are")
