"""The stage that every film shares: runs of frames out, numbered frames and a film in; a kind says how one run is rendered.

A kind puts ANIMATION (and KEYFRAMES) into its options, calls settle_film() when it examines a task, subclasses Frames, and has
``film_stages(ItsFrames(), task)`` as its stages. docs/films.md says what a submitter sees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import OutputRejected, SplitFailed, StitchFailed, TaskFileError
from ..model import FarmShape, Region, TaskSpec
from .film_options import ANIMATION, Film, curves_of, film_of, frame_file, numbered, settle_film, variables
from .frame_regions import frames_of, in_order, regions_of
from .kind import Folder, Piece, Place, Recipe, Stage
from .png import BadPicture
from .sample import FOLDER, Sample, measured, sampled
from .sequence import Chunk, chunks

__all__ = [
    "ANIMATION",
    "Film",
    "Frames",
    "Sample",
    "curves_of",
    "film_of",
    "film_stages",
    "frame_file",
    "frames_of",
    "settle_film",
    "variables",
]

PER_SLOT = 3
"""Chunks per slot at least: the slowest job is then a third of a slot's work."""
JOB_SECONDS = 60.0
"""What a job of measured frames should take."""
UNMEASURED = 4
"""Frames per job at most where nobody knows how long one takes; short films only."""
MEASURE_FROM = 25
"""Frames from which a few are measured first. A shorter film would be half rendered by then."""
EARLY_SECONDS, EARLY = 4.0, 16
"""From so many seconds per frame on, ``first_pass = "auto"`` is every 16th frame: jobs are shorter than 16 frames then anyway,
so that the further starts of the program (POV-Ray: 0.65 s) cost about a hundredth of the time. Faster films are there soon."""


class Frames(Stage):
    """Runs of frames. A kind gives suffix(), render() and check(); it may add to needs() and reads()."""

    name = "frames"
    streams = True
    contiguous: bool = False
    """A job's frames follow each other by 1."""

    def suffix(self, task: TaskSpec) -> str:
        """Of the frames' file names, without the dot: ``png``."""
        raise NotImplementedError

    def render(self, task: TaskSpec, frames: tuple[int, ...], region: Region, place: Place) -> Recipe:
        """What a node does: write ``place.scratch / "out" / frame_file(frame, suffix)`` for each frame."""
        raise NotImplementedError

    def check(self, task: TaskSpec, path: Path) -> None:
        """Raise BadPicture or OutputRejected where a frame is not the whole picture that was asked for."""
        raise NotImplementedError

    def needs(self, task: TaskSpec) -> tuple[str, ...]:
        """As in Region.needs: a job reads neither finished frames nor the sound, so changing those leaves accepted frames valid."""
        film = _need_film(task)
        return tuple(f"!{path}" for path in (FOLDER, "task.toml", film.existing, film.audio) if path)

    def missing(self, task: TaskSpec, files: Folder) -> tuple[int, ...]:
        """The frames of the film that are not there yet, ascending."""
        there = self._existing(task, files).keys() | sampled(files, self.suffix(task)).keys()
        return tuple(frame for frame in _need_film(task).frames if frame not in there)

    def regions(self, task: TaskSpec, dealt: Sequence[Chunk]) -> list[Region]:
        """One for each chunk; a farm has no stage without jobs, so one that renders nothing where there is none."""
        if not dealt:
            return [Region(name="nothing", data={"frames": "", "before": "", "after": ""}, needs=self.needs(task))]
        return regions_of(dealt, self.needs(task))

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        film = _need_film(task)
        if film.codec != "none" and find_spec("av") is None:
            raise SplitFailed("The server has no PyAV to encode films: pip install 'clusterray[images]' there, or say codec = \"none\".")
        self._check_existing(task, files)
        missing = self.missing(task, files)
        found = measured(files)
        seconds = found.frame if found else 0.0
        first_pass = film.first_pass
        if isinstance(first_pass, str):
            first_pass = EARLY if seconds >= EARLY_SECONDS else 0
        size = film.chunk if isinstance(film.chunk, int) else automatic(len(missing), farm.slots, seconds)
        return self.regions(task, chunks(missing, size, first_pass, self.contiguous))

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        frames = frames_of(region)
        if not frames:
            nothing = place.scratch / "out" / NOTHING
            return Recipe(call=lambda: _write(nothing), outputs=(NOTHING,))
        suffix = self.suffix(task)
        recipe = self.render(task, frames, region, place)
        return replace(recipe, outputs=tuple(frame_file(frame, suffix) for frame in frames))

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        suffix = self.suffix(task)
        expected = tuple(sorted(frame_file(frame, suffix) for frame in frames_of(region))) or (NOTHING,)
        came = outputs.names()
        if came != expected:
            lost = [name for name in expected if name not in came]
            more = [name for name in came if name not in expected]
            what = f"{lost[0]} is missing" if lost else f"{more[0]} came, which was not asked for"
            raise OutputRejected(f"Job {region.name}: {what}.")
        if expected == (NOTHING,):
            if outputs.read(NOTHING) != _NOTHING:
                raise OutputRejected(f"Job {region.name}: {NOTHING} does not hold what it should.")
            return
        for name in expected:
            try:
                self.check(task, outputs.path(name))
            except BadPicture as error:
                raise OutputRejected(f"Frame {name}: {error}.") from error

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        from .film_join import FilmJoin

        film = _need_film(task)
        suffix = self.suffix(task)
        there = self._existing(task, files) | sampled(files, suffix)
        rendered = self._rendered(task, pieces)
        with FilmJoin(film, task.name, suffix, out, files, curves_of(task.options)) as join:
            for done, frame in enumerate(film.frames, 1):
                if frame in there:
                    path = files.path(there[frame])
                else:
                    number, path = next(rendered, (-1, out))
                    if number != frame:
                        raise StitchFailed(f"Frame {frame} is missing.")
                join.add(frame, path)
                progress(0.99 * done / len(film.frames))
            for frame, _ in rendered:
                raise StitchFailed(f"Frame {frame} came twice.")
            join.finish()
        progress(1.0)

    def reads(self, task: TaskSpec, region: Region) -> Any:
        """Which frames, the variables' values at them, and the other options: not fps, codec, chunk or the film's other frames."""
        curves = curves_of(task.options)
        frames = frames_of(region)
        options = {name: value for name, value in task.options.items() if name not in ("animation", "keyframes")}
        return [options, list(frames), [curves.at(frame) for frame in frames] if curves else []]

    def preview(
        self, task: TaskSpec, files: Folder, regions: Sequence[Region], pieces: Sequence[Piece], out: Path, size: int
    ) -> bool:
        from .preview import preview_frames

        suffix = self.suffix(task)
        there = self._existing(task, files) | sampled(files, suffix)
        before = {frame: partial(files.path, name) for frame, name in there.items()}
        return preview_frames(
            frames_of, lambda piece, frame: piece.files.path(frame_file(frame, suffix)), regions, pieces, out, size, before
        )

    def _rendered(self, task: TaskSpec, pieces: Iterator[Piece]) -> Iterator[tuple[int, Path]]:
        suffix = self.suffix(task)
        for piece in in_order(pieces):
            for frame in frames_of(piece.region):
                try:
                    yield frame, piece.files.path(frame_file(frame, suffix))
                except KeyError:
                    raise StitchFailed(f"Frame {frame} is missing in the output of job {piece.region.name}.") from None

    def _existing(self, task: TaskSpec, files: Folder) -> dict[int, str]:
        """Frames of the film that the task brought along: number -> file."""
        film = _need_film(task)
        if not film.existing:
            return {}
        wanted = set(film.frames)
        found, _ = numbered(film.existing, files)
        return {number: name for number, name in found.items() if number in wanted and _suffix(name) == _suffix(f".{self.suffix(task)}")}

    def _check_existing(self, task: TaskSpec, files: Folder) -> None:
        """Raise SplitFailed where a frame that the task brought along is not in the form of the others."""
        film = _need_film(task)
        if not film.existing:
            return
        try:
            found, _ = numbered(film.existing, files)
        except TaskFileError as error:
            raise SplitFailed(error.sentence) from error
        wanted = set(film.frames)
        for number, name in found.items():
            if number in wanted and _suffix(name) != _suffix(f".{self.suffix(task)}"):
                raise SplitFailed(f"{name} cannot be frame {number} of this film, whose frames are .{self.suffix(task)} files.")
        for name in self._existing(task, files).values():
            try:
                self.check(task, files.path(name))
            except (BadPicture, OutputRejected) as error:
                raise SplitFailed(f"{name} cannot be a frame of this film: {error}.".replace("..", ".")) from error


def film_stages(frames_stage: Frames, task: TaskSpec) -> tuple[Stage, ...]:
    """The stages of a film: a sample first where the size of chunks is left to us and the film is long enough."""
    film = _need_film(task)
    if film.chunk == "auto" and len(film.frames) >= MEASURE_FROM:
        return (Sample(frames_stage), frames_stage)
    return (frames_stage,)


def automatic(frames: int, slots: int, seconds: float) -> int:
    """Frames per job: about a minute of them, but PER_SLOT jobs for each slot. ``seconds`` per frame; 0: not known."""
    share = max(1, -(-frames // (PER_SLOT * slots)))
    return min(share, max(1, round(JOB_SECONDS / seconds)) if seconds > 0 else UNMEASURED)


NOTHING, _NOTHING = "nothing.txt", b"All frames are there.\n"
"""What a job writes that has no frame to render."""


def _write(path: Path) -> None:
    path.write_bytes(_NOTHING)


def _suffix(name: str) -> str:
    ending = name.rpartition(".")[2].lower()
    return {"jpeg": "jpg", "tiff": "tif"}.get(ending, ending)


def _need_film(task: TaskSpec) -> Film:
    film = film_of(task.options)
    if film is None:
        raise SplitFailed("This task has no [animation].")
    return film
