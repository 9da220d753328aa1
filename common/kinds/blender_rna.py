"""Paths to properties of Blender, ``objects['Cube'].location[2]``: a small grammar, walked step by step, never evaluated.

    path = root { "." name | "[" number "]" | "['" text "']" }

The root is ``scene``, ``render``, ``cycles``, ``eevee``, ``view_layer``, ``camera``, ``world``, or a list of datablocks: ``objects``,
``materials`` … This file runs inside of Blender beside blender_driver.py and needs nothing but the standard library; the
submitter's machine uses parse() alone. Only what Blender declares as a property can be reached, so no path leads to Python's own
attributes.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any

Step = tuple[str, "str | int"]
"""("name", identifier), ("key", text) or ("index", number)."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_INDEX = re.compile(r"\[(\d{1,9})\]")
_KEY = re.compile(r"""\[(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)")\]""")
LONGEST = 500


class WrongPath(ValueError):
    """A sentence that names the part of a path that is not there."""


def parse(path: str) -> tuple[Step, ...]:
    """The steps of a path. Raises WrongPath."""
    if len(path) > LONGEST:
        raise WrongPath(f"the path is longer than {LONGEST} characters")
    steps: list[Step] = []
    at = 0
    while at < len(path):
        rest = path[at:]
        if rest[0] == "[" and steps:
            match = _INDEX.match(path, at)
            if match:
                steps.append(("index", int(match[1])))
            else:
                match = _KEY.match(path, at)
                if not match:
                    raise WrongPath(f"{rest[:30]!r} in {path!r} is neither [0] nor ['name']")
                steps.append(("key", re.sub(r"\\(.)", r"\1", match[1] if match[1] is not None else match[2])))
        else:
            if steps:
                if rest[0] != ".":
                    raise WrongPath(f"a dot or [ was expected before {rest[:30]!r} in {path!r}")
                at += 1
            match = _NAME.match(path, at)
            if not match:
                raise WrongPath(f"{path!r} has no name where one was expected" + (f", before {path[at : at + 30]!r}" if path[at:] else ""))
            steps.append(("name", match[0]))
        at = match.end()
    if len(steps) < 2:
        raise WrongPath(f"{path!r} names no property; write it as scene.cycles.max_bounces or objects['Cube'].location")
    return tuple(steps)


def shown(steps: Sequence[Step]) -> str:
    """The path again, as far as ``steps`` go."""
    words = [f".{word}" if how == "name" else f"[{word!r}]" for how, word in steps]
    return "".join(words).lstrip(".")


def assign(bpy: Any, scene: Any, layer: Any, path: str, value: Any) -> None:
    """Set one property of the open file. Raises WrongPath with a sentence for its submitter."""
    steps = parse(path)
    owner, name = _root(bpy, scene, layer, steps), steps[-1][1]
    for at in range(1, len(steps) - 1):
        owner = _step(owner, steps, at)
    how = steps[-1][0]
    if how == "index":
        _set_element(owner, steps, value)
    elif how == "key":
        _set_custom(owner, steps, value)
    else:
        _set_property(bpy, owner, str(name), steps, value)


def _root(bpy: Any, scene: Any, layer: Any, steps: Sequence[Step]) -> Any:
    name = steps[0][1]
    roots = {
        "scene": scene,
        "render": scene.render,
        "view_layer": layer,
        "camera": scene.camera,
        "world": scene.world,
        "cycles": getattr(scene, "cycles", None),
        "eevee": scene.eevee,
    }
    lists = [one.identifier for one in bpy.data.bl_rna.properties if one.type == "COLLECTION"]
    if name in roots:
        if roots[name] is None:
            raise WrongPath(f"the scene has no {name}")
        return roots[name]
    if name in lists:
        return getattr(bpy.data, str(name))
    raise WrongPath(f"{shown(steps)!r} cannot begin with {name!r}; {near(str(name), (*roots, *lists))}")


def _step(owner: Any, steps: Sequence[Step], at: int) -> Any:
    """What one step leads to."""
    how, word = steps[at]
    there = shown(steps[:at])
    if how == "name":
        names = _properties(owner)
        if word not in names:
            raise WrongPath(f"{there} has no {word!r}; {near(str(word), names)}")
        found = getattr(owner, str(word))
    elif how == "index":
        try:
            found = owner[word]
        except (IndexError, KeyError, TypeError):
            raise WrongPath(f"{there} has no element {word}{_length(owner)}") from None
    else:
        if not hasattr(owner, "keys") or not hasattr(owner, "get"):
            raise WrongPath(f"{there} is no list of named things, so that it has no [{word!r}]")
        found = owner.get(word)
        if found is None:
            raise WrongPath(f"{there} has no {word!r}; {near(str(word), map(str, owner.keys()))}")
    if found is None:
        raise WrongPath(f"{shown(steps[: at + 1])} is empty in this file")
    return found


def _set_element(owner: Any, steps: Sequence[Step], value: Any) -> None:
    there, index = shown(steps[:-1]), steps[-1][1]
    try:
        owner[index]
    except (IndexError, KeyError, TypeError):
        raise WrongPath(f"{there} has no element {index}{_length(owner)}") from None
    try:
        owner[index] = value
    except (TypeError, ValueError, AttributeError) as error:
        raise WrongPath(f"{shown(steps)} cannot be {value!r}: {error}") from None


def _set_custom(owner: Any, steps: Sequence[Step], value: Any) -> None:
    """A custom property; it must be there, or a slip of the pen would do nothing at all."""
    there, key = shown(steps[:-1]), str(steps[-1][1])
    if not hasattr(owner, "bl_rna") or not hasattr(owner, "keys"):
        raise WrongPath(f"{there} has no custom properties")
    names = list(map(str, owner.keys()))
    if key not in names:
        raise WrongPath(f"{there} has no custom property {key!r}; {near(key, names)}")
    try:
        owner[key] = value
    except (TypeError, ValueError, AttributeError) as error:
        raise WrongPath(f"{shown(steps)} cannot be {value!r}: {error}") from None
    if hasattr(owner, "update_tag"):
        owner.update_tag()


def _set_property(bpy: Any, owner: Any, name: str, steps: Sequence[Step], value: Any) -> None:
    names = _properties(owner)
    if name not in names:
        raise WrongPath(f"{shown(steps[:-1])} has no {name!r}; {near(name, names)}")
    declared = owner.bl_rna.properties[name]
    if declared.is_readonly:
        raise WrongPath(f"{shown(steps)} cannot be set; Blender works it out itself")
    if declared.type == "POINTER":
        value = _datablock(bpy, declared, steps, value)
    elif declared.type == "ENUM" and isinstance(value, list):
        value = set(value)
    try:
        setattr(owner, name, value)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise WrongPath(f"{shown(steps)} cannot be {value!r}: {str(error).strip()}") from None


def _datablock(bpy: Any, declared: Any, steps: Sequence[Step], value: Any) -> Any:
    """The datablock that a property points to, by its name; "" for none."""
    if value == "":
        return None
    kind = declared.fixed_type.identifier
    for one in bpy.data.bl_rna.properties:
        if one.type == "COLLECTION" and one.fixed_type.identifier == kind:
            known = getattr(bpy.data, one.identifier)
            if isinstance(value, str) and value in known:
                return known[value]
            raise WrongPath(f"{shown(steps)} cannot be {value!r}: {near(str(value), [each.name for each in known])}")
    raise WrongPath(f"{shown(steps)} leads to other data; name one of its own properties")


def _properties(owner: Any) -> list[str]:
    declared = getattr(owner, "bl_rna", None)
    return [one.identifier for one in declared.properties] if declared is not None else []


def _length(owner: Any) -> str:
    try:
        return f", it has {len(owner)}"
    except TypeError:
        return ""


def near(word: str, words: Iterable[str]) -> str:
    """A half-sentence with the nearest names."""
    known = sorted(set(words))
    folded = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower(), folded, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(repr(folded[name]) for name in close) + "?"
    if not known:
        return "there are none."
    return "known are " + ", ".join(known[:12]) + (", …" if len(known) > 12 else ".")
