"""Stills of Blender: parts of a picture, each rendered by one job, and what is done once with all of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OutputRejected, StitchFailed
from ..model import FarmShape, Region, TaskSpec
from .blender_looking import NEEDS
from .blender_plan import EXTENSIONS, LOOK, Look, Plan, border, columns_and_rows, final_form, look_of, plan, sample_parts
from .blender_run import recipe
from .kind import Folder, Piece, Place, Recipe, Stage
from .png import BadPicture
from .tiles import Rect, grid

JOINED = "joined.exr"
PLAN = "plan.json"
_CUT = ("split", "tiles", "parts", "animation", "keyframes")
"""Options that say which jobs there are, and not what one makes."""


class Rendering(Stage):
    """Tiles, shares of the samples, or the picture whole."""

    name = "render"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        look = look_of(files)
        how = plan(task.options, look, farm)
        common = {
            "mode": how.mode,
            "form": how.form,
            "finish": how.finish,
            "file": how.part,
            "size": [look.width, look.height],
            "guides": look.denoise,
            "notes": [*look.notes, *how.notes],
        }
        return _chained(list(_parts(task, how, look, farm, common)))

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        data = region.data
        width, height = data["size"]
        part = data["mode"] != "whole"
        request = {
            "do": "picture",
            "name": data["file"],
            "frame": task.options["frame"],
            "format": data["form"],
            "plain": part,
            "border": border(_rect(data["render"]), width, height) if data["mode"] == "tiles" else None,
            "subset": data.get("subset"),
            "guides": data["guides"] if data["finish"] else [],
        }
        return recipe(task.options, place, request, (data["file"],))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        data = region.data
        left, top, right, bottom = data["render"]
        _verify(region, outputs, data["file"], right - left, bottom - top, data["form"])

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        from .assembly import assemble
        from .raster_form import Spot
        from .rasters import average

        found = _complete(pieces)
        first = found[0].region.data
        suffix = first["file"].rpartition(".")[2]
        joined = out / (JOINED if first["finish"] else f"picture.{suffix}")
        paths = [piece.files.path(first["file"]) for piece in found]
        try:
            if first["mode"] == "whole":
                shutil.copyfile(paths[0], joined)
            elif first["mode"] == "samples":
                average([(float(piece.region.data["samples"]), path) for piece, path in zip(found, paths, strict=True)], joined)
            else:
                spots = [_spot(Spot, piece.region.data, path) for piece, path in zip(found, paths, strict=True)]
                assemble(spots, first["size"][0], first["size"][1], joined)
        except BadPicture as error:
            raise StitchFailed(f"The parts of the picture cannot be joined: {error}.") from error
        (out / PLAN).write_text(json.dumps({"picture": joined.name, "finish": first["finish"], "notes": first["notes"]}), encoding="utf-8")
        progress(1.0)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        kept = {name: value for name, value in region.data.items() if name not in ("notes", "before", "after")}
        return [{name: value for name, value in task.options.items() if name not in _CUT}, kept]

    def preview(
        self, task: TaskSpec, files: Folder, regions: Sequence[Region], pieces: Sequence[Piece], out: Path, size: int
    ) -> bool:
        from .preview import preview_samples, preview_tiles

        if not pieces:
            return False
        data = pieces[0].region.data
        if data["mode"] == "samples":
            return preview_samples(regions, pieces, _picture, out, size)
        width, height = data["size"]
        return preview_tiles(width, height, regions, pieces, _picture, out, size)


class Finishing(Stage):
    """Where denoising, a compositor, dithering, a stamp or JPEG must see the whole picture, one job of Blender; else nothing."""

    name = "finish"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        how = json.loads(files.read(f"stages/render/{PLAN}"))
        if not how["finish"]:
            # a farm has no stage without jobs; this one reads nothing and says so
            return [Region(name="nothing", data={"finish": False, **how}, needs=(f"stages/render/{PLAN}",))]
        look = look_of(files)
        pictures = [["picture", f"picture.{EXTENSIONS[task.options['format']]}", final_form(task.options)]]
        if task.options["format"] == "multilayer":
            layer_form = {"format": "OPEN_EXR", "bits": 32, "color": "RGBA", "quality": 90}
            pictures = [[layer, f"layer{number}.exr", layer_form] for number, layer in enumerate(look.denoise)]
            if look.compositor:
                pictures.append(["picture", "composite.exr", layer_form])
        data = {**how, "pictures": pictures, "denoise": look.denoise, "size": [look.width, look.height]}
        return [Region(name="finish", data=data, needs=NEEDS)]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        data = region.data
        if not data["finish"]:
            nothing = place.scratch / "out" / "nothing.txt"
            return Recipe(call=lambda: _write(nothing), outputs=(nothing.name,))
        request = {
            "do": "finish",
            "frame": task.options["frame"],
            "joined": str(place.inputs / "stages" / "render" / data["picture"]),
            "denoise": data["denoise"],
            "pictures": [[name, what, form] for what, name, form in data["pictures"]],
        }
        return recipe(task.options, place, request, tuple(name for _, name, _ in data["pictures"]))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        data = region.data
        if not data["finish"]:
            if outputs.names() != ("nothing.txt",) or outputs.read("nothing.txt") != NOTHING:
                raise OutputRejected("nothing.txt was expected.")
            return
        expected = sorted(name for _, name, _ in data["pictures"])
        if list(outputs.names()) != expected:
            raise OutputRejected(f"{', '.join(expected)} was expected, {', '.join(outputs.names()) or 'nothing'} came.")
        for _, name, form in data["pictures"]:
            _check(region, outputs.path(name), name, data["size"][0], data["size"][1], form)

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        piece = next(pieces, None)
        if piece is None:
            raise StitchFailed("The job finish is missing.")
        data = piece.region.data
        result = out / f"{task.name}.{EXTENSIONS[task.options['format']]}"
        if not data["finish"]:
            shutil.copyfile(files.path(f"stages/render/{data['picture']}"), result)
        elif task.options["format"] == "multilayer":
            from .blender_layers import COMPOSITE, put_layers

            put_layers(
                files.path(f"stages/render/{data['picture']}"),
                {what if name != "composite.exr" else COMPOSITE: piece.files.path(name) for what, name, _ in data["pictures"]},
                task.options["bits"],
                look_of(files).stored,
                result,
            )
        else:
            shutil.copyfile(piece.files.path(data["pictures"][0][1]), result)
        write_notes(task, data["notes"], out)
        progress(1.0)


NOTHING = b"The joined picture is the result.\n"


def write_notes(task: TaskSpec, notes: Sequence[str], out: Path) -> None:
    """What Blender's file made us do otherwise than the submitter may think: an asset, as a stage cannot speak to the submitter."""
    if notes:
        (out / f"{task.name}-notes.txt").write_text("".join(f"{note}\n" for note in notes), encoding="utf-8")


def check_form(path: Path, width: int, height: int, form: dict[str, Any]) -> None:
    """Raise BadPicture where a picture is not of this size and format."""
    from .rasters import check_picture

    formats = {"PNG": "png", "JPEG": "jpeg"}
    kind = formats.get(form["format"], "exr")
    channels = {"BW": 1, "RGB": 3, "RGBA": 4}[form["color"]] if form["format"] != "OPEN_EXR_MULTILAYER" else None
    check_picture(path, width=width, height=height, format=kind, bits=form["bits"] if kind == "png" else None, channels=channels)


def _parts(task: TaskSpec, how: Plan, look: Look, farm: FarmShape, common: dict[str, Any]) -> Iterator[Region]:
    whole = (0, 0, look.width, look.height)
    if how.mode == "whole":
        yield _region("whole", common, whole, 0, look)
    elif how.mode == "samples":
        for start, count in sample_parts(task.options, look, farm):
            share = {"subset": [start, count], "samples": count}
            yield _region(f"s{start:06d}-{start + count - 1:06d}", common | share, whole, 0, look)
    else:
        columns, rows = columns_and_rows(task.options, look, farm)
        for tile in grid(look.width, look.height, columns, rows):
            yield _region(tile.name, common, tile.rect, how.margin, look)


def _chained(regions: list[Region]) -> list[Region]:
    """Each part knows its neighbours' names, so that a lost one can be named."""
    names = ["", *(region.name for region in regions), ""]
    return [
        msgspec.structs.replace(region, data=region.data | {"before": names[at], "after": names[at + 2]})
        for at, region in enumerate(regions)
    ]


def _region(name: str, common: dict[str, Any], rect: Rect, margin: int, look: Look) -> Region:
    left, top, right, bottom = rect
    grown = [max(0, left - margin), max(0, top - margin), min(look.width, right + margin), min(look.height, bottom + margin)]
    return Region(name=name, data=common | {"rect": list(rect), "render": grown}, needs=(*NEEDS, f"!{LOOK}"))


def _rect(value: Sequence[int]) -> Rect:
    left, top, right, bottom = value
    return left, top, right, bottom


def _picture(piece: Piece) -> Path:
    return piece.files.path(piece.region.data["file"])


def _spot(spot: Any, data: dict[str, Any], path: Path) -> Any:
    left, top, _, _ = data["rect"]
    return spot(rect=_rect(data["rect"]), path=path, left=left - data["render"][0], top=top - data["render"][1])


def _verify(region: Region, outputs: Folder, name: str, width: int, height: int, form: dict[str, Any]) -> None:
    if outputs.names() != (name,):
        raise OutputRejected(f"Part {region.name}: {name} was expected, {', '.join(outputs.names()) or 'nothing'} came.")
    _check(region, outputs.path(name), name, width, height, form)


def _check(region: Region, path: Path, name: str, width: int, height: int, form: dict[str, Any]) -> None:
    try:
        check_form(path, width, height, form)
    except BadPicture as error:
        raise OutputRejected(f"Part {region.name}: {name}: {error}.") from error


def _complete(pieces: Iterator[Piece]) -> list[Piece]:
    """All pieces. Raises StitchFailed naming the first that is not there."""
    found: list[Piece] = []
    last, expected = "", None
    for piece in pieces:
        before = piece.region.data["before"]
        if before != last:
            raise StitchFailed(f"Part {expected or before} is missing.")
        last, expected = piece.region.name, piece.region.data["after"]
        found.append(piece)
    if expected is None:
        raise StitchFailed("The parts of the picture are missing, all of them: whole, or r000c000 and so on.")
    if expected:
        raise StitchFailed(f"Part {expected} is missing.")
    return found


def _write(path: Path) -> None:
    path.write_bytes(NOTHING)
