"""A photo's file, opened with care: it came from a card, a phone, a mail, and may be anything.

What a file is, is said by its content and not by its name. ``Photofile`` has the header; ``pixels`` decodes all of it to 8 bits. The
words of a BadPhoto go on after the photo's name: "DJI_0018.jpg is cut short …".
"""

from __future__ import annotations

import io
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST = 300_000_000
"""Pixels. The largest cameras of drones have 150 million; decoded, these are 900 MB."""
SMALLEST = 64
"""Pixels of the shorter side: below it is an icon, and there is nothing to be matched."""
CONVERT = "convert it to JPEG first (magick mogrify -format jpg FILE keeps its GPS)"
_EXIF, _GPS, _XMP, _GEOKEYS = 0x8769, 0x8825, 700, 34735
_HEIF = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif")
_DAMAGE = re.compile(r"(\d+) extraneous bytes before marker 0x(..)")


class BadPhoto(Exception):
    """Why a photo cannot be used; goes on after its name."""


@dataclass(frozen=True, kw_only=True)
class Photofile:
    """A photo before it is decoded."""

    data: bytes
    format: str
    """JPEG, PNG or TIFF"""
    width: int
    height: int
    tags: Mapping[int, Any]
    """Of the first directory: maker, model, …"""
    exif: Mapping[int, Any]
    gps: Mapping[int, Any]
    xmp: str


def open_photo(data: bytes | Path) -> Photofile:
    """Reads the header. Raises BadPhoto."""
    content = data.read_bytes() if isinstance(data, Path) else data
    if not content:
        raise BadPhoto("is empty")
    with _opened(content) as picture:
        width, height = picture.size
        if width * height > LARGEST:
            raise BadPhoto(f"has {width} x {height} pixels; more than {LARGEST // 1_000_000} million are not read, cut or scale it")
        if min(width, height) < SMALLEST:
            raise BadPhoto(f"has only {width} x {height} pixels")
        tags, exif, gps = (_directory(picture, number) for number in (0, _EXIF, _GPS))
        if picture.format == "TIFF" and _GEOKEYS in picture.tag_v2:
            raise BadPhoto("is a map (GeoTIFF) and not a photo")
        form = "JPEG" if picture.format == "MPO" else str(picture.format)
        return Photofile(
            data=content, format=form, width=width, height=height, tags=tags, exif=exif, gps=gps, xmp=_xmp(picture, content)
        )


def pixels(photo: Photofile | bytes | Path) -> NDArray[np.uint8]:
    """(height, width, 3) red, green, blue as stored; the EXIF orientation is not applied. Raises BadPhoto.

    16 bits become 8 by leaving out the lower ones, so that all photos of a camera are treated alike: a picture that uses up to 10, 12 or
    14 bits is taken for one of that depth. Of more than three bands the first three are taken, one band is grey.
    """
    import numpy as np

    photo = photo if isinstance(photo, Photofile) else open_photo(photo)
    if photo.format != "JPEG":
        deep = _deep(photo)
        if deep is not None:
            return deep
    with _opened(photo.data) as picture:
        try:
            picture.load()
            return np.asarray(picture if picture.mode == "RGB" else _opaque(picture).convert("RGB"))
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder says
            raise BadPhoto(f"is damaged or cut short ({error})") from error


def check_whole(photo: Photofile) -> None:
    """Raise BadPhoto where a JPEG's data are damaged in the middle, of which its decoder only warns. For one thread only, as
    the warnings are read from the process's standard error.

    Extra bytes before the end are no damage where they are padding, as some cameras write it.
    """
    import numpy as np

    if photo.format != "JPEG":
        return
    cv2 = library("cv2", extra="survey")
    with _standard_error() as told:
        small = cv2.imdecode(np.frombuffer(photo.data, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8 | cv2.IMREAD_IGNORE_ORIENTATION)
    if small is None:
        raise BadPhoto("is damaged or cut short")
    warning = next((line for line in told if "JPEG" in line and not _padding(line, photo.data)), "")
    if warning:
        raise BadPhoto(f"is damaged ({warning.strip()})")


@contextmanager
def _opened(content: bytes) -> Iterator[Any]:
    from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin  # noqa: F401  (Image.open knows imported ones)

    Image.MAX_IMAGE_PIXELS = None  # the size is looked at before anything is decoded
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of EXIF that is not quite right
            picture = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "TIFF"))
    except Exception as error:
        raise BadPhoto(_what(content)) from error
    with picture:
        yield picture


def _directory(picture: Any, number: int) -> Mapping[int, Any]:
    """Tags of the EXIF; 0: of its first directory. Damaged EXIF fails in many ways, and the picture may be well: then there are none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return dict(picture.getexif().get_ifd(number)) if number else dict(picture.getexif())
        except Exception:
            return {}


def _what(content: bytes) -> str:
    """What a file is that is no picture for us."""
    if content[4:8] == b"ftyp" and content[8:12] in _HEIF:
        return f"is a HEIC or AVIF picture, which is not read; {CONVERT}"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is a TIFF that is damaged, or of a form that is not read, such as floating point"
    if content[:2] == b"\xff\xd8" or content[:8] == b"\x89PNG\r\n\x1a\n":
        return "is damaged or cut short: its header cannot be read"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return f"is a WebP picture, which is not read; {CONVERT}"
    head = content[:512]
    if b"\0" not in head and sum(byte < 9 for byte in head) == 0:
        return "is a text file and not a picture"
    return "is no JPEG, PNG or TIFF picture"


def _xmp(picture: Any, content: bytes) -> str:
    """The XMP packet as text; empty: none."""
    found = picture.info.get("xmp") or picture.info.get("XML:com.adobe.xmp") or b""
    if not found and picture.format == "TIFF":
        found = picture.tag_v2.get(_XMP, b"")
    if isinstance(found, tuple):
        found = bytes(found)
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)


def _opaque(picture: Any) -> Any:
    return picture.convert("RGBA") if picture.mode == "P" and "transparency" in picture.info else picture


def _deep(photo: Photofile) -> NDArray[np.uint8] | None:
    """A PNG or TIFF of more than 8 bits; None: it is none."""
    import numpy as np

    with _opened(photo.data) as picture:
        bits = photo.data[24] if photo.format == "PNG" else max(_numbers(picture.tag_v2.get(258, 1)))
        kind = max(_numbers(picture.tag_v2.get(339, 1))) if photo.format == "TIFF" else 1
    if bits <= 8:
        return None
    if kind != 1 or bits > 16:
        raise BadPhoto("holds floating point or signed numbers, not the light of a photo")
    cv2 = library("cv2", extra="survey")
    with _standard_error() as told:
        try:
            found = cv2.imdecode(np.frombuffer(photo.data, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error:
            found = None
    if found is None or found.shape[:2] != (photo.height, photo.width) or any(word in " ".join(told) for word in ("rror", "orrupt")):
        raise BadPhoto("is damaged or cut short")
    used = max(8, int(found.max()).bit_length())
    found = (found >> (used + used % 2 - 8)).astype(np.uint8) if found.dtype == np.uint16 else found
    if found.ndim == 2:
        return np.repeat(found[:, :, None], 3, axis=2)
    return np.ascontiguousarray(found[:, :, 2::-1]) if found.shape[2] >= 3 else np.repeat(found[:, :, :1], 3, axis=2)


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, tuple) else (int(value),)


def _padding(line: str, content: bytes) -> bool:
    """Whether a warning speaks of nothing but the same byte again and again before the end of the picture."""
    found = _DAMAGE.search(line)
    if not found:
        return False
    count, mark = int(found[1]), bytes([0xFF, int(found[2], 16)])
    at = content.find(mark)
    while at >= 0:
        if at >= count and len(set(content[at - count : at])) <= 1:
            return True
        at = content.find(mark, at + 1)
    return False


@contextmanager
def _standard_error() -> Iterator[list[str]]:
    """What C libraries print meanwhile, as lines, when the block is over."""
    lines: list[str] = []
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield lines
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += file.read().decode("utf-8", "replace").splitlines()
