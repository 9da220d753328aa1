"""What a film's stitch writes, one frame after the other: the numbered frames, the film, its poster and contact sheet, its curves."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import StitchFailed
from .contact import chosen, columns_for, contact_sheet, poster, thumbnail
from .film import CODECS, FilmError, FilmWriter
from .film_options import Film
from .frame_regions import keep
from .keyframes import Curves, plot
from .kind import Folder
from .png import BadPicture
from .rasters import as_rgb8


class FilmJoin:
    """``add`` takes the frames in order, ``finish`` ends the film. Raises StitchFailed, naming the frame."""

    def __init__(self, film: Film, name: str, suffix: str, out: Path, files: Folder, curves: Curves | None) -> None:
        self._film, self._name, self._suffix, self._out, self._curves = film, name, suffix, out, curves
        self._on_sheet = set(chosen(film.frames))
        self._sheet: list[tuple[int, Any]] = []
        self._columns = 0
        self._writer: FilmWriter | None = None
        if film.codec != "none":
            try:
                self._writer = self._begin(files)
            except FilmError as error:
                raise StitchFailed(f"The film cannot be begun: {error}.") from error

    def add(self, frame: int, path: Path) -> None:
        """Keep the frame as it is, and show it where it is to be seen."""
        keep(path, self._out / "frames" / f"{self._name}_{frame:0{self._film.digits}d}.{self._suffix}")
        if self._writer is None and frame not in self._on_sheet and frame != self._film.poster:
            return
        try:
            pixels = as_rgb8(path)
            if self._writer is not None:
                self._writer.add(pixels)
        except (BadPicture, FilmError, OSError) as error:
            raise StitchFailed(f"Frame {frame} cannot go into the film: {error}.") from error
        if frame == self._film.poster:
            poster(pixels, self._out / f"{self._name}-poster.jpg")
        if frame in self._on_sheet:
            self._columns = self._columns or columns_for(len(self._on_sheet), pixels.shape[1] / pixels.shape[0])
            self._sheet.append((frame, thumbnail(pixels, self._columns)))

    def finish(self) -> None:
        if self._writer is not None:
            try:
                self._writer.finish()
            except FilmError as error:
                raise StitchFailed(f"The film cannot be encoded: {error}.") from error
        contact_sheet(self._sheet, self._columns, self._out / f"{self._name}-contact.jpg")
        if self._curves is not None:
            plot(self._curves, self._film.frames, self._out / f"{self._name}-curves.png")

    def __enter__(self) -> FilmJoin:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()

    def _begin(self, files: Folder) -> FilmWriter:
        film = self._film
        return FilmWriter(
            self._out / f"{self._name}.{CODECS[film.codec].suffix}",
            codec=film.codec,
            fps=film.fps,
            crf=film.crf,
            preset=film.preset,
            audio=files.path(film.audio) if film.audio else None,
            audio_offset=film.audio_offset,
        )
