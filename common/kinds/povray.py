"""The POV-Ray kind: a still cut into tiles, each rendered by one povray, joined pixel for pixel; a film in runs of frames.

What makes the joined picture the one that a single povray would have made is in four places: exact integer bounds (tiles.py);
with antialiasing, which looks across neighbours inside of POV-Ray's blocks of 32 x 32 pixels, each tile is rendered
grown to the blocks of the whole picture and cropped; what tiles can share is gathered before (povray_prepass.py); and what cannot be
cut without a seam is rendered whole unless the submitter asks for a grid (povray_sharing.py). docs/povray.md says what was measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OutputRejected, SplitFailed
from ..model import FarmShape, Needs, Region, TaskSpec
from .animation import film_stages
from .kind import Examined, Folder, Kind, Piece, Place, Recipe, Stage
from .png import BadPicture, check_tile
from .povray_examine import examine, needs
from .povray_film import PovrayFrames
from .povray_job import form_of, povray_recipe, tile_type
from .povray_join import check_exr, crop_exr, join, tile_file
from .povray_options import OPTIONS
from .povray_prepass import Photons, Radiosity, one_thread, render_options, shared_files
from .povray_sharing import grid_of, settle_sharing
from .povray_tile import OUTPUT, crop
from .tiles import BLOCK, Rect, grid, grown


class Stills(Stage):
    """The tiles of a still, its last stage."""

    name = "tiles"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        columns, rows = grid_of(task.options, farm)
        threads = one_thread(task, files) if columns * rows > 1 else {}
        try:
            tiles = list(grid(task.options["width"], task.options["height"], columns, rows))
        except ValueError as error:
            raise SplitFailed(f"The picture cannot be cut: {error}.") from error
        return [
            Region(name=tile.name, data={"rect": list(tile.rect), "at": [tile.column, tile.row], "grid": [columns, rows], **threads})
            for tile in tiles
        ]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        options = task.options
        rect = _rect(region)
        width, height = options["width"], options["height"]
        files, more = shared_files(options, place.inputs)
        kind, tile = tile_type(options), tile_file(options)
        to = place.scratch / "out" / tile
        if options["format"] == "exr":
            finish = partial(crop_exr, rect=rect, to=to)
        else:
            finish = partial(crop, form=form_of(options, rect), whole=(width, height), rect=rect, tile=to)
        return povray_recipe(
            options,
            place,
            rect=grown(rect, width, height, BLOCK if options["antialias"] is not None else 1),
            threads=region.data.get("threads", place.cores),
            kind=kind,
            output=OUTPUT,
            outputs=[tile],
            finish=lambda room: finish(room.path / f"{OUTPUT}.{kind.suffix}"),
            files=files,
            more=more,
        )

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        tile = tile_file(task.options)
        if outputs.names() != (tile,):
            raise OutputRejected(f"Tile {region.name}: {tile} was expected, {', '.join(outputs.names()) or 'nothing'} came.")
        try:
            if task.options["format"] == "exr":
                check_exr(outputs.path(tile), form_of(task.options, _rect(region)), form_of(task.options))
            else:
                check_tile(outputs.path(tile), form_of(task.options, _rect(region)))
        except BadPicture as error:
            raise OutputRejected(f"Tile {region.name}: {error}.") from error

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        join(task, pieces, out, progress)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        return [render_options(task.options), region.data["rect"], region.data.get("threads")]

    def preview(
        self, task: TaskSpec, files: Folder, regions: Sequence[Region], pieces: Sequence[Piece], out: Path, size: int
    ) -> bool:
        from .preview import preview_tiles

        options, tile = task.options, tile_file(task.options)
        return preview_tiles(options["width"], options["height"], regions, pieces, lambda piece: piece.files.path(tile), out, size)


class Povray(Kind):
    """See the head of this file."""

    name = "povray"
    version = 1
    allow = "render"
    options = OPTIONS
    scenes = (".pov",)

    def recognise(self, files: Folder) -> bool:
        return any(name.lower().endswith(".pov") for name in files.names())

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        return examine(spec, files)

    def needs(self, spec: TaskSpec) -> Needs:
        return needs(spec)

    def settle(self, spec: TaskSpec, farm: FarmShape) -> TaskSpec:
        return msgspec.structs.replace(spec, options=settle_sharing(spec.options, farm))

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        options = task.options
        if options["animation"] is not None:
            return film_stages(PovrayFrames(), task)
        photons = (Photons(),) if options["photons"] == "shared" else ()
        samples = (Radiosity(),) if options["radiosity"] == "prepass" else ()
        return (*photons, *samples, Stills())


def _rect(region: Region) -> Rect:
    left, top, right, bottom = region.data["rect"]
    return left, top, right, bottom


POVRAY = Povray()
