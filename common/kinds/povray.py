"""The POV-Ray kind, stills: a picture cut into tiles, each rendered by one povray, joined pixel for pixel.

What makes the joined picture the one that a single povray would have made is in three places: exact integer bounds (tiles.py);
with antialiasing, which looks across neighbours inside of POV-Ray's blocks of 32 x 32 pixels, each tile is rendered
grown to the blocks of the whole picture and cropped; and what cannot be cut without a seam (radiosity, dithering) is rendered
whole unless the submitter asks for a grid. docs/povray.md says what was measured.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import OutputRejected, SplitFailed, StitchFailed
from ..model import FarmShape, Needs, Region, TaskSpec
from .kind import Examined, Folder, Kind, Piece, Place, Recipe, Stage
from .png import BadPicture, Format, check_tile
from .povray_examine import examine, needs, whole_because
from .povray_library import library_folders
from .povray_options import OPTIONS
from .povray_output import diagnose, progress
from .povray_scene import examine_scene
from .povray_tile import INI, OUTPUT, TILE, crop, furnish
from .tiles import BLOCK, Rect, automatic, grid, grown, tile_name

MOST_OPEN = 128
"""Files open at once while a row of tiles is joined; a process may have 1,024."""


def form_of(options: dict[str, Any], rect: Rect | None = None) -> Format:
    """The form of the picture, or of the tile ``rect``; grey is always of 16 bits, as POV-Ray has it."""
    left, top, right, bottom = rect or (0, 0, options["width"], options["height"])
    return Format(
        width=right - left,
        height=bottom - top,
        bits=16 if options["grey"] else options["bits"],
        channels=(1 if options["grey"] else 3) + options["alpha"],
    )


def arguments(options: dict[str, Any], rect: Rect, scene: str, libraries: Iterable[str], threads: int) -> list[str]:
    """povray's switches for one tile. Every number that an .ini could set is set here; -GA would silence the errors too."""
    width, height = options["width"], options["height"]
    form = form_of(options)
    kind = "N" if options["grey"] or options["alpha"] else "P"
    left, top, right, bottom = rect
    words = [f"+I{scene}", f"+O{OUTPUT}.{'png' if kind == 'N' else 'ppm'}", f"+W{width}", f"+H{height}"]
    words.append("+FNg" if options["grey"] else f"+F{kind}{form.bits}" if kind == "N" or form.bits == 16 else "+FP")
    words += ["+UA" if options["alpha"] else "-UA", f"File_Gamma={options['file_gamma']}", f"+Q{options['quality']}"]
    if options["antialias"] is None:
        words.append("-A")
    else:
        words += [f"+A{options['antialias']:g}", f"+AM{options['antialias_method']}", f"+R{options['antialias_depth']}"]
        words.append(f"+J{options['jitter']:g}" if options["jitter"] else "-J")
    words += [f"+L{library}" for library in libraries]
    # an end of 1 would mean 100 %; grown() never leaves one inside of a picture that is wider
    words += [f"+SC{left + 1}"] * (left > 0) + [f"+EC{right}"] * (right < width)
    words += [f"+SR{top + 1}"] * (top > 0) + [f"+ER{bottom}"] * (bottom < height)
    return [*words, *options["args"], f"+WT{threads}", "-D", "-P", "-C", "+V", "-GD", "-GR", "-GS"]


class Stills(Stage):
    """The one stage of a still."""

    name = "tiles"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        options = task.options
        scene = examine_scene(files, options["scene"], options["library"])
        width, height = options["width"], options["height"]
        if options["tiles"] != "auto":
            columns, rows = options["tiles"]
        elif whole_because(options, scene):
            columns, rows = 1, 1
        else:
            columns, rows = automatic(width, height, farm)
        # photons are shot alike in every tile if one thread shoots them; a share of several cores would give each its own
        threads = {"threads": 1} if "photons" in scene.traits and columns * rows > 1 else {}
        try:
            tiles = list(grid(width, height, columns, rows))
        except ValueError as error:
            raise SplitFailed(f"The picture cannot be cut: {error}.") from error
        return [
            Region(name=tile.name, data={"rect": list(tile.rect), "at": [tile.column, tile.row], "grid": [columns, rows], **threads})
            for tile in tiles
        ]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        options = task.options
        program = place.programs.get("povray", "povray")
        own = library_folders(program)
        room = furnish(place.inputs, place.scratch, options["scene"], options["library"], own)
        rect = _rect(region)
        width, height = options["width"], options["height"]
        blocks = BLOCK if options["antialias"] is not None else 1
        rendered = grown(rect, width, height, blocks)
        threads = region.data.get("threads", place.cores)
        picture = room.path / f"{OUTPUT}.{'png' if options['grey'] or options['alpha'] else 'ppm'}"
        environment = {"HOME": str(place.scratch), "POV_TEMP_DIR": str(place.scratch)}
        return Recipe(
            argv=(program, *arguments(options, rendered, room.scene, room.libraries, threads)),
            env=environment | ({"POVINI": INI} if own else {}),
            cwd=room.path,
            outputs=(TILE,),
            progress=progress,
            finish=partial(crop, picture, form_of(options, rect), (width, height), rect, place.scratch / "out" / TILE),
            diagnose=diagnose(room.renames, posixpath.dirname(options["scene"])),
            see=tuple(path for path in (Path("/etc/povray"), *own) if path.is_dir() and not path.is_relative_to("/usr")),
        )

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        if outputs.names() != (TILE,):
            raise OutputRejected(f"Tile {region.name}: {TILE} was expected, {', '.join(outputs.names()) or 'nothing'} came.")
        try:
            check_tile(outputs.path(TILE), form_of(task.options, _rect(region)))
        except BadPicture as error:
            raise OutputRejected(f"Tile {region.name}: {error}.") from error

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        from .images import PictureWriter, gamma_chunks

        form = form_of(task.options)
        extra = gamma_chunks(form.bits, form.channels, task.options["file_gamma"])
        with PictureWriter(out / f"{task.name}.png", form, extra) as picture:
            done = 0
            for row in _rows_of_tiles(pieces, form):
                for band in _joined(row, form):
                    picture.rows(band)
                    done += len(band)
                    progress(done / form.height)


class Povray(Kind):
    """See the head of this file."""

    name = "povray"
    version = 1
    allow = "render"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return any(name.lower().endswith(".pov") for name in files.names())

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        return examine(spec, files)

    def needs(self, spec: TaskSpec) -> Needs:
        return needs(spec)

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        return (Stills(),)


def _rect(region: Region) -> Rect:
    left, top, right, bottom = region.data["rect"]
    return left, top, right, bottom


def _rows_of_tiles(pieces: Iterator[Piece], form: Format) -> Iterator[list[Piece]]:
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


POVRAY = Povray()
