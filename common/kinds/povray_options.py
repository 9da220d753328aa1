"""The options of the povray kind, and how switches and .ini variables become options.

A task says one thing in one place: what has an option of its own leaves ``args``, so that a switch there, a line of an .ini
and an option in task.toml all end as the same normalised task. Precedence: options, then args, then the .ini; an option and
a switch in args that contradict each other are a mistake.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import TaskFileError
from .animation import ANIMATION
from .keyframes import KEYFRAMES
from .kind import Option
from .options import shown
from .povray_switches import FRAME_WORDS, OURS, PASSED_FILES, Said, from_words, is_on, judge

WIDEST = 100_000
MOST_PIXELS = (1 << 31) - 1
"""POV-Ray counts pixels in 32 bits with a sign."""

FORMATS = ("png", "exr", "tiff")
RADIOSITY = ("auto", "prepass", "whole", "tiles")
PHOTONS = ("auto", "shared", "each")
_RADIOSITY_HELP = "how tiles get their radiosity: gathered once for all (prepass), each its own (tiles); or no tiles (whole)"
_PHOTONS_HELP = "photons are shot once for all tiles (shared), or anew in each (each)"

OPTIONS = (
    Option(name="scene", type="str", default="", help="the .pov file; empty: the only one in the folder"),
    Option(name="ini", type="str", default="", help='the .ini with the defaults; empty: <scene>.ini, povray.ini or the only one; "none"'),
    Option(name="width", type="int", default=800, help="pixels", minimum=1, maximum=WIDEST),
    Option(name="height", type="int", default=600, help="pixels", minimum=1, maximum=WIDEST),
    Option(name="tiles", type="tiles", default="auto", help='"auto", or [columns, rows]'),
    Option(name="quality", type="int", default=9, help="0 (flat colours) to 11", minimum=0, maximum=11),
    Option(name="antialias", type="float", default=None, help="threshold, such as 0.3; without it: none", minimum=0, maximum=3),
    Option(name="antialias_method", type="int", default=1, help="1: a fixed grid of samples, 2: adaptive", minimum=1, maximum=2),
    Option(name="antialias_depth", type="int", default=3, help="samples per side, or subdivisions (method 2)", minimum=1, maximum=9),
    Option(name="jitter", type="float", default=1.0, help="how far antialiasing samples are shaken; 0: not at all", minimum=0, maximum=1),
    Option(name="bits", type="int", default=8, help="bits per channel of the PNG: 8 or 16", minimum=8, maximum=16),
    Option(name="alpha", type="bool", default=False, help="a transparent background"),
    Option(name="grey", type="bool", default=False, help="a grey picture, of 16 bits as POV-Ray makes them"),
    Option(name="file_gamma", type="str", default="sRGB", help='how the PNG is encoded: "sRGB" or a number, such as "2.2"'),
    Option(name="library", type="strings", default=[], help="folders of the task where includes are looked for too"),
    Option(name="args", type="strings", default=[], help='more switches of POV-Ray, such as ["+MB25", "Declare=Night=1"]'),
    Option(name="format", type="choice", default="png", choices=FORMATS, help="png, tiff, or exr (linear half floats)"),
    Option(name="radiosity", type="choice", default="auto", choices=RADIOSITY, help=_RADIOSITY_HELP),
    Option(name="photons", type="choice", default="auto", choices=PHOTONS, help=_PHOTONS_HELP),
    ANIMATION,
    KEYFRAMES,
    Option(name="initial_clock", type="float", default=0.0, help="clock of a film's first frame"),
    Option(name="final_clock", type="float", default=1.0, help="clock of a film's last frame"),
    Option(name="cyclic", type="bool", default=False, help="final_clock comes one frame after the last, for a loop (+KC)"),
    Option(name="clock_frames", type="str", default="", help='the frames that the clock runs over, such as "1-240"; empty: those rendered'),
)


@dataclass
class Settled:
    """Variables that were turned into options, words to pass on, and warnings."""

    options: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Said] = field(default_factory=dict)
    args: list[str] = field(default_factory=list)
    files: list[tuple[str, Said]] = field(default_factory=list)
    """Files that a passed-on word names."""
    film: dict[str, Said] = field(default_factory=dict)
    """Words that name frames; povray_clock.py makes a film of them."""
    warnings: list[str] = field(default_factory=list)


def settle(said: Sequence[Said]) -> Settled:
    """Later words win over earlier ones, as in POV-Ray. Raises TaskFileError."""
    found = Settled()
    last = {one.variable: one for one in said}
    for one in said:
        if one.variable in OURS:
            if one.variable == "library_path":
                _library(one, found)
            elif one.variable in FRAME_WORDS:
                found.film[one.variable] = one
            continue
        word, warning = judge(one)
        if word and (one.variable == "declare" or last[one.variable] is one):
            found.args.append(word)
            if one.variable in PASSED_FILES:
                found.files.append((word.split("=", 1)[1], one))
        if warning:
            found.warnings.append(warning)
    for variable, one in last.items():
        if variable in _READ:
            _READ[variable](one, found)
    antialias = last.get("antialias")
    if antialias and not is_on(antialias):
        found.options["antialias"], found.origins["antialias"] = None, antialias
    elif antialias and "antialias" not in found.options:
        found.options["antialias"], found.origins["antialias"] = 0.3, antialias
    elif not antialias:
        found.options.pop("antialias", None)  # a threshold alone does not turn it on
    jitter = last.get("jitter")
    if jitter and not is_on(jitter):
        found.options["jitter"], found.origins["jitter"] = 0.0, jitter
    return found


def absorb(options: Mapping[str, Any], ini: Settled | None) -> tuple[dict[str, Any], Settled]:
    """Options with args and an .ini worked in. Raises TaskFileError where args contradict an option."""
    words = options.get("args") or []
    if not isinstance(words, Sequence) or isinstance(words, str) or not all(isinstance(word, str) for word in words):
        return dict(options), Settled()  # normalise() says what is wrong with it
    args = settle(from_words(words, key="options.args"))
    merged: dict[str, Any] = dict(ini.options) if ini else {}
    given = {name: value for name, value in options.items() if name != "args"}
    for name, value in args.options.items():
        if name in given and name != "library" and given[name] != value:
            raise args.origins[name].fault(f"the option {name} says {shown(given[name])}; keep one of the two.")
    merged |= args.options | given
    if "library" in args.options and "library" in given:
        merged["library"] = [*given["library"], *args.options["library"]]
    own = {word.split("=")[0] for word in args.args if not word.startswith("Declare=")}
    merged["args"] = [*(word for word in (ini.args if ini else []) if word.split("=")[0] not in own), *args.args]
    both = Settled(
        args=merged["args"],
        files=[*(ini.files if ini else []), *args.files],
        warnings=[*(ini.warnings if ini else []), *args.warnings],
        origins=(ini.origins if ini else {}) | args.origins,
        film=(ini.film if ini else {}) | args.film,
    )
    return merged, both


def _read_with(name: str, convert: Callable[[str], Any], wanted: str) -> Callable[[Said, Settled], None]:
    def read(said: Said, found: Settled) -> None:
        try:
            found.options[name] = convert(said.value)
        except ValueError:
            raise said.fault(f"this takes {wanted}.") from None
        found.origins[name] = said

    return read


def _scene(said: Said, found: Settled) -> None:
    found.options["scene"], found.origins["scene"] = said.value.removeprefix("./"), said


def _file_type(said: Said, found: Settled) -> None:
    kind = said.value.upper()
    if kind in ("N", "N8", "N16"):
        found.options["bits"] = 16 if kind == "N16" else 8
    elif kind == "NG":
        found.options["grey"] = True
    elif kind == "E":
        found.options["format"], found.origins["format"] = "exr", said
    elif kind:
        more = f" {NO_FORMAT[_LETTERS[kind[0]]]}" if kind[0] in _LETTERS else ""
        raise said.fault(f"pictures are PNG of 8 or 16 bits (N, N8, N16, Ng) or OpenEXR (E); take this out.{more}")
    found.origins["bits"] = found.origins["grey"] = said


NO_FORMAT = {
    "hdr": "OpenEXR holds all that Radiance HDR does, and more exactly.",
    "jpeg": "JPEG would blur what lies beside a tile's edge into it; make one of the finished picture.",
}
"""Why not, and what instead."""
_LETTERS = {"H": "hdr", "J": "jpeg"}


def check_format(asked: Any) -> None:
    """Raise TaskFileError where a format was asked for that people may well expect."""
    name = {"jpg": "jpeg"}.get(str(asked).lower(), str(asked).lower())
    if name in NO_FORMAT:
        raise TaskFileError(f"format must be png, exr or tiff. {NO_FORMAT[name]}", key="options.format")


def _bits(said: Said, found: Settled) -> None:
    if said.value not in ("8", "16"):
        raise said.fault("pictures have 8 or 16 bits per channel.")
    found.options["bits"], found.origins["bits"] = int(said.value), said


def _flag(name: str) -> Callable[[Said, Settled], None]:
    def read(said: Said, found: Settled) -> None:
        found.options[name], found.origins[name] = is_on(said), said

    return read


def _to_file(said: Said, found: Settled) -> None:
    if not is_on(said):
        raise said.fault("then there would be no picture; take this out.")


def _output_name(said: Said, found: Settled) -> None:
    name = said.value
    if "/" in name or "\\" in name:
        raise said.fault("results are written beside the task's folder, under the task's name; take this out.")
    found.warnings.append(said.note("the picture is named after the task, so this is left out."))


def _library(said: Said, found: Settled) -> None:
    path = said.value.strip('"')
    if path.startswith("/usr/") and "povray" in path:
        return  # POV-Ray's own, which every node has
    inside = posixpath.normpath(path)
    if path.startswith(("/", "~")) or inside.startswith("..") or ":" in path or "\\" in path:
        raise said.fault("this lies outside of the task's folder; put the files into the folder and name the path from there.")
    found.options.setdefault("library", []).append(inside)
    found.origins["library"] = said


_READ: dict[str, Callable[[Said, Settled], None]] = {
    "width": _read_with("width", int, "a whole number"),
    "height": _read_with("height", int, "a whole number"),
    "quality": _read_with("quality", int, "a whole number from 0 to 11"),
    "antialias_threshold": _read_with("antialias", float, "a number"),
    "sampling_method": _read_with("antialias_method", int, "1 or 2"),
    "antialias_depth": _read_with("antialias_depth", int, "a whole number from 1 to 9"),
    "jitter_amount": _read_with("jitter", float, "a number from 0 to 1"),
    "file_gamma": _read_with("file_gamma", str, ""),
    "output_alpha": _flag("alpha"),
    "grayscale_output": _flag("grey"),
    "output_to_file": _to_file,
    "output_file_type": _file_type,
    "output_file_name": _output_name,
    "bits_per_color": _bits,
    "input_file_name": _scene,
    "initial_clock": _read_with("initial_clock", float, "a number"),
    "final_clock": _read_with("final_clock", float, "a number"),
    "cyclic_animation": _flag("cyclic"),
}


def gamma_of(value: str) -> str:
    """``sRGB``, or a number as POV-Ray and the PNG take it. Raises TaskFileError."""
    if value.lower() == "srgb":
        return "sRGB"
    try:
        if 0.1 <= float(value) <= 10:
            return f"{float(value):g}"
    except ValueError:
        pass
    raise TaskFileError(f'file_gamma must be "sRGB" or a number from 0.1 to 10, not {shown(value)}.', key="options.file_gamma")
