"""Job ``adjustment`` of a survey: submodels are joined, adjusted once and for all, and put on the map.

Join by what they share (``merge.py``); place roughly; triangulate all tracks anew from the shared matches; adjust; place well; adjust with
GPS or control points pulling (``bundle_adjustment.py``, ``georeference.py``, ``control.py``); measure (``residuals.py``). One submodel goes
the same way as many, so that what splitting costs can be told. Writes ``model/``, ``frame.json`` and ``report.json``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..libraries import library
from . import colmap, control, georeference, residuals
from .bundle_adjustment import Adjuster, Ties
from .errors import BadSurvey
from .georeference import Placement
from .merge import Joined, Submodel, join, submodel
from .records import Block, Frame, Lens, Photos, load, load_matches, save
from .seal import seal
from .similarity import Similarity
from .work import Job
from .world import World, read_world

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FAR_CONTROL = 1000.0
"""Metres between control points and the photos' GPS that no GPS explains: another CRS was meant."""
MUCH_FOCAL = 5.0
"""Per cent between the adjusted focal length and EXIF's that are told."""
ANY_HEIGHT = 10_000.0
"""Metres: accuracy of a height that nobody told."""
BENT = 5.0
"""GSD of RMSE at the control points from which on they are said not to fit."""


@dataclass(frozen=True, kw_only=True)
class Control:
    """Control points on the way through the job."""

    believed: control.Believed | None = None
    """None: they do not hold the model"""
    points: tuple[control.Sighting, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def run(job: Job) -> None:
    """See the head of this file. Raises BadSurvey."""
    library("pycolmap", extra="survey").logging.minloglevel = 2  # errors
    stages = job.inputs / "stages"
    photos = load(stages / "features" / "photos.json", Photos)
    lenses = load(stages / "calibration" / "cameras.json", dict[str, Lens])
    world = read_world(job, photos)
    models, joined = _join(job)
    job.progress(0.1)

    features = stages / "features"
    adjuster = Adjuster(
        photos=photos, lenses=lenses, features=features, scratch=job.scratch, fixed=job.options["use-fixed-camera-params"]
    )
    adjuster.prepare(load_matches(stages / "matching" / "matches.npz"), sorted(joined.rotations))
    model = adjuster.model(joined.rotations, joined.translations)
    moves = dict(joined.moves)
    _shift(model, moves, _place(world, model).move)  # so that numbers are of a good size
    model = adjuster.triangulate(model)
    job.progress(0.3)
    if len(moves) > 1:  # blocks do not quite fit: adjust, then look again for what fits now
        adjuster.adjust(model, Ties(), rounds=1)
        model = adjuster.triangulate(model)
    job.progress(0.5)
    adjuster.adjust(model, Ties())
    for name in adjuster.drop_lost(model):
        job.say(f"{name} shows too few points of the model to have a place.")
    if model.num_reg_images() < 2 or not model.num_points3D():
        raise BadSurvey("No point is seen in two photos: they overlap too little. Take them so that each place is in 5 photos or more.")
    job.progress(0.7)

    placement = _place(world, model)
    _shift(model, moves, placement.move)
    found = _control(job, world, residuals.Rays(model=model, features=features), residuals.ground_sampling(model), placement)
    if found.believed is not None:
        _shift(model, moves, found.believed.move)
        adjuster.adjust(model, Ties(control={point.name: (point.position, point.marks) for point in found.believed.points}))
        placement = replace(placement, by="gcp", notes=())
    elif placement.by == "gps" and placement.trusted:
        adjuster.adjust(model, _pull(world, model, placement))
    job.progress(0.9)

    unfit = [why for name, why in joined.left_out if name in models]  # of the others mapping has told why
    notes = [*world.notes, *unfit, *placement.notes, *found.notes]
    frame = _frame(world, model, placement.by, notes)
    colmap.colour(model, features)
    colmap.write_model(model, job.out / "model")
    save(frame, job.out / "frame.json")
    rays = residuals.Rays(model=model, features=features)
    mapped = frozenset(number for one in models.values() for number in one.numbers)
    report = _report(world, model, lenses, placement, mapped, notes)
    report["control"] = _told(world, found, rays, report["gsd"], notes)
    report["blocks"] = {
        "submodels": [
            {"name": one.name, "photos": len(one.block.photos), "registered": len(one.numbers), "points": len(one.points)}
            for one in models.values()
        ],
        "neighbours": [residuals.between(link, models, moves, rays, report["gsd"]) for link in joined.links],
        "left_out": [{"name": name, "why": why} for name, why in joined.left_out],
    }
    save({**report, "frame": {"crs": frame.crs, "by": frame.by, "nadir": frame.nadir}, "notes": notes}, job.out / "report.json")
    seal(job.out)
    job.progress(1.0)


def _join(job: Job) -> tuple[dict[str, Submodel], Joined]:
    """All submodels by name, and those that fit together. Raises BadSurvey where one does not, unless split-failed is leave-out."""
    stages = job.inputs / "stages"
    blocks = load(stages / "calibration" / "blocks.json", tuple[Block, ...])
    there = [block for block in blocks if (stages / "mapping" / block.name / "images.bin").is_file()]
    models = {block.name: submodel(block, colmap.read_model(stages / "mapping" / block.name)) for block in there}
    models = {name: model for name, model in models.items() if len(model.numbers) >= 2 and len(model.points)}
    if not models:
        raise BadSurvey("No photos could be placed against each other: they overlap too little, or show nothing that can be told apart.")
    joined = join(list(models.values()))
    missing = tuple((block.name, f"Submodel {block.name} could not be made.") for block in blocks if block.name not in models)
    joined = replace(joined, left_out=missing + joined.left_out)
    if joined.left_out and job.options["split-failed"] == "fail":
        raise BadSurvey(
            " ".join(why for _, why in joined.left_out)
            + " More overlap (split-overlap) or larger submodels (split) may mend it; split-failed = leave-out goes on without."
        )
    for _, why in joined.left_out:
        job.say(why)
    return models, joined


def _arrays(model: Any) -> tuple[list[int], Floats, Floats]:
    """Numbers of the placed photos, (n, 3, 3) world -> camera, (n, 3) centres."""
    import numpy as np

    numbers = sorted(id - 1 for id in model.reg_image_ids())
    poses = np.array([model.images[number + 1].cam_from_world().matrix() for number in numbers]).reshape(-1, 3, 4)
    rotations = poses[:, :, :3]
    return numbers, rotations, -np.einsum("nij,ni->nj", rotations, poses[:, :, 3])


def _points(model: Any) -> Floats:
    import numpy as np

    return np.array([model.points3D[id].xyz for id in sorted(model.point3D_ids())], np.float64).reshape(-1, 3)


def _shift(model: Any, moves: dict[str, Similarity], move: Similarity) -> None:
    """The model, and with it where the blocks lie as they came."""
    pycolmap = library("pycolmap", extra="survey")
    model.transform(pycolmap.Sim3d(move.scale, pycolmap.Rotation3d(move.rotation), move.translation))
    for name in moves:
        moves[name] = move.after(moves[name])


def _place(world: World, model: Any) -> Placement:
    numbers, rotations, centres = _arrays(model)
    by_number = {photo.number: photo for photo in world.photos.photos}
    placement = georeference.by_gps(numbers, rotations, centres, by_number, world.positions, world.accuracies)
    if placement.by == "none":
        move, _ = georeference.without_gps(rotations, centres, _points(model), [by_number[number] for number in numbers])
        placement = replace(placement, move=move)
    return placement


def _pull(world: World, model: Any, placement: Placement) -> Ties:
    """GPS that is good, of photos without an altitude across alone."""
    import numpy as np

    positions = {number: world.positions[number] for number in placement.trusted}
    accuracies = {number: world.accuracies[number] for number in placement.trusted}
    centres = colmap.centres(model)
    for number, where in world.flat.items():
        across = world.accuracies[number][0]
        if number in centres and np.linalg.norm(centres[number][:2] - where) <= max(10 * placement.median, 2 * across):
            positions[number] = np.array([*where, centres[number][2]])
            accuracies[number] = (across, ANY_HEIGHT)
    return Ties(positions=positions, accuracies=accuracies)


def _control(job: Job, world: World, rays: residuals.Rays, gsd: float, placement: Placement) -> Control:
    """Which control points hold the model. Raises BadSurvey where nothing else does and they cannot."""
    import numpy as np

    if world.gcps is None or world.grid is None:
        return Control()
    points, left_out, about_marks = control.sightings(world.gcps, world.photos, world.grid, world.origin, rays)
    use_exif = job.options["use-exif"]
    if use_exif:
        points = tuple(replace(point, check=True) for point in points)
    here = [np.linalg.norm((control.meet(rays, point.marks) - point.position)[:2]) for point in points]
    if placement.by != "none" and here and float(np.median(here)) > FAR_CONTROL and not use_exif:
        raise BadSurvey(
            f"The points of {world.gcps.file} lie {float(np.median(here)) / 1000:.1f} km from where the photos' GPS says that they are: "
            "its first line names another CRS, or x and y are swapped. Option use-exif goes by GPS alone."
        )
    notes = [*(why for _, why in left_out), *about_marks]
    if use_exif:
        notes.append(f"The points of {world.gcps.file} are measured, not used (option use-exif).")
        return Control(points=points, left_out=left_out, notes=tuple(notes))
    believed = control.believe(points, rays, gsd)
    if believed is None:
        if placement.by == "none":
            raise BadSurvey(f"Fewer than 3 control points of {world.gcps.file} can be used. {' '.join(notes)}".strip())
        notes.append(f"Fewer than 3 control points of {world.gcps.file} can be used, so the photos' GPS places the model.")
        return Control(points=points, left_out=left_out, notes=tuple(notes))
    if job.options["force-gps"]:
        notes.append("Control points hold the model; the photos' GPS (option force-gps) is measured, and would count if they were too few.")
    notes += [why for _, why in believed.left_out]
    return Control(believed=believed, points=points, left_out=left_out + believed.left_out, notes=tuple(notes))


def _told(world: World, found: Control, rays: residuals.Rays, gsd: float, notes: list[str]) -> dict[str, Any] | None:
    """Of control points and checkpoints, for the report."""
    if world.gcps is None:
        return None
    used = control.told(found.believed.points if found.believed else (), rays)
    if used["rmse"] and max(used["rmse"]) > BENT * gsd:
        notes.append(
            f"The control points do not fit each other and the photos: RMSE {' '.join(f'{value:.3f}' for value in used['rmse'])} m."
        )
    return {
        "file": world.gcps.file,
        "used": used,
        "checkpoints": control.told([point for point in found.points if point.check], rays),
        "left_out": [{"name": name, "why": why} for name, why in found.left_out],
    }


def _frame(world: World, model: Any, by: str, notes: list[str]) -> Frame:
    _, rotations, centres = _arrays(model)
    if by != "none":
        assert world.grid is not None
        nadir = georeference.looks_down(rotations)
        if not nadir:
            notes.append("Most photos do not look down, so there is no surface seen from above: points and mesh are made, no orthophoto.")
        return Frame(georeferenced=True, crs=world.grid.crs, origin=world.origin, by=by, nadir=nadir)
    nadir = georeference.looks_at_surface(rotations, centres, _points(model))
    if world.positions:  # where no photo has GPS, the stage features says so
        notes.append(
            "Fewer than two of the photos that could be placed have GPS: the model has no scale and no place, so points and mesh are made, "
            "but no orthophoto and no surface model."
        )
    return Frame(georeferenced=False, by="none", nadir=nadir)


def _report(
    world: World, model: Any, lenses: Mapping[str, Lens], placement: Placement, mapped: frozenset[int], notes: list[str]
) -> dict[str, Any]:
    """``mapped``: photos that were in a submodel; of the others, the stages before have told."""
    numbers, _, centres = _arrays(model)
    placed = set(numbers)
    absent = [photo.name for photo in world.photos.photos if photo.number not in placed]
    lost = [photo.name for photo in world.photos.photos if photo.number in mapped - placed]
    if lost:
        total, verb = len(world.photos.photos), "is" if len(lost) == 1 else "are"
        notes.append(f"{len(lost)} of {total} photos could not be placed and {verb} not used: {residuals.names(lost)}.")
    return {
        "photos": len(world.photos.photos),
        "registered": len(numbers),
        "unregistered": absent,
        "points": model.num_points3D(),
        "observations": model.compute_num_observations(),
        "reprojection": round(float(model.compute_mean_reprojection_error()), 4),
        "track": round(float(model.compute_mean_track_length()), 3),
        "gsd": float(f"{residuals.ground_sampling(model):.5g}"),
        "gps": _gps(world, numbers, centres, placement, notes),
        "cameras": _cameras(model, lenses, notes),
    }


def _gps(
    world: World, numbers: Sequence[int], centres: Floats, placement: Placement, notes: list[str]
) -> dict[str, Any] | None:
    import numpy as np

    if placement.by == "none" or not world.positions:
        return None
    by_number = {photo.number: photo.name for photo in world.photos.photos}
    wrong = dict(placement.wrong)
    rows = [row for row, number in enumerate(numbers) if number in world.positions and number not in wrong]
    off = np.array([centres[row] - world.positions[numbers[row]] for row in rows]).reshape(-1, 3)
    if wrong:
        far = [f"{by_number[number]} ({distance:.0f} m)" for number, distance in sorted(wrong.items())]
        notes.append(f"The GPS of some photos is in the wrong place and was not used: {residuals.names(far)}.")
    sigma = np.array([world.accuracies[numbers[row]] for row in rows]).reshape(-1, 2)
    return {
        "photos": len(rows),
        "rmse": residuals.rmse(off),
        "accuracy": [round(float(value), 4) for value in np.median(sigma, axis=0)] if len(rows) else None,
        "wrong": [{"photo": by_number[number], "distance": round(distance, 2)} for number, distance in sorted(wrong.items())],
    }


def _cameras(model: Any, lenses: Mapping[str, Lens], notes: list[str]) -> dict[str, Any]:
    found = {}
    for key, id in colmap.camera_ids(lenses).items():
        if id not in model.cameras:
            continue
        focal, lens = float(model.cameras[id].mean_focal_length()), lenses[key]
        change = residuals.focal_change(focal, lens.prior)
        found[key] = {"focal": round(focal, 3), "prior": round(lens.prior, 3), "change": change, "held": lens.held}
        before = residuals.focal_change(lens.fx, lens.prior)
        if change is not None and before is not None and abs(change) > MUCH_FOCAL >= abs(before):
            notes.append(
                f"The focal length of the camera {key} came out {abs(change):.1f} % {'longer' if change > 0 else 'shorter'} than its EXIF "
                "says; heights may be wrong by as much."
            )
    return found
