"""Stage ``adjustment`` of a survey: one job joins all submodels, adjusts them together and puts the model on the map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...errors import OutputRejected, SplitFailed
from ...model import FarmShape, Region, TaskSpec
from ...survey.colmap import FILES
from ...survey.errors import BadSurvey
from ...survey.gcp import gcp_file
from ...survey.model_check import check_model
from ...survey.records import Frame, load
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ..kind import Folder, Piece
from .notes import notes_of
from .stage import SurveyStage, complete, expect, keep

OUTPUTS = (*(f"model/{name}" for name in FILES), "frame.json", "report.json", MADE)


class Adjustment(SurveyStage):
    name = "adjustment"
    job = "adjustment"
    options = ("crs", "force-gps", "gcp-checkpoints", "gps-accuracy", "split-failed", "use-exif", "use-fixed-camera-params")

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        try:
            gcp = gcp_file(files.names(), task.options["gcp"])
        except BadSurvey as error:
            raise SplitFailed(str(error)) from error
        features = sorted(name for name in files.names() if name.startswith("stages/features/") and name.endswith(".npz"))
        needs = (
            "stages/features/photos.json", *features, "stages/matching/matches.npz", "stages/calibration/cameras.json",
            "stages/calibration/blocks.json", *_models(files), *([gcp] if gcp else []),
        )  # fmt: skip
        return [Region(name=self.name, data={"gcp": gcp}, needs=needs)]

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "mapping")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        complete([self.name], [piece.region.name for piece in keep(pieces, out)])

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        expect(outputs, OUTPUTS, region)
        if outputs.read(MADE) != listing((name, outputs.path(name)) for name in sorted(OUTPUTS) if name != MADE):
            raise OutputRejected(f"Job {region.name}: a file is not as it was made.")
        try:
            frame = load(outputs.read("frame.json"), Frame)
            report: Any = msgspec.json.decode(outputs.read("report.json"))
            images, points = check_model(*(outputs.read(f"model/{name}.bin") for name in ("images", "points3D", "cameras")))
            odd = _odd(frame, report, len(images), points)
        except (ValueError, KeyError, TypeError) as error:  # msgspec's errors are ValueErrors
            raise OutputRejected(f"Job {region.name}: the model is damaged ({error}).") from error
        if odd:
            raise OutputRejected(f"Job {region.name}: {odd}.")


def _models(files: Folder) -> list[str]:
    """The submodels' files; without what else lies beside them."""
    names = (name for name in files.names() if name.startswith("stages/mapping/"))
    return sorted(name for name in names if name.rpartition("/")[2] in FILES)


def _odd(frame: Frame, report: Any, images: int, points: int) -> str:
    """What does not fit together; empty: nothing."""
    if report["registered"] != images or report["points"] != points:
        return "the report speaks of another model"
    if images < 2 or not points:
        return "the model is empty"
    if not isinstance(report["notes"], list) or not all(isinstance(note, str) for note in report["notes"]):
        return "its notes are no sentences"
    if frame.georeferenced and not frame.crs:
        return "the model has a place without a CRS"
    return ""
