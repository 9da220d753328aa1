"""Pictures of any depth: looked at, checked, joined, cropped and averaged as the renderer wrote them.

PNG (8 and 16 bits), TIFF (8, 16 bits, float) and OpenEXR (half, float, whole numbers; layers and parts) are read and written by bands
of rows, so that the size of a picture does not matter; JPEG is only looked at. What a file is, is said by its content and not by its
name. A BadPicture's words continue a sentence: "it is cut short". docs/depth.md says what is kept of each format.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import jpeg
from .assembly import assemble, open_source
from .png import SIGNATURE, BadPicture
from .png_rows import check_png, is_plain
from .raster_form import BAND, FORMATS, Shape, Source, Spot
from .tiles import Rect

if TYPE_CHECKING:
    from .raster_form import Plane

__all__ = ["BadPicture", "Shape", "as_rgb8", "average", "check_picture", "crop", "join_tiles", "montage", "shape_of", "to_png8", "to_png16"]


def shape_of(path: Path) -> Shape:
    """The form of a PNG, JPEG, TIFF or OpenEXR file; its pixels are not read. Raises BadPicture."""
    if _pillows(path):
        return jpeg.pillow_shape(path)
    source = open_source(path)
    source.close()
    return source.shape


def check_picture(
    path: Path, *, width: int, height: int, format: str | None = None, bits: int | None = None, channels: Sequence[str] | int | None = None
) -> Shape:
    """Decode all of a picture and compare its form with what was asked for; its shape is returned.

    ``format``: png, jpeg, tiff or exr. ``channels``: their names in any order, or how many. None: anything. Raises BadPicture where
    the file is cut short, damaged, of another form, or holds floating point without a single finite number; black is no fault.
    """
    shape = shape_of(path)
    if (shape.width, shape.height) != (width, height):
        raise BadPicture(f"it is {shape.width} x {shape.height} pixels instead of {width} x {height}")
    if format is not None and shape.format != format:
        raise BadPicture(f"it is {FORMATS[shape.format]} instead of {FORMATS[format]}")
    if bits is not None and shape.bits != bits:
        raise BadPicture(f"it has {shape.bits} bits instead of {bits}")
    if channels is not None:
        wanted = sorted(shape.channels) == sorted(channels) if not isinstance(channels, int) else len(shape.channels) == channels
        if not wanted:
            asked = str(channels) if isinstance(channels, int) else ", ".join(channels)
            raise BadPicture(f"its channels are {', '.join(shape.channels)} instead of {asked}")
    _decode(path, shape)
    return shape


def as_rgb8(path: Path, longest: int = 0) -> Plane:
    """A picture as screens show it, uint8 (rows, columns, 3): alpha over black, linear light (OpenEXR, float TIFF) as sRGB.

    ``longest``: scaled down, by means over boxes, so that its longer side is at most this. Reads by bands. Raises BadPicture.
    """
    from .colour import rgb8
    from .png_quick import png_plane
    from .scaled import scaled_rgb8

    if _pillows(path):
        return jpeg.pillow_rgb8(path, longest)
    source = open_source(path)
    try:
        plane = None if longest else png_plane(path, source.shape)
        return scaled_rgb8(source, longest) if plane is None else rgb8(source, [plane])
    finally:
        source.close()


def join_tiles(tiles: Sequence[tuple[Rect, Path]], width: int, height: int, to: Path) -> None:
    """Join tiles that cover ``width`` x ``height`` once into one PNG, TIFF or OpenEXR file, as they are, bit for bit.

    Channels, depth, compression and metadata are those of the first tile. An OpenEXR tile may be just its rectangle, or a picture of
    the whole size of which the rectangle is taken. Raises BadPicture naming the tile.
    """
    assemble([Spot(rect=rect, path=path) for rect, path in tiles], width, height, to)


def crop(picture: Path, rect: Rect, to: Path) -> None:
    """The rectangle of a PNG, TIFF or OpenEXR file as a file of its own, bit for bit, same form and metadata. Raises BadPicture."""
    left, top, right, bottom = rect
    assemble([Spot(rect=(0, 0, right - left, bottom - top), path=picture, left=left, top=top)], right - left, bottom - top, to)


def average(parts: Sequence[tuple[float, Path]], to: Path) -> None:
    """The weighted mean of OpenEXR files of the same form, summed in double, written in 32-bit float: every channel of every layer.

    Ids have no mean: layers whose names begin with Crypto, IndexOB or IndexMA are those of the first file. Windows, compression and
    metadata too. Raises BadPicture naming the file, ValueError without a positive weight.
    """
    from .exr_average import average_exr

    average_exr(parts, to)


def montage(pictures: Sequence[Path], columns: int, to: Path) -> None:
    """Pictures of one form side by side, ``columns`` in a row, into one like the first; JPEG as 8-bit PNG. What is left over is zero.

    Raises BadPicture naming the picture, also where sizes differ: nothing is cut or scaled.
    """
    from .scaled import montage_jpeg

    if not pictures or columns < 1:
        raise ValueError("a montage needs a picture and a column")
    shape = shape_of(pictures[0])
    columns = min(columns, len(pictures))
    wide, high = shape.width, shape.height
    spots = []
    for number, path in enumerate(pictures):
        own = shape_of(path)
        if (own.width, own.height) != (wide, high):
            raise BadPicture(f"{path.name} has {own.width} x {own.height} pixels where {pictures[0].name} has {wide} x {high}")
        left, top = number % columns * wide, number // columns * high
        spots.append(Spot(rect=(left, top, left + wide, top + high), path=path, left=0, top=0))
    width, height = columns * wide, -(-len(pictures) // columns) * high
    if _pillows(pictures[0]):
        montage_jpeg(spots, width, height, to)
    else:
        assemble(spots, width, height, to, holes=True)


def to_png8(path: Path, to: Path) -> None:
    """An OpenEXR file as PNG of 8 bits, sRGB; with straight alpha where it has alpha. Raises BadPicture."""
    from .scaled import encode_png

    encode_png(path, to, 8)


def to_png16(path: Path, to: Path) -> None:
    """As to_png8(), with 16 bits."""
    from .scaled import encode_png

    encode_png(path, to, 16)


def _decode(path: Path, shape: Shape) -> None:
    if _pillows(path):
        jpeg.check_pillow(path)
    elif shape.format == "png":
        check_png(path)
    else:
        source = open_source(path)
        try:
            _read_all(source)
        finally:
            source.close()


def _read_all(source: Source) -> None:
    import numpy as np

    finite = not source.shape.floating
    done = 0
    rows = max(1, BAND // (source.shape.width * source.shape.pixel))
    while done < source.shape.height:
        planes = source.read(rows)
        finite = finite or any(bool(np.isfinite(plane).any()) for plane in planes if plane.dtype.kind == "f")
        done += len(planes[0])
    source.end()
    if not finite:
        raise BadPicture("none of its samples is a number")


def _pillows(path: Path) -> bool:
    head = _head(path)
    return head.startswith(jpeg.SIGNATURE) or (head.startswith(SIGNATURE) and not is_plain(path))


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(8)
