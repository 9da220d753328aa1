"""Which photos calibrate the cameras: for each camera a close neighbourhood of photos that match each other well."""

from __future__ import annotations

from collections.abc import Sequence

from .records import Matches, Photo

SIZE = 28
"""Photos of a seed; a survey of up to as many is its own."""
COUNTED = 200
"""Matches of a pair that count: growing along the few strongest pairs would make a row."""
CAMERAS = 6
"""Cameras with a seed of their own, those with most photos; the others keep what EXIF says."""
FEW = 3
"""Photos of one camera that tell nothing about its lens by themselves."""


def seeds(photos: Sequence[Photo], matches: Matches) -> list[list[int]]:
    """Numbers of the photos (one island) that are mapped to calibrate, a list for each run."""
    camera = {photo.number: photo.camera for photo in photos}
    if len(photos) <= SIZE:
        return [sorted(camera)]
    ties: dict[int, dict[int, int]] = {number: {} for number in camera}
    for index, (first, second) in enumerate(matches.pairs.tolist()):
        if first in camera and second in camera:
            size = min(COUNTED, int(matches.starts[index + 1] - matches.starts[index]))
            ties[first][second] = ties[second][first] = size
    counts = {key: sum(one == key for one in camera.values()) for key in set(camera.values())}
    found: list[list[int]] = []
    for key in sorted(counts, key=lambda key: (-counts[key], key))[:CAMERAS]:
        seen = sum(camera[number] == key for seed in found for number in seed)
        if counts[key] > FEW and seen < min(counts[key], SIZE // 2):
            found.append(sorted(_grow(key, camera, ties)))
    return found


def _grow(key: str, camera: dict[int, str], ties: dict[int, dict[int, int]]) -> list[int]:
    """From the photo of camera ``key`` that matches best: always the next one that matches the others best, the same camera's twice."""
    own = [number for number in sorted(ties) if camera[number] == key]
    first = max(own, key=lambda number: (sum(ties[number].values()), -number))
    grown, open_ = [first], dict(ties[first])
    while open_ and len(grown) < SIZE:
        best = max(open_, key=lambda number: (open_[number] * (1 + (camera[number] == key)), -number))
        grown.append(best)
        del open_[best]
        for number, size in ties[best].items():
            if number not in grown:
                open_[number] = open_.get(number, 0) + size
    return grown
