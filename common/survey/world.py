"""What a survey knows of its place: CRS and origin of the results, where GPS saw the photos, control points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from .crs import Grid, choose
from .errors import BadSurvey
from .gcp import Gcps, check_marks, gcp_warnings, parse_gcps
from .geofile import text_of
from .records import Photos
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class World:
    photos: Photos
    grid: Grid | None
    """None: neither GPS nor control points"""
    origin: tuple[float, float, float]
    """In the grid; what the coordinates of the model are counted from"""
    positions: Mapping[int, Floats]
    """Photo -> (3,) where GPS saw it, minus the origin"""
    accuracies: Mapping[int, tuple[float, float]]
    """Photo -> standard error across and up, metres"""
    flat: Mapping[int, Floats]
    """Photo -> (2,) the same of photos that tell no altitude, where most do: east and north count"""
    gcps: Gcps | None
    notes: tuple[str, ...]


def read_world(job: Job, photos: Photos) -> World:
    """By options ``crs``, ``gps-accuracy``, ``gcp-checkpoints`` and the region's data ``gcp`` (a file of the task; empty: none).

    Raises BadSurvey.
    """
    import numpy as np

    notes: list[str] = []
    gcps = None
    if job.data.get("gcp"):
        gcps = read_gcps(job, photos)
        notes += gcp_warnings(gcps)
    seen = [photo for photo in photos.photos if photo.latitude is not None and photo.longitude is not None]
    grid = grid_for(job.options, photos, gcps)
    if grid is None:
        if job.options["crs"]:
            notes.append(f"Option crs ({job.options['crs']}) has no meaning here: neither GPS nor control points give a place.")
        return World(photos=photos, grid=None, origin=(0.0, 0.0, 0.0), positions={}, accuracies={}, flat={}, gcps=None, notes=tuple(notes))
    notes += grid.notes
    heights = [photo.altitude for photo in seen if photo.altitude is not None]
    if seen and len(heights) < max(1, len(seen) / 2):
        notes.append("The photos' GPS tells no altitude: heights are counted from the height that the photos were taken at.")
        usual, flat = 0.0, set()
    else:
        usual = float(np.median(heights)) if heights else 0.0
        flat = {photo.number for photo in seen if photo.altitude is None}
    placed = np.array(
        [(photo.longitude, photo.latitude, usual if photo.altitude is None else photo.altitude) for photo in seen], np.float64
    ).reshape(-1, 3)
    assert gcps is not None or len(placed)
    absolute = grid.place(placed) if len(placed) else placed
    about = absolute if len(placed) or gcps is None else grid.place(np.array([point.position for point in gcps.points]), gcps.crs)
    east, north = np.floor(np.median(about[:, :2], axis=0)).tolist()
    origin = (float(east), float(north), 0.0)
    accuracy = float(job.options["gps-accuracy"])
    places = {photo.number: where - np.array(origin) for photo, where in zip(seen, absolute, strict=True)}
    return World(
        photos=photos,
        grid=grid,
        origin=origin,
        positions={number: where for number, where in places.items() if number not in flat},
        accuracies={photo.number: photo.accuracy or (accuracy, accuracy) for photo in seen},
        flat={number: where[:2] for number, where in places.items() if number in flat},
        gcps=gcps,
        notes=tuple(notes),
    )


def read_gcps(job: Job, photos: Photos) -> Gcps:
    """The task's file of control points, whose marks lie inside of their photos."""
    name = job.data["gcp"]
    return gcps_of(text_of((job.inputs / name).read_bytes(), name), name, photos, job.options["gcp-checkpoints"])


def gcps_of(text: str, name: str, photos: Photos, checkpoints: Sequence[str]) -> Gcps:
    """The control points of the file ``name``. Raises BadSurvey, also where a mark lies outside of its photo."""
    gcps = parse_gcps(text, name, [photo.name for photo in photos.photos], checkpoints, lenient=True)
    check_marks(gcps, {photo.name: (photo.width, photo.height) for photo in photos.photos})
    return gcps


def grid_for(options: Mapping[str, Any], photos: Photos, gcps: Gcps | None) -> Grid | None:
    """By options crs and use-exif; None: neither GPS nor control points tell a place. Raises BadSurvey."""
    seen = [(photo.longitude, photo.latitude) for photo in photos.photos if photo.longitude is not None and photo.latitude is not None]
    if seen:
        longitude, latitude = median(place[0] for place in seen), median(place[1] for place in seen)
    elif gcps is not None:
        longitude, latitude = middle(gcps)
    else:
        return None
    return choose(options["crs"], gcps.crs if gcps and not (seen and options["use-exif"]) else "", longitude, latitude)


def middle(gcps: Gcps) -> tuple[float, float]:
    """Longitude and latitude of the control points' middle."""
    import numpy as np

    from ..libraries import library
    from .crs import known

    points = np.array([point.position for point in gcps.points])
    change = library("pyproj", extra="survey").Transformer.from_crs(known(gcps.crs, gcps.file), "EPSG:4326", always_xy=True)
    longitude, latitude = change.transform(float(np.median(points[:, 0])), float(np.median(points[:, 1])))
    if not np.isfinite([longitude, latitude]).all() or not (-180 <= longitude <= 180 and -90 <= latitude <= 90):
        raise BadSurvey(f"The points of {gcps.file} do not lie where its CRS ({gcps.crs}) is defined; are x and y swapped?")
    return float(longitude), float(latitude)
