"""Stage ``matching`` of a survey: pairs of photos are chosen, cut into jobs and compared; the stitch looks at how the photos hang together.

A job depends on the features of its photos, their sizes and focal lengths, and on nothing else that is known of them: a corrected GPS
position costs only the pairs that it adds.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ...errors import OutputRejected, SplitFailed
from ...model import FarmShape, Region, TaskSpec
from ...survey import pairs, retrieval
from ...survey.islands import islands, told
from ...survey.matching import LEAST, OUTPUT, joined
from ...survey.records import Matches, Photos, load, load_features, load_matches, save, save_matches
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ..kind import Folder, Piece
from .notes import notes_of
from .stage import SurveyStage, complete, expect

PHOTOS = "stages/features/photos.json"


class Matching(SurveyStage):
    name = "matching"
    job = "matching"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        photos = {photo.number: photo for photo in load(files.read(PHOTOS), Photos).photos}
        regions = []
        for index, some in enumerate(pairs.cut(_choice(task, files).pairs, list(photos.values()))):
            numbers = sorted({number for pair in some for number in pair})
            facts = {
                str(number): [photos[number].width, photos[number].height, photos[number].focal, photos[number].focal_known]
                for number in numbers
            }
            regions.append(
                Region(
                    name=f"pairs{index:05d}",
                    data={"pairs": [list(pair) for pair in some], "photos": facts},
                    needs=tuple(f"stages/features/{number:05d}.npz" for number in numbers),
                    weight=float(len(some)),
                )
            )
        return regions

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "features")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        expect(outputs, [OUTPUT, MADE], region)
        if outputs.read(MADE) != listing([(OUTPUT, outputs.path(OUTPUT))]):
            raise OutputRejected(f"Job {region.name}: {OUTPUT} is not as it was made.")
        try:
            fault = _fault(load_matches(outputs.path(OUTPUT)), {(first, second) for first, second in region.data["pairs"]})
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile, MemoryError) as error:
            raise OutputRejected(f"Job {region.name}: {OUTPUT} is damaged ({error}).") from error
        if fault:
            raise OutputRejected(f"Job {region.name}: {OUTPUT} {fault}.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        photos = load(files.read(PHOTOS), Photos)
        choice = _choice(task, files)
        count = len(pairs.cut(choice.pairs, photos.photos))
        found, came = [], []
        for piece in pieces:
            matches = load_matches(piece.files.path(OUTPUT))
            for index, (first, second) in enumerate(matches.pairs.tolist()):
                found.append(((first, second), matches.of(index), int(matches.configurations[index])))
            came.append(piece.region.name)
            progress(len(came) / max(count, len(came)))
        complete((f"pairs{index:05d}" for index in range(count)), came)
        whole = joined(found)
        if not found:
            raise SplitFailed(
                f"The photos do not overlap: no two of the {len(photos.photos)} show the same place (or what they show is without detail,"
                " as water, snow and blurred pictures are). Neighbouring photos are to share 70 % of what they show, strips 60 %."
            )
        save_matches(whole, out / OUTPUT)
        groups = islands(whole, [photo.number for photo in photos.photos])
        names = {photo.number: photo.name for photo in photos.photos}
        report = {
            "by": choice.by,
            "pairs": len(choice.pairs),
            "verified": len(found),
            "matches": int(whole.starts[-1]),
            "islands": [[names[number] for number in group] for group in groups],
            "notes": [*choice.notes, *told(groups, names)],
        }
        save(report, out / "report.json")


def _choice(task: TaskSpec, files: Folder) -> pairs.Choice:
    photos = load(files.read(PHOTOS), Photos).photos

    def by_looks(wanted: Iterable[int]) -> Iterable[pairs.Pair]:
        numbers = [photo.number for photo in photos]
        return retrieval.similar(numbers, wanted, lambda number: load_features(files.path(f"stages/features/{number:05d}.npz")).descriptors)

    return pairs.choose(photos, by_looks, neighbours=task.options["matcher-neighbors"], accuracy=task.options["gps-accuracy"])


def _fault(matches: Matches, asked: set[tuple[int, int]]) -> str:
    """What is wrong with the matches of a job; empty: nothing."""
    import numpy as np

    count, total = len(matches.configurations), len(matches.rows)
    forms = {"pairs": ((count, 2), np.int32), "starts": ((count + 1,), np.int64), "rows": ((total, 2), np.uint32)}
    forms["configurations"] = ((count,), np.int32)
    for name, (form, kind) in forms.items():
        array = getattr(matches, name)
        if array.shape != form or array.dtype != kind:
            return f"has {name} of {array.dtype} {array.shape} instead of {np.dtype(kind)} {form}"
    came = [(first, second) for first, second in matches.pairs.tolist()]
    if came != sorted(set(came)) or not asked.issuperset(came):
        return "has other pairs than were asked for"
    if matches.starts[0] != 0 or matches.starts[-1] != total or (np.diff(matches.starts) < LEAST).any():
        return f"has pairs with fewer than {LEAST} matches"
    return ""
