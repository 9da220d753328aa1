"""The poses of a COLMAP model without COLMAP: what a split asks for, in a process of the server that shall stay small.

The format is that of COLMAP's ``images.bin`` and ``cameras.bin`` (little-endian), read by their documentation:
``count, (id, quaternion w x y z, translation, camera, name, 0, points, points x (x, y, point))`` and
``count, (id, model, width, height, parameters)``.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, BinaryIO

from .records import Lens, Photos
from .scene import View

_MODELS = {0: ("f", 3), 1: ("ff", 4), 2: ("fk", 4), 3: ("fkk", 5), 4: ("ffkkpp", 8)}
"""Number of the model -> its focal lengths and terms of distortion, how many parameters: (SIMPLE_)PINHOLE, (SIMPLE_)RADIAL, OPENCV."""


def read_views(images: Path, cameras: Path, photos: Photos) -> tuple[View, ...]:
    """The photos that were placed, by number. Raises ValueError where a file is none of these or is cut short."""
    import numpy as np

    by_number = {photo.number: photo for photo in photos.photos}
    lenses = _lenses(cameras)
    views = []
    with images.open("rb") as file:
        for _ in range(_take(file, "<Q")[0]):
            number, w, x, y, z, *rest = _take(file, "<I7dI")
            translation, camera = rest[:3], int(rest[3])
            while _take(file, "<c")[0] != b"\0":
                pass
            file.seek(24 * int(_take(file, "<Q")[0]), 1)
            if number - 1 not in by_number or camera not in lenses:
                raise ValueError(f"image {number} of the model is none of the photos")
            rotation = np.array(
                [
                    [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                    [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                    [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
                ]
            )
            views.append(View(photo=by_number[number - 1], lens=lenses[camera], rotation=rotation, translation=np.array(translation)))
    return tuple(sorted(views, key=lambda view: view.number))


def _lenses(path: Path) -> dict[int, Lens]:
    lenses = {}
    with path.open("rb") as file:
        for _ in range(_take(file, "<Q")[0]):
            number, model, width, height = _take(file, "<iiQQ")
            if model not in _MODELS:
                raise ValueError(f"camera {number} of the model has the unknown form {model}")
            terms, count = _MODELS[model]
            values = _take(file, f"<{count}d")
            focal = terms.count("f")
            more = dict(zip(("k1", "k2", "p1", "p2"), values[focal + 2 :], strict=False))
            lenses[int(number)] = Lens(
                width=width, height=height, fx=values[0], fy=values[focal - 1], cx=values[focal], cy=values[focal + 1], prior=0.0, **more
            )
    return lenses


def _take(file: BinaryIO, form: str) -> tuple[Any, ...]:
    size = struct.calcsize(form)
    data = file.read(size)
    if len(data) != size:
        raise ValueError("a file of the model is cut short")
    return struct.unpack(form, data)
