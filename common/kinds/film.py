"""Encoding a film frame by frame (PyAV): H.264 in MP4 that browsers play, VP9 in WebM, ProRes in QuickTime.

Frames are sRGB; they are converted by the matrix of BT.709 to limited range, and the file says so, so that players show the colours
that were rendered. Sides are even, as 4:2:0 needs: an odd one is made longer by repeating its last row or column. Memory does not
depend on the length of the film.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .film_audio import Track

if TYPE_CHECKING:
    from numpy import ndarray

    Pixels = ndarray[Any, Any]
    """uint8, (rows, columns, 3)"""

THREADS = 4
"""Of an encoder at most: each holds some frames, and more hardly help below 4k."""
BT709, LIMITED, FULL = 1, 1, 2
"""As ffmpeg numbers them: primaries, transfer and matrix; ranges."""


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How one codec is asked for."""

    encoder: str
    suffix: str
    """Of the film, without the dot."""
    pixels: str
    audio: str
    audio_rate: int
    """Bits per second."""
    crf: int = 0
    """What it gets where nobody says; 0: it has none."""
    most_crf: int = 0
    preset: str = ""
    presets: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)

    def settings(self, crf: int | None, preset: str) -> dict[str, str]:
        """The encoder's options."""
        chosen = preset or self.preset
        found = dict(self.options)
        if self.most_crf:
            found["crf"] = str(self.crf if crf is None else crf)
        found[{"libx264": "preset", "libvpx-vp9": "cpu-used", "prores_ks": "profile"}[self.encoder]] = chosen
        return found


_X264 = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
CODECS: Mapping[str, Codec] = {
    "h264": Codec(
        encoder="libx264",
        suffix="mp4",
        pixels="yuv420p",
        audio="aac",
        audio_rate=192_000,
        crf=18,
        most_crf=51,
        preset="medium",
        presets=_X264,
    ),
    "vp9": Codec(
        encoder="libvpx-vp9",
        suffix="webm",
        pixels="yuv420p",
        audio="libopus",
        audio_rate=128_000,
        crf=24,
        most_crf=63,
        preset="2",
        presets=("0", "1", "2", "3", "4", "5"),
        options={"b": "0", "row-mt": "1", "deadline": "good"},
    ),
    "prores": Codec(
        encoder="prores_ks",
        suffix="mov",
        pixels="yuv422p10le",
        audio="aac",
        audio_rate=256_000,
        preset="hq",
        presets=("proxy", "lt", "standard", "hq"),
        options={"vendor": "apl0"},
    ),
}


class FilmError(ValueError):
    """What the encoder cannot do; half a sentence."""


class FilmWriter:
    """A film at ``path``; the first frame says its size. Raises FilmError.

    A track's second 0 is at ``audio_offset`` seconds of the film; it ends with the film.
    """

    def __init__(
        self,
        path: Path,
        *,
        codec: str,
        fps: Fraction,
        crf: int | None = None,
        preset: str = "",
        audio: Path | None = None,
        audio_offset: float = 0.0,
    ) -> None:
        self._av = library("av", extra="images")
        self._codec, self._fps = CODECS[codec], fps
        self._settings = self._codec.settings(crf, preset)
        options = {"fflags": "+bitexact"}  # else a WebM has a random id
        if self._codec.suffix in ("mp4", "mov"):
            options["movflags"] = "+faststart"
        with self._translated():
            self._file = self._av.open(str(path), "w", options=options)
        self._audio, self._audio_offset = audio, audio_offset
        self._track: Track | None = None
        self._video: Any = None
        self._reformatter = self._av.video.reformatter.VideoReformatter()
        self._shape: tuple[int, int] = (0, 0)
        self._done = 0

    def add(self, frame: Pixels) -> None:
        """The next frame, of the same size as the first."""
        import numpy as np

        rows, columns = frame.shape[:2]
        if self._video is None:
            with self._translated():
                self._begin(rows, columns)
        if (rows, columns) != self._shape:
            raise FilmError(f"it is {columns} x {rows} pixels, and the frames before are {self._shape[1]} x {self._shape[0]}")
        if rows % 2 or columns % 2:
            frame = np.pad(frame, ((0, rows % 2), (0, columns % 2), (0, 0)), mode="edge")
        with self._translated():
            self._encode(self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"))

    def finish(self) -> None:
        """Write what the encoders still hold, and the index."""
        with self._translated():
            if self._video is not None:
                self._file.mux(self._video.encode(None))
            if self._track is not None:
                self._track.finish(self._done / self._fps)
            self._file.close()

    def close(self) -> None:
        """Let go of the files; a film that was not finished is of no use."""
        if self._track is not None:
            self._track.close()
        self._file.close()

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _begin(self, rows: int, columns: int) -> None:
        self._shape = rows, columns
        self._video = self._file.add_stream(self._codec.encoder, rate=self._fps, options=self._settings)
        context = self._video.codec_context
        context.width, context.height = columns + columns % 2, rows + rows % 2
        context.pix_fmt, context.time_base = self._codec.pixels, 1 / self._fps
        context.color_primaries = context.color_trc = context.colorspace = BT709
        context.color_range = LIMITED
        context.thread_count = min(THREADS, os.cpu_count() or 1)
        if self._audio is not None:
            self._track = Track(self._file, self._audio, encoder=self._codec.audio, bits=self._codec.audio_rate, offset=self._audio_offset)

    def _encode(self, picture: Any) -> None:
        flags = self._av.video.reformatter.Interpolation
        ready = self._reformatter.reformat(
            picture,
            format=self._codec.pixels,
            dst_colorspace=BT709,
            src_color_range=FULL,
            dst_color_range=LIMITED,
            interpolation=flags.BICUBIC | flags.ACCURATE_RND | flags.FULL_CHR_H_INP,
        )
        ready.pts, ready.time_base = self._done, 1 / self._fps
        ready.color_primaries = ready.color_trc = ready.colorspace = BT709
        self._file.mux(self._video.encode(ready))
        self._done += 1
        if self._track is not None:
            self._track.until(self._done / self._fps)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (self._av.FFmpegError, OSError) as error:
            raise FilmError(f"the encoder says: {getattr(error, 'strerror', None) or error}") from error
