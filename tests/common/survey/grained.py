"""The box on the plain of ``painted.py`` with a fine grain instead of smooth paint, so that depth can be found, as tasks that are ready for
the stages depth and surface. The sparse points lie on the plain alone: nothing tells of the roof."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from clusterray.common.survey.records import Frame
from clusterray.common.survey.scene import View
from clusterray.common.survey.stereo import undistort
from numpy.typing import NDArray
from PIL import Image

from . import built, painted

Floats = NDArray[np.float64]
GSD = 6.0 / 280.0
"""Metres in a pixel on the plain."""
_GRAIN = [np.random.default_rng(4).uniform(0, 1, (3, size, size)) for size in (64, 256)]


def paint(x: Floats, y: Floats) -> Floats:
    """(n, 3) colours of places, 8 x 8 m around the middle, in grains of 12 and 3 cm."""
    found = np.zeros((len(x), 3))
    for grain in _GRAIN:
        size = grain.shape[1]
        u, v = np.clip((x / 8 + 0.5) * size, 0, size - 1.001), np.clip((y / 8 + 0.5) * size, 0, size - 1.001)
        i, j = u.astype(int), v.astype(int)
        a, b = u - i, v - j
        found += (
            (grain[:, j, i] * (1 - a) + grain[:, j, i + 1] * a) * (1 - b) + (grain[:, j + 1, i] * (1 - a) + grain[:, j + 1, i + 1] * a) * b
        ).T
    return 30 + 97 * found


def photograph(view: View, samples: int = 1) -> NDArray[np.uint8]:
    """(height, width, 3): each pixel the mean of samples x samples rays, against the roof, the walls and the plain."""
    width, height = view.lens.width, view.lens.height
    total = np.zeros((width * height, 3))
    for step in np.ndindex(samples, samples):
        x, y = np.meshgrid(np.arange(width) + (step[0] + 0.5) / samples, np.arange(height) + (step[1] + 0.5) / samples)
        flat = undistort(view, np.stack([x.ravel(), y.ravel()], axis=1))
        rays = np.concatenate([flat, np.ones((len(flat), 1))], axis=1) @ view.rotation
        total += _shade(view.centre, rays)
    picture: NDArray[np.uint8] = np.rint(total / samples**2).astype(np.uint8).reshape(height, width, 3)
    return picture


def _shade(start: Floats, rays: Floats) -> Floats:
    half, top = painted.HALF, painted.HEIGHT
    plain, roof = (start + rays * ((height - start[2]) / rays[:, 2:]) for height in (0.0, top))
    color = paint(plain[:, 0], plain[:, 1])
    # the way from the plain up to the roof's height passes the box where it crosses its square
    with np.errstate(divide="ignore", invalid="ignore"):
        enter = np.full(len(rays), -np.inf)
        leave = np.full(len(rays), np.inf)
        for axis in (0, 1):
            one, two = ((side - start[axis]) / rays[:, axis] for side in (-half, half))
            enter, leave = np.maximum(enter, np.minimum(one, two)), np.minimum(leave, np.maximum(one, two))
    to_roof, to_plain = (top - start[2]) / rays[:, 2], -start[2] / rays[:, 2]
    first = np.maximum(enter, to_roof)
    hit = first < np.minimum(leave, to_plain)
    above = hit & (enter <= to_roof)
    color[above] = paint(roof[above, 1], -roof[above, 0])
    side = hit & ~above
    wall = start + rays * first[:, None]
    color[side] = paint(wall[side, 0] + wall[side, 1], 2 * wall[side, 2])
    return color


def build(folder: Path, views: Sequence[View] = built.SIX, frame: Frame = built.HERE) -> Path:
    """A task with photos and all stages up to adjustment."""
    built.build(folder, views, frame=frame)
    shutil.rmtree(folder / "stages" / "surface")
    for view in views:
        Image.fromarray(photograph(view)).save(folder / view.photo.name)
    return folder


def heights(x: Floats, y: Floats) -> Floats:
    """Of the plain and the box."""
    return np.where((np.abs(x) < painted.HALF) & (np.abs(y) < painted.HALF), painted.HEIGHT, 0.0)
