"""A box on a plain, painted by a formula, and photos of it by a pinhole with distortion: what a texture must show is known exactly.

The plain is painted blue (its blue is 200 everywhere), the box red (its blue is 40), so that one's colours on the other are noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap
from clusterray.common.survey import colmap
from clusterray.common.survey.records import Frame, Lens, Photo, Photos, save
from clusterray.common.survey.scene import FRAME, MODEL, PHOTOS, View
from clusterray.common.survey.triangles import Triangles, vertex_normals
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float64]
LENS = Lens(width=320, height=240, fx=280.0, fy=280.0, cx=161.0, cy=119.0, k1=-0.08, k2=0.02, prior=280.0)
HALF, HEIGHT, PLAIN = 1.0, 1.5, 4.0
"""The box stands in the middle, 2 x 2 wide; the plain is 8 x 8."""


def paint(points: Floats, box: NDArray[np.bool_]) -> Floats:
    """(n, 3) red, green, blue of places on the plain or the box."""
    x, y, z = points.T
    red = 100 + 50 * np.sin(2.1 * x + 0.7 * y) + 30 * np.sin(1.3 * z)
    green = 110 + 60 * np.sin(1.1 * x - 1.9 * y + 0.5 * z)
    return np.stack([np.where(box, red + 40, red), green, np.where(box, 40.0, 200.0)], axis=1)


def view(number: int, centre: Sequence[float], target: Sequence[float], up: Sequence[float] = (0, 0, 1), lens: Lens = LENS) -> View:
    ahead = np.asarray(target, float) - np.asarray(centre, float)
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(ahead, right), ahead])
    photo = Photo(
        number=number,
        name=f"images/p{number:02d}.png",
        width=lens.width,
        height=lens.height,
        camera="made",
        focal=lens.fx,
        focal_known=True,
    )
    return View(photo=photo, lens=lens, rotation=rotation, translation=-rotation @ np.asarray(centre, float))


def ring(count: int = 10, radius: float = 6.0, height: float = 4.5) -> tuple[View, ...]:
    """Photos all around, and one from above."""
    turns = np.arange(count) * 2 * np.pi / count
    around = [view(n, (radius * np.cos(a), radius * np.sin(a), height), (0, 0, 0.4)) for n, a in enumerate(turns)]
    return (*around, view(count, (0.1, 0, 8), (0, 0, 0), up=(0, 1, 0)))


def photograph(seen: View, samples: int = 2) -> NDArray[np.uint8]:
    """(height, width, 3): each pixel the mean of samples x samples rays."""
    lens = seen.lens
    step = (np.arange(samples) + 0.5) / samples
    total = np.zeros((lens.height * lens.width, 3))
    for dx in step:
        for dy in step:
            u, v = np.meshgrid(np.arange(lens.width) + dx, np.arange(lens.height) + dy)
            total += _shade(seen.centre, _rays(seen, u.ravel(), v.ravel()))
    picture = np.rint(total / samples**2).clip(0, 255).astype(np.uint8)
    return picture.reshape(lens.height, lens.width, 3)


def _rays(seen: View, u: Floats, v: Floats) -> Floats:
    lens = seen.lens
    x0, y0 = (u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy
    x, y = x0, y0
    for _ in range(30):
        square = x * x + y * y
        radial = 1 + square * (lens.k1 + square * lens.k2)
        x, y = x0 / radial, y0 / radial
    return np.stack([x, y, np.ones_like(x)], axis=1) @ seen.rotation


def _shade(start: Floats, rays: Floats) -> Floats:
    low, high = np.array([-HALF, -HALF, 0.0]), np.array([HALF, HALF, HEIGHT])
    with np.errstate(divide="ignore", invalid="ignore"):
        a, b = (low - start) / rays, (high - start) / rays
        near, far = np.minimum(a, b).max(axis=1), np.maximum(a, b).min(axis=1)
        ground = np.where(rays[:, 2] < 0, -start[2] / rays[:, 2], np.inf)
    box = (near < far) & (near > 0)
    way = np.where(box, near, ground)
    places = start + np.where(np.isfinite(way), way, 0)[:, None] * rays
    lit = np.isfinite(way) & (box | (np.abs(places[:, :2]) < PLAIN).all(axis=1))
    return np.where(lit[:, None], paint(places, box), 0.0)


def box_mesh(cells: int = 14, ground: int = 32) -> tuple[Triangles, NDArray[np.bool_]]:
    """The box without its bottom and the plain around it, and which faces are the box's."""
    walls = ((axis, side) for axis in (0, 1) for side in (-HALF, HALF))
    parts = [_sheet(axis, side, (-HALF, HALF), (0.0, HEIGHT), cells, side > 0) for axis, side in walls]
    parts.append(_sheet(2, HEIGHT, (-HALF, HALF), (-HALF, HALF), cells, True))
    boxed = sum(len(faces) for _, faces in parts)
    vertices, faces = _sheet(2, 0.0, (-PLAIN, PLAIN), (-PLAIN, PLAIN), ground, True)
    middle = vertices[faces].mean(axis=1)
    parts.append((vertices, faces[(np.abs(middle[:, :2]) > HALF).any(axis=1)]))
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts)])
    all_vertices = np.concatenate([vertices for vertices, _ in parts])
    all_faces = np.concatenate([faces + start for (_, faces), start in zip(parts, starts, strict=False)]).astype(np.int32)
    mesh = Triangles(
        vertices=all_vertices,
        faces=all_faces,
        normals=vertex_normals(all_vertices, all_faces),
        core=np.ones(len(all_faces), bool),
    )
    return mesh, np.arange(len(all_faces)) < boxed


def _sheet(axis: int, at: float, first: tuple[float, float], second: tuple[float, float], cells: int, out: bool) -> tuple[Floats, Floats]:
    """A square grid across ``axis``, its front towards the end of the axis where ``out``."""
    a, b = np.meshgrid(np.linspace(*first, cells + 1), np.linspace(*second, cells + 1), indexing="ij")
    flat = np.full(a.size, at)
    vertices = np.stack([flat, a.ravel(), b.ravel()], axis=1)[:, [[0, 1, 2], [1, 0, 2], [1, 2, 0]][axis]]
    n = np.arange(a.size).reshape(a.shape)
    p, q, r, s = (part.ravel() for part in (n[:-1, :-1], n[1:, :-1], n[1:, 1:], n[:-1, 1:]))
    faces = np.concatenate([np.stack([p, q, r], 1), np.stack([p, r, s], 1)])
    corner = vertices[faces[0]]
    front = np.cross(corner[1] - corner[0], corner[2] - corner[0])[axis] > 0
    return vertices, faces if front == out else faces[:, ::-1]


def write_task(folder: Path, views: Sequence[View], frame: Frame) -> None:
    """Photos (PNG, exact) and the stages features and adjustment as a survey has them."""
    (folder / "images").mkdir(parents=True)
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(colmap.camera(views[0].lens, 1))
    for seen in views:
        Image.fromarray(photograph(seen)).save(folder / seen.photo.name)
        pose = np.concatenate([seen.rotation, seen.translation[:, None]], axis=1)
        image = pycolmap.Image(name=seen.photo.name, keypoints=np.zeros((0, 2)), camera_id=1, image_id=seen.number + 1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose))
    colmap.write_model(model, folder / MODEL)
    save(frame, folder / FRAME)
    save(Photos(photos=tuple(seen.photo for seen in views)), folder / PHOTOS)
