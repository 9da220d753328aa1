"""Our files as COLMAP sees them: a database of photos, features and matches to map from, and models.

Image id is the photo's number + 1, camera id the place of its key among all sorted keys + 1, in databases and models alike; each
camera has a rig of its own with the same id, each image a frame with the same id (COLMAP asks for both since version 3.12).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .records import Lens, Matches, Photos, load_features

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FILES = ("cameras.bin", "images.bin", "points3D.bin")
"""What a model consists of."""
SEED = 0


def camera_ids(lenses: Mapping[str, Lens]) -> dict[str, int]:
    """Camera key -> id in COLMAP."""
    return {key: number for number, key in enumerate(sorted(lenses), 1)}


def camera(lens: Lens, id: int) -> Any:
    """A pycolmap.Camera: RADIAL (one focal length, two radial terms), or OPENCV where that does not hold it."""
    pycolmap = library("pycolmap", extra="survey")
    if lens.fx == lens.fy and not lens.p1 and not lens.p2:
        model, values = "RADIAL", [lens.fx, lens.cx, lens.cy, lens.k1, lens.k2]
    else:
        model, values = "OPENCV", [lens.fx, lens.fy, lens.cx, lens.cy, lens.k1, lens.k2, lens.p1, lens.p2]
    made = pycolmap.Camera(model=model, width=lens.width, height=lens.height, params=values, camera_id=id)
    made.has_prior_focal_length = lens.prior > 0
    return made


def database(path: Path, photos: Photos, lenses: Mapping[str, Lens], features: Path, matches: Matches, numbers: Iterable[int]) -> None:
    """A new COLMAP database of the photos ``numbers``: cameras, keypoints (``features`` is the folder of the .npz), verified matches.

    Descriptors are left out: mapping does not read them. Photos without a pair are in it too.
    """
    pycolmap = library("pycolmap", extra="survey")
    wanted = sorted(set(numbers))
    by_number = {photo.number: photo for photo in photos.photos}
    ids = camera_ids(lenses)
    sensor = pycolmap.SensorType.CAMERA
    path.unlink(missing_ok=True)
    with pycolmap.Database.open(str(path)) as base, pycolmap.DatabaseTransaction(base):
        for key in sorted({by_number[number].camera for number in wanted}):
            base.write_camera(camera(lenses[key], ids[key]), use_camera_id=True)
            rig = pycolmap.Rig(rig_id=ids[key])
            rig.add_ref_sensor(pycolmap.sensor_t(type=sensor, id=ids[key]))
            base.write_rig(rig, use_rig_id=True)
        for number in wanted:
            photo, id = by_number[number], ids[by_number[number].camera]
            base.write_image(pycolmap.Image(name=photo.name, camera_id=id, image_id=number + 1), use_image_id=True)
            frame = pycolmap.Frame(frame_id=number + 1, rig_id=id)
            frame.add_data_id(pycolmap.data_t(pycolmap.sensor_t(type=sensor, id=id), number + 1))
            base.write_frame(frame, use_frame_id=True)
            base.write_keypoints(number + 1, load_features(features / f"{number:05d}.npz").points)
        chosen = set(wanted)
        for index, (first, second) in enumerate(matches.pairs.tolist()):
            if first in chosen and second in chosen:
                geometry = pycolmap.TwoViewGeometry()
                geometry.config = pycolmap.TwoViewGeometryConfiguration(int(matches.configurations[index]))
                geometry.inlier_matches = matches.of(index)
                base.write_two_view_geometry(first + 1, second + 1, geometry)


def colour(model: Any, features: Path) -> None:
    """Give each point of a model the mean colour of the features that it was seen as."""
    import numpy as np

    seen = {id: load_features(features / f"{id - 1:05d}.npz").colors for id in model.reg_image_ids()}
    for id in model.point3D_ids():
        point = model.points3D[id]
        colors = [seen[element.image_id][element.point2D_idx] for element in point.track.elements]
        point.color = np.mean(np.array(colors, np.float64), axis=0).round().astype(np.uint8)


def write_model(model: Any, path: Path) -> None:
    """A pycolmap.Reconstruction as FILES below ``path``."""
    path.mkdir(parents=True, exist_ok=True)
    model.write(str(path))
    for name in ("frames.bin", "rigs.bin"):  # they say once more what the others say, and nobody would have checked them
        (path / name).unlink(missing_ok=True)


def read_model(path: Path) -> Any:
    """What ``write_model`` wrote, as a pycolmap.Reconstruction."""
    return library("pycolmap", extra="survey").Reconstruction(str(path))


def centres(model: Any) -> dict[int, NDArray[np.float64]]:
    """Photo number -> where it was taken from, in the frame of the model."""
    return {id - 1: model.images[id].projection_center() for id in sorted(model.reg_image_ids())}


def axes(model: Any) -> dict[int, NDArray[np.float64]]:
    """Photo number -> the direction in which it looks, in the frame of the model."""
    return {id - 1: model.images[id].viewing_direction() for id in sorted(model.reg_image_ids())}
