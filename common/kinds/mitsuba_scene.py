"""A Mitsuba scene read without Mitsuba: its parameters, its film's size, its samples, and the files that it asks for.

Names are resolved as Mitsuba does it: from the folder of the main scene and from its ``<path>`` entries; an included file has no folder
of its own. ``$name`` is text, replaced in any attribute. After Mitsuba 3's documentation of the XML format, and tried with 3.9.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

from ..errors import TaskFileError
from .kind import Folder

PARAMETER = re.compile(r"\$([A-Za-z_]\w*)")
DEEPEST = 15
"""Includes in includes, as Mitsuba has it."""
FILM = (768, 576)
"""A film that does not say its size."""
SAMPLES = 4
"""A sampler that does not say its samples."""
_LIGHT = frozenset({"direct", "path", "ptracer", "volpath", "volpathmis"})
"""Integrators whose picture is black without an emitter."""
_NOT_FILES = frozenset({"scene", "default", "alias", "ref", "path"})


@dataclass(frozen=True, kw_only=True)
class Element:
    """A tag, with parameters still in its attributes. ``inside``: the elements around it, from the root on."""

    tag: str
    attributes: Mapping[str, str]
    file: str
    line: int
    inside: tuple[Element, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What examine and split know of a scene, for one set of parameters."""

    parameters: tuple[str, ...]
    """Names that the scene uses, sorted."""
    files: tuple[str, ...]
    """Everything that it reads, the main file first."""
    width: int
    height: int
    """Of the picture: of the film, or of its crop window."""
    cropped: bool
    samples: int
    sampler: str
    moving: bool
    """Names of files have parameters in them."""
    dark: bool
    """It has no emitter, though its integrator shows light."""


def is_scene(files: Folder, name: str) -> bool:
    """Whether a file is XML with <scene version="…"> as its root."""
    found: list[bool] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not found:
            found.append(tag == "scene" and "version" in attributes)

    parser = expat.ParserCreate()
    parser.StartElementHandler = start
    try:
        parser.Parse(files.read(name), True)
    except expat.ExpatError:
        pass
    return found == [True]


def main_scenes(files: Folder) -> list[str]:
    """The scenes of a folder that no other one includes."""
    scenes = [name for name in files.names() if name.lower().endswith(".xml") and is_scene(files, name)]
    included = set()
    for name in scenes:
        try:
            for element in _elements(files, name):
                if element.tag == "include":
                    included.add(_joined(posixpath.dirname(name), element.attributes.get("filename", "")))
        except TaskFileError:
            continue  # a scene with a fault is still a scene
    return [name for name in scenes if name not in included]


def read_scene(files: Folder, name: str, given: Mapping[str, str], offered: Mapping[str, str], sensor: int = 0) -> Scene:
    """Examine a scene with these parameters; ``offered`` are those that it need not use.

    Raises TaskFileError with file and line, or with the key of the option.
    """
    base = posixpath.dirname(name)
    everything: list[Element] = []
    values = {**offered, **given}
    read = [name]
    searched = [base]
    _collect(files, name, values, searched, everything, read, ())
    used = sorted({word for element in everything for text in element.attributes.values() for word in PARAMETER.findall(text)})
    for word in given:
        if word not in used:
            known = ", ".join(used) or "none"
            raise TaskFileError(f'The scene {name} uses no parameter "{word}"; it uses {known}.', key=f"parameters.{word}")
    for element in everything:
        for text in element.attributes.values():
            for word in PARAMETER.findall(text):
                if word not in values:
                    raise _wrong(element, f'The parameter ${word} has no value: give it in [parameters], or a <default name="{word}" …>.')
    sensors = [element for element in everything if element.tag == "sensor"]
    if not sensors:
        raise TaskFileError("The scene has no <sensor>, so there is nothing to render it with.", path=name)
    if not any(element.tag == "integrator" for element in everything):
        raise TaskFileError(
            'The scene has no <integrator>, such as <integrator type="path"/>, so nothing says how to render it.', path=name
        )
    if sensor >= len(sensors):
        raise TaskFileError(f"The scene has {len(sensors)} sensors; the first is number 0.", key="options.sensor")
    width, height, cropped = _film(everything, sensors[sensor], values)
    sampler = next((element for element in everything if element.tag == "sampler" and sensors[sensor] in element.inside), None)
    samples = _number(everything, sampler, ("sample_count", "sampleCount"), values)
    return Scene(
        parameters=tuple(used),
        files=tuple(read + _files(files, everything, values, searched)),
        width=width,
        height=height,
        cropped=cropped,
        samples=SAMPLES if samples is None else samples,
        sampler=sampler.attributes.get("type", "independent") if sampler else "independent",
        dark=not any(element.tag == "emitter" for element in everything)
        and any(element.tag == "integrator" and element.attributes.get("type") in _LIGHT for element in everything),
        moving=any("$" in text for element in everything for text in element.attributes.values() if _names_file(element)),
    )


def _collect(
    files: Folder,
    name: str,
    values: dict[str, str],
    searched: list[str],
    found: list[Element],
    read: list[str],
    around: tuple[Element, ...],
) -> None:
    """All elements of a scene in their order, includes in their places; defaults go into ``values``, search paths into ``searched``."""
    if len(around) > DEEPEST:
        raise TaskFileError("The includes go deeper than Mitsuba follows them.", path=name)
    for element in _elements(files, name):
        found.append(element)
        if element.tag == "default":
            values.setdefault(element.attributes.get("name", ""), element.attributes.get("value", ""))
        elif element.tag == "path":
            searched.append(_joined(searched[0], _filled(element, "value", values)))
        elif element.tag == "include":
            inner = _resolved(files, element, _filled(element, "filename", values), searched)
            read.append(inner)
            _collect(files, inner, values, searched, found, read, (*around, element))


def _elements(files: Folder, name: str) -> list[Element]:
    """The elements of one file, outer ones first. Raises TaskFileError."""
    parser = expat.ParserCreate()
    stack: list[Element] = []
    found: list[Element] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        element = Element(tag=tag, attributes=attributes, file=name, line=parser.CurrentLineNumber, inside=tuple(stack))
        stack.append(element)
        found.append(element)

    def end(_: str) -> None:
        stack.pop()

    def entity(*_: object) -> None:
        raise TaskFileError("The scene declares an XML entity, which Mitsuba does not read.", path=name, line=parser.CurrentLineNumber)

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.EntityDeclHandler = entity
    try:
        parser.Parse(files.read(name), True)
    except expat.ExpatError as error:
        raise TaskFileError(f"The scene is no proper XML: {expat.ErrorString(error.code)}.", path=name, line=error.lineno) from error
    except KeyError:
        raise TaskFileError(f'There is no file "{name}" in the folder.', key="options.scene") from None
    if not found or found[0].tag != "scene" or "version" not in found[0].attributes:
        raise TaskFileError('This is no Mitsuba scene: its root must be <scene version="3.0.0">.', path=name, line=1)
    return found


def _film(everything: list[Element], sensor: Element, values: Mapping[str, str]) -> tuple[int, int, bool]:
    film = next((element for element in everything if element.tag == "film" and sensor in element.inside), None)
    width, height = (_number(everything, film, (name,), values) for name in ("width", "height"))
    size = (FILM[0] if width is None else width, FILM[1] if height is None else height)
    cut = [_number(everything, film, names, values) for names in (("crop_width", "cropWidth"), ("crop_height", "cropHeight"))]
    cropped = any(number is not None for number in cut)
    made = [whole if number is None else number for number, whole in zip(cut, size, strict=True)]
    return made[0], made[1], cropped


def _number(everything: list[Element], owner: Element | None, names: tuple[str, ...], values: Mapping[str, str]) -> int | None:
    """The whole number of this name right inside of an element; None where it is not said."""
    for element in everything:
        if owner is not None and element.tag == "integer" and element.attributes.get("name") in names and element.inside[-1:] == (owner,):
            text = _filled(element, "value", values)
            try:
                number = int(text)
            except ValueError:
                number = 0
            if number < 1:
                raise _wrong(element, f'{names[0]} must be a whole number from 1 on, not "{text}".')
            return number
    return None


def _files(files: Folder, everything: list[Element], values: Mapping[str, str], searched: list[str]) -> list[str]:
    """What textures, meshes and spectra read. Raises TaskFileError for the first that is not there."""
    found: dict[str, None] = {}
    for element in everything:
        if element.tag != "include" and (attribute := _names_file(element)):
            found[_resolved(files, element, _filled(element, attribute, values), searched)] = None
    return list(found)


def _names_file(element: Element) -> str:
    """The attribute that holds the name of a file; empty where there is none."""
    name = element.attributes.get("name", "")
    if element.tag == "string":
        return "value" if name == "filename" or name.endswith("_filename") else ""
    return "filename" if element.tag not in _NOT_FILES and "filename" in element.attributes else ""


def _resolved(files: Folder, element: Element, name: str, searched: list[str]) -> str:
    if name.startswith("/") or re.match(r"[A-Za-z]:[\\/]", name):
        raise _wrong(element, f'"{name}" is a path of your machine; copy the file into the folder and name it from there.')
    for folder in searched:
        whole = _joined(folder, name)
        if whole in files.names():
            return whole
    if any(_joined(folder, name).startswith("..") for folder in searched):
        raise _wrong(element, f'"{name}" lies outside of the folder that is sent; copy it into it.')
    raise _wrong(element, f'The file "{name}" is not in the folder.')


def _joined(folder: str, name: str) -> str:
    return posixpath.normpath(posixpath.join(folder, name))


def _filled(element: Element, attribute: str, values: Mapping[str, str]) -> str:
    """An attribute with its parameters replaced; those without a value stay, and are complained of later."""
    return PARAMETER.sub(lambda match: values.get(match[1], match[0]), element.attributes.get(attribute, ""))


def _wrong(element: Element, sentence: str) -> TaskFileError:
    return TaskFileError(sentence, path=element.file, line=element.line)
