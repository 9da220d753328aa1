"""The stage before the frames of a film with ``chunk = "auto"``: a few frames are rendered, and so measured.

One job of two frames beside jobs of one tells start-up and frame apart. What was rendered here is not rendered again: the
stitch hands the frames on as ``stages/sample/000017.png``, with ``measured.json``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import FarmShape, Region, TaskSpec
from .frame_regions import frames_of, in_order, keep
from .kind import Folder, Piece, Place, Recipe, Stage
from .sequence import Chunk

if TYPE_CHECKING:
    from .animation import Frames

NAME = "sample"
FOLDER = f"stages/{NAME}"
MEASURED = "measured.json"
MOST = 8
"""Jobs; more would hardly change the size of a chunk."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds, as measured; 0: not known."""

    start: float = 0.0
    """Of a job, whatever it renders."""
    frame: float = 0.0


class Sample(Stage):
    """Frames spread over the film, one job each, and one of two frames, for the stage that renders the rest."""

    name = NAME

    def __init__(self, frames: Frames) -> None:
        self._frames = frames

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        missing = self._frames.missing(task, files)
        runs = spread(missing, min(MOST, max(3, farm.slots)), self._frames.contiguous)
        return self._frames.regions(task, [Chunk(frames=run, turn=0) for run in runs])

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        return self._frames.process(task, region, place)

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        self._frames.verify(task, region, outputs)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        return self._frames.reads(task, region)

    def preview(
        self, task: TaskSpec, files: Folder, regions: Sequence[Region], pieces: Sequence[Piece], out: Path, size: int
    ) -> bool:
        return self._frames.preview(task, files, regions, pieces, out, size)

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        times: list[tuple[int, float]] = []
        for piece in in_order(pieces):
            for name in piece.files.names():
                keep(piece.files.path(name), out / name)
            times.append((len(frames_of(piece.region)), piece.seconds))
        found = estimate(times)
        (out / MEASURED).write_text(json.dumps({"start": found.start, "frame": found.frame}))
        progress(1.0)


def spread(missing: Sequence[int], count: int, contiguous: bool) -> list[tuple[int, ...]]:
    """``count`` runs of frames from the middles of equal parts of the film, one of them of two frames; fewer where there are fewer.

    The first frame, often black, says little.
    """
    count = min(count, len(missing))
    runs: list[tuple[int, ...]] = []
    pair = False
    for part in range(count):
        at, end = (2 * part + 1) * len(missing) // (2 * count), (part + 1) * len(missing) // count
        run = tuple(missing[at : min(at + 2, end)]) if not pair else (missing[at],)
        if len(run) == 2 and contiguous and run[1] != run[0] + 1:
            run = run[:1]
        pair = pair or len(run) == 2
        runs.append(run)
    return runs


def estimate(times: Sequence[tuple[int, float]]) -> Measured:
    """Start-up and seconds per frame from (frames, seconds) of jobs. Where the two cannot be told apart, all of it is the frame's."""
    alone = [seconds for count, seconds in times if count == 1]
    more = [(count, seconds) for count, seconds in times if count > 1]
    if not alone:
        return Measured(frame=sum(seconds / count for count, seconds in more) / len(more)) if more else Measured()
    single = sum(alone) / len(alone)
    starts = [(count * single - seconds) / (count - 1) for count, seconds in more]
    # frames differ, so the difference of two jobs is no more than a hint; a frame takes a tenth of its job at least
    start = min(max(0.0, sum(starts) / len(starts)), 0.9 * single) if starts else 0.0
    return Measured(start=start, frame=single - start)


def measured(files: Folder) -> Measured | None:
    """What the stage measured, None where there was none."""
    name = f"{FOLDER}/{MEASURED}"
    if name not in files.names():
        return None
    found = json.loads(files.read(name))
    return Measured(start=float(found["start"]), frame=float(found["frame"]))


def sampled(files: Folder, suffix: str) -> dict[int, str]:
    """The frames that the stage rendered: number -> file of the task."""
    ending = f".{suffix}"
    return {
        int(name.removeprefix(f"{FOLDER}/").removesuffix(ending)): name
        for name in files.names()
        if name.startswith(f"{FOLDER}/") and name.endswith(ending)
    }
