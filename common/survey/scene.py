"""The adjusted model as arrays: cameras, poses, sparse points. Read once by each job of the later stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..libraries import library
from .records import Frame, Lens, Photo, Photos, load

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MODEL = "stages/adjustment/model"
FRAME = "stages/adjustment/frame.json"
PHOTOS = "stages/features/photos.json"
NEEDS = (MODEL, FRAME, PHOTOS)
"""What a region of a later stage names among its needs."""


@dataclass(frozen=True, kw_only=True)
class View:
    """A photo with its pose."""

    photo: Photo
    lens: Lens
    rotation: NDArray[np.float64]
    """(3, 3), world -> camera"""
    translation: NDArray[np.float64]
    """(3,): camera = rotation @ world + translation"""

    @property
    def number(self) -> int:
        return self.photo.number

    @property
    def centre(self) -> NDArray[np.float64]:
        """(3,) where it was taken from."""
        return -self.rotation.T @ self.translation

    @property
    def axis(self) -> NDArray[np.float64]:
        """(3,) the direction in which it looks."""
        axis: NDArray[np.float64] = self.rotation[2]
        return axis

    def project(self, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(n, 3) world -> (n, 2) pixels with lens distortion, (n,) depth along the axis. Up to depth 0 pixels mean nothing."""
        camera = points @ self.rotation.T + self.translation
        return distort(self.lens, camera[:, :2] / camera[:, 2:]), camera[:, 2]


@dataclass(frozen=True, kw_only=True)
class Scene:
    frame: Frame
    views: tuple[View, ...]
    """Those that were placed, by number."""
    points: NDArray[np.float64]
    """(n, 3)"""
    colors: NDArray[np.uint8]
    """(n, 3)"""
    errors: NDArray[np.float64]
    """(n,) mean reprojection error, pixels"""
    tracks: tuple[NDArray[np.int32], ...]
    """For each point the numbers of the photos that see it"""


def distort(lens: Lens, normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 2) on the plane at depth 1 -> (n, 2) pixels: the radial and tangential model of Brown, as COLMAP's OPENCV has it."""
    import numpy as np

    x, y = normal[:, 0], normal[:, 1]
    square = x * x + y * y
    radial = 1 + square * (lens.k1 + square * lens.k2)
    u = x * radial + 2 * lens.p1 * x * y + lens.p2 * (square + 2 * x * x)
    v = y * radial + 2 * lens.p2 * x * y + lens.p1 * (square + 2 * y * y)
    return np.stack([lens.fx * u + lens.cx, lens.fy * v + lens.cy], axis=1)


def lens_of(camera: object, prior: float = 0.0) -> Lens:
    """A pycolmap.Camera of one of the models up to OPENCV. Raises ValueError for others."""
    name, values = camera.model.name, [float(value) for value in camera.params]  # type: ignore[attr-defined]
    size = {"width": int(camera.width), "height": int(camera.height), "prior": prior}  # type: ignore[attr-defined]
    if name in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"):
        f, cx, cy, *k = values
        return Lens(fx=f, fy=f, cx=cx, cy=cy, k1=k[0] if k else 0.0, k2=k[1] if len(k) > 1 else 0.0, **size)  # type: ignore[arg-type]
    if name in ("PINHOLE", "OPENCV"):
        fx, fy, cx, cy, *k = values
        k1, k2, p1, p2 = k or (0.0, 0.0, 0.0, 0.0)
        return Lens(fx=fx, fy=fy, cx=cx, cy=cy, k1=k1, k2=k2, p1=p1, p2=p2, **size)  # type: ignore[arg-type]
    raise ValueError(f"the camera model {name} is none that this program uses")


def load_scene(inputs: Path) -> Scene:
    """From the files below the task's folder ``inputs`` (NEEDS)."""
    return read_scene(inputs / MODEL, load(inputs / FRAME, Frame), load(inputs / PHOTOS, Photos))


def read_scene(model: Path, frame: Frame, photos: Photos) -> Scene:
    """A COLMAP model whose image ids are photo numbers + 1."""
    import numpy as np

    pycolmap = library("pycolmap", extra="survey")
    found = pycolmap.Reconstruction(str(model))
    by_number = {photo.number: photo for photo in photos.photos}
    lenses = {key: lens_of(camera) for key, camera in found.cameras.items()}
    views = []
    for key in sorted(found.reg_image_ids()):
        image, photo = found.images[key], by_number[key - 1]
        pose = image.cam_from_world().matrix()
        lens = lenses[image.camera_id]
        views.append(View(photo=photo, lens=lens, rotation=np.array(pose[:, :3]), translation=np.array(pose[:, 3])))
    keys = sorted(found.points3D)
    points = [found.points3D[key] for key in keys]
    return Scene(
        frame=frame,
        views=tuple(views),
        points=np.array([point.xyz for point in points], np.float64).reshape(-1, 3),
        colors=np.array([point.color for point in points], np.uint8).reshape(-1, 3),
        errors=np.array([point.error for point in points], np.float64),
        tracks=tuple(np.array(sorted({one.image_id - 1 for one in point.track.elements}), np.int32) for point in points),
    )
