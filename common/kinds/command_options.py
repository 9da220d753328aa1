"""The options of the command kind, and what can be said wrong in them.

A command runs over exactly one of ``files``, ``frames``, ``tiles`` and ``range``, or over the frames of a film (``[animation]``).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import TaskFileError
from .film_options import ANIMATION, curves_of
from .keyframes import KEYFRAMES
from .kind import Option
from .options import nearest, shown
from .placeholders import INT, TEXT, VAR, WORDS, Template, parse, used

OVER = ("files", "frames", "tiles", "range")
JOINS = ("copy", "concatenate", "montage", "film")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".exr")
MOST_ITEMS = 1_000_000
MOST_ASSETS = 100_000
"""That a task can have (server/stitcher.py)."""
MOST_FILES = 2000
"""That a node sends for one job (node/outputs.py); our list of them is one."""
PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,63}")
"""A program that nodes look up."""

OPTIONS = (
    Option(name="command", type="strings", required=True, help='the program and its words: ["tool", "{input}", "-o", "{output}"]'),
    Option(name="files", type="value", help='over files of the folder: "*.png", "**/*.txt", ["a/*.jpg", "b/*.jpg"]'),
    Option(name="frames", type="value", help='over frames: "1-240", "1-100x5", [1, 5, 9]; [animation] makes a film of them'),
    Option(name="tiles", type="tiles", help='over tiles of a picture of width x height: "auto" or [columns, rows]'),
    Option(name="range", type="value", help='over numbers: "0-99", or [first, last] or [first, last, step], the last included'),
    Option(name="width", type="int", help="pixels of the picture that tiles are cut from", minimum=1, maximum=1_000_000),
    Option(name="height", type="int", help="pixels", minimum=1, maximum=1_000_000),
    Option(name="chunk", type="int", default=1, help="items per job", minimum=1, maximum=10_000),
    Option(name="outputs", type="strings", default=[], help='what it writes for each item: ["{stem}.png"]; {output} is the first'),
    Option(name="stdin", type="str", default="", help='a file that it reads as its standard input: "{input}"'),
    Option(name="stdout", type="str", default="", help='the file that its standard output goes to: "{output}"'),
    Option(name="env", type="table", help='variables of its environment: {LEVEL = "3"}'),
    Option(
        name="join",
        type="choice",
        default="copy",
        choices=JOINS,
        help="copy: all outputs side by side; concatenate: one file; montage: one picture; film: with [animation]",
    ),
    Option(name="columns", type="int", default=0, help="pictures per row of a montage; 0: about a square", minimum=0, maximum=10_000),
    Option(name="last", type="strings", default=[], help='a last command, run on a node over all outputs: ["tool", "{pieces}"]'),
    Option(name="last_outputs", type="strings", default=[], help='what the last command writes: ["all.zip"]; {output} is the first'),
    ANIMATION,
    KEYFRAMES,
)

PLACE = {"output": TEXT, "outputs": TEXT, "inputs": TEXT, "scratch": TEXT, "cores": INT}
"""Known everywhere but in the names of outputs: paths on the node, and the cores of the slot."""
ITEM: Mapping[str, Mapping[str, str]] = {
    "files": {"name": TEXT, "stem": TEXT, "path": TEXT, "input.name": TEXT, "input.stem": TEXT},
    "frames": {"frame": INT},
    "tiles": dict.fromkeys(("left", "top", "right", "bottom", "w", "h", "column", "row", "width", "height"), INT),
    "range": {"index": INT},
}
"""What is known of an item, by what the command runs over. ``path``: from the folder on, without the ending."""
LAST = {"pieces": WORDS, "list": TEXT, "folder": TEXT}
"""For the last command: all outputs in order, a file that lists them line by line, the folder that holds them."""
MARKS = "{}\\\0\n"
_FOREIGN = re.compile(
    r"PATH|LD_.*|GCONV_PATH|BASH_ENV|ENV|SHELLOPTS|BASHOPTS|IFS|PYTHON.*|PERL5.*|RUBY(OPT|LIB)|NODE_OPTIONS|TMPDIR|CLUSTERRAY.*"
)
"""Variables that would have an allowed program run something else, and ours."""


def over(options: Mapping[str, Any]) -> str:
    """Which of OVER; ``frames`` for a film too."""
    return "frames" if options.get("animation") is not None else next(name for name in OVER if options.get(name) is not None)


def variables_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of keyframed variables."""
    curves = curves_of(options)
    return curves.names if curves else ()


def known_in(options: Mapping[str, Any], name: str) -> dict[str, str]:
    """The placeholders that one option may use: name -> type."""
    if name == "last_outputs":
        return {}
    if name == "last":
        return PLACE | LAST
    if name == "env":
        return {one: kind for one, kind in PLACE.items() if one != "output"}
    where = over(options)
    known = dict(ITEM[where])
    if name != "outputs":
        known |= PLACE
        known |= {"input": TEXT} if where == "files" else {}
        known |= {"var": VAR} if options.get("keyframes") is not None else {}
    return known


def templates(options: Mapping[str, Any], name: str, said: Iterable[str] | None = None) -> list[Template]:
    """The parsed texts of one option, or ``said`` in its place. Raises TaskFileError."""
    known = known_in(options, name)
    variables = variables_of(options) if "var" in known else ()
    value = options[name] if said is None else said
    try:
        return [parse(word, known, variables) for word in ([value] if isinstance(value, str) else value)]
    except ValueError as error:
        raise TaskFileError(
            f"{name}: {str(error).removesuffix('?')}{'?' if str(error).endswith('?') else '.'}", key=f"options.{name}"
        ) from None


def env_templates(options: Mapping[str, Any]) -> dict[str, Template]:
    """The environment's values, parsed. Raises TaskFileError."""
    found: dict[str, Template] = {}
    for variable, value in (options.get("env") or {}).items():
        key = f"env.{variable}"
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable) or _FOREIGN.fullmatch(variable):
            raise TaskFileError(f"env: the variable {shown(variable)} cannot be set for a job.", key=key)
        if not isinstance(value, str) or "\0" in value:
            raise TaskFileError(f'env: the value of {variable} must be a text in quotes, such as "3", not {shown(value)}.', key=key)
        try:
            (found[variable],) = templates(options, "env", [value])
        except TaskFileError as error:
            raise TaskFileError(error.sentence, key=key) from None
    return found


def program_of(words: Sequence[str]) -> str:
    """What a node's owner allows: the program's name, or ``./tool.sh`` for one in the task's folder. Raises ValueError."""
    program = words[0] if words else ""
    if program.startswith("./"):
        inside = posixpath.normpath(program)
        if inside.startswith("..") or inside == "." or any(mark in program for mark in MARKS):
            raise ValueError(f"{shown(program)} is no program in the task's folder")
        return f"./{inside}"
    if not PLAIN.fullmatch(program):
        way = 'name it alone, such as "ffmpeg", as each node has it elsewhere; a program of the task is "./tool.sh"'
        raise ValueError(f"{shown(program)} is no program that a node can look up: {way}")
    return program


def check_words(options: Mapping[str, Any], names: Sequence[str]) -> None:
    """Programs, placeholders and environment. ``names``: the files of the task. Raises TaskFileError."""
    for name in ("command", "last") if options["last"] else ("command",):
        try:
            program = program_of(options[name])
        except ValueError as error:
            raise TaskFileError(f"{name}: {error}.", key=f"options.{name}") from None
        if program.startswith("./") and program[2:] not in names:
            raise TaskFileError(f"{name}: there is no {program} in the folder; {nearest(program[2:], list(names))}", key=f"options.{name}")
        for word in options[name]:
            if "\0" in word:
                raise TaskFileError(f"{name}: a word holds a zero byte.", key=f"options.{name}")
        asked = set().union(*(used(one) for one in templates(options, name)))
        outputs = "outputs" if name == "command" else "last_outputs"
        if "output" in asked and (not options[outputs] or is_pattern(options[outputs][0])):
            what = "names no file" if not options[outputs] else f"is the pattern {shown(options[outputs][0])}"
            raise TaskFileError(f"{name}: {{output}} is the first of {outputs}, which {what}.", key=f"options.{name}")
    for name in ("stdin", "stdout", "outputs", "last_outputs"):
        templates(options, name)
    if options["stdout"] and "output" not in set().union(*(used(one) for one in templates(options, "stdout"))):
        raise TaskFileError('stdout must be "{output}", the first of outputs.', key="options.stdout")
    env_templates(options)


def is_pattern(text: str) -> bool:
    """Whether it may stand for several files."""
    return "*" in text or "?" in text
