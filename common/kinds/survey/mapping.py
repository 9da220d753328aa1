"""Stage ``mapping`` of a survey: a job for each submodel. See common/survey/mapping.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ...errors import OutputRejected
from ...model import FarmShape, Region, TaskSpec
from ...survey.colmap import FILES
from ...survey.mapping import REPORT, Mapped, told
from ...survey.model_check import check_model
from ...survey.records import Block, Photos, load, save
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ..kind import Folder, Piece
from .calibration import MATCHES, PHOTOS
from .notes import notes_of
from .stage import SurveyStage, complete, expect, keep

LENSES = "stages/calibration/cameras.json"
BLOCKS = "stages/calibration/blocks.json"


class Mapping(SurveyStage):
    name = "mapping"
    job = "mapping"
    options = ("use-fixed-camera-params",)
    """Not split-failed: it says whether a job may end without a model (and adjustment asks again), never what a model is. So who goes on
    with leave-out after a submodel failed keeps the others."""

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        blocks = load(files.read(BLOCKS), list[Block])
        return [
            Region(
                name=block.name,
                data={"block": block.name, "core": list(block.core), "photos": list(block.photos), "alone": len(blocks) == 1},
                needs=(PHOTOS, MATCHES, LENSES, *(f"stages/features/{number:05d}.npz" for number in block.photos)),
                weight=float(len(block.photos)),
            )
            for block in blocks
        ]

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "calibration")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        try:
            mapped = load(outputs.read(f"{region.name}/{REPORT}"), Mapped)
        except (KeyError, ValueError) as error:
            raise OutputRejected(f"Job {region.name}: {REPORT} is missing or damaged ({error}).") from error
        names = sorted([REPORT, *(() if mapped.why else FILES)])
        expect(outputs, [f"{region.name}/{name}" for name in (*names, MADE)], region)
        if outputs.read(f"{region.name}/{MADE}") != listing((name, outputs.path(f"{region.name}/{name}")) for name in names):
            raise OutputRejected(f"Job {region.name}: a file is not as it was made.")
        fault = _fault(mapped, region, outputs, left_out=task.options["split-failed"] == "leave-out")
        if fault:
            raise OutputRejected(f"Job {region.name}: {fault}.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        blocks = load(files.read(BLOCKS), list[Block])
        found: dict[str, Mapped] = {}
        for piece in keep(pieces, out):
            found[piece.region.name] = load(piece.files.read(f"{piece.region.name}/{REPORT}"), Mapped)
            progress(len(found) / max(len(blocks), len(found)))
        complete((block.name for block in blocks), found)
        names = {photo.number: photo.name for photo in load(files.read(PHOTOS), Photos).photos}
        used = sorted(number for block in blocks for number in block.core)
        placed = {number for mapped in found.values() for number in mapped.placed}
        report = {
            "submodels": list(found.values()),
            "placed": len(placed),
            "of": len(used),
            "not_placed": [names[number] for number in used if number not in placed],
            "notes": told(list(found.values()), names, used),
        }
        save(report, out / "report.json")


def _fault(mapped: Mapped, region: Region, outputs: Folder, *, left_out: bool) -> str:
    """What does not fit; empty: nothing."""
    if mapped.block != region.name:
        return "it is another submodel"
    if mapped.why:
        return "" if left_out and not region.data["alone"] else "it has no model"
    try:
        images, points = check_model(*(outputs.read(f"{region.name}/{name}.bin") for name in ("images", "points3D", "cameras")))
    except ValueError as error:
        return f"its model is damaged ({error})"
    if sorted(images) != [number + 1 for number in mapped.placed] or points != mapped.points:
        return f"{REPORT} speaks of another model"
    if len(images) < 2 or not points or not {id - 1 for id in images} <= set(region.data["photos"]):
        return "its model is empty, or of other photos"
    return ""
