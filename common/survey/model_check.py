"""A COLMAP model read through without COLMAP, whose library ends the process where it meets what it did not expect.

Formats as COLMAP documents them, little-endian. ``images.bin``: count, then (id, quaternion, translation, camera, name, 0, count, points
(x, y, point id)). ``points3D.bin``: count, then (id, place, colour, error, count, track (image id, point2D)). ``cameras.bin``: count, then
(id, model, width, height, parameters).
"""

from __future__ import annotations

import math
import struct

_IMAGE = struct.Struct("<I7dI")
_POINT = struct.Struct("<Q3d3BdQ")
_CAMERA = struct.Struct("<IiQQ")
_COUNT = struct.Struct("<Q")
_PARAMETERS = {0: 3, 1: 4, 2: 4, 3: 5, 4: 8}
"""SIMPLE_PINHOLE, PINHOLE, SIMPLE_RADIAL, RADIAL, OPENCV: as ``scene.lens_of`` reads them."""
_LARGEST = 1 << 20
"""Pixels of a photo's side."""
_LONGEST_NAME = 4096


def check_model(images: bytes, points: bytes, cameras: bytes) -> tuple[frozenset[int], int]:
    """Ids of the images, and the number of points. Raises ValueError where a file is cut short, too long, holds no finite numbers, or
    speaks of what another one has not."""
    seen = _images(images, _cameras(cameras))
    return frozenset(seen), _points(points, seen)


def _cameras(data: bytes) -> frozenset[int]:
    ids: set[int] = set()
    at = _COUNT.size
    for _ in range(_count(data, 0)):
        if at + _CAMERA.size > len(data):
            raise ValueError("cameras.bin is cut short")
        id, model, width, height = _CAMERA.unpack_from(data, at)
        if model not in _PARAMETERS or not 0 < width < _LARGEST or not 0 < height < _LARGEST or id in ids:
            raise ValueError(f"camera {id} is none")
        at += _CAMERA.size
        if at + 8 * _PARAMETERS[model] > len(data):
            raise ValueError("cameras.bin is cut short")
        values = struct.unpack_from(f"<{_PARAMETERS[model]}d", data, at)
        if not all(map(math.isfinite, values)) or values[0] <= 0:
            raise ValueError(f"camera {id} has no focal length, or other parameters that are none")
        ids.add(id)
        at += 8 * _PARAMETERS[model]
    if at != len(data):
        raise ValueError("cameras.bin does not end where it should")
    return frozenset(ids)


def _images(data: bytes, cameras: frozenset[int]) -> dict[int, int]:
    """Image -> how many points are marked in it."""
    ids: dict[int, int] = {}
    at = _COUNT.size
    for _ in range(_count(data, 0)):
        if at + _IMAGE.size > len(data):
            raise ValueError("images.bin is cut short")
        id, *pose, camera = _IMAGE.unpack_from(data, at)
        if camera not in cameras:
            raise ValueError(f"image {id} has a camera that is not there")
        if not all(map(math.isfinite, pose)) or abs(sum(value * value for value in pose[:4]) - 1) > 1e-3:
            raise ValueError(f"the pose of image {id} is none")
        if id in ids:
            raise ValueError(f"image {id} is there twice")
        end = data.find(b"\0", at + _IMAGE.size, at + _IMAGE.size + _LONGEST_NAME)
        if end < 0:
            raise ValueError("images.bin holds a name without an end")
        ids[id] = _count(data, end + 1)
        at = end + 1 + _COUNT.size + 24 * ids[id]
    if at != len(data):
        raise ValueError("images.bin does not end where it should")
    return ids


def _points(data: bytes, ids: dict[int, int]) -> int:
    count, at = _count(data, 0), _COUNT.size
    for _ in range(count):
        if at + _POINT.size > len(data):
            raise ValueError("points3D.bin is cut short")
        id, x, y, z, _, _, _, _, track = _POINT.unpack_from(data, at)
        if not (math.isfinite(x) and math.isfinite(y) and math.isfinite(z)):
            raise ValueError(f"point {id} has no place")
        at += _POINT.size
        if at + 8 * track > len(data):
            raise ValueError("points3D.bin is cut short")
        seen = struct.unpack_from(f"<{2 * track}I", data, at)
        if any(number >= ids.get(image, 0) for image, number in zip(seen[::2], seen[1::2], strict=True)):
            raise ValueError(f"point {id} is seen in images, or at points of them, that are not there")
        at += 8 * track
    if at != len(data):
        raise ValueError("points3D.bin does not end where it should")
    return count


def _count(data: bytes, at: int) -> int:
    if at + _COUNT.size > len(data):
        raise ValueError("the model is cut short")
    return int(_COUNT.unpack_from(data, at)[0])
