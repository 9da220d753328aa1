"""Examining a POV-Ray task: everything that can be found wrong before a byte is sent, and what its submitter should expect.

The result says all options outright, so that it means the same on a server that examines it again.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

import msgspec

from ..errors import TaskFileError
from ..model import Needs, TaskSpec
from .film_options import settle_film
from .kind import Examined, Folder
from .options import nearest, normalise
from .povray_clock import read_film, settle_clock
from .povray_film import check_film
from .povray_ini import parse_ini
from .povray_options import MOST_PIXELS, OPTIONS, Settled, absorb, check_format, gamma_of, settle
from .povray_scene import Scene, examine_scene
from .povray_sharing import check_sharing, expectations

KIND = "povray"


def examine(spec: TaskSpec, files: Folder) -> Examined:
    """See kind.Kind.examine."""
    known = {option.name for option in OPTIONS}
    given = {name: value for name, value in spec.options.items() if name in known}
    if isinstance(given.get("antialias"), bool):
        given["antialias"] = 0.3 if given["antialias"] else None
    said = _read_ini(given, files)
    merged, settled = absorb(given, said)
    read_film(merged, settled)
    plain = {name: merged[name] for name in ("animation",) if name in merged}
    check_format(spec.options.get("format"))
    normalise(KIND, OPTIONS, spec.options | plain | {"antialias": given.get("antialias")})  # what is wrong is named as it was given
    options = _checked(KIND, merged, settled)
    options["scene"] = _scene(options["scene"], files, settled)
    options["ini"] = "none"  # all of it is in the options now
    for name, origin in settled.files:
        if _nowhere(name, options, files):
            raise origin.fault("this file is not in the task's folder.")
    for folder in options["library"]:
        if not any(name.startswith(posixpath.normpath(folder) + "/") for name in files.names()) and folder not in (".", ""):
            raise TaskFileError(f'The folder "{folder}" of library is not in the task\'s folder.', key="options.library")
    scene = examine_scene(files, options["scene"], options["library"])
    if scene.empty:
        raise TaskFileError("The scene is empty; POV-Ray would render a black picture of it.", path=options["scene"])
    _check_size(options)
    _check_depth(options)
    warnings = [*settled.warnings, *scene.warnings, *settle_film(options, files), *settle_clock(options)]
    if options["animation"] is None:
        check_sharing(options, scene)
    else:
        warnings += check_film(options, scene)
    warnings += _expectations(options, scene)
    examined = msgspec.structs.replace(spec, options=options)
    return Examined(spec=msgspec.structs.replace(examined, needs=needs(examined)), warnings=tuple(dict.fromkeys(warnings)))


SCRATCH = 26
"""Bytes per pixel that povray may keep on disk beside its output: its image buffer (20) and the state that +C would read (6)."""


def needs(spec: TaskSpec) -> Needs:
    """The spec's needs, with the program and room for a full-size picture. Raises TaskFileError where they name another program."""
    program = spec.needs.program or KIND
    if program.split("=")[0].rstrip("<>!~ ") != KIND:
        raise TaskFileError(f'The kind povray runs povray, not "{program}"; write it as "povray>=3.7".', key="needs.program")
    width, height = spec.options.get("width"), spec.options.get("height")
    scratch = spec.needs.scratch
    if not scratch and isinstance(width, int) and isinstance(height, int):
        scratch = width * height * (SCRATCH + 8)
    return msgspec.structs.replace(spec.needs, program=program, scratch=scratch)


def _read_ini(given: dict[str, Any], files: Folder) -> Settled | None:
    """The variables of the .ini that belongs to the task; a povray.ini or one of the scene's own name goes before others."""
    asked = given.get("ini") or ""
    inis = [name for name in files.names() if name.lower().endswith(".ini")]
    if asked == "none" or not isinstance(asked, str):
        return None
    if asked and asked not in inis:
        raise TaskFileError(f'There is no file "{asked}" in the folder; {nearest(asked, inis)}', key="options.ini")
    top = [name for name in inis if "/" not in name]
    scenes = [name for name in files.names() if name.lower().endswith(".pov")]
    own = str(given.get("scene") or (scenes[0] if len(scenes) == 1 else "")).rsplit(".", 1)[0] + ".ini"
    chosen = asked or next((name for name in (own, "povray.ini") if name in inis), top[0] if len(top) == 1 else "")
    if not chosen:
        unused = Settled(warnings=[f'None of {", ".join(top)} is used; name one with the option ini, or say ini = "none".'])
        return unused if top else None
    said, warnings = parse_ini(chosen, files.read(chosen))
    settled = settle(said)
    settled.warnings = warnings + settled.warnings
    return settled


def _checked(kind: str, merged: dict[str, Any], settled: Settled) -> dict[str, Any]:
    try:
        options = normalise(kind, OPTIONS, merged)
        options["file_gamma"] = gamma_of(options["file_gamma"])
        if options["bits"] not in (8, 16):
            raise TaskFileError(f"bits must be 8 or 16, not {options['bits']}.", key="options.bits")
    except TaskFileError as error:
        origin = settled.origins.get(error.key.removeprefix("options."))
        if origin is None:
            raise
        raise origin.fault(error.sentence) from None
    return options


def _scene(asked: str, files: Folder, settled: Settled) -> str:
    scenes = [name for name in files.names() if name.lower().endswith(".pov")]
    if asked:
        found = posixpath.normpath(asked)
        for name in (found, found + ".pov"):
            if name in files.names():
                return name
        sentence = f'There is no scene "{asked}" in the folder; {nearest(asked, scenes)}'
        raise settled.origins["scene"].fault(sentence) if "scene" in settled.origins else TaskFileError(sentence, key="options.scene")
    top = [name for name in scenes if "/" not in name] or scenes
    if len(top) == 1:
        return top[0]
    if not top:
        raise TaskFileError("The folder holds no .pov file, so there is no scene to render.", key="options.scene")
    listed = ", ".join(top[:5]) + (", …" if len(top) > 5 else "")
    way = f'name one with scene = "{top[0]}" under [options] in task.toml, or with -o scene={top[0]}'
    raise TaskFileError(f"The folder holds {len(top)} scenes ({listed}); {way}.", key="options.scene")


def _nowhere(name: str, options: dict[str, Any], files: Folder) -> bool:
    bases = (posixpath.dirname(options["scene"]), "", *options["library"])
    return not name.isascii() or " " in name or not any(posixpath.normpath(posixpath.join(base, name)) in files.names() for base in bases)


def _check_size(options: dict[str, Any]) -> None:
    width, height = options["width"], options["height"]
    if width * height > MOST_PIXELS:
        raise TaskFileError(f"{width} x {height} are more pixels than POV-Ray can count (2147483647).", key="options.width")
    if options["tiles"] != "auto" and options["animation"] is None:
        for count, size, what in zip(options["tiles"], (width, height), ("columns", "rows"), strict=True):
            if count > size:
                raise TaskFileError(f"{size} pixels cannot be cut into {count} {what} of tiles.", key="options.tiles")


def _check_depth(options: dict[str, Any]) -> None:
    if options["format"] == "exr" and options["grey"]:
        raise TaskFileError("POV-Ray writes no grey OpenEXR; take grey out, or render png.", key="options.grey")


def _expectations(options: dict[str, Any], scene: Scene) -> Iterator[str]:
    """What the submitter should know, and settings that do nothing."""
    if options["animation"] is None:
        yield from expectations(options, scene)
    if options["file_gamma"] != "sRGB" and scene.version < 3.7:
        options["file_gamma"] = "sRGB"
        yield "file_gamma is left out: POV-Ray takes it only from scenes that begin with #version 3.7."
    if options["grey"] and options["bits"] == 8:
        yield "Grey pictures have 16 bits, as POV-Ray makes no others."
