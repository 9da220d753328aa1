"""The 2010 ``params.cfg``: lines ``key:value``, read as their authors meant them.

The first colon separates; colons in values, blank lines, CRLF and a byte order mark are fine. The extra parameters are split
like a shell would, but no shell ever sees them: they go through the same whitelist as ``args`` in a task.toml. With a
``renderType`` of movie, film or animation the seqFile.txt beside it gives the frames and the variables (see kinds/seqfile.py).
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import TaskFileError
from .kinds.options import nearest
from .kinds.seqfile import SEQFILE, parse_seqfile

__all__ = ["PARAMS", "SEQFILE", "Params", "read_params"]

PARAMS = "params.cfg"
_FILMS = ("movie", "film", "animation")


@dataclass
class Params:
    """As much of a task as a params.cfg says; ``lines`` and ``places`` by the keys of a task.toml."""

    path: str
    name: str = ""
    film: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)
    """Of what stands in the seqFile.txt: key -> ``path:line``."""
    warnings: list[str] = field(default_factory=list)


def read_params(text: str, path: str, *, sequence: str | None = None, sequence_path: str = SEQFILE) -> Params:
    """``sequence``: the text of a seqFile.txt, None where there is none. Raises TaskFileError with the line."""
    found = Params(path=path)
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, colon, value = (part.strip() for part in line.partition(":"))
        if not colon:
            raise TaskFileError(f'"{line.strip()}" is no line of the form key:value.', path=path, line=number)
        readers = {name.lower(): (name, read) for name, read in _KEYS.items()}
        if key.lower() not in readers:
            near = nearest(key, _KEYS)
            if near.startswith("did"):
                raise TaskFileError(f'there is no key "{key}"; {near}', path=path, line=number)
            found.warnings.append(f'{path}:{number}: the key "{key}" is not known and left out.')
            continue
        name, read = readers[key.lower()]
        if not value:
            if name != "otherParams":
                raise TaskFileError(f"{name} has no value.", path=path, line=number)
            continue
        try:
            read(found, value, number)
        except ValueError as error:
            raise TaskFileError(f'{name} {error}, not "{value}".', path=path, line=number) from None
    if found.film:
        _make_film(found, sequence, sequence_path)
    elif sequence is not None:
        found.warnings.append(f"{sequence_path} is not used, as {path} does not say renderType:movie.")
    return found


def _make_film(found: Params, sequence: str | None, sequence_path: str) -> None:
    """The seqFile.txt as tables; ``jobNumber`` is the number of jobs that the frames are cut into."""
    line = found.lines["animation"]
    if sequence is None:
        raise TaskFileError(f"a film needs a {SEQFILE} beside this file, or [animation] in a task.toml.", path=found.path, line=line)
    film = parse_seqfile(sequence, sequence_path)
    table: dict[str, Any] = {"frames": f"1-{film.frames}", "fps": film.fps}
    tiles = found.options.pop("tiles", None)
    if tiles is not None:
        line = found.lines.pop("options.tiles")
        if tiles[0] < 1:
            raise TaskFileError("jobNumber must be at least 1.", path=found.path, line=line)
        table["chunk"] = -(-film.frames // tiles[0])
        found.lines["animation.chunk"] = line
    found.options["animation"] = table
    if film.keyframes:
        found.options["keyframes"] = film.keyframes
    found.places.update({key: f"{sequence_path}:{number}" for key, number in film.lines.items()})


def _whole(value: str) -> int:
    if not value.isascii() or not value.isdigit():
        raise ValueError("must be a whole number")
    return int(value)


def _option(option: str, convert: Callable[[str], Any]) -> Callable[[Params, str, int], None]:
    def read(found: Params, value: str, line: int) -> None:
        found.options[option] = convert(value)
        found.lines[f"options.{option}"] = line

    return read


def _columns(value: str) -> list[int]:
    return [_whole(value), 1]


def _words(value: str) -> list[str]:
    try:
        return shlex.split(value)
    except ValueError:
        raise ValueError("has a quote that is not closed") from None


def _output(found: Params, value: str, line: int) -> None:
    found.name = value.removesuffix(".png")
    found.lines["name"] = line


def _render_type(found: Params, value: str, line: int) -> None:
    found.film = any(word in value.lower() for word in _FILMS)
    if not found.film and value.lower() != "picture":
        raise ValueError("must be picture or movie")
    if found.film:
        found.lines["animation"] = line


_KEYS: dict[str, Callable[[Params, str, int], None]] = {
    "inputFile": _option("scene", str),
    "outputFile": _output,
    "jobNumber": _option("tiles", _columns),
    "renderType": _render_type,
    "imageWidth": _option("width", _whole),
    "imageHeight": _option("height", _whole),
    "otherParams": _option("args", _words),
}
