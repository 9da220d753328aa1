"""Stage ``depth`` of a survey: pairs of photos, some in each job; a pair gives the same points whoever computes it, with which others."""

from __future__ import annotations

import posixpath
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from ...errors import OutputRejected, StitchFailed
from ...model import FarmShape, Region, TaskSpec
from ...survey.depth import ENTRIES, subject
from ...survey.depth_index import DepthIndex, PairEntry
from ...survey.records import Block, Frame, Photos, load, save
from ...survey.scene import FRAME, MODEL, NEEDS, PHOTOS, Scene, read_scene
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ...survey.stereo_file import load_stereo
from ...survey.stereo_pairs import choose, chunks, pair_name
from ..kind import Folder, Piece
from .notes import notes_of
from .stage import SurveyStage, complete, expect

BLOCKS = "stages/calibration/blocks.json"
LEAST_PAIRS = 0.5
"""Part of the pairs that should give points."""


class Depth(SurveyStage):
    """See the head of this file."""

    name = "depth"
    job = "depth"
    options = ("pc-quality",)

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        scene = scene_of(files)
        block_of = {number: block.name for block in load(files.read(BLOCKS), list[Block]) for number in block.core}
        names = {view.number: view.photo.name for view in scene.views}
        for number, chunk in enumerate(chunks(choose(scene))):
            photos = sorted({one for pair in chunk for one in (pair.first, pair.second)})
            pairs = []
            for pair in chunk:
                one, two = block_of.get(pair.first, ""), block_of.get(pair.second, "")
                pairs.append([pair.first, pair.second, round(pair.angle, 3), one if one == two else ""])
            yield Region(
                name=f"pairs{number:04d}", data={"pairs": pairs}, needs=(*NEEDS, *(names[photo] for photo in photos)), weight=len(pairs)
            )

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "adjustment")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        try:
            entries = load(outputs.read(ENTRIES), list[PairEntry])
        except (KeyError, msgspec.MsgspecError) as error:
            raise OutputRejected(f"Job {region.name}: {ENTRIES} is missing or damaged ({error}).") from error
        wanted = [(pair_name(first, second), first, second, block) for first, second, _, block in region.data["pairs"]]
        if [(entry.name, entry.first, entry.second, entry.block) for entry in entries] != wanted:
            raise OutputRejected(f"Job {region.name}: {ENTRIES} speaks of other pairs.")
        names = [ENTRIES, *(f"{entry.name}.npz" for entry in entries if entry.points)]
        expect(outputs, [*names, MADE], region)
        if outputs.read(MADE) != listing((name, outputs.path(name)) for name in sorted(names)):
            raise OutputRejected(f"Job {region.name}: a file is not the one that the job made.")
        for entry in entries:
            if entry.points:
                _check(entry, outputs.read(f"{entry.name}.npz"), region)

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        regions = [region.name for region in self.split(task, files, FarmShape())]
        entries: list[PairEntry] = []
        came = []
        for piece in pieces:
            came.append(piece.region.name)
            entries += load(piece.files.read(ENTRIES), list[PairEntry])
            for entry in entries[-len(piece.region.data["pairs"]) :]:
                if entry.points:
                    shutil.copyfile(piece.files.path(f"{entry.name}.npz"), out / f"{entry.name}.npz")
            progress(min(1.0, len(came) / max(1, len(regions))))
        complete(regions, came)
        _write(scene_of(files), entries, out)


def scene_of(files: Folder) -> Scene:
    """The adjusted model of a task, for a hand."""
    names = [name for name in files.names() if name.startswith(f"{MODEL}/")]
    if not names:
        raise StitchFailed("There is no adjusted model.")
    with TemporaryDirectory() as folder:  # a file of a task may lie anywhere under any name; COLMAP looks for its own
        for name in names:
            Path(folder, posixpath.basename(name)).symlink_to(files.path(name).absolute())
        return read_scene(Path(folder), load(files.read(FRAME), Frame), load(files.read(PHOTOS), Photos))


def _check(entry: PairEntry, data: bytes, region: Region) -> None:
    try:
        stereo = load_stereo(data)
    except (ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise OutputRejected(f"Job {region.name}: {entry.name}.npz is damaged ({error}).") from error
    numbers = (*entry.low, *entry.high, entry.gsd, entry.photo_gsd)
    if not all(abs(number) < 1e12 for number in numbers) or min(entry.gsd, entry.photo_gsd) <= 0:
        raise OutputRejected(f"Job {region.name}: the bounds of {entry.name} are no numbers.")
    if int((stereo.disparity > 0).sum()) < entry.points:
        raise OutputRejected(f"Job {region.name}: {entry.name}.npz holds fewer points than it says.")


def _write(scene: Scene, entries: list[PairEntry], out: Path) -> None:
    found = sorted((entry for entry in entries if entry.points), key=lambda entry: entry.name)
    notes = []
    if not found:
        notes.append("No pair of photos gave depth: there is no dense cloud. Photos that overlap more, or have more texture, would.")
    elif len(found) < LEAST_PAIRS * len(entries):
        notes.append(f"Only {len(found)} of {len(entries)} pairs of photos gave depth; expect holes.")
    low, high = subject(scene)
    index = DepthIndex(
        frame=scene.frame, pairs=tuple(found), gsd=median(entry.gsd for entry in found) if found else 0.0,
        photo_gsd=median(entry.photo_gsd for entry in found) if found else 0.0, low=low, high=high,
    )  # fmt: skip
    save(index, out / "index.json")
    save(
        {
            "pairs": len(entries), "with_points": len(found), "points": sum(entry.points for entry in found), "gsd": index.gsd,
            "photo_gsd": index.photo_gsd, "notes": notes,
        },
        out / "report.json",
    )  # fmt: skip
