"""JPEG, and PNG of the sorts that are not joined (palette, interlaced, under 8 bits): looked at by pillow, whole in memory.

A JPEG has no sum over its data: what is cut short or too long is noticed, a changed byte in the middle only where it no longer decodes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .png import BadPicture
from .raster_form import Shape

if TYPE_CHECKING:
    from .raster_form import Plane

SIGNATURE = b"\xff\xd8\xff"
_CHANNELS = {"1": "Y", "L": "Y", "I": "Y", "I;16": "Y", "I;16B": "Y", "LA": "YA", "P": "RGB", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "CMYK"}


def pillow_shape(path: Path) -> Shape:
    """The form by its header. Raises BadPicture."""
    with _opened(path) as picture:
        return _shape(picture)


def check_pillow(path: Path) -> None:
    """Decode all of it. Raises BadPicture."""
    with _opened(path) as picture:
        if picture.format == "JPEG":
            _check_end(path)
        _load(picture)


def pillow_rgb8(path: Path, longest: int) -> Plane:
    """(rows, columns, 3), over black; a JPEG is decoded no larger than needed. Raises BadPicture."""
    import numpy as np
    from PIL import Image

    with _opened(path) as picture:
        width, height = picture.size
        size = fitted(width, height, longest)
        if picture.format == "JPEG":
            picture.draft("RGB", size)
        _load(picture)
        if picture.mode.startswith("I"):
            high = np.asarray(picture).astype(np.uint32)
            plain = Image.fromarray(((high * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
        elif picture.has_transparency_data:
            seen = picture.convert("RGBA")
            plain = Image.alpha_composite(Image.new("RGBA", seen.size, (0, 0, 0, 255)), seen).convert("RGB")
        else:
            plain = picture.convert("RGB")
        if plain.size != size:
            plain = plain.resize(size, Image.Resampling.BOX)
        return np.asarray(plain)


def fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    """The size with its longer side at most ``longest``; 0: as it is. Never larger, no side under 1."""
    longer = max(width, height)
    if not longest or longer <= longest:
        return width, height
    return max(1, round(width * longest / longer)), max(1, round(height * longest / longer))


def _shape(picture: Any) -> Shape:
    channels = "RGBA" if picture.mode == "P" and "transparency" in picture.info else _CHANNELS.get(picture.mode, "RGB")
    bits = 16 if picture.mode.startswith("I") else 8
    kind = "jpeg" if picture.format in ("JPEG", "MPO") else "png"
    width, height = picture.size
    return Shape(width=width, height=height, bits=bits, floating=False, channels=tuple(channels), format=kind)


def _opened(path: Path) -> Any:
    from PIL import Image, ImageFile

    Image.MAX_IMAGE_PIXELS = None  # sizes are compared with what was asked for, before anything is decoded
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        return Image.open(path, formats=("JPEG", "PNG"))
    except (OSError, SyntaxError, ValueError) as error:
        raise BadPicture("its header is damaged") from error


def _load(picture: Any) -> None:
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadPicture(f"its data are damaged or cut short ({error})") from error


def _check_end(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(-2, 2)
        if file.read() != b"\xff\xd9":
            raise BadPicture("it is cut short, or something follows its end")
