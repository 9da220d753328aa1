"""A joined multi-layer OpenEXR gets what was made of it afterwards: denoised layers for the noisy ones, and the compositor's picture.

As Blender names them: the picture of a layer is ``ViewLayer.Combined.R`` …, before denoising ``ViewLayer.Noisy Image.R`` …, the
compositor's ``Composite.Combined.R`` …
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import exr
from .exr import Channel, Part
from .exr_rows import ExrSource, kept_compression, write_exr
from .raster_form import BAND

if TYPE_CHECKING:
    from .raster_form import Plane

COMPOSITE = "Composite"
HALF, FLOAT = 1, 2
_GUIDES = (".Denoising Albedo.", ".Denoising Normal.", ".Denoising Depth.")

Origin = tuple[str, int]
"""Which source, by its layer ("" for the joined one), and which of its planes."""


def put_layers(joined: Path, layers: Mapping[str, Path], bits: int, stored: Collection[str], to: Path) -> None:
    """Write ``joined`` with the R, G, B of ``layers`` (by layer, or COMPOSITE with A) as ``to``. Raises BadPicture.

    ``bits`` 16: colours become half floats, as Blender does it. ``stored``: layers that keep the guides of denoising.
    """
    main = ExrSource(joined)
    sources = {"": main} | {layer: ExrSource(path) for layer, path in layers.items()}
    planes = iter(range(len(main.planes)))
    parts: list[Part] = []
    origins: list[Origin] = []
    for part in main.parts:
        made = [one for channel in part.channels for one in _made(channel, next(planes), sources, stored)]
        if not parts and COMPOSITE in sources:
            like = replace(part.channels[0], type=FLOAT)
            for at, name in enumerate(sources[COMPOSITE].names):
                made.append((replace(like, name=f"{COMPOSITE}.Combined.{name}"), (COMPOSITE, at)))
        if not made:
            continue
        made.sort(key=lambda one: one[0].name)
        channels = tuple(_as_half(channel) if bits == 16 else channel for channel, _ in made)
        parts.append(exr.changed(part, window=part.window, display=part.display, compression=kept_compression(part), channels=channels))
        origins += [origin for _, origin in made]
    types = [exr.TYPES[channel.type][0] for part in parts for channel in part.channels]
    write_exr(to, parts, _bands(main, sources, origins, types))


def _made(channel: Channel, at: int, sources: Mapping[str, ExrSource], stored: Collection[str]) -> Iterator[tuple[Channel, Origin]]:
    """What becomes of one channel of the joined picture."""
    layer, _, rest = channel.name.partition(".Combined.")
    if rest in ("R", "G", "B", "A") and layer in sources:
        yield channel, (layer, sources[layer].names.index(rest)) if rest != "A" else ("", at)
        yield replace(channel, name=f"{layer}.Noisy Image.{rest}"), ("", at)
        return
    guide = next((word for word in _GUIDES if word in channel.name), "")
    if guide and channel.name.partition(guide)[0] not in stored:
        return
    yield channel, ("", at)


def _as_half(channel: Channel) -> Channel:
    colour = channel.name.rpartition(".")[2] in ("R", "G", "B", "A") and "Crypto" not in channel.name
    return replace(channel, type=HALF) if colour and channel.type == FLOAT else channel


def _bands(main: ExrSource, sources: Mapping[str, ExrSource], origins: list[Origin], types: list[str]) -> Iterator[list[Plane]]:
    block = max(source.block for source in sources.values())
    rows = max(1, BAND // max(1, block * main.shape.width * main.shape.pixel)) * block
    for _ in range(0, main.shape.height, rows):
        read = {layer: source.read(rows) for layer, source in sources.items()}
        yield [read[layer][at].astype(kind) for (layer, at), kind in zip(origins, types, strict=True)]
