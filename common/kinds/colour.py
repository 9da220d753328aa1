"""From samples to what a screen shows: linear light to sRGB (IEC 61966-2-1), alpha, any depth to 8 or 16 bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .raster_form import Plane, Source

LAYERS = ("Combined", "Image", "rgba", "RGBA", "Composite", "beauty", "Beauty")
"""Layers of an OpenEXR file that show the picture, where no plain R, G and B are there."""


def srgb(light: Plane) -> Plane:
    """Linear light, 1 is white, as sRGB samples 0..1 (float32); what is below, above or no number is cut to the ends."""
    import numpy as np

    clean = np.clip(np.nan_to_num(light.astype(np.float32, copy=False), nan=0.0, posinf=1.0, neginf=0.0), 0, 1)
    bent = np.float32(1.055) * clean ** np.float32(1 / 2.4) - np.float32(0.055)
    curve: Plane = np.where(clean <= 0.0031308, clean * np.float32(12.92), bent)
    return curve


def quantised(samples: Plane, bits: int) -> Plane:
    """Samples 0..1 as whole numbers of 8 or 16 bits, rounded."""
    import numpy as np

    most = (1 << bits) - 1
    return (samples * np.float32(most) + np.float32(0.5)).astype(np.uint8 if bits == 8 else np.uint16)


def rgb8(source: Source, planes: Sequence[Plane]) -> Plane:
    """(rows, width, 3) uint8 of a band: grey three times, alpha over black, linear light as sRGB."""
    import numpy as np

    if source.shape.format == "exr":
        red, green, blue = seen_channels(source.shape.channels)
        return quantised(srgb(np.stack([planes[red], planes[green], planes[blue]], axis=-1)), 8)
    data = planes[0]
    count = data.shape[2]
    whole = data.dtype.kind == "u"
    bits = data.dtype.itemsize * 8
    colours = data[:, :, :3] if count > 2 else np.repeat(data[:, :, :1], 3, axis=2)
    if getattr(source.form, "white_is_zero", False):
        colours = (1 << bits) - 1 - colours if whole else 1 - colours
    if source.gamma or (not whole):
        light = colours.astype(np.float32) / np.float32((1 << bits) - 1) if whole else colours
        out = quantised(srgb(light ** np.float32(source.gamma) if source.gamma != 1 else light), 8)
    else:
        out = np.ascontiguousarray(colours) if bits == 8 else ((colours.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if source.straight and whole:
        alpha = data[:, :, -1:].astype(np.uint32)
        most = (1 << bits) - 1
        out = ((out * alpha + most // 2) // most).astype(np.uint8)
    return out


def seen_channels(names: Sequence[str]) -> tuple[int, int, int]:
    """Where the red, green and blue of the picture are: plain ones, else those of a layer that is known to show it, else the first layer
    with all three, else a grey channel three times."""
    where = {name: number for number, name in enumerate(names)}
    fronts = [name[:-1] for name in names if name[-1:] in ("R", "r") and name[-2:-1] in ("", ".")]
    best = sorted(fronts, key=lambda front: (front != "", front.strip(".").split(".")[-1] not in LAYERS))
    for front in best:
        for letters in ("RGB", "rgb"):
            found = [where.get(front + letter) for letter in letters]
            if None not in found:
                red, green, blue = (number for number in found if number is not None)
                return red, green, blue
    for name in ("Y", "y", "V", *names):
        if name in where and name not in ("A", "a"):
            return where[name], where[name], where[name]
    return 0, 0, 0


def alpha_channel(names: Sequence[str]) -> int | None:
    """Where the alpha that belongs to seen_channels() is."""
    front = names[seen_channels(names)[0]][:-1]
    return next((number for number, name in enumerate(names) if name in (front + "A", front + "a")), None)
