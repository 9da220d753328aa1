"""Incremental mapping of some photos (pycolmap): two are placed against each other, the others one by one, and all is adjusted on the way.

The thresholds at which COLMAP begins are for many photos with wide baselines. Where they leave photos out, milder ones are tried, step by
step, as few photos taken close to each other have no others. One thread: several add up in another order each time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..libraries import library
from .colmap import SEED, camera_ids, database
from .records import Lens, Matches, Photos


@dataclass(frozen=True, kw_only=True)
class Step:
    """Thresholds of COLMAP's mapper."""

    start: int
    """Matches of the first pair"""
    angle: float
    """Degrees between the rays of the first pair's points, in the middle"""
    placed: int
    """Points by which a further photo is placed"""


STEPS = (
    Step(start=100, angle=16.0, placed=30),
    Step(start=60, angle=8.0, placed=20),
    Step(start=30, angle=4.0, placed=15),
    Step(start=15, angle=2.0, placed=12),
)
"""COLMAP's own first."""
ENOUGH = 0.8
"""Part of the photos that a step is to place for the next not to be tried; of up to SMALL photos: all, as trying costs seconds."""
SMALL = 30
WORSE = 1.5
"""Times the reprojection error of the step before from which on more photos are no gain: milder thresholds also let in what is wrong."""
TWO_VIEWS = 8
"""Photos up to which points seen by two alone are kept: there are few others."""


def map_photos(
    photos: Photos,
    lenses: Mapping[str, Lens],
    features: Path,
    matches: Matches,
    numbers: Sequence[int],
    scratch: Path,
    *,
    focal: frozenset[str] = frozenset(),
    distortion: bool = False,
    steps: Sequence[Step] = STEPS,
    progress: Callable[[float], None] = lambda fraction: None,
) -> list[Any]:
    """Models (pycolmap.Reconstruction) of the photos ``numbers``, that of most photos first; none where no two could be placed.

    ``focal``: keys of the cameras whose focal length is looked for; the others' lenses are then kept as they are. ``distortion`` is looked
    for with all of them, or with ``focal`` alone. The libraries want files: ``scratch`` takes them.
    """
    pycolmap = library("pycolmap", extra="survey")
    pycolmap.logging.minloglevel = 2  # errors; the mapper tells each photo otherwise
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / "database.db"
    database(path, photos, lenses, features, matches, numbers)
    kept = {id for key, id in camera_ids(lenses).items() if key not in focal} if focal else set()
    best: list[Any] = []
    for step in steps:
        placed = [0]

        def count(placed: list[int] = placed) -> None:
            placed[0] += 1
            progress(min(1.0, placed[0] / len(numbers)))

        options = _options(step, len(numbers), focal=bool(focal), distortion=distortion)
        options.constant_cameras = kept
        pycolmap.set_random_seed(SEED)
        found = pycolmap.incremental_mapping(str(path), str(scratch), str(scratch), options, next_image_callback=count)
        models = [model for _, model in sorted(found.items()) if model.num_reg_images() >= 2 and model.num_points3D()]
        models.sort(key=lambda model: -model.num_reg_images())
        if models and (not best or _better(models[0], best[0])):
            best = models
        if placed_enough(best, len(numbers)):
            break
    path.unlink(missing_ok=True)
    return best


def placed_enough(models: Sequence[Any], photos: int) -> bool:
    """Whether milder thresholds are of no use."""
    return bool(models) and models[0].num_reg_images() >= photos * (1.0 if photos <= SMALL else ENOUGH)


def _better(model: Any, than: Any) -> bool:
    more: bool = model.num_reg_images() > than.num_reg_images()
    return more and model.compute_mean_reprojection_error() <= WORSE * max(than.compute_mean_reprojection_error(), 0.3)


def _options(step: Step, photos: int, *, focal: bool, distortion: bool) -> Any:
    pycolmap = library("pycolmap", extra="survey")
    options = pycolmap.IncrementalPipelineOptions()
    options.num_threads = options.mapper.num_threads = 1
    options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = SEED
    options.extract_colors = False  # colour() takes them from the features
    options.min_model_size = min(3, photos)
    options.max_num_models = 8
    options.ba_refine_focal_length = options.mapper.abs_pose_refine_focal_length = focal
    options.ba_refine_extra_params = options.mapper.abs_pose_refine_extra_params = distortion
    options.triangulation.ignore_two_view_tracks = photos > TWO_VIEWS
    options.mapper.init_min_num_inliers = step.start
    options.mapper.init_min_tri_angle = step.angle
    options.mapper.abs_pose_min_num_inliers = step.placed
    return options
