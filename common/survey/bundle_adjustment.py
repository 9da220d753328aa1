"""One adjustment of all: tracks triangulated from the shared matches, then poses, points and shared intrinsics by least squares.

Robust loss; observations that stay far off are taken away and it is adjusted again until that ends. Positions by GPS pull as strongly as
their accuracy says (pycolmap's pose priors). Control points are points of the model held at their surveyed place while their marks count
as observations, each as much as one tie point's: they bend the model as far as its rays allow. The survey's own error is taken to be
small against the ground sampling distance, and GPS does not pull beside control points: pycolmap's priors would move the model off them.
One thread, as the order of sums would change the last digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library
from . import colmap
from .records import Lens, Matches, Photos, load_features

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FARTHEST = 4.0
"""Pixels: an observation farther from its point is none; COLMAP's mapper has the same."""
NARROWEST = 1.5
"""Degrees between the rays of a point, at least."""
ROUNDS = 6
SETTLED = 0.001
"""Part of the observations; a round that takes away less is the last."""
LEAST_MATCHES = 15
LEAST_SEEN = 8
"""Points that a photo must show to have a pose: 3 would tell one, and one of them might be wrong."""
FEW = 5
"""Up to so many photos, points that only two of them see count too: there may be no others."""


@dataclass(frozen=True, kw_only=True)
class Ties:
    """Where the world holds the model. Both empty: nowhere, its place and size stay as they are."""

    positions: Mapping[int, Floats] = field(default_factory=dict)
    """Photo -> where GPS saw it"""
    accuracies: Mapping[int, tuple[float, float]] = field(default_factory=dict)
    """Photo -> standard error across and up, metres"""
    control: Mapping[str, tuple[Floats, Mapping[int, Floats]]] = field(default_factory=dict)
    """Control point -> where it is, photo -> pixel"""


@dataclass(kw_only=True)
class Adjuster:
    """Holds the database of one task's matches."""

    photos: Photos
    lenses: Mapping[str, Lens]
    features: Path
    """Folder of the .npz"""
    scratch: Path
    fixed: bool = False
    """Lenses are not touched (option use-fixed-camera-params)."""

    def prepare(self, matches: Matches, numbers: Sequence[int]) -> None:
        """Set up the matches among the photos ``numbers``."""
        colmap.database(self.scratch / "all.db", self.photos, self.lenses, self.features, matches, numbers)

    def model(self, rotations: Mapping[int, Floats], translations: Mapping[int, Floats], cameras: Mapping[int, Any] | None = None) -> Any:
        """A pycolmap.Reconstruction of placed photos without points. ``cameras``: by id; None: as the lenses say."""
        import numpy as np

        pycolmap = library("pycolmap", extra="survey")
        made = pycolmap.Reconstruction()
        by_number = {photo.number: photo for photo in self.photos.photos}
        ids = colmap.camera_ids(self.lenses)
        for key in sorted({by_number[number].camera for number in rotations}):
            made.add_camera_with_trivial_rig(cameras[ids[key]] if cameras else colmap.camera(self.lenses[key], ids[key]))
        for number in sorted(rotations):
            photo = by_number[number]
            image = pycolmap.Image(
                name=photo.name,
                keypoints=load_features(self.features / f"{number:05d}.npz").points.astype(np.float64),
                camera_id=ids[photo.camera],
                image_id=number + 1,
            )
            pose = np.concatenate([rotations[number], translations[number][:, None]], axis=1)
            made.add_image_with_trivial_frame(image, pycolmap.Rigid3d(pose))
        return made

    def triangulate(self, model: Any) -> Any:
        """All points anew, from the poses as they are."""
        pycolmap = library("pycolmap", extra="survey")
        out = self.scratch / "triangulated"
        out.mkdir(parents=True, exist_ok=True)
        options = pycolmap.IncrementalPipelineOptions()
        options.num_threads = 1
        options.random_seed = options.mapper.random_seed = options.triangulation.random_seed = colmap.SEED
        options.extract_colors = False
        options.min_num_matches = LEAST_MATCHES
        options.triangulation.ignore_two_view_tracks = model.num_reg_images() > FEW
        pycolmap.set_random_seed(colmap.SEED)
        return pycolmap.triangulate_points(
            model, str(self.scratch / "all.db"), str(self.scratch), str(out), clear_points=True, options=options, refine_intrinsics=False
        )

    def adjust(self, model: Any, ties: Ties, *, rounds: int = ROUNDS) -> None:
        """Until it settles, in place. With control points the model must lie near them already, with positions near those."""
        pycolmap = library("pycolmap", extra="survey")
        held = _add_control(pycolmap, model, ties)
        for _ in range(rounds):
            self._solve(pycolmap, model, ties, held)
            before = model.compute_num_observations()
            manager = pycolmap.ObservationManager(model)
            usual = {id for id in model.point3D_ids() if id not in held}
            manager.filter_points3D(FARTHEST, NARROWEST, usual)
            if before - model.compute_num_observations() <= SETTLED * before:
                break
        _drop_control(pycolmap, model, held)
        model.update_point_3d_errors()

    def drop_lost(self, model: Any) -> tuple[str, ...]:
        """Take away photos that hardly any point holds; their names."""
        lost = sorted(id for id in model.reg_image_ids() if model.images[id].num_points3D < LEAST_SEEN)
        for id in lost:
            model.deregister_frame(model.images[id].frame_id)
        return tuple(model.images[id].name for id in lost)

    def _solve(self, pycolmap: Any, model: Any, ties: Ties, held: Mapping[int, str]) -> None:
        config = pycolmap.BundleAdjustmentConfig()
        for id in sorted(model.reg_image_ids()):
            config.add_image(id)
        keys = {id: key for key, id in colmap.camera_ids(self.lenses).items()}
        free = {id for id in model.cameras if not self.fixed and not self.lenses[keys[id]].held}
        for id in sorted(model.cameras):  # which parameters are free is one setting for all: where only some are held, they are so wholly
            if self.fixed or (free and id not in free):
                config.set_constant_cam_intrinsics(id)
        for id in sorted(held):
            config.add_constant_point(id)
        options = pycolmap.BundleAdjustmentOptions()
        options.refine_focal_length = bool(free)
        options.refine_extra_params = not self.fixed
        options.refine_principal_point = False
        options.print_summary = False
        options.ceres.loss_function_type = pycolmap.LossFunctionType.SOFT_L1
        options.ceres.loss_function_scale = 1.0
        options.ceres.solver_options.num_threads = 1
        options.ceres.solver_options.max_num_iterations = 100
        options.ceres.solver_options.function_tolerance = 1e-7
        if ties.positions and not held:
            priors = _priors(pycolmap, model, ties)
            prior_options = pycolmap.PosePriorBundleAdjustmentOptions()
            prior_options.alignment_ransac.random_seed = colmap.SEED
            prior_options.ceres.prior_position_loss_function_type = pycolmap.LossFunctionType.CAUCHY
            adjuster = pycolmap.create_pose_prior_bundle_adjuster(options, prior_options, config, priors, model)
        else:
            gauge = pycolmap.BundleAdjustmentGauge
            config.fix_gauge(gauge.UNSPECIFIED if held else gauge.TWO_CAMS_FROM_WORLD)
            adjuster = pycolmap.create_default_bundle_adjuster(options, config, model)
        adjuster.solve()


def _priors(pycolmap: Any, model: Any, ties: Ties) -> list[Any]:
    import numpy as np

    made = []
    for number in sorted(ties.positions):
        if number + 1 not in model.images or not model.images[number + 1].has_pose:
            continue
        across, up = ties.accuracies[number]
        made.append(
            pycolmap.PosePrior(
                pose_prior_id=number + 1,
                corr_data_id=model.images[number + 1].data_id,
                position=ties.positions[number],
                position_covariance=np.diag([across**2, across**2, up**2]),
                coordinate_system=pycolmap.PosePriorCoordinateSystem.CARTESIAN,
            )
        )
    return made


def _add_control(pycolmap: Any, model: Any, ties: Ties) -> dict[int, str]:
    """Point id -> name. Marks become further points2D at the end of each photo's."""
    held = {}
    for name, (position, marks) in ties.control.items():
        track = pycolmap.Track()
        for number in sorted(marks):
            image = model.images[number + 1]
            image.points2D.append(pycolmap.Point2D(marks[number]))
            track.add_element(number + 1, image.num_points2D() - 1)
        held[model.add_point3D(position, track)] = name
    return held


def _drop_control(pycolmap: Any, model: Any, held: Mapping[int, str]) -> None:
    """Take them away again, so that a point2D is a feature of its photo, as everywhere."""
    extra: dict[int, int] = {}
    for id in held:
        for element in model.points3D[id].track.elements:
            extra[element.image_id] = extra.get(element.image_id, 0) + 1
        model.delete_point3D(id)
    for id, count in extra.items():
        for _ in range(count):
            model.images[id].points2D.pop()
