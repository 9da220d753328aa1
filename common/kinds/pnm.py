"""A rectangle out of a raw PPM, read by seeking: no picture library, no more memory than the rectangle.

POV-Ray writes a partial render as a file of the full size, the rest black. Its PPM files hold the same values as its PNG
files, at 8 and at 16 bits, whatever the gamma settings; measured, and held by a test. Its grey PPM is broken (16-bit samples under a
header that says 255), so that grey pictures go another way.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..errors import OutputRejected
from .tiles import Rect


def rows_of(path: Path, width: int, height: int, bits: int, rect: Rect) -> Iterator[bytes]:
    """The samples of ``rect``, row by row, big-endian. Raises OutputRejected where the file is not a whole PPM of this size."""
    left, top, right, bottom = rect
    pixel = 3 * bits // 8
    with path.open("rb") as file:
        said, start = _header(file)
        wanted = (b"P6", width, height, (1 << bits) - 1)
        if said != wanted:
            raise OutputRejected(f"POV-Ray wrote {_words(said)} where {_words(wanted)} was asked for.")
        size = path.stat().st_size
        if size != start + width * height * pixel:
            raise OutputRejected(f"The picture that POV-Ray wrote is cut short: {size} of {start + width * height * pixel} bytes.")
        for y in range(top, bottom):
            file.seek(start + (y * width + left) * pixel)
            yield file.read((right - left) * pixel)


def _header(file: BinaryIO) -> tuple[tuple[bytes, int, int, int], int]:
    """(magic, width, height, highest value), and where the samples begin."""
    words: list[bytes] = []
    word = b""
    while len(words) < 4:
        letter = file.read(1)
        if letter == b"#" and not word:
            file.readline(1000)
        elif not letter or letter.isspace():
            if word:
                words.append(word)
                word = b""
            if not letter:
                break
        else:
            word += letter
        if file.tell() > 4000:
            break
    try:
        magic, width, height, highest = words
        return (magic, int(width), int(height), int(highest)), file.tell()
    except ValueError:
        raise OutputRejected("POV-Ray's output is no PPM picture.") from None


def _words(header: tuple[bytes, int, int, int]) -> str:
    return f"{header[0].decode('latin-1')} {header[1]} x {header[2]} up to {header[3]}"
