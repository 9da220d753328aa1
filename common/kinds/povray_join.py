"""Tiles of a still on the server: checked, and joined as PNG, TIFF or OpenEXR, value for value as povray made them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import KindError, OutputRejected, StitchFailed
from ..model import TaskSpec
from .kind import Piece
from .png import BadPicture, Format
from .povray_job import form_of
from .povray_tile import TILE
from .tiles import Rect, tile_name

MOST_OPEN = 128
"""Files open at once while a row of tiles is joined; a process may have 1,024."""
_EXR = "tile.exr"


def tile_file(options: Mapping[str, Any]) -> str:
    """What a job calls its tile."""
    return _EXR if options["format"] == "exr" else TILE


def crop_exr(picture: Path, rect: Rect, to: Path) -> None:
    """On the node: the tile, or where the node has no OpenEXR the whole picture, whose black rest packs to nearly nothing."""
    from .rasters import crop

    if not picture.is_file():
        raise OutputRejected("POV-Ray ended well but wrote no picture.")
    try:
        crop(picture, rect, to)
    except BadPicture as error:
        raise OutputRejected(f"The picture that POV-Ray wrote cannot be read: {error}.") from error
    except KindError:
        picture.rename(to)
    else:
        picture.unlink()


def check_exr(path: Path, tile: Format, whole: Format) -> None:
    """Raise BadPicture where it is neither the tile nor the whole picture with the tile in its place."""
    from .rasters import check_picture, shape_of

    shape = shape_of(path)
    form = whole if (shape.width, shape.height) == (whole.width, whole.height) else tile
    check_picture(path, width=form.width, height=form.height, format="exr", bits=16, channels="RGBA"[: form.channels])


def join(task: TaskSpec, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
    """Write the picture below ``out``. Raises StitchFailed naming the tile that is missing or cannot be read."""
    options = task.options
    form = form_of(options)
    if options["format"] == "exr":
        _join_exr(task, pieces, out / f"{task.name}.exr")
    elif options["format"] == "tiff":
        from .tiff import write_rows

        write_rows(out / f"{task.name}.tif", form.width, form.height, form.bits, form.channels, _samples(pieces, form, progress))
    else:
        from .images import PictureWriter, gamma_chunks

        extra = gamma_chunks(form.bits, form.channels, options["file_gamma"])
        with PictureWriter(out / f"{task.name}.png", form, extra) as picture:
            for band in _bands(pieces, form, progress):
                picture.rows(band)
    progress(1.0)


def _join_exr(task: TaskSpec, pieces: Iterator[Piece], to: Path) -> None:
    from .rasters import join_tiles

    options = task.options
    tiles: list[tuple[Rect, Path]] = []
    for row in _rows_of_tiles(pieces):
        for piece in row:
            left, top, right, bottom = piece.region.data["rect"]
            tiles.append(((left, top, right, bottom), piece.files.path(_EXR)))
    try:
        join_tiles(tiles, options["width"], options["height"], to)
    except BadPicture as error:
        raise StitchFailed(f"The tiles cannot be joined: {error}.") from error


def _samples(pieces: Iterator[Piece], form: Format, progress: Callable[[float], None]) -> Iterator[Any]:
    """Bands as arrays of samples (rows, width, channels)."""
    for band in _bands(pieces, form, progress):
        samples = band.view(">u2").astype("<u2") if form.bits == 16 else band
        yield samples.reshape(len(band), form.width, form.channels)


def _bands(pieces: Iterator[Piece], form: Format, progress: Callable[[float], None]) -> Iterator[Any]:
    """The picture's rows of bytes from the top, in bands."""
    done = 0
    for row in _rows_of_tiles(pieces):
        for band in _joined(row, form):
            yield band
            done += len(band)
            progress(done / form.height)


def _rows_of_tiles(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    """The pieces by rows of the grid. Raises StitchFailed naming the first that is not there."""
    columns = rows = 1
    at = 0
    row: list[Piece] = []
    for piece in pieces:
        columns, rows = piece.region.data["grid"]
        if piece.region.data["at"] != [at % columns, at // columns] or at >= columns * rows:
            break
        row.append(piece)
        at += 1
        if at % columns == 0:
            yield row
            row = []
    if at != columns * rows:
        raise StitchFailed(f"Tile {tile_name(at % columns, at // columns)} is missing.")


def _joined(row: list[Piece], form: Format) -> Iterator[Any]:
    """The rows of pixels of one row of tiles, in bands. Raises StitchFailed."""
    import numpy as np

    from .images import BAND, TileReader

    tiles: list[TileReader] = []
    name = ""
    try:
        for piece in row:
            name = piece.region.name
            tiles.append(TileReader(piece.files.path(TILE), load=len(row) > MOST_OPEN))
        height = tiles[0].form.height
        for _ in range(0, height, form.band(BAND)):
            parts = []
            for piece, tile in zip(row, tiles, strict=True):
                name = piece.region.name
                parts.append(tile.read(form.band(BAND)))
            yield np.concatenate(parts, axis=1)
    except BadPicture as error:
        raise StitchFailed(f"Tile {name} cannot be read: {error}.") from error
    finally:
        for tile in tiles:
            tile.close()
