"""Placeholders in the words of a command: ``{input}``, ``{frame:04d}``, ``{var:camera_x}``, and doubled braces for braces.

A text is checked against the names that are known in its place, each with a type, before anything is sent; filling it in later cannot
fail. Whole numbers take ``04d``, ``4``, ``d`` or ``x``; variables take a name and, after a second colon, ``.3f``; texts take nothing.
Nothing is evaluated: this is not str.format(), which would reach into objects.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .keyframes import number
from .options import nearest

INT, TEXT, WORDS, VAR = "a whole number", "a text", "several words", "a variable"
"""Types. WORDS stand alone in their word and become any number of words."""
Value = str | int | float | tuple[str, ...]
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_INT = re.compile(r"0?\d{0,2}[dxX]?")
_FLOAT = re.compile(r"0?\d{0,2}(\.\d{1,2})?f")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One placeholder. ``name`` of a variable: ``var:camera_x``."""

    name: str
    spec: str = ""


Template = tuple[str | Field, ...]


def parse(text: str, known: Mapping[str, str], variables: Iterable[str] = ()) -> Template:
    """The parts of a text, in order. ``known``: placeholder -> type. Raises ValueError with a sentence without its full stop."""
    parts: list[str | Field] = []
    last = 0
    for match in _PART.finditer(text):
        parts.append(text[last : match.start()])
        last = match.end()
        if match[0] in ("{{", "}}"):
            parts.append(match[0][0])
        elif match[1] is None:
            raise ValueError(f'"{text}" has a brace without its other half; a brace itself is written twice')
        else:
            parts.append(_field(match[1], known, tuple(variables)))
    parts.append(text[last:])
    found = tuple(part for part in parts if part)
    for part in found:
        if isinstance(part, Field) and known.get(part.name) == WORDS and len(found) > 1:
            raise ValueError(f"{{{part.name}}} stands for {WORDS}, so that it has to be a word of its own")
    return found


def used(template: Template) -> set[str]:
    """The names of its placeholders."""
    return {part.name for part in template if isinstance(part, Field)}


def fill(template: Template, values: Mapping[str, Value]) -> str:
    """The text with its values."""
    return "".join(part if isinstance(part, str) else _shown(values[part.name], part.spec) for part in template)


def fill_words(templates: Iterable[Template], values: Mapping[str, Value]) -> list[str]:
    """The words of a command; a word of type WORDS becomes as many as there are."""
    words: list[str] = []
    for template in templates:
        only = template[0] if len(template) == 1 else ""
        several = values.get(only.name) if isinstance(only, Field) else None
        if isinstance(several, tuple):
            words += several
        else:
            words.append(fill(template, values))
    return words


def _field(inside: str, known: Mapping[str, str], variables: tuple[str, ...]) -> Field:
    name, _, spec = inside.partition(":")
    if name not in known:
        among = nearest(name, known)
        raise ValueError(f'"{{{inside}}}" is no placeholder here; {among.removesuffix(".")}')
    kind = known[name]
    if kind == VAR:
        variable, _, spec = spec.partition(":")
        if variable not in variables:
            among = nearest(variable, variables).removesuffix(".")
            raise ValueError(f'"{{{inside}}}": there is no variable "{variable}" in [keyframes]; {among}')
        name = f"{name}:{variable}"
    form = {INT: _INT, VAR: _FLOAT}.get(kind)
    if spec and (form is None or not form.fullmatch(spec)):
        way = {INT: 'such as "04d"', VAR: 'such as ".3f"'}.get(kind, "so that it takes no format")
        raise ValueError(f'"{{{inside}}}" has a format that it cannot take; it is {kind}, {way}')
    return Field(name=name, spec=spec)


def _shown(value: Value, spec: str) -> str:
    if isinstance(value, float) and not spec:
        return number(value)
    return format(value, spec) if spec else str(value)
