"""The painted box and plain (``painted.py``) as a survey whose surface is known: all that the stages ortho and publish read.

The box is red (its blue is 40), the plain blue (200): a colour in the wrong place is noticed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import laspy
import msgspec
import numpy as np
import pycolmap
import pyproj
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.survey import colmap
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.grid import Grid, tiles
from clusterray.common.survey.records import Block, Frame, Photos, save, save_arrays
from clusterray.common.survey.scene import FRAME, MODEL, PHOTOS, View
from clusterray.common.survey.surface_index import DSM, OBJECT, SURFACE, Surface
from clusterray.common.survey.work import Job
from numpy.typing import NDArray
from PIL import Image

from . import painted

Floats = NDArray[np.float64]
ORIGIN = (576705.0, 5188170.0, 250.0)
HERE = Frame(georeferenced=True, crs="EPSG:32615", origin=ORIGIN, by="gps")
GRID = Grid(resolution=0.04, west=576702.0, north=5188173.0, columns=150, rows=150)
"""6 x 6 m around the box."""
_PLACES = ((-2, -1.5), (0, -1.5), (2, -1.5), (2, 1.5), (0, 1.5), (-2, 1.5))
SIX = tuple(painted.view(n, (x, y, 6.0), (x, y, 0.0), up=(0, 1, 0)) for n, (x, y) in enumerate(_PLACES))
"""Photos from 6 m, all of them beside the box, so that each sees one side of it and what is behind in none."""


def heights(grid: Grid) -> NDArray[np.float32]:
    """(rows, columns) of the exact surface, absolute."""
    x, y = (values - start for values, start in zip(grid.centres(), ORIGIN, strict=False))
    box = (np.abs(x)[None, :] < painted.HALF) & (np.abs(y)[:, None] < painted.HALF)
    return (ORIGIN[2] + np.where(box, painted.HEIGHT, 0.0)).astype(np.float32)


def truth(grid: Grid) -> Floats:
    """(rows, columns, 3) what an orthophoto of it must show."""
    x, y = (values - start for values, start in zip(grid.centres(), ORIGIN, strict=False))
    across, down = np.meshgrid(x, y)
    up = heights(grid).astype(float) - ORIGIN[2]
    places = np.stack([across.ravel(), down.ravel(), up.ravel()], axis=1)
    return painted.paint(places, up.ravel() > 0).reshape(*grid.shape, 3)


def sparse(views: Sequence[View], count: int = 600) -> tuple[Floats, list[list[int]]]:
    """Points on the plain away from the box, and the photos that show them."""
    random = np.random.default_rng(1)
    points = np.column_stack([random.uniform(-3, 3, (count, 2)), np.zeros(count)])
    points = points[(np.abs(points[:, :2]) > painted.HALF + 0.9).any(axis=1)]
    seen = [view.project(points)[0] for view in views]
    tracks = []
    for row in range(len(points)):
        size = np.array([(view.lens.width - 2, view.lens.height - 2) for view in views])
        inside = [(pixels[row] > 2) & (pixels[row] < most) for pixels, most in zip(seen, size, strict=True)]
        tracks.append([number for number, yes in enumerate(inside) if yes.all()])
    keep = [row for row, track in enumerate(tracks) if len(track) >= 2]
    return points[keep], [tracks[row] for row in keep]


def build(
    folder: Path,
    views: Sequence[View] = SIX,
    *,
    frame: Frame = HERE,
    gains: Mapping[int, float] | None = None,
    grid: Grid = GRID,
    hole: tuple[slice, slice] | None = None,
    cut: tuple[int, int] = (1, 1),
) -> Path:
    """A task's folder. ``gains``: of photos that are brighter or darker; ``hole``: cells without a height; ``cut``: tiles of the cloud."""
    (folder / "images").mkdir(parents=True)
    pictures = []
    for seen in views:
        gain = (gains or {}).get(seen.number, 1.0)
        pictures.append(np.clip(np.rint(painted.photograph(seen, 1) * gain), 0, 255).astype(np.uint8))
        Image.fromarray(pictures[-1]).save(folder / seen.photo.name)
    _model(folder, views, pictures)
    save(frame, folder / FRAME)
    places = _places(frame, views)
    photos = tuple(msgspec.structs.replace(seen.photo, **place) for seen, place in zip(views, places, strict=True))
    save(Photos(photos=photos), folder / PHOTOS)
    numbers = tuple(seen.number for seen in views)
    save([Block(name="all", core=numbers, photos=numbers)], folder / "stages/calibration/blocks.json")
    save({"made": views[0].lens}, folder / "stages/calibration/cameras.json")
    _surface(folder, frame, grid, hole, cut)
    return folder


def _places(frame: Frame, views: Sequence[View]) -> list[dict[str, Any]]:
    if not frame.georeferenced:
        return [{} for _ in views]
    way = pyproj.Transformer.from_crs(frame.crs, "EPSG:4326", always_xy=True)
    found = []
    for seen in views:
        longitude, latitude = way.transform(seen.centre[0] + ORIGIN[0], seen.centre[1] + ORIGIN[1])
        found.append({"longitude": longitude, "latitude": latitude, "altitude": float(seen.centre[2] + ORIGIN[2])})
    return found


def _model(folder: Path, views: Sequence[View], pictures: Sequence[NDArray[np.uint8]]) -> None:
    points, tracks = sparse(views)
    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(colmap.camera(views[0].lens, 1))
    at: list[dict[int, int]] = []
    colours: list[list[Any]] = [[] for _ in points]
    for index, seen in enumerate(views):
        rows = [row for row, track in enumerate(tracks) if index in track]
        pixels = seen.project(points[rows])[0]
        at.append({row: place for place, row in enumerate(rows)})
        for row, (u, v) in zip(rows, pixels, strict=True):
            colours[row].append(pictures[index][int(v), int(u)])
        image = pycolmap.Image(name=seen.photo.name, keypoints=pixels, camera_id=1, image_id=seen.number + 1)
        pose = np.concatenate([seen.rotation, seen.translation[:, None]], axis=1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose))
    for row, track in enumerate(tracks):
        elements = [pycolmap.TrackElement(views[index].number + 1, at[index][row]) for index in track]
        key = model.add_point3D(points[row], pycolmap.Track(elements), np.mean(colours[row], axis=0).round().astype(np.uint8))
        model.points3D[key].error = 0.3
    colmap.write_model(model, folder / MODEL)


def _surface(folder: Path, frame: Frame, grid: Grid, hole: tuple[slice, slice] | None, cut: tuple[int, int]) -> None:
    if not frame.georeferenced:
        save(Surface(gsd=0.02, georeferenced=False), folder / SURFACE)
        points = painted.box_mesh()[0].vertices.astype(np.float32)
        colours = np.clip(painted.paint(points.astype(float), points[:, 2] > 0), 0, 255).astype(np.uint8)
        save_arrays(folder / OBJECT, points=points, colors=colours, normals=np.zeros_like(points), views=np.full(len(points), 3, np.uint8))
        write_laz(folder / "stages/surface/points/object.laz", points.astype(float), colours, "")
        return
    model = heights(grid)
    if hole:
        model[hole] = NODATA
    write_raster(folder / DSM, model, grid, crs=frame.crs, nodata=NODATA)
    parts = tiles(grid, *cut)
    words = Surface(gsd=0.02, georeferenced=True, resolution=grid.resolution, bounds=grid.bounds, shape=grid.shape, tiles=parts)
    save(words, folder / SURFACE)
    for part in parts:
        x, y = part.grid.centres()
        across, down = np.meshgrid(x[::2], y[::2])
        places = np.stack([across.ravel(), down.ravel(), heights(part.grid)[::2, ::2].ravel().astype(float)], axis=1)
        colours = truth(part.grid)[::2, ::2].reshape(-1, 3).clip(0, 255).astype(np.uint8)
        write_laz(folder / f"stages/surface/points/{part.name}.laz", places, colours, frame.crs)


def write_laz(path: Path, points: Floats, colours: NDArray[np.uint8], crs: str) -> None:
    """As the stage surface leaves its points."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = laspy.LasHeader(point_format=7, version="1.4")
    header.scales, header.offsets = [0.001] * 3, np.floor(points.min(axis=0))
    header.add_extra_dim(laspy.ExtraBytesParams(name="views", type=np.uint8))
    if crs:
        header.add_crs(pyproj.CRS.from_user_input(crs))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points.T
    cloud.red, cloud.green, cloud.blue = (colours.astype(np.uint16) * 257).T
    cloud.views = np.full(len(points), 4, np.uint8)
    cloud.write(str(path))


def job(task: Path, out: Path, data: Mapping[str, Any], **options: Any) -> Job:
    """For ``run``; makes its folders."""
    scratch = out.parent / f"{out.name}.scratch"
    for folder in (out, scratch):
        folder.mkdir(parents=True)
    given = dict(normalise("survey", OPTIONS, {name.replace("_", "-"): value for name, value in options.items()}))
    return Job(inputs=task, out=out, scratch=scratch, cores=1, options=given, data=dict(data))
