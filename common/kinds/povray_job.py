"""One run of povray: its switches, its room and its environment, whatever it renders: a tile, frames, samples for later.

Every number that an .ini could set is set on the command line; nothing that a submitter wrote comes there but through povray_switches.py.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .kind import Place, Recipe
from .png import Format
from .povray_library import library_folders
from .povray_output import diagnose, progress
from .povray_tile import INI, Room, furnish
from .tiles import Rect


@dataclass(frozen=True, kw_only=True)
class FileType:
    """What povray writes: its switch, and how the file ends."""

    word: str
    suffix: str


NO_FILE = FileType(word="-F", suffix="")


def form_of(options: Mapping[str, Any], rect: Rect | None = None) -> Format:
    """The form of the picture, or of the tile ``rect``; grey is always of 16 bits, as POV-Ray has it."""
    left, top, right, bottom = rect or (0, 0, options["width"], options["height"])
    return Format(
        width=right - left,
        height=bottom - top,
        bits=16 if options["grey"] else options["bits"],
        channels=(1 if options["grey"] else 3) + options["alpha"],
    )


def picture_type(options: Mapping[str, Any]) -> FileType:
    """Of a picture that is kept as povray wrote it."""
    if options["format"] == "exr":
        return FileType(word="+FE", suffix="exr")
    return FileType(word="+FNg" if options["grey"] else f"+FN{options['bits']}", suffix="png")


def tile_type(options: Mapping[str, Any]) -> FileType:
    """Of a picture of which a tile is cropped: PPM where it holds what is wanted, as it needs no numpy."""
    if options["format"] == "exr" or options["grey"] or options["alpha"]:
        return picture_type(options)
    return FileType(word="+FP16" if options["bits"] == 16 else "+FP", suffix="ppm")


def arguments(
    options: Mapping[str, Any],
    rect: Rect,
    scene: str,
    libraries: Iterable[str],
    threads: int,
    kind: FileType,
    output: str,
    more: Iterable[str] = (),
) -> list[str]:
    """povray's switches to render ``rect`` of the picture. -GA would silence the errors too."""
    width, height = options["width"], options["height"]
    left, top, right, bottom = rect
    words = [f"+I{scene}"]
    words += [f"+O{output}.{kind.suffix}"] * bool(kind.suffix)
    words += [f"+W{width}", f"+H{height}", kind.word]
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
    return [*words, *options["args"], *more, f"+WT{threads}", "-D", "-P", "-C", "+V", "-GD", "-GR", "-GS"]


def povray_recipe(
    options: Mapping[str, Any],
    place: Place,
    *,
    rect: Rect,
    threads: int,
    kind: FileType,
    output: str,
    outputs: Sequence[str],
    finish: Callable[[Room], None],
    files: Mapping[str, bytes | Path] | None = None,
    renames: Mapping[str, str] | None = None,
    more: Sequence[str] = (),
    told: Callable[[str], float | None] = progress,
) -> Recipe:
    """The recipe for one povray. ``finish`` gets the room that it worked in; the other names are those of arguments() and furnish()."""
    program = place.programs.get("povray", "povray")
    own = library_folders(program)
    room = furnish(place.inputs, place.scratch, options["scene"], options["library"], own, files=files)
    environment = {"HOME": str(place.scratch), "POV_TEMP_DIR": str(place.scratch)}
    return Recipe(
        argv=(program, *arguments(options, rect, room.scene, room.libraries, threads, kind, output, more)),
        env=environment | ({"POVINI": INI} if own else {}),
        cwd=room.path,
        outputs=tuple(outputs),
        progress=told,
        finish=lambda: finish(room),
        diagnose=diagnose({**room.renames, **(renames or {})}, posixpath.dirname(options["scene"])),
        see=tuple(path for path in (Path("/etc/povray"), *own) if path.is_dir() and not path.is_relative_to("/usr")),
    )
