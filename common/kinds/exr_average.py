"""The weighted mean of OpenEXR files, by bands: how sets of samples become one picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import exr
from .exr_rows import ExrSource, averaged, kept_compression, write_exr
from .png import BadPicture
from .raster_form import BAND

if TYPE_CHECKING:
    from .raster_form import Plane

FLOAT = 2


def average_exr(parts: Sequence[tuple[float, Path]], to: Path) -> None:
    """See rasters.average()."""
    whole = sum(weight for weight, _ in parts)
    if not parts or not whole > 0 or any(weight < 0 for weight, _ in parts):
        raise ValueError("a mean needs weights that are not negative, and one that is positive")
    sources = [_opened(path) for _, path in parts]
    first = sources[0]
    for (_, path), source in zip(parts, sources, strict=True):
        if (source.form, source.parts[0].window) != (first.form, first.parts[0].window):
            raise BadPicture(f"{path.name} has other channels or another size than {parts[0][1].name}")
    out = []
    for part in first.parts:
        channels = tuple(
            replace(channel, type=FLOAT) if channel.type and averaged(part, channel) else channel for channel in part.channels
        )
        out.append(exr.changed(part, window=part.window, display=part.display, compression=kept_compression(part), channels=channels))
    mean = [bool(channel.type) and averaged(part, channel) for part in first.parts for channel in part.channels]
    write_exr(to, out, _means(parts, sources, mean, whole))


def _means(parts: Sequence[tuple[float, Path]], sources: Sequence[ExrSource], mean: Sequence[bool], whole: float) -> Iterator[list[Plane]]:
    import numpy as np

    first = sources[0]
    shape = first.shape
    rows = max(1, BAND // (first.block * shape.width * shape.pixel)) * first.block
    for _ in range(0, shape.height, rows):
        sums: list[Any] = []
        for (weight, path), source in zip(parts, sources, strict=True):
            try:
                planes = source.read(rows)
            except BadPicture as error:
                raise BadPicture(f"{path.name}: {error}") from error
            if source is first:
                sums = [plane.astype(np.float64) * weight if is_mean else plane for plane, is_mean in zip(planes, mean, strict=True)]
                continue
            for number, is_mean in enumerate(mean):
                if is_mean and weight:
                    sums[number] += planes[number].astype(np.float64) * weight
        with np.errstate(over="ignore"):
            yield [(plane / whole).astype(np.float32) if is_mean else plane for plane, is_mean in zip(sums, mean, strict=True)]


def _opened(path: Path) -> ExrSource:
    try:
        return ExrSource(path)
    except BadPicture as error:
        raise BadPicture(f"{path.name}: {error}") from error
