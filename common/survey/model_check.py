"""A COLMAP model read through without COLMAP, whose library ends the process where it meets what it did not expect.

Formats as COLMAP documents them, little-endian. ``images.bin``: count, then (id, quaternion, translation, camera, name, 0, count, points
(x, y, point id)). ``points3D.bin``: count, then (id, place, colour, error, count, track (image id, point2D)).
"""

from __future__ import annotations

import math
import struct

_IMAGE = struct.Struct("<I7dI")
_POINT = struct.Struct("<Q3d3BdQ")
_COUNT = struct.Struct("<Q")
_LONGEST_NAME = 4096


def check_model(images: bytes, points: bytes) -> tuple[frozenset[int], int]:
    """Ids of the images, and the number of points. Raises ValueError where a file is cut short, too long, or holds no finite numbers."""
    ids = _images(images)
    return ids, _points(points, ids)


def _images(data: bytes) -> frozenset[int]:
    ids: set[int] = set()
    at = _COUNT.size
    for _ in range(_count(data, 0)):
        if at + _IMAGE.size > len(data):
            raise ValueError("images.bin is cut short")
        id, *pose, _ = _IMAGE.unpack_from(data, at)
        if not all(map(math.isfinite, pose)) or abs(sum(value * value for value in pose[:4]) - 1) > 1e-3:
            raise ValueError(f"the pose of image {id} is none")
        if id in ids:
            raise ValueError(f"image {id} is there twice")
        ids.add(id)
        end = data.find(b"\0", at + _IMAGE.size, at + _IMAGE.size + _LONGEST_NAME)
        if end < 0:
            raise ValueError("images.bin holds a name without an end")
        at = end + 1 + _COUNT.size + 24 * _count(data, end + 1)
    if at != len(data):
        raise ValueError("images.bin does not end where it should")
    return frozenset(ids)


def _points(data: bytes, ids: frozenset[int]) -> int:
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
        seen = struct.unpack_from(f"<{2 * track}I", data, at)[::2]
        if not ids.issuperset(seen):
            raise ValueError(f"point {id} is seen in images that are not there")
        at += 8 * track
    if at != len(data):
        raise ValueError("points3D.bin does not end where it should")
    return count


def _count(data: bytes, at: int) -> int:
    if at + _COUNT.size > len(data):
        raise ValueError("the model is cut short")
    return int(_COUNT.unpack_from(data, at)[0])
