"""What a submitter can say of a Mitsuba task, and the checks of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from ..errors import TaskFileError
from ..model import Needs, TaskSpec
from .film_options import ANIMATION, curves_of, film_of, settle_film
from .keyframes import KEYFRAMES, Curves, number
from .kind import Examined, Folder, Option
from .mitsuba_scene import Scene, main_scenes, read_scene
from .options import nearest, normalise, shown

PROGRAM = "mitsuba"
PICTURES = ("png", "exr")
_NAME = re.compile(r"[A-Za-z_]\w*")

OPTIONS = (
    Option(name="scene", type="str", help="the scene, an .xml of the folder; needed where there are several"),
    Option(name="parameters", type="table", help='values for the $names of the scene, in place of its <default name="…" value="…"/>'),
    Option(name="width", type="int", help="pixels; as the film says where it is not given", minimum=1, maximum=1 << 16),
    Option(name="height", type="int", help="pixels; as the film says where it is not given", minimum=1, maximum=1 << 16),
    Option(name="samples", type="int", help="samples per pixel; as the sampler says where it is not given", minimum=1, maximum=1 << 24),
    Option(name="parts", type="int", default=0, help="jobs that share a still's samples; 0: as suits the farm", minimum=0, maximum=4096),
    Option(name="seed", type="int", default=0, help="another number, another noise", minimum=0, maximum=1 << 30),
    Option(name="sensor", type="int", default=0, help="which of the scene's sensors, counted from 0", minimum=0, maximum=1000),
    Option(name="variant", type="choice", default="scalar_rgb", choices=("scalar_rgb", "scalar_spectral"), help="of Mitsuba"),
    Option(name="output", type="strings", help='["png", "exr"], or one of them; of a film one, png where it is not given'),
    Option(name="bits", type="int", default=8, help="of PNG: 8 or 16", minimum=8, maximum=16),
    ANIMATION,
    KEYFRAMES,
)


def examine(spec: TaskSpec, files: Folder) -> Examined:
    """Every option with its value; the scene's files are there. Raises TaskFileError."""
    options = normalise("mitsuba", OPTIONS, spec.options)
    options["scene"] = _scene(options["scene"], files)
    warnings = settle_film(options, files)
    options["parameters"] = {name: text(name, value) for name, value in (options["parameters"] or {}).items()} or None
    scene = scene_of(options, files)
    made = (scene.width, scene.height)
    wanted = (options["width"] or scene.width, options["height"] or scene.height)
    if wanted != made and scene.cropped:
        raise TaskFileError("The film has a crop window, so width and height cannot be changed here; leave them out.", key="options.width")
    options["width"], options["height"] = wanted
    options["samples"] = options["samples"] or scene.samples
    options["output"] = _output(options)
    if options["bits"] not in (8, 16):
        raise TaskFileError(f"bits must be 8 or 16, not {options['bits']}.", key="options.bits")
    if scene.dark:
        warnings.append(f"The scene {options['scene']} has no <emitter>, so that the picture will be black.")
    if scene.sampler != "independent" and film_of(options) is None and options["parts"] != 1 and options["samples"] > 8:
        warnings.append(
            f'The sampler "{scene.sampler}" spreads its samples over the pixel; cut into jobs, each spreads only its own, and the picture '
            "is a little noisier than from one job (parts = 1)."
        )
    examined = msgspec.structs.replace(spec, options=options)
    return Examined(spec=msgspec.structs.replace(examined, needs=needs(examined)), warnings=tuple(warnings))


def needs(spec: TaskSpec) -> Needs:
    """The spec's needs, with the program. Raises TaskFileError where they name another program."""
    program = spec.needs.program or PROGRAM
    if program.split("=")[0].rstrip("<>!~ ") != PROGRAM:
        raise TaskFileError(f'The kind mitsuba runs mitsuba, not "{program}"; write it as "mitsuba>=3.7".', key="needs.program")
    return msgspec.structs.replace(spec.needs, program=program)


def scene_of(options: Mapping[str, Any], files: Folder) -> Scene:
    """The scene of a task; of a film at its first frame, and the files of the others are there too. Raises TaskFileError."""
    film, curves = film_of(options), curves_of(options)
    given = dict(options["parameters"] or {})
    name, sensor = options["scene"], options["sensor"]
    if film is None:
        return read_scene(files, name, given, {}, sensor)
    for word in curves.names if curves else ():
        if word in given:
            raise TaskFileError(f"{word} stands in [parameters] and in [keyframes]; say it once.", key=f"keyframes.{word}")
    scene: Scene | None = None
    for frame in film.frames:
        moved = curved(curves, frame)
        try:
            found = read_scene(files, name, given | moved, {"frame": str(frame)}, sensor)
        except TaskFileError as error:
            word = (error.key or "").removeprefix("parameters.")
            key = f"keyframes.{word}" if word in moved else error.key
            raise TaskFileError(error.sentence, path=error.path, line=error.line, key=key) from None
        scene = scene or found
        if not found.moving:
            break
    assert scene is not None, "a film has a frame"
    return scene


def curved(curves: Curves | None, frame: int) -> dict[str, str]:
    """The keyframed parameters at a frame, as text."""
    return {name: number(value) for name, value in curves.at(frame).items()} if curves else {}


def text(name: str, value: Any) -> str:
    """A parameter as it stands in XML. Raises TaskFileError."""
    key = f"parameters.{name}"
    if not _NAME.fullmatch(name):
        raise TaskFileError(f'"{name}" cannot be the name of a parameter: letters, digits and _ only.', key=key)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return value
    raise TaskFileError(f"The parameter {name} must be a number, a text, true or false, not {shown(value)}.", key=key)


def _scene(given: str | None, files: Folder) -> str:
    if given is not None:
        name = PurePosixPath(given).as_posix()
        if name not in files.names():
            raise TaskFileError(f'There is no file "{given}"; {nearest(given, files.names())}', key="options.scene")
        return name
    scenes = main_scenes(files)
    if not scenes:
        raise TaskFileError('The folder holds no Mitsuba scene: an .xml file whose root is <scene version="3.0.0">.', key="options")
    if len(scenes) > 1:
        raise TaskFileError(f"Several scenes could be meant: {', '.join(scenes)}; say scene = \"{scenes[0]}\".", key="options")
    return scenes[0]


def _output(options: Mapping[str, Any]) -> list[str]:
    film = options["animation"] is not None
    given = options["output"]
    if given is None:
        return ["png"] if film else list(PICTURES)
    for word in given:
        if word not in PICTURES:
            raise TaskFileError(f'output cannot be "{word}"; known are png, exr.', key="options.output")
    if not given or (film and len(set(given)) > 1):
        raise TaskFileError(f"output must name {'one' if film else 'at least one'} of png, exr.", key="options.output")
    return [word for word in PICTURES if word in given]
