"""zstd level 1: how packs are written on the way and on the disk where it pays. A pack's name never depends on it.

Decoding is bounded: a few bytes of zstd can stand for gigabytes, so plain bytes are pulled in small blocks under the
size that was declared, and the window that a frame may ask for is capped.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import zstandard

from .errors import DigestMismatch, UnsafeArchive
from .model import PackRef

BLOCK = 1 << 18
SUFFIX = ".zst"
LEVEL = 1
WINDOW = 1 << 24
"""16 MiB: level 1 asks for far less; a frame that wants more memory was not written by us."""
PAYS = 0.9
"""Worth it where a tenth is saved: at level 1 the CPU time is that of the bytes saved on a 10 Gbit/s wire."""
SAMPLE = 1 << 16
SMALLEST = 512
"""Below this a round trip costs more than any saving."""

_PICTURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*", b"\x76\x2f\x31\x01", b"\0\0\0\x0cjP", b"\xff\x0a", b"qoif", b"DDS ")


def is_picture(start: bytes) -> bool:
    """Whether the first bytes are those of a picture; these are packed already, or will not shrink at level 1."""
    return start.startswith(_PICTURES) or (start[:4] == b"RIFF" and start[8:12] == b"WEBP") or start[4:8] == b"ftyp"


def pays(sample: bytes) -> bool:
    """Whether bytes like these are worth encoding."""
    if len(sample) < SMALLEST or is_picture(sample):
        return False
    return len(zstandard.ZstdCompressor(level=LEVEL).compress(sample)) < PAYS * len(sample)


def sniff_stream(source: BinaryIO, size: int) -> bool:
    """As ``sniff()``, for something open and seekable; the position is moved."""
    if size <= 3 * SAMPLE:
        return pays(full_read(source, size))
    sample = full_read(source, SAMPLE)
    for place in ((size - SAMPLE) // 2, size - SAMPLE):
        source.seek(place)
        sample += full_read(source, SAMPLE)
    return pays(sample)


def sniff(path: Path) -> bool:
    """Whether zstd level 1 pays for this file, told from its start, middle and end."""
    with path.open("rb") as source:
        return sniff_stream(source, path.stat().st_size)


def most(size: int) -> int:
    """The most that an honest encoder makes of ``size`` bytes; more is not read."""
    return size + size // 128 + 4096


def encode(source: BinaryIO) -> Iterator[bytes]:
    """Encoded blocks of all that is left in ``source``. The same bytes always give the same blocks, so that a cut upload can go on."""
    coder = zstandard.ZstdCompressor(level=LEVEL).compressobj()
    while block := full_read(source, BLOCK):
        if out := coder.compress(block):
            yield out
    yield coder.flush()


def full_read(source: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes, or what is left; a raw stream may hand out less at a time."""
    parts, left = [], size
    while left and (part := source.read(left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def plain_blocks(source: BinaryIO, size: int, *, encoded: bool) -> Iterator[bytes]:
    """Plain bytes of a pack in blocks. Raises UnsafeArchive beyond the declared size and DigestMismatch on broken zstd."""
    stream: BinaryIO | zstandard.ZstdDecompressionReader = source
    if encoded:
        stream = zstandard.ZstdDecompressor(max_window_size=WINDOW).stream_reader(source, closefd=False)
    total = 0
    while True:
        try:
            block = stream.read(BLOCK)
        except zstandard.ZstdError as error:
            raise DigestMismatch(f"The pack is broken: it cannot be decoded ({error}).") from error
        if not block:
            return
        total += len(block)
        if total > size:
            raise UnsafeArchive(f"The pack holds more than the {size} bytes that were declared.")
        yield block


def is_encoded(path: Path) -> bool:
    """A pack's file on disk says by its suffix how it is written."""
    return path.suffix == SUFFIX


def verify(path: Path, pack: PackRef, *, encoded: bool, to: BinaryIO | None = None) -> None:
    """Hash a file against the pack that it should be; ``to`` gets the plain bytes, which are good only when this returns."""
    if path.stat().st_size > most(pack.size):
        raise UnsafeArchive(f"Pack {pack.digest[:12]} came with more bytes than the {pack.size} that were declared.")
    digest, total = hashlib.sha256(), 0
    with path.open("rb") as source:
        for block in plain_blocks(source, pack.size, encoded=encoded):
            digest.update(block)
            total += len(block)
            if to is not None:
                to.write(block)
    if total != pack.size:
        raise DigestMismatch(f"Pack {pack.digest[:12]} has {total} bytes instead of {pack.size}: it was cut off on the way.")
    if digest.hexdigest() != pack.digest:
        raise DigestMismatch(f"Pack {pack.digest[:12]} does not have the bytes that its name promises.")


def read_plain(path: Path, pack: PackRef) -> bytes:
    """All bytes of a pack whose file was verified when it got its name."""
    out = io.BytesIO()
    with path.open("rb") as source:
        for block in plain_blocks(source, pack.size, encoded=is_encoded(path)):
            out.write(block)
    return out.getvalue()
