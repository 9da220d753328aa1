"""How the pictures of a panorama lie to each other: features, pairs, cameras, by the parts of which OpenCV's stitcher is made.

The stitcher itself (cv2.Stitcher) does not say which pairs it found, uses ORB features, and takes two pictures that agree very well for the
same one (``confidence`` over 3 counts as 0). Of the six tiles of a map it left out two; the parts, with SIFT, place all six.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..libraries import library
from .errors import BadSurvey

FLAT = 0.87
"""Pictures are scans of something flat where an affine map explains so many of the matches that a homography explains.

Measured: tiles of a map 0.93, panoramas from the hand 0.57 and 0.78.
"""
LEAST_INLIERS = 12
"""Matches of a pair that count for something."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    mode: str
    """panorama or scans"""
    kept: tuple[int, ...]
    """Numbers of the pictures that have a place."""
    cameras: tuple[Any, ...]
    """cv2.detail.CameraParams of each, at ``scale``"""
    scale: float
    """Part of the pictures' side at which they were matched."""
    pairs: tuple[tuple[int, int, int], ...]
    """Two numbers of pictures, and how many matches they have in common."""


def place(pictures: Sequence[Any], options: dict[str, Any]) -> Placed:
    """``pictures``: (rows, columns, 3) uint8. Raises BadSurvey."""
    cv2 = library("cv2", extra="survey")
    scale = scale_for(pictures, options["match-megapixels"])
    features = [_features(cv2, picture, scale, options["min-num-features"]) for picture in pictures]
    flat, free = _pairs(cv2, features, flat=True), _pairs(cv2, features, flat=False)
    mode = options["mode"]
    if mode == "auto":
        mode = "scans" if _inliers(flat) >= FLAT * _inliers(free) else "panorama"
    matches = flat if mode == "scans" else free
    kept = _largest(len(pictures), matches, options["confidence"])
    if len(kept) < 2:
        raise BadSurvey(
            "No two of the pictures fit together: they need to overlap by a quarter and more, with detail in what they share; "
            f"a confidence below {options['confidence']:g} would accept weaker pairs."
        )
    if len(kept) < len(pictures):
        features = [features[number] for number in kept]
        matches = _pairs(cv2, features, flat=mode == "scans")
    return Placed(
        mode=mode,
        kept=tuple(kept),
        cameras=tuple(_cameras(cv2, features, matches, mode, options)),
        scale=scale,
        pairs=tuple(
            (kept[match.src_img_idx], kept[match.dst_img_idx], int(match.num_inliers))
            for match in matches
            if match.src_img_idx < match.dst_img_idx and match.confidence >= options["confidence"]
        ),
    )


def scale_for(pictures: Sequence[Any], megapixels: float) -> float:
    """At most 1: the part of the side at which the largest picture has so many megapixels; 0: all."""
    most = max(picture.shape[0] * picture.shape[1] for picture in pictures)
    return min(1.0, float((megapixels * 1e6 / most) ** 0.5)) if megapixels else 1.0


def shrunk(picture: Any, scale: float) -> Any:
    cv2 = library("cv2", extra="survey")
    if scale == 1.0:
        return picture
    rows, columns = picture.shape[:2]
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _features(cv2: Any, picture: Any, scale: float, count: int) -> Any:
    return cv2.detail.computeImageFeatures2(cv2.SIFT_create(count), shrunk(picture, scale))


def _pairs(cv2: Any, features: Sequence[Any], *, flat: bool) -> list[Any]:
    """Each with each; cv2.detail.MatchesInfo, in a row for each picture."""
    cv2.setRNGSeed(0)
    if flat:
        matches = cv2.detail_AffineBestOf2NearestMatcher(False, False, 0.65).apply2(features)
    else:
        matches = cv2.detail_BestOf2NearestMatcher(False, 0.65).apply2(features)
    for match in matches:
        if match.confidence == 0 and match.num_inliers >= LEAST_INLIERS:  # OpenCV's way to leave out pairs that agree too well
            match.confidence = match.num_inliers / (8 + 0.3 * len(match.getMatches()))
    return list(matches)


def _inliers(matches: Sequence[Any]) -> int:
    return sum(int(match.num_inliers) for match in matches if match.confidence >= 1 and match.src_img_idx < match.dst_img_idx)


def _largest(count: int, matches: Sequence[Any], confidence: float) -> list[int]:
    """The pictures of the largest group that hangs together; of two as large, that with the first picture."""
    group = list(range(count))
    for match in matches:
        if match.confidence >= confidence and match.src_img_idx >= 0:
            one, other = group[match.src_img_idx], group[match.dst_img_idx]
            group = [min(one, other) if number in (one, other) else number for number in group]
    best = max(sorted(set(group)), key=group.count)
    return [number for number in range(count) if group[number] == best]


def _cameras(cv2: Any, features: Sequence[Any], matches: Sequence[Any], mode: str, options: dict[str, Any]) -> list[Any]:
    import numpy as np

    panorama = mode == "panorama"
    estimator = cv2.detail_HomographyBasedEstimator() if panorama else cv2.detail_AffineBasedEstimator()
    good, cameras = estimator.apply(features, matches, None)
    if not good:
        raise BadSurvey("The pictures match in pairs, but no place fits all of them: leave out those that were taken from elsewhere.")
    for camera in cameras:
        camera.R = camera.R.astype(np.float32)
    adjuster = cv2.detail_BundleAdjusterRay() if panorama else cv2.detail_BundleAdjusterAffinePartial()
    adjuster.setConfThresh(options["confidence"])
    good, cameras = adjuster.apply(features, matches, cameras)
    if not good or not all(np.isfinite(camera.R).all() and np.isfinite(camera.focal) for camera in cameras):
        other = "scans" if panorama else "panorama"
        raise BadSurvey(
            "The places of the pictures cannot be adjusted to each other: perhaps the camera was moved and not only turned; "
            f"try mode = {other}."
        )
    if panorama and options["wave-correction"]:
        turned = cv2.detail.waveCorrect([camera.R for camera in cameras], cv2.detail.WAVE_CORRECT_HORIZ)
        for camera, rotation in zip(cameras, turned, strict=True):
            camera.R = rotation
    return list(cameras)
