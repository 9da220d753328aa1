"""The file of one stereo pair: disparities as a 16-bit PNG (the highest bit: coarse), colours as JPEG, the rectified cameras.

Half a megabyte, and points come out of it by a few products, the same on every machine: each coordinate is computed from its own pixel
alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .records import load_arrays, save_arrays
from .stereo import Rig, Stereo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUALITY = 92
"""Of the JPEG."""
_PLAIN = tuple(field.name for field in fields(Rig) if field.name not in ("rotation", "centre"))
_WHOLE = ("shift", "width", "height", "disparities")


@dataclass(frozen=True, kw_only=True)
class Points:
    """World points of a pair, row by row of its rectified picture."""

    places: NDArray[np.float64]
    """(3, n) x, y, z in coordinates of the model"""
    colors: NDArray[np.uint8]
    """(n, 3) red, green, blue"""
    coarse: NDArray[np.bool_]
    """(n,) as in Stereo"""


def save_stereo(stereo: Stereo, path: Path) -> None:
    import numpy as np

    cv2 = library("cv2", extra="survey")
    packed = stereo.disparity | (stereo.coarse.astype(np.uint16) << 15)
    _, depth = cv2.imencode(".png", packed, [cv2.IMWRITE_PNG_COMPRESSION, 4])
    _, color = cv2.imencode(".jpg", cv2.cvtColor(stereo.color, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    rig = stereo.rig
    plain = np.array([getattr(rig, name) for name in _PLAIN], np.float64)
    save_arrays(path, rotation=rig.rotation, centre=rig.centre, rig=plain, disparity=depth.ravel(), color=color.ravel())


def load_stereo(path: Path | bytes) -> Stereo:
    """ValueError, KeyError, OSError or zipfile.BadZipFile where it is damaged."""
    import numpy as np

    cv2 = library("cv2", extra="survey")
    arrays = load_arrays(path)
    values = dict(zip(_PLAIN, arrays["rig"].tolist(), strict=True))
    if not all(np.isfinite(arrays[name]).all() for name in ("rotation", "centre", "rig")):
        raise ValueError("the camera is no number")
    words: dict[str, Any] = {name: int(value) if name in _WHOLE else value for name, value in values.items()}
    rig = Rig(rotation=arrays["rotation"].reshape(3, 3), centre=arrays["centre"].reshape(3), **words)
    disparity = cv2.imdecode(arrays["disparity"], cv2.IMREAD_UNCHANGED)
    color = cv2.imdecode(arrays["color"], cv2.IMREAD_COLOR)
    size = rig.height, rig.width
    if disparity is None or color is None or disparity.dtype != np.uint16 or disparity.shape != size or color.shape != (*size, 3):
        raise ValueError("the pictures are no pictures, or of another size than they say")
    coarse, disparity = disparity >> 15 > 0, disparity & 0x7FFF
    if disparity.max(initial=0) > rig.disparities * 16:
        raise ValueError("there are disparities that were not searched")
    return Stereo(rig=rig, disparity=disparity, coarse=coarse, color=cv2.cvtColor(color, cv2.COLOR_BGR2RGB))


def points_of(stereo: Stereo) -> Points:
    """See ``Points``. No matrix product of a library: those round differently by the number of points and the machine."""
    import numpy as np

    rig = stereo.rig
    rows, columns = np.nonzero(stereo.disparity)
    disparity = (stereo.disparity[rows, columns].astype(np.float64) - 1) / 16 + rig.shift
    good = disparity > 0
    rows, columns, disparity = rows[good], columns[good], disparity[good]
    depth = rig.focal * rig.base / disparity
    x = (columns + 0.5 - rig.cx) / rig.focal * depth
    y = (rows + 0.5 - rig.cy) / rig.focal * depth
    r = rig.rotation
    places = np.stack([rig.centre[i] + (r[0, i] * x + r[1, i] * y + r[2, i] * depth) for i in range(3)])
    return Points(places=places, colors=stereo.color[rows, columns], coarse=stereo.coarse[rows, columns])
