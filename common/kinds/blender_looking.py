"""The first stage of every Blender task: one job that opens the file on a node and says what it is.

The server never runs Blender, and a .blend alone does not say all that cutting needs. What is wrong with the scene (a camera, a property, a
missing file) is found here once, and not by every job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import OutputRejected, StitchFailed
from ..model import FarmShape, Region, TaskSpec
from .animation import film_of
from .blender_plan import read_look
from .blender_run import recipe
from .kind import Folder, Piece, Place, Recipe, Stage

FILE = "look.json"
NEEDS = ("!task.toml",)
"""As in Region.needs: what the task file says is in the options."""


class Looking(Stage):
    """See the head of this file."""

    name = "look"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        film = film_of(task.options)
        unread = (film.existing, film.audio) if film else ()
        return [Region(name="look", needs=(*NEEDS, *(f"!{path}" for path in unread if path)))]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        return recipe(task.options, place, {"do": "look", "name": FILE}, (FILE,))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        if outputs.names() != (FILE,):
            raise OutputRejected(f"{FILE} was expected, {', '.join(outputs.names()) or 'nothing'} came.")
        read_look(outputs.read(FILE))

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        for piece in pieces:
            (out / FILE).write_bytes(piece.files.read(FILE))
            progress(1.0)
            return
        raise StitchFailed("The job look is missing.")

    def reads(self, task: TaskSpec, region: Region) -> Any:
        how = ("split", "tiles", "parts", "animation", "keyframes", "format", "bits", "color", "quality")
        return {name: value for name, value in task.options.items() if name not in how}
