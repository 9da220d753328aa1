"""The sound of a film: any track that PyAV decodes, laid at its offset, encoded side by side with the picture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library

if TYPE_CHECKING:
    from numpy import ndarray

    Samples = ndarray[Any, Any]
    """float32, (channels, samples)"""

RATE = 48_000
"""Samples per second of what is written; Opus knows no 44,100."""


def length_of(path: Path) -> float | None:
    """Seconds of sound in a file; None where it does not say, or where this machine has no PyAV to look (then the server looks).

    Raises ValueError, a half-sentence, where there is no sound in it.
    """
    try:
        import av
    except ImportError:
        return None
    try:
        with av.open(str(path)) as file:
            if not file.streams.audio:
                raise ValueError("there is no sound in it")
            stream = file.streams.audio[0]
            if stream.duration is not None and stream.time_base is not None:
                return float(stream.duration * stream.time_base)
            return None if file.duration is None else file.duration / av.time_base
    except (av.FFmpegError, OSError) as error:
        raise ValueError(f"it cannot be read ({getattr(error, 'strerror', None) or error})") from error


class Track:
    """Writes ``source`` into an open container, up to the time that the picture has reached."""

    def __init__(self, file: Any, source: Path, *, encoder: str, bits: int, offset: float) -> None:
        self._av = library("av", extra="images")
        self._file = file
        self._source = self._av.open(str(source))
        channels = min(2, self._source.streams.audio[0].codec_context.channels or 2)
        self._layout = "mono" if channels == 1 else "stereo"
        self._stream = file.add_stream(encoder, rate=RATE, layout=self._layout)
        self._stream.bit_rate = bits
        self._packed = encoder == "libopus"
        self._samples = self._shifted(offset, channels)
        self._held: Samples | None = None
        self._over = False
        self._done = 0

    def until(self, seconds: Fraction) -> None:
        """Write all whole packets that begin before ``seconds``."""
        size = self._stream.codec_context.frame_size or 1024
        while not self._over and Fraction(self._done + size, RATE) <= seconds:
            self._write(size)

    def finish(self, seconds: Fraction) -> None:
        """Write up to ``seconds``, where the film ends, and the end of the stream."""
        self.until(seconds)
        rest = round(seconds * RATE) - self._done
        if rest > 0 and not self._over:
            self._write(rest)
        self._file.mux(self._stream.encode(None))

    def close(self) -> None:
        self._source.close()

    def _write(self, size: int) -> None:
        import numpy as np

        parts = [] if self._held is None else [self._held]
        have = sum(part.shape[1] for part in parts)
        while have < size:
            part = next(self._samples, None)
            if part is None:
                self._over = True
                break
            parts.append(part)
            have += part.shape[1]
        if not have:
            return
        whole = np.concatenate(parts, axis=1)
        now, self._held = whole[:, :size], whole[:, size:]
        if self._packed:
            frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(now.T).reshape(1, -1), format="flt", layout=self._layout)
        else:
            frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(now), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._done, Fraction(1, RATE)
        self._file.mux(self._stream.encode(frame))
        self._done += now.shape[1]

    def _shifted(self, offset: float, channels: int) -> Iterator[Samples]:
        """The track from the film's beginning on: silence before it, or its own beginning left out."""
        import numpy as np

        shift = round(offset * RATE)
        while shift > 0:
            part = min(shift, RATE)
            yield np.zeros((channels, part), np.float32)
            shift -= part
        for part_of in self._decoded():
            skipped = min(-shift, part_of.shape[1])
            shift += skipped
            if skipped < part_of.shape[1]:
                yield part_of[:, skipped:]

    def _decoded(self) -> Iterator[Samples]:
        resampler = self._av.AudioResampler(format="fltp", layout=self._layout, rate=RATE)
        for frame in self._source.decode(self._source.streams.audio[0]):
            frame.pts = None
            for part in resampler.resample(frame):
                yield part.to_ndarray()
        for part in resampler.resample(None):
            yield part.to_ndarray()
