"""Stage ``calibration`` of a survey: two jobs, the lenses of the cameras and the cut into submodels.

They are apart so that another cut costs no calibration. Photos that hang together with the largest island are used from here on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from ...errors import OutputRejected
from ...model import FarmShape, Region, TaskSpec
from ...survey.calibration import BLOCKS, LENSES, NOTES, change
from ...survey.islands import islands
from ...survey.records import Block, Lens, Matches, Photos, load, load_matches, save
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ...survey.seed import seeds
from ...survey.submodels import count
from ..kind import Folder, Piece
from .notes import notes_of
from .stage import SurveyStage, complete, expect

PHOTOS = "stages/features/photos.json"
MATCHES = "stages/matching/matches.npz"
OF = {"lenses": (LENSES, NOTES), "blocks": (BLOCKS,)}
"""Region -> what its job leaves."""


class Calibration(SurveyStage):
    name = "calibration"
    job = "calibration"
    options = ("use-fixed-camera-params",)

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        photos, matches = load(files.read(PHOTOS), Photos), load_matches(files.path(MATCHES))
        largest = set(used(photos, matches))
        some = [photo for photo in photos.photos if photo.number in largest]
        runs = [] if task.options["use-fixed-camera-params"] else seeds(some, matches)
        features = tuple(f"stages/features/{number:05d}.npz" for number in sorted({number for run in runs for number in run}))
        grouped = any(photo.group for photo in some)
        blocks = 0 if grouped else count(len(some), farm.nodes, task.options["split"])
        cut = {"blocks": blocks, "overlap": task.options["split-overlap"], "photos": sorted(largest)}
        return [
            Region(name="lenses", data={"seeds": runs}, needs=(PHOTOS, MATCHES, *features), weight=10.0),
            Region(name="blocks", data=cut, needs=(PHOTOS, MATCHES)),
        ]

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "matching")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        expected = OF[region.name]
        expect(outputs, [*expected, MADE], region)
        if outputs.read(MADE) != listing((name, outputs.path(name)) for name in sorted(expected)):
            raise OutputRejected(f"Job {region.name}: a file is not as it was made.")
        try:
            if region.name == "lenses":
                load(outputs.read(NOTES), list[str])
                fault = _odd_lenses(load(outputs.read(LENSES), dict[str, Lens]))
            else:
                fault = _odd_blocks(load(outputs.read(BLOCKS), list[Block]), region)
        except msgspec.DecodeError as error:
            raise OutputRejected(f"Job {region.name}: a file is damaged ({error}).") from error
        if fault:
            raise OutputRejected(f"Job {region.name}: {fault}.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        came = {}
        for piece in pieces:
            came[piece.region.name] = {name: piece.files.read(name) for name in OF[piece.region.name]}
            progress(len(came) / len(OF))
        complete(OF, came)
        lenses, blocks = load(came["lenses"][LENSES], dict[str, Lens]), load(came["blocks"][BLOCKS], list[Block])
        save(lenses, out / LENSES)
        save(blocks, out / BLOCKS)
        report = {
            "cameras": {
                key: {"focal": lens.fx, "exif": lens.prior, "change": round(change(lens), 2), "held": lens.held, "note": lens.note}
                for key, lens in sorted(lenses.items())
            },
            "submodels": [{"name": block.name, "core": len(block.core), "photos": len(block.photos)} for block in blocks],
            "notes": load(came["lenses"][NOTES], list[str]),
        }
        save(report, out / "report.json")


def used(photos: Photos, matches: Matches) -> list[int]:
    """Numbers of the photos of the largest island."""
    return islands(matches, [photo.number for photo in photos.photos])[0]


def _odd_lenses(lenses: dict[str, Lens]) -> str:
    for key, lens in lenses.items():
        values = (lens.fx, lens.fy, lens.cx, lens.cy, lens.k1, lens.k2, lens.p1, lens.p2)
        if not all(map(math.isfinite, values)) or min(lens.fx, lens.fy, lens.width, lens.height) <= 0:
            return f"the lens of {key} is none"
    return "" if lenses else "it has no lens"


def _odd_blocks(blocks: list[Block], region: Region) -> str:
    if sorted(number for block in blocks for number in block.core) != region.data["photos"]:
        return "its cores do not hold each photo once"
    everything = set(region.data["photos"])
    if any(not set(block.core) <= set(block.photos) <= everything for block in blocks):
        return "a submodel lacks photos of its core, or has others that are not there"
    if len({block.name for block in blocks}) != len(blocks):
        return "two submodels have one name"
    return ""
