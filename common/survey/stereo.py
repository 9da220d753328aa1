"""Depth of one pair of photos: both turned and undistorted so that their rows match (rectification), then semi-global matching.

The rectified cameras look along one common direction, square to the line between the two (the base). A point at depth Z along it is seen
``focal * base / Z`` pixels further left in the second picture than in the first; this disparity is searched for along the row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .photofile import pixels
from .scene import Scene, View, distort

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LEAST = 1000
"""Pixels of the longer side below which photos are not scaled down: small photos have nothing to spare."""
NEAR, FAR = 0.30, 0.10
"""How far before the nearest and behind the farthest sparse point it is searched, as part of their depth: flat roofs and tree tops, which
have no features, lie higher than all sparse points (measured: without it roofs are lost)."""
SPREAD = 0.35
"""The same for an object, as part of the distance between nearest and farthest."""
VOLUME = 250_000_000
"""Width x height x disparities: the matching needs 3.4 bytes for each, so 0.85 GB. Larger pairs are done at a smaller scale."""
LEVELS = (1, 2, 4)
"""How many times smaller the pictures are in which it is searched, one after the other, for what the larger ones did not give: from above,
tree tops 15 m below the camera look too different in detail, their crowns as a whole do not."""
BLOCK = 5
WINDOW = 11
"""Pixels, of the least squares that refine a disparity. One step: more of them follow the noise (synthetic truth, NMAD of the points of
a pair: 5.7 cm without, 3.6 with one step, 4.5 with three, at 10 cm in a pixel)."""
FLAT = 1.0
"""Square of the brightness's change in a pixel: where there is less, the window shows nothing to go by, and steps become small."""
AWAY, EDGE = 0.5, 2.0
"""Pixels: a disparity is left where the refined one is further off, or where those of the window differ by more: there is an edge."""
SPECKLE = 120
"""Pixels: smaller patches of depth that differ from all around are wrong matches."""
RIM = BLOCK // 2 + 2
"""Pixels at the rim of a picture where the window of the matching sees what is not there."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Two cameras, rectified. Pixels as everywhere: the centre of the first is at (0.5, 0.5)."""

    rotation: NDArray[np.float64]
    """(3, 3) world -> rectified camera"""
    centre: NDArray[np.float64]
    """(3,) where the first camera is; the second is ``base`` further along the first row of ``rotation``."""
    base: float
    focal: float
    """Pixels of the rectified pictures."""
    cx: float
    cy: float
    """Principal point of the first."""
    shift: int
    """That of the second is ``cx + shift``: disparities are counted from there, so that the least one is 0."""
    width: int
    height: int
    disparities: int
    """How many are searched, a multiple of 16."""


@dataclass(frozen=True, kw_only=True)
class Stereo:
    rig: Rig
    disparity: NDArray[np.uint16]
    """(height, width) in sixteenths of a pixel, plus 1; 0: none was found."""
    coarse: NDArray[np.bool_]
    """(height, width) where only smaller pictures gave one: less exact, and in need of others that agree."""
    color: NDArray[np.uint8]
    """(height, width, 3) the first picture, rectified; red, green, blue"""


def work_scale(width: int, height: int, quality: float) -> float:
    """Part of a photo's side at which depth is looked for."""
    longer = max(width, height)
    return min(1.0, max(quality, LEAST / longer))


def rectify(first: View, second: View, scene: Scene, quality: float) -> Rig | None:
    """The common frame of two views, cut to what both may see; None where they share no sparse points or no part of a picture."""
    import numpy as np

    rotation, base = _turn(first, second)
    depths = _depths(first, second, scene, rotation)
    rims = [_rim(view, rotation) for view in (first, second)]
    if depths is None or base <= 0 or any(not np.isfinite(rim).all() for rim in rims):
        return None
    focal = min(view.lens.fx * work_scale(view.lens.width, view.lens.height, quality) for view in (first, second))
    for _ in range(4):
        rig = _canvas(rotation, first.centre, base, focal, depths, rims)
        volume = rig.width * rig.height * rig.disparities
        if volume <= VOLUME:
            break
        focal *= 0.98 * (VOLUME / volume) ** (1 / 3)
    return rig if min(rig.width - rig.disparities, rig.height) >= 4 * BLOCK else None


def _canvas(
    rotation: NDArray[np.float64], centre: NDArray[np.float64], base: float, focal: float, depths: tuple[float, float],
    rims: Sequence[NDArray[np.float64]],
) -> Rig:  # fmt: skip
    """The part of the rectified plane that both photos may show."""
    near, far = depths
    least = math.floor(focal * base / far)
    count = math.ceil((focal * base / near - least) / 16 + 1) * 16
    (left, top), (right, bottom) = rims[0].min(0) * focal, rims[0].max(0) * focal
    (left2, top2), (right2, bottom2) = rims[1].min(0) * focal, rims[1].max(0) * focal
    x0, x1 = max(left, left2 + least), min(right, right2 + least + count)
    y0, y1 = max(top, top2), min(bottom, bottom2)
    return Rig(
        rotation=rotation, centre=centre, base=base, focal=focal, cx=float(count - math.floor(x0)), cy=float(-math.floor(y0)), shift=least,
        width=max(0, math.ceil(x1 - x0)) + count, height=max(0, math.ceil(y1 - y0)), disparities=count,
    )  # fmt: skip


def _turn(first: View, second: View) -> tuple[NDArray[np.float64], float]:
    """World -> a frame whose x axis is the base and whose z axis is as near to both directions of sight as that allows."""
    import numpy as np

    way = second.centre - first.centre
    base = float(np.linalg.norm(way))
    if base == 0:
        return np.eye(3), 0.0
    x = way / base
    y = np.cross(first.axis + second.axis, x)
    size = float(np.linalg.norm(y))
    if size < 0.2:  # one behind the other: rows that match do not exist
        return np.eye(3), 0.0
    y = y / size
    return np.stack([x, y, np.cross(x, y)]), base


def _depths(first: View, second: View, scene: Scene, rotation: NDArray[np.float64]) -> tuple[float, float] | None:
    """Between which depths it is searched: those of the sparse points that both views see, and a margin."""
    import numpy as np

    both = np.array([np.isin((first.number, second.number), track).all() for track in scene.tracks], bool)
    points = scene.points[both]
    if len(points) < 8:
        return None
    z = (points - first.centre) @ rotation[2]
    z = z[z > 0]
    if len(z) < 8:
        return None
    near, far = (float(value) for value in np.quantile(z, (0.01, 0.99 if scene.frame.georeferenced else 0.9)))  # 0.9: no background
    if scene.frame.georeferenced:
        return near * (1 - NEAR), far * (1 + FAR)
    more = SPREAD * (far - near)
    return max(near - more, near / 2), far + more


def _rim(view: View, rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) on the rectified plane at depth 1 what the rim of the photo becomes; not finite where it looks backwards."""
    import numpy as np

    rays = rim_rays(view) @ (rotation @ view.rotation.T).T
    rays[rays[:, 2] < 0.15] = np.nan
    flat: NDArray[np.float64] = rays[:, :2] / rays[:, 2:]
    return flat


def rim_rays(view: View) -> NDArray[np.float64]:
    """(4 n, 3) directions in the camera of points along the rim of the photo, side by side around it, each side from its corner on."""
    import numpy as np

    steps = np.linspace(0, 1, 17)
    zero, one = np.zeros(17), np.ones(17)
    x = np.concatenate([steps, one, steps[::-1], zero]) * view.lens.width
    y = np.concatenate([zero, steps, one, steps[::-1]]) * view.lens.height
    normal = undistort(view, np.stack([x, y], axis=1))
    return np.concatenate([normal, np.ones((len(normal), 1))], axis=1)


def undistort(view: View, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) pixels -> (n, 2) on the plane at depth 1, by fixed-point iteration; ``distort`` is the way back."""
    lens = view.lens
    size = (lens.fx, lens.fy)
    normal = (places - (lens.cx, lens.cy)) / size
    for _ in range(20):
        normal = normal - (distort(lens, normal) - places) / size
    found: NDArray[np.float64] = normal
    return found


def match(first: View, second: View, scene: Scene, folder: Path, quality: float) -> Stereo | None:
    """Look for depth. ``folder``: that of the task. None where the two have nothing in common."""
    import numpy as np

    cv2 = library("cv2", extra="survey")
    rig = rectify(first, second, scene, quality)
    if rig is None:
        return None
    one, one_there = _warp(cv2, first, rig, rig.cx, folder)
    two, two_there = _warp(cv2, second, rig, rig.cx + rig.shift, folder)
    grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (one, two)]
    found, coarse = np.full(grey[0].shape, -1, np.int32), np.zeros(grey[0].shape, bool)
    for level in LEVELS if scene.frame.georeferenced else LEVELS[:1]:
        more = _search(cv2, grey, rig, level)
        rows, columns = np.indices(found.shape, np.int32)
        seen = np.clip(columns - ((more + 8) >> 4), 0, rig.width - 1)
        kernel = np.ones((2 * RIM * level + 1,) * 2, np.uint8)
        left, right = (cv2.erode(there, kernel, borderType=cv2.BORDER_CONSTANT, borderValue=0) for there in (one_there, two_there))
        # at the end of the range it is the range that was found
        good = (found < 0) & (more >= 0) & (more < (rig.disparities - level) * 16) & (left > 0) & (right[rows, seen] > 0)
        found, coarse = np.where(good, more, found), coarse | (good & (level > 1))
    return Stereo(rig=rig, disparity=(found + 1).astype(np.uint16), coarse=coarse, color=one)


def _search(cv2: Any, grey: Sequence[Any], rig: Rig, level: int) -> NDArray[np.int32]:
    """(height, width) disparities in sixteenths of a pixel, below 0 where none was found, from pictures ``level`` times smaller."""
    import numpy as np

    rows, columns = -rig.height % level, -rig.width % level
    whole = [cv2.copyMakeBorder(one, 0, rows, 0, columns, cv2.BORDER_REPLICATE) for one in grey]
    size = whole[0].shape[1] // level, whole[0].shape[0] // level
    small = [cv2.resize(one, size, interpolation=cv2.INTER_AREA) if level > 1 else one for one in whole]
    matcher = cv2.StereoSGBM_create(
        minDisparity=0, numDisparities=math.ceil(rig.disparities / level / 16) * 16, blockSize=BLOCK, P1=8 * BLOCK * BLOCK,
        P2=32 * BLOCK * BLOCK, disp12MaxDiff=1, preFilterCap=63, uniquenessRatio=5, speckleWindowSize=SPECKLE // level, speckleRange=2,
        mode=cv2.STEREO_SGBM_MODE_HH,
    )  # fmt: skip
    found: NDArray[np.int32] = matcher.compute(small[0], small[1]).astype(np.int32)
    found = _refined(cv2, small, found)
    if level > 1:
        found = _enlarged(cv2, found, level)
    return found[: rig.height, : rig.width]


def _refined(cv2: Any, grey: Sequence[Any], found: NDArray[np.int32]) -> NDArray[np.int32]:
    """The matching prefers whole pixels, which makes terraces of slopes. Here each disparity moves to where a small window of the first
    picture fits best into the second, by least squares in which a difference of brightness does not count (Lucas and Kanade 1981)."""
    import numpy as np

    one, two = (cv2.GaussianBlur(picture, (0, 0), 0.7).astype(np.float32) for picture in grey)
    slope = cv2.Sobel(two, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    there = (found >= 0).astype(np.float32)
    columns, rows = np.meshgrid(np.arange(found.shape[1], dtype=np.float32), np.arange(found.shape[0], dtype=np.float32))
    start = np.maximum(found, 0).astype(np.float32) / 16

    def mean(values: Any) -> Any:
        return cv2.boxFilter(values * there, cv2.CV_32F, (WINDOW, WINDOW)) / np.maximum(count, 1e-6)

    count = cv2.boxFilter(there, cv2.CV_32F, (WINDOW, WINDOW))
    at = columns - start
    here, gradient = (cv2.remap(part, at, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for part in (two, slope))
    off = here - one
    spread = mean(gradient * gradient) - mean(gradient) ** 2
    step = (mean(gradient * off) - mean(gradient) * mean(off)) / np.maximum(spread, FLAT)
    disparity = start + step
    kernel = np.ones((WINDOW, WINDOW), np.uint8)
    near = (np.abs(disparity - start) <= AWAY) & (cv2.dilate(start, kernel) - cv2.erode(start, kernel) <= EDGE)
    whole: NDArray[np.int32] = np.rint(np.where(near, disparity, start) * 16).astype(np.int32)
    return np.where(found >= 0, np.maximum(whole, 0), found)


def _enlarged(cv2: Any, found: NDArray[np.int32], level: int) -> NDArray[np.int32]:
    """``level`` times as large, even between neighbours whose disparities differ by little, in steps elsewhere."""
    import numpy as np

    values, kernel = found.astype(np.float32), np.ones((3, 3), np.uint8)
    even = (cv2.dilate(values, kernel) - cv2.erode(values, kernel) <= 24) & (cv2.erode(values, kernel) >= 0)
    size = found.shape[1] * level, found.shape[0] * level
    steps = cv2.resize(values, size, interpolation=cv2.INTER_NEAREST)
    smooth = cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
    all_even = cv2.resize(even.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    grown: NDArray[np.int32] = np.rint(np.where(all_even, smooth, steps) * level).astype(np.int32)
    return grown


def _warp(cv2: Any, view: View, rig: Rig, cx: float, folder: Path) -> tuple[Any, Any]:
    """The photo as the rectified camera would have taken it (red, green, blue), and where there is something (1) or not (0)."""
    import numpy as np

    picture = pixels(folder / view.photo.name)
    lens = view.lens
    scale = min(1.0, rig.focal / lens.fx)
    if scale < 1.0:
        size = round(lens.width * scale), round(lens.height * scale)
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    turn = view.rotation @ rig.rotation.T
    x = ((np.arange(rig.width) + 0.5 - cx) / rig.focal)[None, :]
    y = ((np.arange(rig.height) + 0.5 - rig.cy) / rig.focal)[:, None]
    depth = turn[2, 0] * x + turn[2, 1] * y + turn[2, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = (turn[0, 0] * x + turn[0, 1] * y + turn[0, 2]) / depth
        v = (turn[1, 0] * x + turn[1, 1] * y + turn[1, 2]) / depth
    rim = rim_rays(view)[:, :2]
    (left, top), (right, bottom) = rim.min(0), rim.max(0)
    there = (depth > 0) & (u >= left) & (u <= right) & (v >= top) & (v <= bottom)  # beyond, the polynomial of the lens may turn back
    u, v = np.where(there, u, left), np.where(there, v, top)
    at = distort(lens, np.stack([u.ravel(), v.ravel()], axis=1)).reshape(rig.height, rig.width, 2)
    at[..., 0] *= picture.shape[1] / lens.width
    at[..., 1] *= picture.shape[0] / lens.height
    there &= (at[..., 0] >= 0.5) & (at[..., 0] <= picture.shape[1] - 0.5)
    there &= (at[..., 1] >= 0.5) & (at[..., 1] <= picture.shape[0] - 0.5)
    whole = (at - 0.5).astype(np.float32)  # OpenCV counts from the centre of the first pixel
    return cv2.remap(picture, whole, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), there.astype(np.uint8)
