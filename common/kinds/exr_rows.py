"""OpenEXR as a Source: half, float and whole numbers, layers, parts, any compression, by bands of rows.

A band is read by handing the library a small file in memory with just its chunks, and written by taking the chunks out of a small
file that the library wrote. What was packed with loss (B44, DWA) is written as ZIP, so that no value changes once more.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from . import exr
from .exr import Box, Channel, Part
from .png import BadPicture
from .raster_form import Shape

if TYPE_CHECKING:
    from .raster_form import Plane


class ExrSource:
    """The rows of one file, a plane for each channel of each part. Raises BadPicture."""

    gamma = 1.0
    straight = False

    def __init__(self, path: Path) -> None:
        self._path = path
        self.parts = exr.read_parts(path)
        first = self.parts[0]
        for part in self.parts:
            if part.deep:
                raise BadPicture("it holds deep pixels, which are not read here")
            if part.window != first.window:
                raise BadPicture("its parts are of different sizes")
            if any(channel.sampling != (1, 1) for channel in part.channels):
                raise BadPicture("some of its channels have fewer pixels than others, which is not read here")
        self.names = tuple(name for part in self.parts for name in _names(part, len(self.parts) > 1))
        self.form = tuple((part.name, tuple((channel.name, channel.type) for channel in part.channels)) for part in self.parts)
        channels = [channel for part in self.parts for channel in part.channels]
        self.planes: tuple[tuple[str, tuple[int, ...]], ...] = tuple((exr.TYPES[channel.type][0], ()) for channel in channels)
        self.block = max(exr.LINES[kept_compression(part)] for part in self.parts)
        self.shape = Shape(
            width=first.width,
            height=first.height,
            bits=max(exr.TYPES[channel.type][1] for part in self.parts for channel in part.channels),
            floating=any(channel.type for part in self.parts for channel in part.channels),
            channels=self.names,
            format="exr",
        )
        self._done = 0
        self._kept: list[Plane] = []
        self._next = [0] * len(self.parts)
        self._whole: list[Plane] | None = None

    def read(self, rows: int) -> list[Plane]:
        import numpy as np

        rows = min(rows, self.shape.height - self._done)
        self._done += rows
        if any(part.tiled for part in self.parts):
            if self._whole is None:
                self._whole = _read_whole(self._path, self.parts)
            return [plane[self._done - rows : self._done] for plane in self._whole]
        have = len(self._kept[0]) if self._kept else 0
        if rows > have:
            more = self._decode(self._done - rows + have, rows - have)
            self._kept = [np.concatenate(pair) for pair in zip(self._kept, more, strict=True)] if have else more
        out = [plane[:rows] for plane in self._kept]
        self._kept = [plane[rows:] for plane in self._kept]
        return out

    def end(self) -> None:
        """The table of chunks told all of it when the file was opened."""

    def write(self, to: Path, width: int, height: int, bands: Iterator[list[Plane]]) -> None:
        box = (0, 0, width, height)
        parts = [exr.changed(part, window=box, display=box, compression=kept_compression(part)) for part in self.parts]
        write_exr(to, parts, bands)

    def close(self) -> None:
        """Nothing is kept open."""

    def _decode(self, top: int, rows: int) -> list[Plane]:
        """The rows from ``top`` on, at least ``rows``, to the end of a chunk of each part; parts are cut to the same rows."""
        lines = self.block_of_files
        count = -(-rows // lines) * lines
        multi = self.parts[0].multi
        planes: list[Plane] = []
        with self._path.open("rb") as file:
            for part in self.parts:
                each = exr.LINES[part.compression]
                offsets = part.offsets[top // each : -(-(top + count) // each)]
                chunks = [exr.chunk(file, offset, multi) for offset in offsets]
                planes += unpack(part, chunks)
        return planes

    @property
    def block_of_files(self) -> int:
        """Rows after which a chunk ends in every part: all are powers of two."""
        return max(exr.LINES[part.compression] for part in self.parts)


def kept_compression(part: Part) -> int:
    """That of the part, or ZIP where packing again would lose something again."""
    return exr.ZIP if part.compression in exr.LOSSY else part.compression


def write_exr(to: Path, parts: Sequence[Part], bands: Iterator[list[Plane]]) -> None:
    """Write scanline parts, which exr.changed() made; every band but the last of a multiple of the parts' rows per chunk."""
    multi = parts[0].multi
    tables: list[list[int]] = [[] for _ in parts]
    with to.open("wb") as file:
        file.write(exr.header_bytes(parts))
        table = file.tell()
        file.write(bytes(8 * sum(-(-part.height // exr.LINES[part.compression]) for part in parts)))
        at = 0
        for planes in bands:
            rest = list(planes)
            for number, part in enumerate(parts):
                own, rest = rest[: len(part.channels)], rest[len(part.channels) :]
                for y, data in pack(part, part.window[1] + at, own):
                    tables[number].append(file.tell())
                    file.write((struct.pack("<i", number) if multi else b"") + struct.pack("<ii", y, len(data)) + data)
            at += len(planes[0])
        file.seek(table)
        file.write(b"".join(struct.pack(f"<{len(offsets)}Q", *offsets) for offsets in tables))


def unpack(part: Part, chunks: Sequence[tuple[int, bytes]]) -> list[Plane]:
    """The planes of chunks that follow each other. Raises BadPicture."""
    top = chunks[0][0]
    bottom = min(part.window[3], chunks[-1][0] + exr.LINES[part.compression])
    box = (part.window[0], top, part.window[2], bottom)
    small = exr.changed(_bare(part), window=box, display=box, compression=part.compression)
    head = exr.header_bytes([small])
    at = len(head) + 8 * len(chunks)
    table, body = bytearray(), bytearray()
    for y, data in chunks:
        table += struct.pack("<Q", at + len(body))
        body += struct.pack("<ii", y, len(data)) + data
    return _library(io.BytesIO(head + table + body), [part], (box[2] - box[0], bottom - top))


def pack(part: Part, top: int, planes: Sequence[Plane]) -> Iterator[tuple[int, bytes]]:
    """The chunks (first row, packed pixels) of a band whose first row is ``top``."""
    import numpy as np

    OpenEXR = library("OpenEXR", extra="images")  # noqa: N806
    box = (part.window[0], top, part.window[2], top + len(planes[0]))
    corners = (np.array(box[:2], np.int32), np.array([box[2] - 1, box[3] - 1], np.int32))
    header = {
        "type": OpenEXR.scanlineimage,
        "compression": OpenEXR.Compression(part.compression),
        "dataWindow": corners,
        "displayWindow": corners,
    }
    pixels = {
        channel.name: np.ascontiguousarray(plane, dtype=exr.TYPES[channel.type][0])
        for channel, plane in zip(part.channels, planes, strict=True)
    }
    stream = io.BytesIO()
    OpenEXR.File(header, pixels).write(stream)
    yield from _chunks(stream, part, box)


def _chunks(stream: io.BytesIO, part: Part, box: Box) -> Iterator[tuple[int, bytes]]:
    """Take a file apart that the library wrote into memory."""
    data = stream.getvalue()
    count = -(-(box[3] - box[1]) // exr.LINES[part.compression])
    at = 8
    while data[at]:
        kind = data.index(b"\0", at) + 1
        size = data.index(b"\0", kind) + 1
        at = size + 4 + struct.unpack_from("<i", data, size)[0]
    for offset in struct.unpack_from(f"<{count}Q", data, at + 1):
        y, size = struct.unpack_from("<ii", data, offset)
        yield y, data[offset + 8 : offset + 8 + size]


def _read_whole(path: Path, parts: Sequence[Part]) -> list[Plane]:
    return _library(str(path), parts, (parts[0].width, parts[0].height))


def _library(where: Any, parts: Sequence[Part], size: tuple[int, int]) -> list[Plane]:
    """Every channel of every part, unpacked by the library. Raises BadPicture."""
    OpenEXR = library("OpenEXR", extra="images")  # noqa: N806
    planes = []
    try:
        file = OpenEXR.File(where, separate_channels=True)
        for number, part in enumerate(parts):
            found = file.channels(number)
            planes += [found[channel.name].pixels for channel in part.channels]
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise BadPicture(f"its data are damaged ({' '.join(str(error).split())})") from error
    if any(plane.shape != (size[1], size[0]) for plane in planes):
        raise BadPicture("its data are damaged")
    return planes


def _bare(part: Part) -> Part:
    """Only the attributes that every file must have: nothing of the others matters to a band."""
    needed = {
        "pixelAspectRatio": (b"float", struct.pack("<f", 1)),
        "screenWindowCenter": (b"v2f", bytes(8)),
        "screenWindowWidth": (b"float", struct.pack("<f", 1)),
    }
    return replace(part, attributes=needed, multi=False)


def _names(part: Part, several: bool) -> Iterator[str]:
    for channel in part.channels:
        yield f"{part.name}.{channel.name}" if several and part.name and not channel.name.startswith(part.name + ".") else channel.name


def averaged(part: Part, channel: Channel) -> bool:
    """Whether means of this channel make sense: not of ids (Cryptomatte, object and material index)."""
    words = [part.name, *channel.name.split(".")]
    return not any(word.startswith(("Crypto", "crypto", "IndexOB", "IndexMA")) for word in words)
