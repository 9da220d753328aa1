"""Surveys made of numbers whose points can be told apart: features with descriptors, and the stage folders up to matching."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.survey.matching import joined
from clusterray.common.survey.records import Features, Matches, Photo, Photos, save, save_features, save_matches
from clusterray.common.survey.work import Job

from .worlds import Survey, down


def words(count: int, seed: int = 3) -> Any:
    """(count, 128) descriptors as SIFT's are: not negative, of length 512, far from each other."""
    values = np.random.default_rng(seed).gamma(0.6, 1.0, (count, 128))
    return np.clip(values / np.linalg.norm(values, axis=1, keepdims=True) * 512, 0, 255)


def features(survey: Survey, number: int, *, seed: int = 3, strange: int = 40) -> Features:
    """Of photo ``number``: its points with noisy descriptors, and ``strange`` ones that no other photo has."""
    rng = np.random.default_rng([seed, number])
    seen = survey.seen[number]
    known = words(len(survey.points), seed)[seen] + rng.normal(0, 6, (len(seen), 128))
    size = [survey.lens.width, survey.lens.height]
    points = np.concatenate([survey.pixels[number], rng.uniform(0, 1, (strange, 2)) * size]).astype(np.float32)
    descriptors = np.concatenate([known, words(strange, 1000 * seed + number + 17)])
    return Features(
        points=points,
        scales=np.linspace(9, 2, len(points)).astype(np.float32),
        descriptors=np.clip(descriptors, 0, 255).round().astype(np.uint8),
        colors=np.full((len(points), 3), number + 1, np.uint8),
    )


def photos_of(surveys: Iterable[Survey], *, known: bool = True, guess: float = 1.0) -> Photos:
    """Of all surveys in a row; ``guess``: times the true focal length that the photos say."""
    found: list[Photo] = []
    for survey in surveys:
        for photo in survey.photos().photos:
            number = len(found)
            name = f"images/{number:03d}.jpg"
            found.append(msgspec.structs.replace(photo, number=number, name=name, focal=photo.focal * guess, focal_known=known))
    return Photos(photos=tuple(found))


def put(folder: Path, *surveys: Survey, known: bool = True, guess: float = 1.0, matched: bool = True) -> Photos:
    """Write the files of the stages features and, where ``matched``, matching; surveys have no point in common."""
    photos, first, found = photos_of(surveys, known=known, guess=guess), 0, []
    save(photos, folder / "stages/features/photos.json")
    for seed, survey in enumerate(surveys, 3):
        for number in range(len(survey.centres)):
            save_features(features(survey, number, seed=seed), folder / f"stages/features/{first + number:05d}.npz")
            for other in range(number + 1, len(survey.centres)):
                _, left, right = np.intersect1d(survey.seen[number], survey.seen[other], return_indices=True)
                if len(left) >= 15:
                    found.append(((first + number, first + other), np.column_stack([left, right]).astype(np.uint32), 2))
        first += len(survey.centres)
    if matched:
        save_matches(joined(found), folder / "stages/matching/matches.npz")
    return photos


def truth(survey: Survey) -> Matches:
    """What matching is to find."""
    found = []
    for a in range(len(survey.centres)):
        for b in range(a + 1, len(survey.centres)):
            _, left, right = np.intersect1d(survey.seen[a], survey.seen[b], return_indices=True)
            found.append(((a, b), np.column_stack([left, right]).astype(np.uint32), 2))
    return joined(found)


def around(photos: int = 12, points: int = 400) -> Survey:
    """Cameras in a circle that look at a lump from all sides, slightly downwards."""
    rng = np.random.default_rng(5)
    lump = rng.normal(0, 1, (points, 3))
    lump *= rng.uniform(4, 8, (points, 1)) / np.linalg.norm(lump, axis=1, keepdims=True)
    centres, rotations = [], []
    for angle in np.linspace(0, 2 * np.pi, photos, endpoint=False):
        centre = np.array([30 * np.cos(angle), 30 * np.sin(angle), 6 + 3 * np.sin(3 * angle)])
        z = -centre / np.linalg.norm(centre)
        x = np.cross(z, [0, 0, 1.0])
        x /= np.linalg.norm(x)
        centres.append(centre)
        rotations.append(np.array([x, np.cross(z, x), z]))
    return Survey(centres=np.array(centres), rotations=np.array(rotations), points=lump)


def elsewhere(survey: Survey, numbers: Iterable[int], **more: Any) -> Survey:
    """Some photos of a survey as one by itself."""
    some = list(numbers)
    return replace(survey, centres=survey.centres[some], rotations=survey.rotations[some], seen=[], pixels=[], **more)


def straight(photos: int, *, step: float = 12.0, height: float = 60.0, points: int = 700) -> Survey:
    """One line of photos that look straight down on hills."""
    rng = np.random.default_rng(2)
    ground = rng.uniform([-50, -40], [photos * step + 50, 40], (points, 2))
    z = 4 * np.sin(ground[:, 0] / 9) + 3 * np.cos(ground[:, 1] / 7)
    centres = np.array([[number * step, 0.0, height] for number in range(photos)])
    return Survey(centres=centres, rotations=np.array([down(0.0)] * photos), points=np.column_stack([ground, z]))


def job(inputs: Path, out: Path, data: dict[str, Any], **options: Any) -> Job:
    """With empty folders; ``options`` with _ for -."""
    for name in ("out", "scratch"):
        (out / name).mkdir(parents=True)
    given = normalise("survey", OPTIONS, {name.replace("_", "-"): value for name, value in options.items()})
    return Job(inputs=inputs, out=out / "out", scratch=out / "scratch", cores=1, options=given, data=data)


def facts(photos: Photos) -> dict[str, list[Any]]:
    """What a job of matching is told of the photos."""
    return {str(photo.number): [photo.width, photo.height, photo.focal, photo.focal_known] for photo in photos.photos}
