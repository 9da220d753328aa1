"""Job of the stage ``mapping``: the poses of a submodel's photos, in a frame of its own.

Lenses are as calibrated and stay so, as submodels that change theirs do not meet on the ground; a survey of one submodel refines what
was not held.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .colmap import colour, write_model
from .errors import BadSurvey
from .incremental import map_photos
from .islands import listed
from .records import Lens, Photos, Record, load, load_matches, save
from .seal import seal
from .work import Job

REPORT = "mapping.json"


class Mapped(Record, frozen=True, kw_only=True):
    """What came of a submodel."""

    block: str
    photos: int
    placed: tuple[int, ...] = ()
    """Numbers of the photos in the model"""
    core_placed: int = 0
    points: int = 0
    error: float = 0.0
    """Mean reprojection error, pixels"""
    track: float = 0.0
    """Mean number of photos that see a point"""
    apart: tuple[tuple[int, ...], ...] = ()
    """Numbers of photos that hang together in models of their own, which are not used"""
    why: str = ""
    """Why there is no model; empty: there is one"""


def run(job: Job) -> None:
    """``data``: ``block``, its ``core`` and ``photos`` (numbers), ``alone``: it is the only one. Leaves a folder of the block's name.

    Raises BadSurvey where there is no model; with split-failed = leave-out only where the block is alone.
    """
    stages = job.inputs / "stages"
    name, core, numbers = str(job.data["block"]), frozenset(job.data["core"]), list(job.data["photos"])
    photos = load(stages / "features/photos.json", Photos)
    lenses = load(stages / "calibration/cameras.json", dict[str, Lens])
    matches = load_matches(stages / "matching/matches.npz")
    used = {photo.camera for photo in photos.photos if photo.number in set(numbers)}
    free = frozenset(key for key in used if not lenses[key].held) if job.data["alone"] else frozenset()
    fixed = bool(job.options["use-fixed-camera-params"]) or not job.data["alone"]
    models = map_photos(
        photos, lenses, stages / "features", matches, numbers, job.scratch,
        focal=frozenset() if fixed else free, distortion=not fixed, progress=job.progress,
    )  # fmt: skip
    if models:
        best, mapped = _best(name, core, numbers, models)
        colour(best, stages / "features")
        write_model(best, job.out / name)
    else:
        mapped = Mapped(block=name, photos=len(numbers), why=_why(name, job.data["alone"], numbers, photos))
        if job.data["alone"] or job.options["split-failed"] == "fail":
            raise BadSurvey(mapped.why)
    save(mapped, job.out / name / REPORT)
    seal(job.out / name)
    job.say(f"{len(mapped.placed)} of {len(numbers)} photos, {mapped.points} points, {mapped.error:.2f} px.")


def _best(name: str, core: frozenset[int], numbers: Sequence[int], models: Sequence[Any]) -> tuple[Any, Mapped]:
    """The model that holds most of the core, the largest of those that hold as much."""
    placed = [frozenset(id - 1 for id in model.reg_image_ids()) for model in models]
    at = max(range(len(models)), key=lambda index: (len(placed[index] & core), len(placed[index]), -index))
    best = models[at]
    rest = [tuple(sorted(other - placed[at])) for index, other in enumerate(placed) if index != at]
    mapped = Mapped(
        block=name,
        photos=len(numbers),
        placed=tuple(sorted(placed[at])),
        core_placed=len(placed[at] & core),
        points=best.num_points3D(),
        error=best.compute_mean_reprojection_error(),
        track=best.compute_mean_track_length(),
        apart=tuple(dict.fromkeys(some for some in rest if some)),
    )
    return best, mapped


def _why(name: str, alone: bool, numbers: Sequence[int], photos: Photos) -> str:
    names = {photo.number: photo.name for photo in photos.photos}
    which = listed([names[number] for number in numbers])
    subject = "No two of the photos" if alone else f"Submodel {name}: no two of its photos"
    return (
        f"{subject} could be placed against each other ({which}): they are taken from nearly the same place, or show too little in common."
        " Move sideways between photos by a tenth to a third of the distance, so that each place is in 3 photos or more."
    )


def told(found: Sequence[Mapped], names: Mapping[int, str], used: Sequence[int]) -> list[str]:
    """Sentences about submodels that are missing and photos (of those ``used``) that are in none."""
    notes = [f"{mapped.why} The result goes without it." for mapped in found if mapped.why]
    placed = {number for mapped in found for number in mapped.placed}
    apart = sorted({some for mapped in found for some in mapped.apart if not placed & set(some)})
    notes += [
        f"{len(some)} photos hang together but not with the rest, and are left out: {listed([names[one] for one in some])}."
        for some in apart
    ]
    lost = [number for number in used if number not in placed and not any(number in some for some in apart)]
    if lost:
        what = "1 photo could not be placed and is" if len(lost) == 1 else f"{len(lost)} photos could not be placed and are"
        notes.append(f"{what} left out: {listed([names[one] for one in lost])}.")
    return notes
