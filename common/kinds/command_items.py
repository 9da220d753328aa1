"""What a command runs over: the items of a task, the jobs that they are dealt to, and the files that each has to write.

An item travels in its region as plain data: a path, a frame, a number, or a tile as [column, row, left, top, right, bottom].
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..errors import TaskFileError
from ..model import FarmShape, Region
from .command_options import MOST_ITEMS, known_in, over, templates
from .options import nearest, shown
from .placeholders import Value, fill
from .sequence import parse_frames
from .tiles import automatic, grid, tile_name

Item = Any
MANIFEST = "clusterray-outputs.json"
"""Which files a job made, with sizes and checksums; see command_outputs.py."""
LONGEST = 200
"""Characters of an output's path."""


def items_of(options: Mapping[str, Any], names: Sequence[str], farm: FarmShape | None = None) -> list[Item]:
    """All items, in order. ``names``: the task's files. Raises TaskFileError; ``tiles = "auto"`` needs ``farm``."""
    where = over(options)
    if where == "files":
        return _files(options["files"], names)
    if where == "range":
        return _range(options["range"])
    if where == "tiles":
        width, height = options["width"], options["height"]
        columns, rows = automatic(width, height, farm or FarmShape()) if options["tiles"] == "auto" else options["tiles"]
        try:
            return [[tile.column, tile.row, *tile.rect] for tile in grid(width, height, columns, rows)]
        except ValueError as error:
            raise TaskFileError(f"tiles: {error}.", key="options.tiles") from None
    try:
        return list(parse_frames(options["frames"]))
    except ValueError as error:
        raise TaskFileError(f"frames {error}.", key="options.frames") from None


def values_of(options: Mapping[str, Any], item: Item) -> dict[str, Value]:
    """The placeholders that an item gives values to, without those of the place."""
    where = over(options)
    if where == "files":
        base = posixpath.basename(item)
        stem = posixpath.splitext(base)[0]
        return {"name": base, "stem": stem, "path": posixpath.splitext(item)[0], "input.name": base, "input.stem": stem}
    if where == "tiles":
        column, row, left, top, right, bottom = item
        return {
            "column": column, "row": row, "left": left, "top": top, "right": right, "bottom": bottom,
            "w": right - left, "h": bottom - top, "width": options["width"], "height": options["height"],
        }  # fmt: skip
    return {"frame" if where == "frames" else "index": item}


def outputs_of(options: Mapping[str, Any], item: Item) -> list[str]:
    """The paths and patterns that an item's command has to write, below ``out``. Raises TaskFileError where one is no such path."""
    values = values_of(options, item)
    found = [fill(template, values) for template in templates(options, "outputs")]
    for path in found:
        check_path(path, "outputs")
    return found


def check_path(path: str, option: str) -> None:
    """Raise TaskFileError where a path does not lie below a job's ``out``, or cannot travel."""
    unfit = posixpath.normpath(path) != path or path.startswith(("/", "..")) or path == "." or "\\" in path or not path.isprintable()
    if unfit or len(path) > LONGEST or posixpath.basename(path).startswith("clusterray-"):
        raise TaskFileError(f"{option}: {shown(path)} is no path of a file that a job may write.", key=f"options.{option}")


def check_clashes(options: Mapping[str, Any], items: Sequence[Item]) -> None:
    """Raise TaskFileError where two items would write the same file."""
    first: dict[str, Item] = {}
    for item in items:
        for path in outputs_of(options, item):
            if path in first:
                ways = ", ".join(f"{{{name}}}" for name in known_in(options, "outputs"))
                both = "twice" if first[path] == item else f"for {label(options, first[path])} and for {label(options, item)}"
                raise TaskFileError(f"{shown(path)} would be written {both}; tell outputs apart by {ways}.", key="options.outputs")
            first[path] = item


def label(options: Mapping[str, Any], item: Item) -> str:
    """An item, for people."""
    where = over(options)
    if where == "tiles":
        return f"tile {tile_name(item[0], item[1])}"
    return str(item) if where == "files" else f"{'frame' if where == 'frames' else 'number'} {item}"


def regions_of(options: Mapping[str, Any], items: Sequence[Item], needs: tuple[str, ...]) -> Iterator[Region]:
    """``chunk`` items a job. Each region knows its neighbours' names, so that a lost one can be named; with one tile also its rectangle."""
    size = options["chunk"]
    dealt = [list(items[at : at + size]) for at in range(0, len(items), size)]
    names = ["", *(_name(options, at * size, part) for at, part in enumerate(dealt)), ""]
    for at, part in enumerate(dealt):
        data: dict[str, Any] = {"first": at * size, "items": part, "before": names[at], "after": names[at + 2]}
        if over(options) == "tiles" and len(part) == 1:
            data["rect"] = part[0][2:]
        own = tuple(part) if needs == OWN else needs
        yield Region(name=names[at + 1], data=data, needs=own)


OWN = ("",)
"""Needs of a job that reads its items and nothing else."""


def _name(options: Mapping[str, Any], first: int, part: Sequence[Item]) -> str:
    """``000001-DJI_0018``, ``000001-000016``: sorts in order, fit for a file."""
    begin = f"{first + 1:06d}"
    if len(part) > 1:
        return f"{begin}-{first + len(part):06d}"
    said = posixpath.splitext(posixpath.basename(part[0]))[0] if over(options) == "files" else label(options, part[0]).replace(" ", "-")
    return f"{begin}-{re.sub(r'[^A-Za-z0-9._-]+', '_', said)[:60]}"


def _files(said: Any, names: Sequence[str]) -> list[str]:
    patterns = said if isinstance(said, list) else [said]
    if not patterns or not all(isinstance(pattern, str) and pattern for pattern in patterns):
        raise TaskFileError(f'files must be a pattern such as "*.png", or a list of patterns, not {shown(said)}.', key="options.files")
    found: set[str] = set()
    for pattern in patterns:
        fits = {name for name in names if matcher(pattern.removeprefix("./")).fullmatch(name)}
        if not fits:
            near = nearest(pattern, list(names)) if len(names) <= 20 else f"it has {len(names)} files."
            raise TaskFileError(f"files: no file of the folder matches {shown(pattern)}; {near}", key="options.files")
        found |= fits
    if found <= {"task.toml"}:
        raise TaskFileError(f"files: no file of the folder but task.toml matches {shown(said)}.", key="options.files")
    return sorted(found - {"task.toml"})


def _range(said: Any) -> list[int]:
    if isinstance(said, list) and 2 <= len(said) <= 3 and all(isinstance(one, int) and not isinstance(one, bool) for one in said):
        first, last, step = (*said, 1)[:3]
        if step == 0 or (last - first) * step < 0:
            raise TaskFileError(f"range: {shown(said)} never gets from {first} to {last}.", key="options.range")
        numbers = range(first, last + (1 if step > 0 else -1), step)
        if len(numbers) > MOST_ITEMS:
            raise TaskFileError(f"range: {len(numbers)} numbers are more than {MOST_ITEMS}.", key="options.range")
        return list(numbers)
    try:
        if isinstance(said, list):
            raise ValueError('must be "0-99", [first, last] or [first, last, step]')
        return list(parse_frames(said))
    except ValueError as error:
        words = str(error).replace("frames", "numbers")
        told = "" if shown(said) in words else f", not {shown(said)}"
        raise TaskFileError(f"range {words}{told}.", key="options.range") from None


@lru_cache(maxsize=256)
def matcher(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression, as node/outputs.py has it: ``**/`` is any folders or none, ``*`` and ``?`` stay within a name."""
    words = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(word) or re.escape(word) for word in words), re.DOTALL)
