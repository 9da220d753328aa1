"""What can be said of a scene without rendering it: its includes, the files that it names, and what in it does not tile.

This is no parser of POV-Ray's language. It reads comments and texts correctly, so that commented-out code never counts, and
follows literal includes within the task's folder. What stands in a branch or a macro may never be read by POV-Ray, so there a
missing include is only worth a warning; so is one whose name is computed.
"""

from __future__ import annotations

import bisect
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import TaskFileError
from .kind import Folder
from .options import nearest
from .povray_library import STANDARD, is_standard

BIGGEST = 32 << 20
"""Bytes of one file that are looked at: beyond, it is mesh data."""

_TOKEN = re.compile(
    r"//[^\n]*"
    r"|(?P<block>/\*)"
    r'|\#\s*include\s*(?:"(?P<include>[^"\n]*)"|(?P<computed>[^\s"]))'
    r"|\#\s*version\s+(?P<version>[0-9.]+)"
    r"|\#\s*declare\s+(?P<declare>\w+)"
    r"|\#\s*(?P<directive>if|ifdef|ifndef|switch|while|for|macro|end)\b"
    r'|\b(?P<kind>gif|tga|iff|ppm|pgm|png|jpeg|tiff|sys|hdr|exr|ttf|df3|pot)\s*"(?P<file>[^"\n]*)"'
    r'|\b(?:image_map|bump_map|material_map|image_pattern|height_field)\s*\{\s*"(?P<image>[^"\n]*)"'
    r'|"(?:[^"\\]|\\.)*"'
    r"|\b(?P<trait>radiosity|photons|subsurface)\s*\{(?P<count>[^{}]*\b(?:count|spacing)\b)?"
    r"|\b(?P<word>jitter|crand|load_file|save_file|method\s+[12])\b"
    r"|\d[\d.,\s<>+-]*|\w+|[{}()\[\]]",
    re.S,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")
_SUFFIXES = ("", ".inc", ".INC", ".pov", ".POV")


@dataclass
class Scene:
    """What was found. ``traits``: radiosity, photons, noise, loads_file."""

    empty: bool = True
    version: float = 0.0
    traits: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)
    photons_in: set[str] = field(default_factory=set)
    """Files with the settings of photons."""
    declared: dict[str, str] = field(default_factory=dict)
    """Names that are declared outside of branches, loops and macros -> file and line of the first time."""


@dataclass(frozen=True, kw_only=True)
class _Include:
    name: str
    line: int
    sure: bool
    """Not inside of a branch, loop or macro."""


def examine_scene(files: Folder, scene: str, library: Sequence[str] = ()) -> Scene:
    """Read ``scene`` and what it includes. Raises TaskFileError for an include that POV-Ray will not find."""
    found = Scene()
    names = frozenset(files.names())
    bases = list(dict.fromkeys([posixpath.dirname(scene), *(base.strip("/").removeprefix("./") for base in library), ""]))
    waiting, seen = [scene], {scene}
    while waiting:
        current = waiting.pop()
        for include in _read(files, current, found, names, bases, main=current == scene):
            path = _find(include.name, names, bases, _SUFFIXES)
            if path is None:
                _not_there(include, current, names, found)
            elif path and path not in seen:
                seen.add(path)
                waiting.append(path)
    found.warnings = list(dict.fromkeys(found.warnings))
    return found


def _read(files: Folder, name: str, found: Scene, names: frozenset[str], bases: list[str], *, main: bool) -> Iterator[_Include]:
    if files.size(name) > BIGGEST:
        found.empty = False
        return
    text = files.read(name).decode("utf-8-sig", "replace")
    ends: list[int] = []

    def line(at: int) -> int:
        if not ends:
            ends.extend(match.start() for match in re.finditer("\n", text))
        return bisect.bisect_left(ends, at) + 1

    at = depth = 0
    while token := _TOKEN.search(text, at):
        at = token.end()
        if token["block"]:
            at = _past_comment(text, at)
            continue
        if token.group().startswith("//"):
            continue
        found.empty = found.empty and not main
        if token["directive"]:
            depth = max(0, depth - 1) if token["directive"] == "end" else depth + 1
        elif token["declare"]:
            if depth == 0:
                found.declared.setdefault(token["declare"], f"{name}:{line(token.start())}")
        elif token["include"] is not None:
            yield _Include(name=token["include"], line=line(token.start()), sure=depth == 0)
        elif token["computed"]:
            found.warnings.append(f"{name}:{line(token.start())}: an include of a computed name; see to it that the file is in the folder.")
        elif token["version"]:
            if main and not found.version:
                found.version = _number(token["version"])
        elif token["file"] or token["image"]:
            _look_for_file(token["file"] or token["image"], name, line(token.start()), names, bases, found)
        elif token["trait"] == "photons":
            if token["count"]:
                found.traits.add("photons")
                found.photons_in.add(name)
        elif token["trait"]:
            found.traits.add("noise" if token["trait"] == "subsurface" else "radiosity")
        elif token["word"]:
            found.traits.add("loads_file" if token["word"] in ("load_file", "save_file") else "noise")


def first_version(text: str) -> str:
    """The number of a ``#version`` that stands before anything else in a scene; empty: none does."""
    text = text.removeprefix("\ufeff")
    at = 0
    while token := _TOKEN.search(text, at):
        at = token.end()
        if token["block"]:
            at = _past_comment(text, at)
        elif not token.group().startswith("//"):
            return token["version"] or ""
    return ""


def photon_settings(text: str) -> Iterator[int]:
    """Where the settings of photons begin: right behind the ``{`` of each block with ``count`` or ``spacing``."""
    at = 0
    while token := _TOKEN.search(text, at):
        at = token.end()
        if token["block"]:
            at = _past_comment(text, at)
        elif token["trait"] == "photons" and token["count"]:
            yield text.index("{", token.start()) + 1


def _find(name: str, names: frozenset[str], bases: list[str], suffixes: tuple[str, ...]) -> str | None:
    """The path in the folder; empty: one of POV-Ray's own; None: nowhere, or under a name that POV-Ray cannot open."""
    if not name.isascii():
        return None
    for base in bases:
        for suffix in suffixes:
            path = posixpath.normpath(posixpath.join(base, name + suffix))
            if path in names:
                return path
    return "" if any(is_standard(name + suffix) for suffix in suffixes) else None


def _not_there(include: _Include, current: str, names: frozenset[str], found: Scene) -> None:
    name = include.name
    wrong = f'#include "{name}": '
    other = {path.lower(): path for path in names}.get(posixpath.normpath(name).lower())
    if not name.isascii():
        wrong += "POV-Ray cannot open a file whose name has letters outside of ASCII; rename it."
    elif "\\" in name:
        wrong += "nodes run Linux, where a path is written with /."
    elif name.startswith("/") or posixpath.normpath(name).startswith(".."):
        wrong += "this lies outside of the folder; put the file into the folder and name it from there."
    elif other:
        wrong += f'the folder has "{other}": upper and lower case matter.'
    else:
        near = nearest(name, {path for path in names | STANDARD if path.endswith(posixpath.splitext(name)[1])}, 0.8)
        wrong += "this file is neither in the folder nor in POV-Ray's own libraries" + (f"; {near}" if near.startswith("did") else ".")
    if include.sure:
        raise TaskFileError(wrong, path=current, line=include.line)
    found.warnings.append(f"{current}:{include.line}: {wrong}")


def _look_for_file(name: str, current: str, line: int, names: frozenset[str], bases: list[str], found: Scene) -> None:
    if not name.isascii():
        found.warnings.append(f'{current}:{line}: POV-Ray cannot open "{name}": a file name must keep to ASCII letters.')
    elif _find(name, names, bases, ("", ".ttf", ".png", ".jpg", ".tga", ".gif")) is None:
        found.warnings.append(f'{current}:{line}: "{name}" is neither in the folder nor in POV-Ray\'s own libraries.')


def _past_comment(text: str, at: int) -> int:
    """Behind the end of a block comment that began before ``at``; they nest."""
    depth = 1
    while depth and (edge := _COMMENT_EDGE.search(text, at)):
        depth += 1 if edge.group() == "/*" else -1
        at = edge.end()
    return len(text) if depth else at


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
