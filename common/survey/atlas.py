"""The texture atlas of a mesh: patches of photos side by side on pages.

A chart is a patch of faces that have their colours from one photo, laid out as that photo shows it: it is a cut-out of the photo, at its
own resolution or scaled down, with what is around it as padding. Faces that no photo sees have small squares of one colour each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..libraries import library
from .atlas_packing import Packing, pack_small
from .texture import Choice, Read, frame, patches

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .scene import View
    from .triangles import Triangles

PAD = 4
"""Texels around a chart: bilinear reading and two levels of a mip map stay within."""
SQUARE = 8
"""Texels of a square of one colour; JPEG's block."""
TEXELS = 4 * 4096 * 4096
"""The most on all pages together."""
PAGES = 16


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """Of the faces that belong to the piece, in their order."""

    uv: NDArray[np.float32]
    uv_faces: NDArray[np.int32]
    pages: NDArray[np.int32]
    """(f,)"""
    pictures: tuple[NDArray[np.uint8], ...]
    charts: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class Charts:
    faces: NDArray[np.int64]
    """(f,) which faces of the mesh"""
    chart: NDArray[np.int64]
    """(f,) in which chart each lies"""
    pixels: NDArray[np.float64]
    """(f, 3, 2) their corners in the photo"""
    view: NDArray[np.int64]
    """(charts,) the photo"""
    low: NDArray[np.int64]
    high: NDArray[np.int64]
    """(charts, 2) box of pixels around each chart"""


def make_atlas(
    mesh: Triangles,
    views: Sequence[View],
    choice: Choice,
    levels: NDArray[np.float32],
    plain: NDArray[np.uint8],
    read: Read,
    *,
    side: int,
    most: int,
    progress: Callable[[float], None],
) -> Atlas:
    """Pages of at most ``side`` texels, at most ``most`` of them: all is scaled down where it does not fit.

    ``levels`` (f, 3, 3) is added to the photos' colours (texture_levels.py); ``plain`` (u, 3) are the colours of those core faces that no
    photo sees, in order.
    """
    import numpy as np

    core = np.nonzero(mesh.core)[0]
    unseen = choice.labels[core] < 0
    charts = cut_charts(mesh, views, choice, side // 2)
    palette, square = np.unique(plain, axis=0, return_inverse=True) if len(plain) else (plain, np.zeros(0, np.int64))
    across = max(1, min(side // SQUARE, int(np.ceil(np.sqrt(len(palette))))))
    squares = np.array([[across * SQUARE, -(-len(palette) // across) * SQUARE]], np.int64)[: 1 if len(palette) else 0]
    scale, sizes, corners, packing = fit(charts, squares, side, most)
    pictures = [np.full((height, width, 3), 128, np.uint8) for width, height in packing.pages]
    _draw(pictures, charts, views, levels, read, sizes, corners, packing, progress)

    shape = np.array(packing.pages, np.float64).reshape(-1, 2)
    factor = sizes / np.maximum(1, corners[:, 1] - corners[:, 0])
    one = charts.chart
    texel = packing.places[one, None, 1:] + (charts.pixels - corners[one, None, 0]) * factor[one, None]
    places = np.clip(texel / shape[packing.places[one, 0], None], 0, 1)
    keys = one[:, None] * len(mesh.vertices) + mesh.faces[charts.faces]
    _, first, index = np.unique(keys, return_index=True, return_inverse=True)
    uv = places.reshape(-1, 2)[first]
    uv_faces, pages = np.zeros((len(core), 3), np.int64), np.zeros(len(core), np.int64)
    uv_faces[~unseen], pages[~unseen] = index.reshape(-1, 3), packing.places[one, 0]
    if len(palette):
        page, left, top = packing.places[-1]
        row, column = np.divmod(np.arange(len(palette)), across)
        corner = np.stack([left + column * SQUARE, top + row * SQUARE], axis=1)
        for (x, y), color in zip(corner, palette, strict=True):
            pictures[page][y : y + SQUARE, x : x + SQUARE] = color
        three = np.array([[3.0, 3.0], [3.0, 5.0], [5.0, 3.0]])
        uv_faces[unseen] = len(uv) + 3 * square.reshape(-1, 1) + np.arange(3)
        pages[unseen] = page
        uv = np.concatenate([uv, ((corner[:, None] + three) / shape[page]).reshape(-1, 2)])
    return Atlas(
        uv=uv.astype(np.float32), uv_faces=uv_faces.astype(np.int32), pages=pages.astype(np.int32), pictures=tuple(pictures),
        charts=len(charts.view), scale=scale,
    )  # fmt: skip


def cut_charts(mesh: Triangles, views: Sequence[View], choice: Choice, limit: int) -> Charts:
    """The connected patches of one photo among the core faces; those larger than ``limit`` pixels are cut into such."""
    import numpy as np

    faces = np.nonzero(mesh.core & (choice.labels >= 0))[0]
    labels = choice.labels[faces]
    pixels = np.zeros((len(faces), 3, 2))
    for number in np.unique(labels):
        mine = labels == number
        found, _ = frame(views[number], mesh.vertices)
        pixels[mine] = found[mesh.faces[faces[mine]]]
    inside = choice.labels.copy()
    inside[~mesh.core] = -1
    part = patches(inside, choice.pairs)[0][faces].astype(np.int64)
    _, part = np.unique(part, return_inverse=True)
    low, high = _boxes(pixels, part)
    many = np.maximum(1, np.ceil((high - low) / limit)).astype(np.int64)
    width = np.maximum(1e-9, (high - low) / many)
    cell = np.clip(((pixels.mean(axis=1) - low[part]) / width[part]).astype(np.int64), 0, many[part] - 1)
    key = np.stack([part, cell[:, 1], cell[:, 0]], axis=1)
    _, first, chart = np.unique(key, axis=0, return_index=True, return_inverse=True)
    chart = chart.ravel().astype(np.int64)
    low, high = _boxes(pixels, chart)
    return Charts(
        faces=faces, chart=chart, pixels=pixels, view=labels[first].astype(np.int64), low=np.floor(low).astype(np.int64),
        high=np.ceil(high).astype(np.int64),
    )  # fmt: skip


def _boxes(pixels: NDArray[np.float64], part: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    count = int(part.max(initial=-1)) + 1
    low = np.full((count, 2), np.inf)
    high = np.full((count, 2), -np.inf)
    np.minimum.at(low, part, pixels.min(axis=1))
    np.maximum.at(high, part, pixels.max(axis=1))
    return low, high


def fit(
    charts: Charts, squares: NDArray[np.int64], side: int, most: int
) -> tuple[float, NDArray[np.int64], NDArray[np.int64], Packing]:  # fmt: skip
    """The largest scale, up to 1, at which all fits: scale, texels (c, 2), boxes of pixels with padding (c, 2, 2), places."""
    import numpy as np

    scale = 1.0
    while True:
        pad = int(np.ceil(PAD / scale))
        boxes = np.stack([charts.low - pad, charts.high + pad], axis=1)
        sizes = np.maximum(1, np.rint((boxes[:, 1] - boxes[:, 0]) * scale)).astype(np.int64)
        sizes = np.maximum(sizes, 2 * PAD + 1)
        if int((sizes[:, 0] * sizes[:, 1]).sum()) <= most * side * side:
            found = pack_small(np.concatenate([sizes, squares]), side, most)
            if found is not None:
                return scale, sizes, boxes, found
        scale *= 0.95
        if scale < 1e-3:
            raise ValueError(f"{len(sizes)} charts do not fit into {most} textures of {side} x {side}")


def _draw(
    pictures: Sequence[NDArray[np.uint8]],
    charts: Charts,
    views: Sequence[View],
    levels: NDArray[np.float32],
    read: Read,
    sizes: NDArray[np.int64],
    boxes: NDArray[np.int64],
    packing: Packing,
    progress: Callable[[float], None],
) -> None:
    import numpy as np

    cv2 = library("cv2", extra="survey")
    order = np.argsort(charts.chart, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(charts.chart, minlength=len(charts.view)))])
    used = np.unique(charts.view)
    for done, number in enumerate(used):
        photo = read(views[number])
        for chart in np.nonzero(charts.view == number)[0]:
            (left, top), (right, bottom) = boxes[chart]
            width, height = (int(value) for value in sizes[chart])
            piece = cut_out(photo, int(left), int(top), int(right), int(bottom))
            if piece.shape[:2] != (height, width):
                shrinks = height * width < piece.shape[0] * piece.shape[1]
                piece = cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
            mine = order[starts[chart] : starts[chart + 1]]
            texels = (charts.pixels[mine] - (left, top)) * (width / (right - left), height / (bottom - top))
            shift = field(texels, levels[charts.faces[mine]].mean(axis=1), width, height)
            page, x, y = (int(value) for value in packing.places[chart])
            pictures[page][y : y + height, x : x + width] = np.clip(np.rint(piece + shift), 0, 255).astype(np.uint8)
        progress((done + 1) / len(used))


def cut_out(photo: NDArray[np.uint8], left: int, top: int, right: int, bottom: int) -> NDArray[np.uint8]:
    """A box of a photo; beyond its edge the last pixels are repeated."""
    import numpy as np

    height, width = photo.shape[:2]
    inner = photo[max(0, top) : min(height, bottom), max(0, left) : min(width, right)]
    beyond = ((max(0, -top), max(0, bottom - height)), (max(0, -left), max(0, right - width)), (0, 0))
    return np.pad(inner, beyond, mode="edge") if any(map(any, beyond)) else inner


def field(texels: NDArray[np.float64], values: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """(height, width, 3): the values (f, 3) of faces whose corners lie at ``texels`` (f, 3, 2), softened, and carried on around them."""
    import numpy as np

    cv2 = library("cv2", extra="survey")
    drawn = np.zeros((height, width, 4), np.float32)
    fine = 4  # binary digits after the point
    corners = np.rint((texels - 0.5) * (1 << fine)).astype(np.int32)
    for three, value in zip(corners, values.astype(np.float64), strict=True):
        cv2.fillConvexPoly(drawn, three, (value[0], value[1], value[2], 1.0), shift=fine)
    soft = cv2.blur(drawn, (2 * PAD + 1, 2 * PAD + 1), borderType=cv2.BORDER_CONSTANT)
    weight = soft[..., 3:]
    found: NDArray[np.float32] = np.where(weight > 1e-4, soft[..., :3] / np.maximum(weight, 1e-4), 0.0)
    return found


def encode(picture: NDArray[np.uint8]) -> bytes:
    """As JPEG, with colours at half size, as photos have them."""
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", quality=90, subsampling=2)
    return out.getvalue()


def pages_for(side: int, pieces: int) -> int:
    """How many pages a piece may have: TEXELS in all, fewer where there are more than 32 pieces."""
    share = TEXELS if pieces <= 32 else TEXELS // 4
    return max(1, min(PAGES, share // (side * side)))
