"""Any program over files, frames, tiles or numbers: ``command = ["tool", "{input}", "-o", "{output}"]``.

It runs by argv in the confinement of a node, never through a shell, and only where the node's owner has allowed the program by name
([node] commands). command_options.py has the options, command_items.py what it runs over, command_run.py what a node does,
command_outputs.py what is verified, command_join.py how outputs are joined. docs/command.md is for submitters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ..errors import TaskFileError
from ..model import Needs, TaskSpec
from .animation import film_of, film_stages, settle_film
from .command_items import Item, check_clashes, check_path, items_of
from .command_options import JOINS, MOST_ASSETS, MOST_FILES, OPTIONS, OVER, PICTURES, check_words, is_pattern, over, program_of
from .command_stage import CommandFrames, Items, Last
from .kind import Examined, Folder, Kind, Stage
from .options import normalise, shown


class Command(Kind):
    """See the head of this file."""

    name = "command"
    version = 1
    allow = "commands"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return False

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        options = normalise(self.name, OPTIONS, spec.options)
        film = options["animation"] is not None
        _check_over(options, film)
        warnings = settle_film(options, files)
        if film:
            options["join"] = "film"
        if options["last"] and not options["last_outputs"]:
            options["last_outputs"] = ["**/*"]
        _check_outputs(options)
        names = [name for name in files.names() if not name.startswith("stages/")]
        items = _items(options, names)
        check_words(options, names)
        for path in options["last_outputs"]:
            check_path(path, "last_outputs")
        check_clashes(options, items)
        _check_chunk(options, len(items))
        _check_join(options, film)
        examined = msgspec.structs.replace(spec, options=options)
        return Examined(spec=msgspec.structs.replace(examined, needs=self.needs(examined)), warnings=tuple(warnings))

    def needs(self, spec: TaskSpec) -> Needs:
        """The programs by the names that a node's owner allows; two of them separated by a blank."""
        programs = []
        for name in ("command", "last"):
            if spec.options.get(name):
                try:
                    programs.append(program_of(spec.options[name]))
                except ValueError as error:
                    raise TaskFileError(f"{name}: {error}.", key=f"options.{name}") from None
        return msgspec.structs.replace(spec.needs, command=" ".join(dict.fromkeys(programs)))

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        if task.options["animation"] is not None:
            return film_stages(CommandFrames(), task)
        return (Items(), Last()) if task.options["last"] else (Items(),)


def _items(options: dict[str, Any], names: Sequence[str]) -> Sequence[Item]:
    """All items, or, where the farm decides on the tiles, four that differ as tiles do."""
    film = film_of(options)
    if film is not None:
        return film.frames
    if options["tiles"] == "auto":
        return [[column, row, column, row, column + 1, row + 1] for row in range(2) for column in range(2)]
    return items_of(options, names)


def _check_over(options: dict[str, Any], film: bool) -> None:
    said = [name for name in OVER if options[name] is not None]
    if film and said:
        raise TaskFileError(f"[animation] says the frames, so that {said[0]} has to go.", key=f"options.{said[0]}")
    if not film and len(said) != 1:
        what = f"not over {' and '.join(said)}" if said else "and none of them is said"
        key = f"options.{said[1] if said else 'command'}"
        raise TaskFileError(f"A command runs over one of files, frames, tiles and range, {what}.", key=key)
    if "tiles" in said and not (options["width"] and options["height"]):
        raise TaskFileError("tiles need width and height, the pixels of the whole picture.", key="options.tiles")


_EXAMPLES = {
    "files": "{stem}.png",
    "frames": "{frame:04d}.png",
    "tiles": "r{row:03d}c{column:03d}.png",
    "range": "{index:04d}.txt",
}


def _check_outputs(options: dict[str, Any]) -> None:
    if not options["outputs"]:
        raise TaskFileError(f'Say what the command writes: outputs = ["{_EXAMPLES[over(options)]}"].', key="options.outputs")
    if options["last_outputs"] and not options["last"]:
        raise TaskFileError("last_outputs belongs to last, which is not there.", key="options.last_outputs")


def _check_chunk(options: dict[str, Any], items: int) -> None:
    """Before the work is done, not after: a job can send only so many files, and a task have only so many."""
    if options["animation"] is None and options["join"] == "copy" and not options["last"] and items * len(options["outputs"]) > MOST_ASSETS:
        made = f"{items} items make {items * len(options['outputs'])} files"
        raise TaskFileError(f"{made}, but a task can have {MOST_ASSETS}; join them, or make fewer.", key="options.outputs")
    chunk, each = min(options["chunk"], items), len(options["outputs"])
    if options["animation"] is None and chunk * each >= MOST_FILES:
        most = max(1, (MOST_FILES - 1) // each)
        raise TaskFileError(
            f"chunk: {chunk} items make {chunk * each} files, but a job can send {MOST_FILES - 1}; {most} is the most.", key="options.chunk"
        )


def _check_join(options: dict[str, Any], film: bool) -> None:
    """Raise TaskFileError where the outputs cannot be joined so."""
    join, outputs, key = options["join"], options["outputs"], "options.join"
    assert join in JOINS
    if join == "film" and not film:
        raise TaskFileError('join = "film" needs [animation] with frames and fps.', key=key)
    if film and options["chunk"] != 1:
        raise TaskFileError("The chunk of a film belongs under [animation].", key="options.chunk")
    if options["last"] and join != "copy":
        what = "a film is joined by itself" if film else f"it gets all outputs, so that join = {shown(join)} has to go"
        raise TaskFileError(f"last: {what}.", key="options.last")
    if join == "copy":
        return
    if len(outputs) != 1 or is_pattern(outputs[0]):
        raise TaskFileError(f"join = {shown(join)} needs one output for each item: one name without * in outputs.", key="options.outputs")
    if join in ("montage", "film") and not outputs[0].lower().endswith(PICTURES):
        raise TaskFileError(f"join = {shown(join)} needs pictures ({', '.join(PICTURES)}), not {shown(outputs[0])}.", key="options.outputs")
    if join == "montage" and over(options) == "tiles" and outputs[0].lower().endswith((".jpg", ".jpeg")):
        raise TaskFileError("Tiles are joined as they are, which JPEG does not allow; write PNG, TIFF or OpenEXR.", key="options.outputs")


COMMAND = Command()
