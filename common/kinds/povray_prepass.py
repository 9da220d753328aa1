"""What tiles share: radiosity samples and photons, gathered before them in stages of their own, for a picture without seams.

Radiosity: each job renders its rectangle without antialiasing and saves the samples that it took (``+RFO``); the stitch puts them
together. A tile loads all of them (``+RFI``) and takes none of its own where it can help it, by a second radiosity block at the end of
a copy of the scene, which POV-Ray merges with the scene's own. Photons: one job shoots them and saves them, the tiles load them. A
second photons block would throw away the count of the first, so ``save_file`` and ``load_file`` go into the scene's own block, on the line
where it stands. docs/povray.md says what was measured.
"""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import OutputRejected, SplitFailed, StitchFailed
from ..model import FarmShape, Region, TaskSpec
from .kind import Folder, Piece, Place, Recipe, Stage
from .povray_job import NO_FILE, povray_recipe
from .povray_scene import examine_scene, photon_settings
from .povray_tile import SCENE, Room
from .tiles import automatic, grid, grown, tile_name

SAMPLES, PHOTONS = "samples.rad", "photons.map"
_SAVED = "clusterray-saved"
_LOADED_SAMPLES, _LOADED_PHOTONS = "clusterray-samples.rad", "clusterray-photons.map"
_SHARED_SETTINGS = b"\nglobal_settings { radiosity { pretrace_start 1 pretrace_end 1 always_sample off } }\n"
"""Samples are loaded, so none are taken beforehand, and later ones only where not a single loaded one can be used."""
_SAMPLE = re.compile(rb"[A-Z]\d*(?:\t[0-9a-fA-Fnixe.+-]+){10}")
_PHOTON = 20
"""Bytes of a photon in POV-Ray 3.7's file, in which each of two maps has its count in front."""
_FILMS = frozenset({"animation", "keyframes", "initial_clock", "final_clock", "cyclic", "clock_frames"})
_CUTTING = frozenset({"tiles", "radiosity", "photons"})


class SharedStage(Stage):
    """A stage whose jobs each save one file of povray's, which travels packed, with a checksum."""

    name = ""
    result = ""
    """What the stitch writes."""

    def fault(self, data: bytes) -> str:
        """What is wrong with a saved file; empty: nothing."""
        raise NotImplementedError

    @property
    def output(self) -> str:
        return f"{self.result}.gz"

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        if outputs.names() != (self.output,):
            raise OutputRejected(f"Job {region.name}: {self.output} was expected, {', '.join(outputs.names()) or 'nothing'} came.")
        try:
            wrong = self.fault(_unpacked(outputs.read(self.output)))
        except (EOFError, zlib.error) as error:
            raise OutputRejected(f"Job {region.name}: {self.output} is damaged ({error}).") from error
        if wrong:
            raise OutputRejected(f"Job {region.name}: {self.output} {wrong}.")

    def reads(self, task: TaskSpec, region: Region) -> Any:
        return [render_options(task.options), region.data.get("rect")]

    def _save(self, place: Place, room: Room) -> None:
        """Pack what povray saved. A scene that came to have nothing of the sort leaves no file, or an empty one."""
        saved = room.path / _SAVED
        data = saved.read_bytes() if saved.is_file() else b""
        (place.scratch / "out" / self.output).write_bytes(gzip.compress(data, 1, mtime=0))


class Photons(SharedStage):
    """One job that shoots the photons, with one thread: several would shoot others each time."""

    name = "photons"
    result = PHOTONS

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        return [Region(name="photons")]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        options = task.options
        return povray_recipe(
            options | {"antialias": None},
            place,
            rect=grown((0, 0, 1, 1), options["width"], options["height"], 1),
            threads=1,
            kind=NO_FILE,
            output="",
            outputs=[self.output],
            finish=partial(self._save, place),
            files={SCENE: with_photons((place.inputs / options["scene"]).read_bytes(), f'save_file "{_SAVED}"')},
        )

    def fault(self, data: bytes) -> str:
        at = 0
        for _ in range(2 if data else 0):
            if len(data) < at + 4:
                return "ends too early"
            at += 4 + _PHOTON * int(struct.unpack_from("<I", data, at)[0])
        return "" if at == len(data) else "does not hold as many photons as it says"

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        piece = next(pieces, None)
        if piece is None:
            raise StitchFailed("The job photons is missing.")
        (out / self.result).write_bytes(_unpacked(piece.files.read(self.output)))
        progress(1.0)


class Radiosity(SharedStage):
    """Samples of the whole picture, a rectangle for each job."""

    name = "radiosity"
    result = SAMPLES

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        width, height = task.options["width"], task.options["height"]
        # two rectangles per slot: samples along an edge are taken twice, so they are larger than tiles
        columns, rows = automatic(width, height, FarmShape(slots=max(2, farm.slots // 2)))
        try:
            tiles = list(grid(width, height, columns, rows))
        except ValueError as error:
            raise SplitFailed(f"The picture cannot be cut: {error}.") from error
        extra = one_thread(task, files)
        return [
            Region(name=tile.name, data={"rect": list(tile.rect), "at": [tile.column, tile.row], "grid": [columns, rows], **extra})
            for tile in tiles
        ]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        options = task.options
        left, top, right, bottom = region.data["rect"]
        files, _ = shared_files(options, place.inputs, samples=False)
        return povray_recipe(
            options | {"antialias": None},
            place,
            rect=grown((left, top, right, bottom), options["width"], options["height"], 1),
            threads=region.data.get("threads", place.cores),
            kind=NO_FILE,
            output="",
            outputs=[self.output],
            finish=partial(self._save, place),
            files=files,
            more=[f"+RF{_SAVED}", "+RFO"],
        )

    def fault(self, data: bytes) -> str:
        for number, line in enumerate(data.splitlines(), 1):
            if not _SAMPLE.fullmatch(line):
                return f"holds no radiosity sample in line {number}"
        return ""

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        columns = rows = 1
        at = 0
        seen: set[bytes] = set()
        with (out / self.result).open("wb") as file:
            for piece in pieces:
                columns, rows = piece.region.data["grid"]
                if piece.region.data["at"] != [at % columns, at // columns] or at >= columns * rows:
                    break
                for line in _unpacked(piece.files.read(self.output)).splitlines(keepends=True):
                    if line not in seen:
                        seen.add(line)
                        file.write(line)
                at += 1
                progress(at / (columns * rows))
        if at != columns * rows:
            raise StitchFailed(f"The radiosity samples of {tile_name(at % columns, at // columns)} are missing.")


def shared_files(options: Mapping[str, Any], inputs: Path, *, samples: bool = True) -> tuple[dict[str, bytes | Path], list[str]]:
    """What a job's room needs so that povray uses what earlier stages saved, and the switches; nothing where they saved nothing."""
    found: dict[str, bytes | Path] = {}
    words: list[str] = []
    text = b""
    photons, rad = (inputs / "stages" / stage.name / stage.result for stage in (Photons, Radiosity))
    if options["photons"] == "shared" and _full(photons):
        found[_LOADED_PHOTONS] = photons
        text = with_photons((inputs / options["scene"]).read_bytes(), f'load_file "{_LOADED_PHOTONS}"')
    if samples and options["radiosity"] == "prepass" and _full(rad):
        found[_LOADED_SAMPLES] = rad
        words = [f"+RF{_LOADED_SAMPLES}", "+RFI"]
        text = (text or (inputs / options["scene"]).read_bytes()) + _SHARED_SETTINGS
    if text:
        found[SCENE] = text
    return found, words


def one_thread(task: TaskSpec, files: Folder) -> dict[str, int]:
    """For a region's data: photons that each job shoots for itself are shot by one thread, so that all jobs have the same."""
    options = task.options
    if options["photons"] == "shared" or "photons" not in examine_scene(files, options["scene"], options["library"]).traits:
        return {}
    return {"threads": 1}


def with_photons(text: bytes, word: str) -> bytes:
    """The scene with ``word`` in each block of photon settings, on the same line."""
    read = text.decode("latin-1")  # every byte stays itself
    for at in reversed(list(photon_settings(read))):
        read = f"{read[:at]} {word}{read[at:]}"
    return read.encode("latin-1")


def render_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those that change what a tile looks like; how the picture is cut is in its rectangle, what it loads among the input files."""
    return {name: value for name, value in options.items() if name not in _FILMS | _CUTTING}


def _full(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _unpacked(data: bytes) -> bytes:
    """Raises EOFError or zlib.error where these are not the bytes that were packed, all of them and no others."""
    unpacker = zlib.decompressobj(31)
    found = unpacker.decompress(data)
    if not unpacker.eof:
        raise EOFError("it is cut short")
    if unpacker.unused_data:
        raise EOFError("something follows its end")
    return found
