"""The joins of a command's outputs: side by side, one after the other, or as one picture."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import StitchFailed
from .command_options import over
from .frame_regions import keep
from .kind import Piece
from .png import BadPicture

Pieces = Iterator[tuple[Piece, list[str]]]
"""Each piece with its files in item order; the last is followed by the end, or by StitchFailed where one is missing."""


def copy(pieces: Pieces, out: Path, progress: Callable[[float], None]) -> list[str]:
    """All files under their own names; returns them in order. Raises StitchFailed for two of one name."""
    listed: list[str] = []
    made_by: dict[str, str] = {}
    for piece, names in pieces:
        for name in names:
            if name in made_by:
                raise StitchFailed(f"{name} was made by the jobs {made_by[name]} and {piece.region.name}; outputs need names of their own.")
            made_by[name] = piece.region.name
            keep(piece.files.path(name), out / name)
            listed.append(name)
    progress(1.0)
    return listed


def concatenate(pieces: Pieces, to: Path, progress: Callable[[float], None]) -> None:
    """The bytes of all files, in item order."""
    with to.open("wb") as whole:
        for piece, names in pieces:
            for name in names:
                with piece.files.path(name).open("rb") as part:
                    shutil.copyfileobj(part, whole, 1 << 20)
    progress(1.0)


def montage(options: Mapping[str, Any], pieces: Pieces, to: Path, progress: Callable[[float], None]) -> None:
    """Tiles in their places, bit for bit; other pictures in rows of ``columns``."""
    from . import rasters

    found = [
        (item, piece.files.path(name)) for piece, names in pieces for item, name in zip(piece.region.data["items"], names, strict=True)
    ]
    paths = [path for _, path in found]
    try:
        if over(options) == "tiles":
            tiles = [((left, top, right, bottom), path) for (_, _, left, top, right, bottom), path in found]
            rasters.join_tiles(tiles, options["width"], options["height"], to)
        else:
            if to.suffix.lower() in (".jpg", ".jpeg"):
                to = to.with_suffix(".png")  # pixels are kept as they are, and not compressed again
            rasters.montage(paths, options["columns"] or math.ceil(math.sqrt(len(paths))), to)
    except (BadPicture, ValueError) as error:
        raise StitchFailed(f"The pictures cannot be joined: {error}.") from error
    progress(1.0)
