"""Small surveys made of numbers: points on hills, cameras above them, projections with noise; the files of all stages up to mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.survey import adjustment, colmap
from clusterray.common.survey.records import Block, Features, Frame, Lens, Matches, Photo, Photos, load, save, save_features, save_matches
from clusterray.common.survey.similarity import Similarity, identity
from clusterray.common.survey.work import Job

CRS = "EPSG:32633"
EAST, NORTH = 500_000.0, 5_400_000.0
LENS = Lens(width=800, height=600, fx=700.0, fy=700.0, cx=400.0, cy=300.0, k1=0.01, prior=700.0)


@dataclass(kw_only=True)
class Survey:
    """Coordinates are metres from EAST, NORTH, 0."""

    centres: Any
    """(n, 3)"""
    rotations: Any
    """(n, 3, 3) world -> camera"""
    points: Any
    """(m, 3)"""
    lens: Lens = LENS
    noise: float = 0.2
    """Pixels"""
    gps: Any = None
    """(n, 3) what the photos say; None: nothing"""
    seen: list[Any] = field(default_factory=list)
    """For each photo: the points that it shows, in the order of its features"""
    pixels: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(7)
        for number in range(len(self.centres)):
            where, depth = self.project(number, self.points)
            inside = (depth > 0) & (where > 2).all(axis=1) & (where < np.array([self.lens.width, self.lens.height]) - 2).all(axis=1)
            self.seen.append(np.flatnonzero(inside))
            self.pixels.append((where[inside] + rng.normal(0, self.noise, (int(inside.sum()), 2))).astype(np.float32))

    def project(self, number: int, points: Any) -> tuple[Any, Any]:
        camera = (points - self.centres[number]) @ self.rotations[number].T
        pixels = np.asarray(colmap.camera(self.lens, 1).img_from_cam(np.ascontiguousarray(camera)))
        return pixels, camera[:, 2]

    def photos(self) -> Photos:
        made = []
        back = pyproj.Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
        for number in range(len(self.centres)):
            said: dict[str, float] = {}
            if self.gps is not None:
                east, north, up = self.gps[number]
                longitude, latitude = back.transform(EAST + east, NORTH + north)
                said = {"longitude": longitude, "latitude": latitude, "altitude": float(up)}
            made.append(
                Photo(
                    number=number,
                    name=f"p{number:02d}.jpg",
                    width=self.lens.width,
                    height=self.lens.height,
                    camera="cam",
                    focal=self.lens.fx,
                    focal_known=True,
                    **said,
                )
            )
        return Photos(photos=tuple(made))


def flight(*, lines: int = 4, each: int = 5, step: float = 12.0, height: float = 60.0, tilt: float = 3.0, points: int = 900) -> Survey:
    """Cameras that look down, with a few degrees of sway, to and fro above hills of 6 m."""
    rng = np.random.default_rng(1)
    centres, rotations = [], []
    for line in range(lines):
        for place in range(each):
            along = place if line % 2 == 0 else each - 1 - place
            centres.append(np.array([along * step, line * step * 1.3, height]) + rng.normal(0, 0.5, 3))
            yaw = (0 if line % 2 == 0 else np.pi) + rng.normal(0, 0.05)
            rotations.append(down(yaw, *np.radians(rng.normal(0, tilt, 2))))
    wide = np.array([each * step, lines * step * 1.3])
    ground = rng.uniform(-0.6 * height, 0.6 * height, (points, 2)) * (1 + wide / height) / 1.2 + wide / 2
    z = 3 * np.sin(ground[:, 0] / 11) + 3 * np.cos(ground[:, 1] / 7)
    return Survey(centres=np.array(centres), rotations=np.array(rotations), points=np.column_stack([ground, z]))


def down(yaw: float, pitch: float = 0.0, roll: float = 0.0) -> Any:
    """(3, 3) world -> camera: looks down, its top to the north at yaw 0, then clockwise."""
    c, s = np.cos(yaw), np.sin(yaw)
    look = np.array([[c, -s, 0], [-s, -c, 0], [0, 0, -1.0]])
    a, b = np.cos(pitch), np.sin(pitch)
    p, q = np.cos(roll), np.sin(roll)
    return np.array([[1, 0, 0], [0, a, b], [0, -b, a]]) @ np.array([[p, 0, -q], [0, 1, 0], [q, 0, p]]) @ look


def put(survey: Survey, folder: Path, blocks: Mapping[str, tuple[Sequence[int], Sequence[int]]] | None = None,
        frames: Mapping[str, Similarity] | None = None, bend: Mapping[str, float] | None = None,
        deep: Mapping[str, float] | None = None) -> Path:  # fmt: skip
    """Write the files of all stages up to mapping. ``blocks``: name -> core, photos; None: one. ``frames``: where a block's model lies.

    ``bend``: metres by which a block's ground and cameras are out of shape, as a saddle. ``deep``: how many times too far the ground lies
    below the cameras, as where the focal length came out too long.
    """
    stages = folder / "stages"
    everyone = range(len(survey.centres))
    cut = blocks or {"all": (everyone, everyone)}
    save(survey.photos(), stages / "features" / "photos.json")
    for number in everyone:
        count = len(survey.seen[number])
        save_features(
            Features(points=survey.pixels[number], scales=np.ones(count, np.float32), descriptors=np.zeros((count, 128), np.uint8),
                     colors=np.full((count, 3), 90, np.uint8)),
            stages / "features" / f"{number:05d}.npz",
        )  # fmt: skip
    save_matches(_matches(survey), stages / "matching" / "matches.npz")
    save({"cam": survey.lens}, stages / "calibration" / "cameras.json")
    made = [Block(name=name, core=tuple(core), photos=tuple(photos)) for name, (core, photos) in cut.items()]
    save(made, stages / "calibration" / "blocks.json")
    for block in made:
        model = _model(survey, block.photos, (bend or {}).get(block.name, 0.0), (deep or {}).get(block.name, 1.0))
        move = (frames or {}).get(block.name, identity())
        adjustment._shift(model, {}, move)
        colmap.write_model(model, stages / "mapping" / block.name)
    return folder


def _matches(survey: Survey) -> Matches:
    pairs, starts, rows = [], [0], []
    for a in range(len(survey.centres)):
        for b in range(a + 1, len(survey.centres)):
            _, left, right = np.intersect1d(survey.seen[a], survey.seen[b], return_indices=True)
            if len(left) >= 15:
                pairs.append((a, b))
                rows.append(np.column_stack([left, right]))
                starts.append(starts[-1] + len(left))
    return Matches(
        pairs=np.array(pairs, np.int32), starts=np.array(starts, np.int64), rows=np.concatenate(rows).astype(np.uint32),
        configurations=np.full(len(pairs), 2, np.int32),
    )  # fmt: skip


def _model(survey: Survey, photos: Sequence[int], bend: float, deep: float) -> Any:
    import pycolmap

    model = pycolmap.Reconstruction()
    model.add_camera_with_trivial_rig(colmap.camera(survey.lens, 1))
    rng = np.random.default_rng(len(photos))
    middle = survey.centres.mean(axis=0)
    size = np.abs(survey.centres - middle).max()

    def bent(points: Any) -> Any:
        off = (points - middle) / size
        return points + bend * np.column_stack([0 * off[:, 0], 0 * off[:, 0], off[:, 0] * off[:, 1]])

    places: dict[int, list[tuple[int, int]]] = {}
    for number in photos:
        image = pycolmap.Image(name=f"p{number:02d}.jpg", keypoints=survey.pixels[number].astype(float), camera_id=1, image_id=number + 1)
        turn = survey.rotations[number]
        shift = -turn @ (bent(survey.centres[number][None])[0] + rng.normal(0, 0.01, 3))
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(np.column_stack([turn, shift])))
        for place, point in enumerate(survey.seen[number].tolist()):
            places.setdefault(point, []).append((number + 1, place))
    for point in sorted(places):
        if len(places[point]) >= 2:
            where = bent(survey.points[point][None])[0] + rng.normal(0, 0.01, 3)
            where[2] = middle[2] + deep * (where[2] - middle[2])
            model.add_point3D(where, pycolmap.Track([pycolmap.TrackElement(*one) for one in places[point]]))
    return model


def adjust(folder: Path, out: Path, gcp: str = "", **options: Any) -> tuple[Any, Frame, dict[str, Any]]:
    """Do the job: the model, its frame, the report. ``options`` with _ for -."""
    import msgspec

    given = {name.replace("_", "-"): value for name, value in options.items()}
    (out / "scratch").mkdir(parents=True)
    (out / "out").mkdir()
    chosen = normalise("survey", OPTIONS, given)
    adjustment.run(Job(inputs=folder, out=out / "out", scratch=out / "scratch", cores=1, options=chosen, data={"gcp": gcp}))
    report = msgspec.json.decode((out / "out" / "report.json").read_bytes())
    return colmap.read_model(out / "out" / "model"), load(out / "out" / "frame.json", Frame), report


def offsets(survey: Survey, model: Any, frame: Frame) -> Any:
    """(n, 3) adjusted centres minus the true ones, metres east, north, up, of the photos that were placed."""
    centres = colmap.centres(model)
    shift = np.array(frame.origin) - [EAST, NORTH, 0]
    return np.array([centres[number] + shift - survey.centres[number] for number in sorted(centres)])


def turned(scale: float, degrees: float, shift: Sequence[float]) -> Similarity:
    """A frame of its own for a block: turned about a slanted axis."""
    from scipy.spatial.transform import Rotation

    axis = np.array([0.3, -0.5, 0.8])
    rotation = Rotation.from_rotvec(np.radians(degrees) * axis / np.linalg.norm(axis)).as_matrix()
    return Similarity(scale=scale, rotation=rotation, translation=np.array(shift, float))


def with_gps(survey: Survey, sigma: float = 0.3, seed: int = 3) -> Survey:
    """The same photos, whose GPS is off by ``sigma`` metres."""
    noise = np.random.default_rng(seed).normal(0, sigma, survey.centres.shape)
    return replace(survey, gps=survey.centres + noise, seen=[], pixels=[])
