"""The stages of a command: its items, a film's frames, and the submitter's own last command over all outputs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import OutputRejected, SplitFailed, StitchFailed, TaskFileError
from ..model import FarmShape, Region, TaskSpec
from .animation import Frames
from .command_items import MANIFEST, OWN, items_of, label, outputs_of, regions_of
from .command_join import concatenate, copy, montage
from .command_options import PICTURES, over, templates
from .command_outputs import Wanted, check_picture, in_item_order, seal, verify
from .command_run import Call, calls_of, last_call, recipe
from .film_options import curves_of, frame_file
from .frame_regions import frames_of, in_order
from .kind import Folder, Piece, Place, Recipe, Stage
from .placeholders import used

LISTED = "clusterray-pieces.json"
"""What the last command gets as {pieces}, in order; written by the stitch of the items."""
ITEMS = "items"


class Items(Stage):
    """One job for each item, or for ``chunk`` of them."""

    name = ITEMS

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        try:
            items = items_of(task.options, files.names(), farm)
        except TaskFileError as error:
            raise SplitFailed(error.sentence) from error
        return list(regions_of(task.options, items, needs_of(task.options)))

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        options = task.options
        wanted = _wanted(options, region)
        calls = calls_of(options, region.data["items"], place, list(wanted))
        outputs = [path for paths in wanted.values() for path in paths]
        return recipe(options, calls, place, [*outputs, MANIFEST], partial(seal, place.scratch / "out", wanted))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        verify(outputs, _wanted(task.options, region), _tile_sizes(task.options, region))

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        options = task.options
        ordered = ((piece, in_item_order(piece.files.names(), _wanted(options, piece.region))) for piece in in_order(pieces))
        if options["last"]:
            listed = copy(ordered, out, progress)
            (out / LISTED).write_text(json.dumps(listed), "utf-8")
        elif options["join"] == "concatenate":
            concatenate(ordered, out / f"{task.name}{_ending(options)}", progress)
        elif options["join"] == "montage":
            montage(options, ordered, out / f"{task.name}{_ending(options)}", progress)
        else:
            copy(ordered, out, progress)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        """The command and its surroundings, and the items: not how the work is dealt, nor what becomes of the outputs."""
        return [*_common(task.options, "command", "stdin", "stdout", "outputs", "width", "height"), region.data["items"]]

    def preview(
        self, task: TaskSpec, files: Folder, regions: Sequence[Region], pieces: Sequence[Piece], out: Path, size: int
    ) -> bool:
        from .preview import preview_frames, preview_tiles

        options = task.options
        if not options["outputs"][0].lower().endswith(PICTURES):
            return False

        def picture(piece: Piece, number: int = 0) -> Path:
            item = piece.region.data["items"][number - piece.region.data["first"] if number else 0]
            return piece.files.path(in_item_order(piece.files.names(), {"": outputs_of(options, item)[:1]})[0])

        def numbers(region: Region) -> tuple[int, ...]:
            return tuple(range(region.data["first"], region.data["first"] + len(region.data["items"])))

        if over(options) == "tiles":
            tiled = all("rect" in region.data for region in regions)
            return tiled and preview_tiles(options["width"], options["height"], regions, pieces, picture, out, size)
        return preview_frames(numbers, picture, regions, pieces, out, size)


class Last(Stage):
    """The submitter's last command: one region, as nothing that a submitter wrote runs on the server."""

    name = "last"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        return [Region(name="last", needs=("!task.toml",))]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        folder = place.inputs / "stages" / ITEMS
        pieces = [folder / name for name in json.loads((folder / LISTED).read_text("utf-8"))]
        call: Call = last_call(task.options, pieces, folder, place)
        finish = partial(seal, place.scratch / "out", _last_wanted(task.options))
        return recipe(task.options, [call], place, [*task.options["last_outputs"], MANIFEST], finish)

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        verify(outputs, _last_wanted(task.options))

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        piece = next(pieces, None)
        if piece is None:
            raise StitchFailed("The output of last is missing.")
        copy(iter([(piece, in_item_order(piece.files.names(), _last_wanted(task.options)))]), out, progress)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        return _common(task.options, "last", "last_outputs")


class CommandFrames(Frames):
    """The frames of a film, each made by the command."""

    def suffix(self, task: TaskSpec) -> str:
        return str(task.options["outputs"][0].rpartition(".")[2])

    def render(self, task: TaskSpec, frames: tuple[int, ...], region: Region, place: Place) -> Recipe:
        options = task.options
        wanted = {f"frame {frame}": outputs_of(options, frame) for frame in frames}
        called = {paths[0]: frame_file(frame, self.suffix(task)) for frame, paths in zip(frames, wanted.values(), strict=True)}
        calls = calls_of(options, frames, place, list(wanted))
        return recipe(options, calls, place, list(called), partial(_rename, place.scratch / "out", called))

    def check(self, task: TaskSpec, path: Path) -> None:
        width, height = task.options["width"], task.options["height"]
        check_picture(path, (width, height) if width and height else None)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        frames, curves = frames_of(region), curves_of(task.options)
        said = _common(task.options, "command", "stdin", "stdout", "outputs", "width", "height")
        return [*said, list(frames), [curves.at(frame) for frame in frames] if curves else []]


def needs_of(options: dict[str, Any]) -> tuple[str, ...]:
    """Of a job: its own files where the command asks for nothing else of the folder; else everything but the task file."""
    asked = [*templates(options, "command"), *templates(options, "stdin", [options["stdin"]])]
    asked += templates(options, "env", list((options["env"] or {}).values()))
    whole = any("inputs" in used(one) for one in asked) or options["command"][0].startswith("./")
    return OWN if over(options) == "files" and not whole else ("!task.toml",)


def _wanted(options: dict[str, Any], region: Region) -> Wanted:
    return {label(options, item): outputs_of(options, item) for item in region.data["items"]}


def _last_wanted(options: dict[str, Any]) -> Wanted:
    return {"the last command": options["last_outputs"]}


def _tile_sizes(options: dict[str, Any], region: Region) -> dict[str, tuple[int, int]]:
    """What the pictures of a job have to measure, where they are to be joined as tiles: name -> columns, rows."""
    if over(options) != "tiles" or options["join"] != "montage":
        return {}
    return {outputs_of(options, item)[0]: (item[4] - item[2], item[5] - item[3]) for item in region.data["items"]}


def _ending(options: dict[str, Any]) -> str:
    return Path(options["outputs"][0]).suffix


def _common(options: dict[str, Any], *names: str) -> list[Any]:
    return [{name: options[name] for name in names}, options["env"] or {}]


def _rename(out: Path, called: dict[str, str]) -> None:
    for name in called:
        if not (out / name).is_file() or not (out / name).stat().st_size:
            raise OutputRejected(f"The output {name!r} was not made, or is empty, though the program ended well.")
    # two steps, as a frame's own name may be another one's final name
    for name, to in called.items():
        (out / name).replace(out / f"clusterray-{to}")
    for to in called.values():
        (out / f"clusterray-{to}").replace(out / to)
