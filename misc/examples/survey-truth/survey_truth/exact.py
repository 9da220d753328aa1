"""The task as the first stages of a survey would leave it if they made no mistake: for measuring the later ones alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .flight import Array, Camera
from .ground import Ground
from .photos import CRS, MAKER, MODEL, ORIGIN

KEY = f"{MAKER} {MODEL}"


def write_stages(task: Path, ground: Ground, cameras: tuple[Camera, ...], said: Array, each: int = 400, seed: int = 3) -> int:
    """``task/stages``: photos, lens, one block, a model with exact poses and ``each`` points of the surface a photo; gives how many."""
    from clusterray.common.survey import records
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    photos = []
    for number, (camera, place) in enumerate(zip(cameras, said, strict=True)):
        longitude, latitude = to_degrees.transform(place[0] + ORIGIN[0], place[1] + ORIGIN[1])
        photos.append(
            records.Photo(
                number=number, name=f"images/{camera.name}", width=camera.width, height=camera.height, camera=KEY, focal=camera.focal,
                focal_known=True, latitude=latitude, longitude=longitude, altitude=float(place[2]) + ORIGIN[2],
            )
        )  # fmt: skip
    stages = task / "stages"
    records.save(records.Photos(photos=tuple(photos)), stages / "features/photos.json")
    one = cameras[0]
    lens = records.Lens(
        width=one.width, height=one.height, fx=one.focal, fy=one.focal, cx=one.width / 2, cy=one.height / 2, prior=one.focal, held=True
    )
    records.save({KEY: lens}, stages / "calibration/cameras.json")
    every = tuple(range(len(cameras)))
    records.save([records.Block(name="all", core=every, photos=every)], stages / "calibration/blocks.json")
    records.save(records.Frame(georeferenced=True, crs=CRS, origin=ORIGIN, by="gps", nadir=True), stages / "adjustment/frame.json")
    points, seen = sample(ground, cameras, each, seed)
    _write_model(stages / "adjustment/model", task, cameras, points, seen)
    return len(points)


def sample(ground: Ground, cameras: tuple[Camera, ...], each: int, seed: int) -> tuple[Array, NDArray[np.bool_]]:
    """(n, 3) points of the surface where random pixels look, (n, cameras) which photo sees which: inside of it, and nothing in between."""
    random = np.random.default_rng(seed)
    found = []
    for camera in cameras:
        pixels = random.uniform(2, [camera.width - 2, camera.height - 2], (each, 2))
        found.append(ground.first_hit(camera.centre, camera.rays(pixels)))
    points = np.concatenate(found)
    points = points[(np.abs(points[:, 0]) < ground.east - 1) & (np.abs(points[:, 1]) < ground.north - 1)]
    seen = np.stack([visible(ground, camera, points) for camera in cameras], axis=1)
    keep = seen.sum(1) >= 2
    return points[keep], seen[keep]


def visible(ground: Ground, camera: Camera, points: Array, margin: float = 1.0) -> NDArray[np.bool_]:
    """(n,) whether the photo shows the point: inside of it by ``margin`` pixels, and no surface before it, looked for every 10 cm."""
    pixels, depth = camera.project(points)
    size = np.array([camera.width, camera.height])
    seen: NDArray[np.bool_] = (depth > 0) & (pixels > margin).all(1) & (pixels < size - margin).all(1)
    index = np.nonzero(seen)[0]
    way = camera.centre - points[index]
    length = np.linalg.norm(way, axis=1)
    up = way[:, 2] / length
    reach = np.clip((ground.top + 0.1 - points[index, 2]) / up, 0.2, None)
    clear = np.ones(len(index), bool)
    for at in np.arange(0.05, float(reach.max(initial=0.2)) + 0.1, 0.1):
        still = clear & (reach + 0.1 >= at)
        here = points[index[still]] + way[still] / length[still, None] * at
        clear[still] = here[:, 2] > ground.heights(here[:, 0], here[:, 1]) - 0.002
    seen[index] = clear
    return seen


def _write_model(folder: Path, task: Path, cameras: tuple[Camera, ...], points: Array, seen: NDArray[np.bool_]) -> None:
    import pycolmap

    model, one = pycolmap.Reconstruction(), cameras[0]
    lens = [one.focal, one.focal, one.width / 2, one.height / 2, 0.0, 0.0, 0.0, 0.0]
    model.add_camera_with_trivial_rig(pycolmap.Camera(model="OPENCV", width=one.width, height=one.height, params=lens, camera_id=1))
    place = np.full(seen.shape, -1)
    colors = np.zeros((len(points), 3))
    for number, camera in enumerate(cameras):
        rows = np.nonzero(seen[:, number])[0]
        place[rows, number] = np.arange(len(rows))
        pixels = camera.project(points[rows])[0]
        picture = np.asarray(Image.open(task / "images" / camera.name).convert("RGB"), float)
        colors[rows] += picture[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
        image = pycolmap.Image(name=f"images/{camera.name}", camera_id=1, image_id=number + 1)
        image.points2D = pycolmap.Point2DList([pycolmap.Point2D(pixel) for pixel in pixels])
        pose = np.column_stack([camera.rotation, -camera.rotation @ camera.centre])
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose))
    colors = (colors / seen.sum(1, keepdims=True)).astype(np.uint8)
    for point, row, color in zip(points, place, colors, strict=True):
        track = pycolmap.Track([pycolmap.TrackElement(int(number) + 1, int(row[number])) for number in np.nonzero(row >= 0)[0]])
        key = model.add_point3D(point, track, color)
        model.points3D[key].error = 0.1
    folder.mkdir(parents=True, exist_ok=True)
    model.write(str(folder))
