"""Job of the stage ``calibration``: the lens of each camera, once for all submodels; or how the photos are cut into submodels.

A camera's lens comes from a map of some 28 photos that match each other well. Flat ground seen from straight above cannot tell the focal
length: 1111, 1170 and 1389 pixels gave 0.490, 0.487 and 0.481 pixels of error on the same photos, and flying heights of 37, 39 and 46 m
(spec/photogrammetry.md, trap 2). So where all views are near parallel, the focal length of EXIF is held, unless both halves of the photos
by themselves come to the same one, near to EXIF's: over hills and houses they do (770.3 of 770 pixels, halves 0.1 % apart, where EXIF's
rounded figure was 1 % off; those above are 8 % apart). Submodels that each find a focal length of their own agree in their cameras and
not on the ground (trap 1): so it is done once, before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..libraries import library
from . import submodels
from .colmap import axes, camera_ids, centres
from .incremental import STEPS, map_photos, placed_enough
from .matching import plain
from .records import Lens, Matches, Photo, Photos, load, load_matches, save
from .scene import lens_of
from .seal import seal
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LENSES = "cameras.json"
BLOCKS = "blocks.json"
NOTES = "notes.json"
PARALLEL = 15.0
"""Degrees off the mean view that nine of ten views keep within, to be near parallel. A gimbal holds 5; oblique strips are 30 to 45 off."""
CHANGED = 5.0
"""Per cent between the focal length that was found and that of EXIF that are told."""
STEADY = 1.0
"""Per cent between the focal lengths of two halves of the photos, up to which they are one."""
HALVED = 10
"""Photos from which on halves tell anything."""
ABSURD = (0.4, 2.5)
"""Times the prior: what lies outside of this is no focal length that was measured."""
GUESS = "a guess: EXIF has no focal length, and all views are near parallel"
DISTORTED = 1.0
"""k1 or k2 beyond this come from photos that tell nothing about the lens."""


def run(job: Job) -> None:
    """``data`` with ``seeds``: LENSES, NOTES; with ``blocks`` (how many; 0: by groups), ``overlap``, ``photos`` (those in use): BLOCKS."""
    photos = load(job.inputs / "stages/features/photos.json", Photos)
    matches = load_matches(job.inputs / "stages/matching/matches.npz")
    if "seeds" in job.data:
        lenses, notes = _calibrate(job, photos, matches)
        save(lenses, job.out / LENSES)
        save(notes, job.out / NOTES)
    else:
        chosen = set(job.data["photos"])
        some = [photo for photo in photos.photos if photo.number in chosen]
        save(submodels.cut(some, matches, job.data["blocks"], job.data["overlap"]), job.out / BLOCKS)
    seal(job.out)


def _calibrate(job: Job, photos: Photos, matches: Matches) -> tuple[dict[str, Lens], list[str]]:
    by_key: dict[str, list[Photo]] = {}
    for photo in photos.photos:
        by_key.setdefault(photo.camera, []).append(photo)
    lenses = {key: prior(some[0]) for key, some in sorted(by_key.items())}
    if job.options["use-fixed-camera-params"]:
        held = {key: msgspec.structs.replace(lens, held=True, note="kept as EXIF has it, as asked for") for key, lens in lenses.items()}
        return held, []
    weight = dict.fromkeys(lenses, 0)
    seeds: list[list[int]] = job.data["seeds"]
    for index, seed in enumerate(seeds):

        def part(fraction: float, index: int = index) -> None:
            job.progress((index + fraction) / len(seeds))

        found = _seed(job, photos, matches, {key: prior(some[0]) for key, some in by_key.items()}, seed, part, index)
        for key, (lens, count) in found.items():
            if count > weight[key]:
                lenses[key], weight[key] = lens, count
    return lenses, _notes(lenses, by_key)


def _seed(
    job: Job, photos: Photos, matches: Matches, priors: Mapping[str, Lens], seed: Sequence[int], part: Any, index: int
) -> dict[str, tuple[Lens, int]]:
    """Camera key -> its lens by the photos ``seed``, and how many of them tell it."""
    keys = {photo.number: photo.camera for photo in photos.photos}
    unknown = frozenset(keys[number] for number in seed if not priors[keys[number]].prior)
    everyone = frozenset(keys[number] for number in seed)
    models: list[Any] = []
    # an EXIF that is far off keeps photos from being placed: then all focal lengths are let free, and milder thresholds tried
    for focal, steps in ((unknown, STEPS[:1]), (everyone, STEPS)):
        found = map_photos(
            photos, priors, job.inputs / "stages/features", matches, seed, job.scratch / f"seed{index}",
            focal=focal, distortion=True, steps=steps, progress=part,
        )  # fmt: skip
        if found and (not models or found[0].num_reg_images() > models[0].num_reg_images()):
            models = found
        if placed_enough(models, len(seed)):
            break
    if not models or models[0].num_reg_images() < 3:
        return {}
    model = models[0]
    for key, id in camera_ids(priors).items():
        if priors[key].prior and id in model.cameras:
            model.cameras[id].focal_length = priors[key].fx
    flat = parallel(list(axes(model).values()))
    free, model = adjusted(model, focal=True), adjusted(model, focal=False)
    apart = halves(model) if flat else {}
    job.say(f"{model.num_reg_images()} of {len(seed)} photos, {model.compute_mean_reprojection_error():.2f} px, near parallel: {flat}")
    lenses = {}
    for key, id in camera_ids(priors).items():
        count = sum(keys[id - 1] == key for id in model.reg_image_ids())
        if count and id in model.cameras:
            kept, other = (lens_of(each.cameras[id], priors[key].prior) for each in (model, free))
            lenses[key] = (judged(priors[key], kept, other, flat=flat, apart=apart.get(id, 100.0)), count)
    return lenses


def adjusted(model: Any, *, focal: bool) -> Any:
    """A copy of a model, adjusted with the focal length free or as it is."""
    pycolmap = library("pycolmap", extra="survey")
    options = pycolmap.BundleAdjustmentOptions(print_summary=False, refine_focal_length=focal)
    options.ceres.solver_options.num_threads = 1
    copy = pycolmap.Reconstruction(model)
    pycolmap.bundle_adjustment(copy, options)
    return copy


def halves(model: Any) -> dict[int, float]:
    """Camera id -> per cent between the focal lengths that two halves of its photos come to, cut across the longer side."""
    import numpy as np

    pycolmap = library("pycolmap", extra="survey")
    places = centres(model)
    if len(places) < HALVED:
        return {}
    numbers = sorted(places)
    at = np.array([places[number] for number in numbers])
    along = np.round((at - at.mean(axis=0)) @ np.linalg.svd(at - at.mean(axis=0), full_matrices=False)[2][0], 6)
    order = [numbers[index] for index in np.argsort(along, kind="stable")]
    focals: list[dict[int, float]] = []
    for left_out in (order[: len(order) // 2], order[len(order) // 2 :]):
        half = pycolmap.Reconstruction(model)
        for number in left_out:
            half.deregister_frame(half.images[number + 1].frame_id)
        seen = {half.images[id].camera_id for id in half.reg_image_ids()}
        focals.append({id: lens_of(camera).fx for id, camera in adjusted(half, focal=True).cameras.items() if id in seen})
    return {id: 100 * abs(focals[0][id] / focals[1][id] - 1) for id in focals[0] if id in focals[1]}


def prior(photo: Photo) -> Lens:
    """The lens before anything is measured."""
    return plain(photo.width, photo.height, photo.focal, photo.focal_known)


def parallel(axes: Sequence[NDArray[np.float64]]) -> bool:
    """Whether nine of ten views look in one direction, PARALLEL at most off it."""
    import numpy as np

    views = np.array(axes)
    middle = views.mean(axis=0)
    cosines = views @ middle / max(float(np.linalg.norm(middle)), 1e-9)
    return bool(np.degrees(np.arccos(np.clip(np.quantile(cosines, 0.1), -1, 1))) <= PARALLEL)


def judged(before: Lens, kept: Lens, free: Lens, *, flat: bool, apart: float) -> Lens:
    """Which lens it is, and what is to be said of it: as EXIF has it, its focal length ``kept`` or let ``free``; ``apart``: halves()."""
    replace = msgspec.structs.replace
    steady = not flat or (apart <= STEADY and (not before.prior or abs(change(free)) <= CHANGED))
    found = free if steady or not before.prior else kept
    if not ABSURD[0] < found.fx / before.fx < ABSURD[1] or max(abs(found.k1), abs(found.k2)) > DISTORTED:
        return replace(before, held=bool(before.prior), note="the photos do not tell the lens; it is as EXIF or a guess has it")
    if not before.prior:
        return replace(found, note="from the photos; EXIF has none" if steady else GUESS)
    if not steady:
        return replace(found, held=True, note="the focal length is held as EXIF has it: all views are near parallel")
    return replace(found, note=f"{change(found):+.1f} % from EXIF")


def change(lens: Lens) -> float:
    """Per cent of the focal length from EXIF's."""
    return 100 * (lens.fx / lens.prior - 1) if lens.prior else 0.0


def _notes(lenses: Mapping[str, Lens], by_key: Mapping[str, Sequence[Photo]]) -> list[str]:
    notes = []
    for key, lens in sorted(lenses.items()):
        if abs(change(lens)) > CHANGED:
            notes.append(
                f"The focal length of the camera {key} came out {change(lens):+.1f} % from what its photos say ({lens.fx:.0f} pixels"
                f" instead of {lens.prior:.0f}); if heights look wrong, use use-fixed-camera-params."
            )
        elif not lens.prior and lens.note == GUESS:
            notes.append(
                f"The photos of the camera {key} do not say its focal length, and views from straight above cannot tell it: heights may"
                " be too large or too small by a common factor. Ground control points mend that."
            )
    return notes
