"""How fast frames become a film: our encoder against the ffmpeg of imageio-ffmpeg, on the same PNG frames with the same settings.

    .venv/bin/python misc/bench/film.py [--frames 120] [--times 3]

Both read PNG files of 8 bits and write H.264 (crf 18, medium, yuv420p, BT.709, faststart). The frames are a textured plane with noise that
turns: unlike flat colours, they cost an encoder what a rendered film costs. Each is run in turn, and the best run of each counts.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
from clusterray.common.kinds.film import FilmWriter
from clusterray.common.kinds.rasters import as_rgb8
from clusterray.common.process import run
from PIL import Image

SIZES = ((640, 480), (1920, 1080))


def draw(number: int, width: int, height: int, to: Path) -> None:
    """One frame of the film."""
    grain = np.random.default_rng(number).normal(0, 3, (height, width, 3))
    y, x = np.mgrid[0:height, 0:width] / height
    turn = number / 40
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    waves = np.stack((np.sin(9 * u) * np.sin(7 * v), np.sin(31 * u + v), np.sin(3 * v - 17 * u * v)), axis=2)
    Image.fromarray(np.clip(128 + 90 * waves + grain, 0, 255).astype(np.uint8)).save(to, compress_level=3)


def ours(frames: list[Path], to: Path) -> float:
    began = time.perf_counter()
    with FilmWriter(to, codec="h264", fps=Fraction(25)) as film:
        for path in frames:
            film.add(as_rgb8(path))
        film.finish()
    return time.perf_counter() - began


def theirs(frames: list[Path], to: Path) -> float:
    import imageio_ffmpeg

    argv = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-framerate", "25", "-i", str(frames[0].parent / "%06d.png")]
    argv += ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p"]
    argv += ["-c:v", "libx264", "-crf", "18", "-preset", "medium"]
    argv += ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709", "-movflags", "+faststart", str(to)]
    began = time.perf_counter()
    done = run(argv, timeout=600, cwd=to.parent, env={"PATH": os.environ["PATH"]})
    assert done.code == 0, done.stderr
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--times", type=int, default=3)
    asked = parser.parse_args()
    print(f"{'size':>10} {'ours':>9} {'ffmpeg':>9} {'ratio':>6}   frames per second; size of ours / theirs")
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            frames = [Path(folder) / f"{number:06d}.png" for number in range(1, asked.frames + 1)]
            for number, path in enumerate(frames, 1):
                draw(number, width, height, path)
            best = {ours: 0.0, theirs: 0.0}
            for _ in range(asked.times):
                for encode in (ours, theirs):
                    best[encode] = max(best[encode], len(frames) / encode(frames, Path(folder) / f"{encode.__name__}.mp4"))
            bytes_ratio = (Path(folder) / "ours.mp4").stat().st_size / (Path(folder) / "theirs.mp4").stat().st_size
            shown = f"{best[ours]:9.1f} {best[theirs]:9.1f} {best[ours] / best[theirs]:6.2f}   {bytes_ratio:.3f}"
            print(f"{width:>5}x{height:<4} {shown}", flush=True)


if __name__ == "__main__":
    main()
