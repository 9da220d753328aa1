"""Examining a Blender task: everything that can be found wrong before a byte is sent, without Blender."""

from __future__ import annotations

import posixpath
from typing import Any

import msgspec

from ..errors import TaskFileError
from ..model import FarmShape, Needs, TaskSpec
from .animation import curves_of, settle_film
from .blender_file import BadBlend, BlendFile, shown_version
from .blender_links import faults
from .blender_options import BITS, OPTIONS
from .blender_rna import WrongPath, parse
from .kind import Examined, Folder
from .options import nearest, normalise

KIND = "blender"
CARDS = {"NVIDIA": "optix", "AMD": "hip", "INTEL": "oneapi"}
"""The first word of a card's name, as nodes tell it -> what Cycles does best on it."""


def examine(spec: TaskSpec, files: Folder) -> Examined:
    """See kind.Kind.examine."""
    options = normalise(KIND, OPTIONS, spec.options)
    options["blend"] = _blend(options["blend"], files)
    warnings = settle_film(options, files)
    _form(options)
    warnings += _contradictions(options)
    _rna(options)
    try:
        blend = BlendFile.read(files.path(options["blend"]))
    except BadBlend as error:
        raise TaskFileError(f"{error}.", path=options["blend"]) from error
    lost = faults(options["blend"], files)
    if lost and options["missing"] == "error":
        raise TaskFileError(_lost_sentence(lost), path=options["blend"])
    warnings += lost
    examined = msgspec.structs.replace(spec, options=options, needs=_needs(spec, options["device"], options["mixed"], blend.version))
    return Examined(spec=examined, warnings=tuple(dict.fromkeys(warnings)))


def needs(spec: TaskSpec) -> Needs:
    """The spec's needs, with the program. The bound on its version comes from the file, when the task is examined."""
    return _needs(spec, str(spec.options.get("device") or "auto"), bool(spec.options.get("mixed")), 0)


def settle(spec: TaskSpec, farm: FarmShape) -> TaskSpec:
    """``device = "auto"`` becomes what the farm's first card can do, or the processor."""
    if spec.options["device"] != "auto":
        return spec
    makers = (name.split()[0].upper() for name in farm.gpus if name.split())
    device = next((CARDS[maker] for maker in makers if maker in CARDS), "cpu")
    changed = msgspec.structs.replace(spec, options=spec.options | {"device": device})
    return msgspec.structs.replace(changed, needs=_needs(changed, device, spec.options["mixed"], 0))


def _needs(spec: TaskSpec, device: str, mixed: bool, version: int) -> Needs:
    program = spec.needs.program or (f"{KIND}>={shown_version(version)}" if version else KIND)
    if program.split("=")[0].rstrip("<>!~ ") != KIND:
        raise TaskFileError(f'The kind blender runs blender, not "{program}"; write it as "blender>=4.5".', key="needs.program")
    gpu = max(spec.needs.gpu, 1) if device not in ("auto", "cpu") and not mixed else spec.needs.gpu
    return msgspec.structs.replace(spec.needs, program=program, gpu=gpu)


def _blend(asked: str, files: Folder) -> str:
    blends = [name for name in files.names() if name.lower().endswith(".blend")]
    if asked:
        found = posixpath.normpath(asked)
        for name in (found, found + ".blend"):
            if name in files.names():
                return name
        raise TaskFileError(f'There is no file "{asked}" in the folder; {nearest(asked, blends)}', key="options.blend")
    top = [name for name in blends if "/" not in name] or blends
    if len(top) == 1:
        return top[0]
    if not top:
        raise TaskFileError("The folder holds no .blend file, so there is nothing to render.", key="options.blend")
    listed = ", ".join(top[:5]) + (", …" if len(top) > 5 else "")
    way = f'name one with blend = "{top[0]}" under [options] in task.toml, or with -o blend={top[0]}'
    raise TaskFileError(f"The folder holds {len(top)} .blend files ({listed}); {way}.", key="options.blend")


def _form(options: dict[str, Any]) -> None:
    """Depth, channels and percentage get the values that follow from the others."""
    allowed = BITS[options["format"]]
    if options["bits"] not in (0, *allowed):
        listed = " or ".join(map(str, allowed))
        raise TaskFileError(f"{options['format']} has {listed} bits per channel, not {options['bits']}.", key="options.bits")
    options["bits"] = options["bits"] or allowed[0]
    options["color"] = options["color"] or ("rgb" if options["format"] == "jpeg" else "rgba")
    if options["format"] == "jpeg" and options["color"] == "rgba":
        raise TaskFileError('JPEG has no transparency; say color = "rgb", or format = "png".', key="options.color")
    if options["format"] == "multilayer" and options["color"] != "rgba":
        raise TaskFileError('Multi-layer OpenEXR holds each pass as it is; leave color out, or say format = "exr".', key="options.color")
    if options["width"] and options["height"] and not options["percentage"]:
        options["percentage"] = 100


def _contradictions(options: dict[str, Any]) -> list[str]:
    if options["tiles"] != "auto" and options["split"] in ("samples", "whole"):
        raise TaskFileError(f'tiles = [columns, rows] contradicts split = "{options["split"]}"; keep one of the two.', key="options.tiles")
    if options["parts"] and options["split"] != "samples":
        raise TaskFileError('parts is for split = "samples"; say that too, or leave parts out.', key="options.parts")
    if options["split"] == "samples" and options["engine"] in ("eevee", "workbench"):
        raise TaskFileError(f"Only Cycles renders a part of the samples, not {options['engine']}; leave split out.", key="options.split")
    if options["mixed"] and options["device"] == "cpu":
        raise TaskFileError('mixed is for a device that some nodes lack, such as "optix", and not for cpu.', key="options.mixed")
    warnings = []
    if options["animation"] is not None:
        if options["frame"] is not None:
            raise TaskFileError("frame is for a still; the frames of a film are in [animation].", key="options.frame")
        given = [name for name, default in (("tiles", "auto"), ("split", "auto")) if options[name] != default]
        if given:
            warnings.append(f"{' and '.join(given)} mean nothing for a film: each frame is rendered whole.")
    return warnings


def _rna(options: dict[str, Any]) -> None:
    """The grammar of each path, and that the variables are there; whether the properties are, only Blender knows (the stage look)."""
    curves = curves_of(options)
    names = curves.names if curves else ()
    for path, value in (options["rna"] or {}).items():
        try:
            parse(path)
        except WrongPath as error:
            raise TaskFileError(f"[rna]: {error}.", key=f"rna.{path}") from None
        if isinstance(value, dict) or (isinstance(value, list) and any(isinstance(one, list | dict) for one in value)):
            raise TaskFileError(f"[rna]: {path} takes a number, a text, true or false, or a list of them.", key=f"rna.{path}")
        if isinstance(value, str) and value.startswith("$") and value[1:] not in names:
            lacks = f"follows the variable {value[1:]!r}, which [keyframes] does not have"
            raise TaskFileError(f"[rna]: {path} {lacks}; {nearest(value[1:], names)}", key=f"rna.{path}")


def _lost_sentence(lost: list[str]) -> str:
    more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
    return f'{lost[0].rstrip(".")}{more}; pack it with File > External Data > Pack Resources, or say missing = "ignore".'
