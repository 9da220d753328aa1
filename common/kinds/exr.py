"""The outside of an OpenEXR file, in plain Python: header attributes, parts, and the table of chunks.

The library packs and unpacks the pixels of a chunk (exr_rows.py); files are taken apart and put together here, because its Python
interface reads and writes whole files only, because attributes then pass bit for bit whatever their type, and because the
table of chunks tells whether a file is complete. After the "OpenEXR File Layout" of the project's documentation.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from .png import BadPicture

MAGIC = b"v/1\x01"
TILED, LONG_NAMES, DEEP, MULTI = 0x200, 0x400, 0x800, 0x1000
LINES = {0: 1, 1: 1, 2: 1, 3: 16, 4: 32, 5: 16, 6: 32, 7: 32, 8: 32, 9: 256, 10: 256, 11: 32, 12: 256, 13: 1}
"""Rows of a chunk by number of the compression, up to ZSTD (OpenEXR 3.5)."""
LOSSY = frozenset({6, 7, 8, 9})
"""B44, B44A, DWAA, DWAB: writing once more would change the picture once more."""
ZIP = 3
TYPES = {0: ("u4", 32), 1: ("f2", 16), 2: ("f4", 32)}
"""numpy's name and bits by number of the pixel type: uint, half, float."""
_MOST = 1 << 26
"""Bytes of an attribute: Cryptomatte manifests have megabytes."""

Box = tuple[int, int, int, int]
"""left, top, right, bottom, half-open; in the file they are inclusive."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    name: str
    type: int
    """A key of TYPES."""
    rest: bytes = bytes(4) + struct.pack("<ii", 1, 1)
    """pLinear, three bytes of nothing, sampling in x and y, as in the file."""

    @property
    def sampling(self) -> tuple[int, int]:
        x, y = struct.unpack("<ii", self.rest[4:])
        return x, y


@dataclass(frozen=True, kw_only=True)
class Part:
    """The header of one part. ``attributes``: name -> (type, value), raw, in the file's order."""

    attributes: dict[str, tuple[bytes, bytes]]
    channels: tuple[Channel, ...]
    window: Box
    """The data window."""
    display: Box
    compression: int
    tiled: bool
    deep: bool
    multi: bool
    """The file is of the sort that may have several parts."""
    offsets: tuple[int, ...] = field(default=(), repr=False)
    """Where the chunks of a scanline part begin, from the top."""

    @property
    def name(self) -> str:
        return self.attributes.get("name", (b"", b""))[1].decode("utf-8", "replace")

    @property
    def width(self) -> int:
        return self.window[2] - self.window[0]

    @property
    def height(self) -> int:
        return self.window[3] - self.window[1]


def read_parts(path: Path) -> list[Part]:
    """The headers of a file; scanline parts with their tables, each entry of which lies inside the file. Raises BadPicture."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if _take(file, 4) != MAGIC:
            raise BadPicture("it is no OpenEXR file")
        (version,) = struct.unpack("<I", _take(file, 4))
        if version & 0xFF != 2:
            raise BadPicture(f"its version of OpenEXR, {version & 0xFF}, is not known")
        headers = []
        while attributes := _attributes(file):
            headers.append(attributes)
            if not version & MULTI:
                break
        if not headers:
            raise BadPicture("it has no header")
        parts = [_part(attributes, version) for attributes in headers]
        if any(part.tiled or part.deep for part in parts):
            return parts
        return _with_tables(file, parts, size)


def chunk(file: BinaryIO, offset: int, multi: bool) -> tuple[int, bytes]:
    """(first row, packed pixels) of a scanline chunk. Raises BadPicture."""
    file.seek(offset + 4 * multi)
    y, size = struct.unpack("<ii", _take(file, 8))
    return y, _take(file, _positive(size, _MOST << 4))


def header_bytes(parts: Sequence[Part]) -> bytes:
    """Magic, version and the headers, up to where the tables begin."""
    multi = parts[0].multi
    names = [name for part in parts for name in (*part.attributes, *(channel.name for channel in part.channels))]
    version = 2 | MULTI * multi | LONG_NAMES * any(len(name.encode()) > 31 for name in names)
    out = bytearray(MAGIC + struct.pack("<I", version))
    for part in parts:
        for name, (kind, value) in part.attributes.items():
            out += name.encode() + b"\0" + kind + b"\0" + struct.pack("<i", len(value)) + value
        out += b"\0"
    return bytes(out + b"\0" * multi)


def changed(part: Part, *, window: Box, display: Box, compression: int, channels: tuple[Channel, ...] | None = None) -> Part:
    """The same part with another size, stored by scanlines from the top; whatever told of its old storage is left out."""
    attributes = {name: value for name, value in part.attributes.items() if name not in ("tiles", "preview", "chunkCount")}
    channels = part.channels if channels is None else channels
    attributes |= {
        "channels": (b"chlist", b"".join(c.name.encode() + b"\0" + struct.pack("<i", c.type) + c.rest for c in channels) + b"\0"),
        "compression": (b"compression", bytes([compression])),
        "dataWindow": (b"box2i", _box(window)),
        "displayWindow": (b"box2i", _box(display)),
        "lineOrder": (b"lineOrder", b"\0"),
    }
    height = window[3] - window[1]
    if "type" in attributes:
        attributes["type"] = (b"string", b"scanlineimage")
    if part.multi:
        attributes["chunkCount"] = (b"int", struct.pack("<i", -(-height // LINES[compression])))
    return replace(
        part, attributes=attributes, channels=channels, window=window, display=display, compression=compression, tiled=False, offsets=()
    )


def _attributes(file: BinaryIO) -> dict[str, tuple[bytes, bytes]]:
    found: dict[str, tuple[bytes, bytes]] = {}
    while name := _name(file):
        kind = _name(file)
        (size,) = struct.unpack("<i", _take(file, 4))
        found[name.decode("utf-8", "surrogateescape")] = (kind, _take(file, _positive(size, _MOST)))
    return found


def _part(attributes: dict[str, tuple[bytes, bytes]], version: int) -> Part:
    try:
        kind = attributes["type"][1] if "type" in attributes else b""
        compression = attributes["compression"][1][0]
        part = Part(
            attributes=attributes,
            channels=tuple(_channels(attributes["channels"][1])),
            window=_unbox(attributes["dataWindow"][1]),
            display=_unbox(attributes["displayWindow"][1]),
            compression=compression,
            tiled=kind == b"tiledimage" or (not kind and bool(version & TILED)),
            deep=kind.startswith(b"deep") or (not kind and bool(version & DEEP)),
            multi=bool(version & MULTI),
        )
    except (KeyError, IndexError, ValueError, struct.error) as error:
        raise BadPicture("its header is damaged") from error
    if part.width < 1 or part.height < 1 or not part.channels:
        raise BadPicture("it is empty: it has no pixels")
    if compression not in LINES:
        raise BadPicture(f"its compression, number {compression}, is not known")
    return part


def _with_tables(file: BinaryIO, parts: list[Part], size: int) -> list[Part]:
    found = []
    for part in parts:
        count = -(-part.height // LINES[part.compression])
        if count * 8 > size:
            raise BadPicture("it is cut short")
        found.append(struct.unpack(f"<{count}Q", _take(file, count * 8)))
    begin = end = file.tell()
    multi = parts[0].multi
    for part, offsets in zip(parts, found, strict=True):
        for number, offset in enumerate(offsets):
            if not begin <= offset <= size - 8 - 4 * multi:
                raise BadPicture("it is incomplete: rows are missing")
            file.seek(offset + 4 * multi)
            y, length = struct.unpack("<ii", _take(file, 8))
            if y != part.window[1] + number * LINES[part.compression] or length < 0:
                raise BadPicture("its table of rows is damaged")
            end = max(end, offset + 4 * multi + 8 + length)
    if end > size:
        raise BadPicture("it is cut short")
    if end < size:
        raise BadPicture("something follows its end")
    return [replace(part, offsets=offsets) for part, offsets in zip(parts, found, strict=True)]


def _channels(data: bytes) -> Iterator[Channel]:
    at = 0
    while data[at]:
        end = data.index(b"\0", at)
        (kind,) = struct.unpack_from("<i", data, end + 1)
        if kind not in TYPES:
            raise ValueError(kind)
        yield Channel(name=data[at:end].decode("utf-8", "surrogateescape"), type=kind, rest=data[end + 5 : end + 17])
        at = end + 17


def _box(box: Box) -> bytes:
    return struct.pack("<4i", box[0], box[1], box[2] - 1, box[3] - 1)


def _unbox(data: bytes) -> Box:
    left, top, right, bottom = struct.unpack("<4i", data)
    return left, top, right + 1, bottom + 1


def _name(file: BinaryIO) -> bytes:
    out = bytearray()
    while (letter := _take(file, 1)) != b"\0":
        out += letter
        if len(out) > 255:
            raise BadPicture("its header is damaged")
    return bytes(out)


def _positive(size: int, most: int) -> int:
    if not 0 <= size <= most:
        raise BadPicture("its header is damaged")
    return size


def _take(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise BadPicture("it is cut short")
    return data
