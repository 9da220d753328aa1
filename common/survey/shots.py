"""Cameras, poses and photos in the files that ODM writes: ``cameras.json`` (OpenSfM's form), ``shots.geojson``, ``images.json``.

OpenSfM counts in parts of the longer side of the picture from its middle; its model ``brown`` has the terms of COLMAP's OPENCV.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .crop import horizontal
from .records import Lens, Photos
from .scene import Scene, View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def camera_id(key: str, lens: Lens) -> str:
    """As OpenSfM names a camera: "v2 maker model width height brown focal-by-EXIF rgb"."""
    return f"v2 {key} {lens.width} {lens.height} brown {lens.prior / max(lens.width, lens.height):.4f} rgb".lower()


def cameras_json(scene: Scene, priors: dict[str, Lens]) -> dict[str, Any]:
    """``priors``: stages/calibration/cameras.json, for the focal lengths of the EXIF."""
    found = {}
    for view in scene.views:
        key, lens = view.photo.camera, view.lens
        size = max(lens.width, lens.height)
        found[camera_id(key, priors.get(key, lens))] = {
            "projection_type": "brown",
            "width": lens.width,
            "height": lens.height,
            "focal_x": lens.fx / size,
            "focal_y": lens.fy / size,
            "c_x": (lens.cx - lens.width / 2) / size,
            "c_y": (lens.cy - lens.height / 2) / size,
            "k1": lens.k1,
            "k2": lens.k2,
            "p1": lens.p1,
            "p2": lens.p2,
            "k3": 0.0,
        }
    return found


def lonlat(scene: Scene, places: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) model coordinates -> (n, 2) longitude and latitude, WGS 84."""
    import numpy as np

    transformer = library("pyproj", extra="survey").Transformer.from_crs(horizontal(scene.frame.crs), "EPSG:4326", always_xy=True)
    x, y, _ = scene.frame.origin
    longitude, latitude = transformer.transform(places[:, 0] + x, places[:, 1] + y)
    return np.stack([longitude, latitude], axis=1)


def shots_geojson(scene: Scene, priors: dict[str, Lens]) -> dict[str, Any]:
    """Where each photo was taken from and how it looked. Heights are those of the CRS. Not georeferenced: without geometry."""
    import numpy as np

    centres = np.array([view.centre for view in scene.views]).reshape(-1, 3)
    places = lonlat(scene, centres) if scene.frame.georeferenced else None
    features = []
    for index, view in enumerate(scene.views):
        lens = view.lens
        centre = centres[index] + np.array(scene.frame.origin)
        point = None if places is None else [*(round(float(value), 9) for value in places[index]), round(float(centre[2]), 4)]
        features.append(
            {
                "type": "Feature",
                "properties": {
                    "filename": PurePosixPath(view.photo.name).name,
                    "camera": camera_id(view.photo.camera, priors.get(view.photo.camera, lens)),
                    "focal": lens.fx / max(lens.width, lens.height),
                    "width": lens.width,
                    "height": lens.height,
                    "capture_time": view.photo.taken or 0.0,
                    "translation": [round(float(value), 4) for value in centre],
                    "rotation": [round(value, 9) for value in rotation_vector(view)],
                },
                "geometry": None if point is None else {"type": "Point", "coordinates": point},
            }
        )
    return {"type": "FeatureCollection", "features": features}


def rotation_vector(view: View) -> list[float]:
    """World -> camera as axis times angle (radians)."""
    cv2 = library("cv2", extra="survey")
    return [float(value) for value in cv2.Rodrigues(view.rotation)[0].ravel()]


def images_json(photos: Photos) -> list[dict[str, Any]]:
    """ODM's list of the photos in use; of what ODM reads from the EXIF and we do not, the default."""
    found = []
    for photo in photos.photos:
        maker, _, model = photo.camera.partition(" ")
        yaw, pitch, roll = photo.angles or (None, None, None)
        horizontal_accuracy, vertical_accuracy = photo.accuracy or (None, None)
        found.append(
            {
                "filename": PurePosixPath(photo.name).name,
                "path": photo.name,
                "width": photo.width,
                "height": photo.height,
                "camera": photo.camera,
                "camera_make": maker,
                "camera_model": model,
                "latitude": photo.latitude,
                "longitude": photo.longitude,
                "altitude": photo.altitude,
                "band_name": "RGB",
                "band_index": 0,
                "capture_time": photo.taken,
                "utc_time": None if photo.taken is None else photo.taken * 1000,
                "yaw": yaw,
                "pitch": pitch,
                "roll": roll,
                "gps_xy_stddev": horizontal_accuracy,
                "gps_z_stddev": vertical_accuracy,
                "camera_projection": "brown",
                "focal_ratio": photo.focal / max(photo.width, photo.height),
            }
        )
    return found
