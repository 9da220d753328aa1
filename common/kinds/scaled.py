"""What people look at: pictures as 8-bit RGB, scaled down by bands; linear light encoded as PNG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .colour import alpha_channel, quantised, rgb8, seen_channels, srgb
from .jpeg import fitted, pillow_rgb8
from .png import BadPicture, Format
from .png_rows import SRGB, write_png
from .raster_form import BAND, Source, Spot

if TYPE_CHECKING:
    from .exr_rows import ExrSource
    from .raster_form import Plane


def scaled_rgb8(source: Source, longest: int) -> Plane:
    """See rasters.as_rgb8(): means over boxes of whole pixels while reading, then the rest of the way by pillow."""
    import numpy as np
    from PIL import Image

    shape = source.shape
    size = fitted(shape.width, shape.height, longest)
    factor = max(shape.width, shape.height) // max(size) if size != (shape.width, shape.height) else 1
    rows = max(1, BAND // (shape.width * shape.pixel * factor)) * factor
    bands = [_boxes(rgb8(source, source.read(rows)), factor) for _ in range(0, shape.height, rows)]
    whole = np.concatenate(bands)
    if whole.shape[1::-1] == size:
        return whole
    return np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.BOX))


def _boxes(pixels: Plane, factor: int) -> Plane:
    """Means over boxes of ``factor`` pixels; those at the right and lower edge may be smaller."""
    import numpy as np

    if factor == 1:
        return pixels
    sums = pixels
    sizes = []
    for axis in (0, 1):
        edges = np.arange(0, pixels.shape[axis], factor)
        sums = np.add.reduceat(sums, edges, axis=axis, dtype=np.uint32)
        sizes.append(np.diff(np.append(edges, pixels.shape[axis])))
    counts = (sizes[0][:, None] * sizes[1][None, :])[:, :, None]
    means: Plane = ((sums + counts // 2) // counts).astype(np.uint8)
    return means


def encode_png(path: Path, to: Path, bits: int) -> None:
    """See rasters.to_png8()."""
    from .exr_rows import ExrSource

    source = ExrSource(path)
    names = source.shape.channels
    red, green, blue = seen_channels(names)
    alpha = alpha_channel(names)
    wanted = [red] if red == green else [red, green, blue]
    channels = len(wanted) + (alpha is not None)
    form = Format(width=source.shape.width, height=source.shape.height, bits=bits, channels=channels)
    write_png(to, form, list(SRGB), _encoded(source, wanted, alpha, bits))


def _encoded(source: ExrSource, wanted: Sequence[int], alpha: int | None, bits: int) -> Iterator[list[Plane]]:
    import numpy as np

    rows = max(1, BAND // (source.shape.width * source.shape.pixel))
    for _ in range(0, source.shape.height, rows):
        planes = source.read(rows)
        light = np.stack([planes[number] for number in wanted], axis=-1).astype(np.float32)
        if alpha is None:
            yield [quantised(srgb(light), bits)]
            continue
        cover = np.clip(np.nan_to_num(planes[alpha].astype(np.float32)), 0, 1)[:, :, None]
        with np.errstate(all="ignore"):
            # light without cover (a glow) stays as it is, as it cannot be divided
            straight = np.where(cover > 0, light / cover, light)
        yield [np.concatenate((quantised(srgb(straight), bits), quantised(cover, bits)), axis=2)]


def montage_jpeg(spots: Sequence[Spot], width: int, height: int, to: Path) -> None:
    """JPEG files side by side, decoded, as a PNG of 8 bits. Raises BadPicture naming the file."""
    import numpy as np

    out = np.zeros((height, width, 3), np.uint8)
    for spot in spots:
        left, top, right, bottom = spot.rect
        try:
            pixels = pillow_rgb8(spot.path, 0)
        except BadPicture as error:
            raise BadPicture(f"{spot.path.name}: {error}") from error
        if pixels.shape[:2] != (bottom - top, right - left):
            found, wanted = f"{pixels.shape[1]} x {pixels.shape[0]}", f"{right - left} x {bottom - top}"
            raise BadPicture(f"{spot.path.name}: it is {found} pixels instead of {wanted}")
        out[top:bottom, left:right] = pixels
    write_png(to, Format(width=width, height=height, bits=8, channels=3), list(SRGB), iter([[out]]))
