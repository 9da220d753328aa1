"""Stage ``mesh`` of a survey: the textured mesh, a job for each tile of the surface model, or one for an object."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ...errors import OutputRejected, SplitFailed, StitchFailed
from ...model import FarmShape, Region, TaskSpec
from ...survey.atlas import pages_for
from ...survey.mesh import MARGIN
from ...survey.mesh_piece import PIECE, load_piece
from ...survey.mesh_plan import block_size, photos_of_tiles, rough_heights, shadow_blocks
from ...survey.meshfile import NAME, MeshWriter
from ...survey.poses import read_views
from ...survey.records import Frame, Photos, load, save
from ...survey.scene import FRAME, MODEL, NEEDS, PHOTOS, View
from ...survey.surface_index import DSM, OBJECT, SURFACE, Surface
from ..kind import Folder, Piece
from .notes import notes_of
from .stage import SurveyStage, expect

FOLDER = "odm_texturing"
OBJECT_REGION = "object"
SOME = 0.98
"""Where a smaller part of the faces has its colours from photos, the user is told."""


class Mesh(SurveyStage):
    """See the head of this file."""

    name = "mesh"
    job = "mesh"
    options = ("mesh-size", "mesh-octree-depth", "texture-size")
    outputs = (PIECE,)

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        names = _names(task, files)
        try:
            views = _views(files) if names else ()
        except ValueError as error:
            raise SplitFailed(f"The adjusted model cannot be read: {error}.") from error
        if names == [OBJECT_REGION]:
            return [_region(task, OBJECT_REGION, views, (OBJECT,), {}, 1)]
        return list(_tiles(task, files, views)) if names else []

    def reads(self, task: TaskSpec, region: Region) -> Any:
        # a tile's share of mesh-size is in its data
        names = self.options if region.name == OBJECT_REGION else ("texture-size",)
        return [{name: task.options[name] for name in names}, region.data]

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "ortho")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        expect(outputs, [PIECE], region)
        try:
            piece = load_piece(outputs.read(PIECE))
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, msgspec.DecodeError) as error:
            raise OutputRejected(f"Job {region.name}: {PIECE} is damaged: {error}.") from error
        if len(piece.textures) > region.data["pages"]:
            raise OutputRejected(f"Job {region.name}: {len(piece.textures)} textures came, at most {region.data['pages']} may.")
        if len(piece.faces) > task.options["mesh-size"]:
            raise OutputRejected(f"Job {region.name}: {len(piece.faces)} triangles came, more than mesh-size asks for.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        wanted = _names(task, files)
        if not wanted:
            save({"notes": [], "made": False}, out / "report.json")
            return
        frame = load(files.read(FRAME), Frame)
        parts: list[dict[str, Any]] = []
        with MeshWriter(out / FOLDER, digits=4 if frame.georeferenced else 6) as writer:
            for piece in pieces:
                if len(parts) >= len(wanted) or piece.region.name != wanted[len(parts)]:
                    break
                found = load_piece(piece.files.read(PIECE))
                writer.add(found)
                parts.append({"name": piece.region.name, "textures": len(found.textures)} | msgspec.to_builtins(found.about))
                progress(0.9 * len(parts) / len(wanted))
            if len(parts) != len(wanted):
                raise StitchFailed(f"The piece {wanted[len(parts)]} of the mesh is missing.")
            glb = writer.finish()
        (out / FOLDER / "offset.txt").write_text(offset(frame), encoding="ascii")
        save(report(parts, writer, glb, task.options["mesh-size"]), out / "report.json")
        progress(1.0)


def _names(task: TaskSpec, files: Folder) -> list[str]:
    """Of the regions, in order."""
    if task.options["skip-3dmodel"]:
        return []
    there = set(files.names())
    if DSM in there:
        return [tile.name for tile in load(files.read(SURFACE), Surface).tiles]
    return [OBJECT_REGION] if OBJECT in there else []


def _views(files: Folder) -> tuple[View, ...]:
    photos = load(files.read(PHOTOS), Photos)
    return read_views(files.path(f"{MODEL}/images.bin"), files.path(f"{MODEL}/cameras.bin"), photos)


def _tiles(task: TaskSpec, files: Folder, views: Sequence[View]) -> Iterator[Region]:
    surface, frame = load(files.read(SURFACE), Surface), load(files.read(FRAME), Frame)
    rough = rough_heights(files.path(DSM))
    cells = block_size(rough, surface, task.options["mesh-size"])
    size = cells * surface.resolution
    reach = shadow_blocks(rough, size)
    seen = photos_of_tiles(rough, surface, frame.origin, views, MARGIN * size)
    for tile in surface.tiles:
        mine = [view for view in views if view.number in set(seen[tile.name])]
        yield _region(task, tile.name, mine, (DSM, SURFACE), {"tile": tile.name, "cells": cells, "reach": reach}, len(surface.tiles))


def _region(task: TaskSpec, name: str, views: Sequence[View], reads: tuple[str, ...], data: dict[str, Any], count: int) -> Region:
    pages = pages_for(task.options["texture-size"], count)
    return Region(
        name=name,
        data=data | {"photos": [view.number for view in views], "pages": pages},
        needs=(*NEEDS, *reads, *(view.photo.name for view in views)),
        weight=1.0 + len(views),
    )


def offset(frame: Frame) -> str:
    """What is added to the coordinates of the files, as ODM's texts have it: CRS, then east, north and height."""
    return f"{frame.crs or 'local'}\n{' '.join(f'{value:.3f}' for value in frame.origin)}\n"


def report(parts: Sequence[Mapping[str, Any]], writer: MeshWriter, glb: bool, limit: int) -> dict[str, Any]:
    """For report.json."""
    faces, textured = writer.faces, sum(part["textured"] for part in parts)
    notes = []
    if not faces:
        notes.append("The mesh is empty, as the surface is.")
    elif textured < SOME * faces:
        notes.append(f"{100 * (1 - textured / faces):.1f} % of the mesh is seen by no photo; its colours are taken from around.")
    if faces > limit:
        notes.append(f"The mesh has {faces} triangles, more than mesh-size, as the rim of the surface is ragged.")
    if faces and not glb:
        notes.append(f"There is no {NAME}.glb: it would be larger than the 4 GiB that a GLB may have; the OBJ has all.")
    scale = min((part["scale"] for part in parts if part["faces"]), default=1.0)
    if scale < 0.5:
        notes.append(f"The textures show {100 * scale:.0f} % of the photos' resolution; a larger texture-size shows more.")
    return {
        "notes": notes, "made": True, "vertices": writer.vertices, "faces": faces, "textures": writer.materials,
        "textured_percent": round(100 * textured / faces, 2) if faces else 0.0, "charts": sum(part["charts"] for part in parts),
        "scale": scale, "watertight": len(parts) == 1 and bool(parts[0]["watertight"]), "glb": glb, "parts": list(parts),
    }  # fmt: skip
