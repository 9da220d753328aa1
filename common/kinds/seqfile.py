"""The ``seqFile.txt`` of 2010: length, frame rate and variables of a film, read as their author meant them.

    bpm:155
    frm:30
    len:24.0.0
    varseq:(height, ((3, 1, '0.0.0'), (1, 0.3, '4.0.0'), (2, 1, '8.0.0')))
    ('turn', ((0, '0.0.0'), (360, '24.0.0')))

``frm`` is frames per second, times are bars.beats.sixteenths, the second member of a point the exponent of the curve that leads to the
next one (0 to 1; the older form without it is linear). It was read by eval() once; here it is a literal or nothing. Its arithmetic
had frames per sixteenth upside down; see keyframes.frames_per_sixteenth().
"""

from __future__ import annotations

import ast
import math
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ..errors import TaskFileError
from .options import nearest, shown
from .sequence import HIGHEST

SEQFILE = "seqFile.txt"
BEATS = 4
"""Beats per bar; the file had no other."""
_KEYS = ("bpm", "frm", "len", "varseq")
_LENGTH = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})")
_DEEPEST = 1 << 16
"""Characters of one line; a deeper literal could exhaust the parser."""


@dataclass(frozen=True, kw_only=True)
class SeqFile:
    """What the file says, as the tables of a task.toml."""

    frames: int
    """Every frame that begins before the end, from frame 1 at time 0."""
    fps: int | float
    keyframes: dict[str, Any]
    """For ``[keyframes]``; empty where there is no variable."""
    lines: dict[str, int] = field(default_factory=dict)
    """``keyframes.height`` -> line from 1."""


def parse_seqfile(text: str, path: str = SEQFILE) -> SeqFile:
    """Raises TaskFileError with ``path`` and line."""
    said: dict[str, Fraction] = {}
    length: tuple[int, int, int] | None = None
    variables: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for number, raw in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue

        def fault(sentence: str, number: int = number) -> TaskFileError:
            return TaskFileError(sentence, path=path, line=number)

        key, colon, value = ("varseq", ":", line) if line.startswith("(") else (part.strip() for part in line.partition(":"))
        key = key.lower()
        if not colon:
            raise fault(f"{shown(line)} is no line of the form key:value.")
        if key not in _KEYS:
            raise fault(f'there is no key "{key}"; {nearest(key, _KEYS)}')
        try:
            if key == "varseq":
                name, points = _variable(value)
                if name in variables:
                    raise ValueError(f'has the variable "{name}" twice')
                variables[name] = {"points": points}
                lines[f"keyframes.{name}"] = number
            elif key == "len":
                length = _length(value)
            else:
                said[key] = _positive(value)
        except ValueError as error:
            raise fault(f"{key} {error}.") from None
    missing = [key for key in ("bpm", "frm") if key not in said] + ["len"] * (length is None)
    if missing or length is None:
        raise TaskFileError(f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing.", path=path)
    sixteenths = 4 * (BEATS * length[0] + length[1]) + length[2]
    frames = math.ceil(sixteenths * 60 * said["frm"] / (4 * said["bpm"]))
    if not 1 <= frames <= HIGHEST:
        raise TaskFileError(f"a length of {frames} frames is no film; it has from 1 to {HIGHEST}.", path=path)
    table = {"bpm": _plain(said["bpm"]), "beats": BEATS, "start": 1, **variables} if variables else {}
    return SeqFile(frames=frames, fps=_plain(said["frm"]), keyframes=table, lines=lines)


def _positive(value: str) -> Fraction:
    if not re.fullmatch(r"\d{1,6}(\.\d{1,6})?", value) or not value.isascii() or not Fraction(value):
        raise ValueError(f'must be a number above 0, not "{value}"')
    return Fraction(value)


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def _length(value: str) -> tuple[int, int, int]:
    match = _LENGTH.fullmatch(value.strip("'\""))
    if match is None or not value.isascii():
        raise ValueError(f'must be bars.beats.sixteenths, such as 24.0.0, not "{value}"')
    return int(match[1]), int(match[2]), int(match[3])


def _variable(text: str) -> tuple[str, list[list[Any]]]:
    """``(name, ((value, exponent, time), …))`` -> the name, and points as keyframes.py takes them."""
    form = "must be (name, ((value, curve, 'bars.beats.sixteenths'), …))"
    if len(text) > _DEEPEST:
        raise ValueError("is too long for one line")
    try:
        # a bare name in front is put in quotes; anything else but a literal is refused by literal_eval
        said = ast.literal_eval(re.sub(r"^\(\s*([A-Za-z_]\w*)\s*,", r'("\1",', text, flags=re.ASCII))
    except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
        raise ValueError(form) from None
    if not isinstance(said, tuple) or len(said) != 2 or not isinstance(said[0], str) or not isinstance(said[1], tuple | list):
        raise ValueError(form)
    name, given = said
    if given and not isinstance(given[0], tuple | list):
        given = [given]  # ((value, time)) with one point is not two deep in Python
    points = [_point(one, name, at) for at, one in enumerate(given, 1)]
    if not points:
        raise ValueError(f'has no point for the variable "{name}"')
    return name, points


def _point(said: Any, name: str, at: int) -> list[Any]:
    where = f"has a point {at} of {name} that"
    if not isinstance(said, tuple | list) or len(said) not in (2, 3):
        raise ValueError(f"{where} is neither (value, curve, time) nor (value, time)")
    *numbers, time = said
    if not all(isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one) for one in numbers):
        raise ValueError(f"{where} is not made of numbers")
    if not isinstance(time, str) or not _LENGTH.fullmatch(time.strip()):
        raise ValueError(f"{where} has no time such as '4.0.0'")
    curve = float(min(max(numbers[1], 0), 1)) if len(numbers) == 2 else "linear"
    return [time.strip(), float(numbers[0]), curve]
