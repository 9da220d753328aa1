"""Which photos calibrate."""

from __future__ import annotations

import msgspec
from clusterray.common.survey.records import Photo
from clusterray.common.survey.seed import SIZE, seeds

from .test_pairs import grid, photos
from .test_submodels import near

PLACES = grid(12, 8, 20, 20)


def shot(*cameras: str) -> list[Photo]:
    return [msgspec.structs.replace(photo, camera=cameras[photo.number % len(cameras)]) for photo in photos(PLACES)]


def test_few_photos_calibrate_all_together() -> None:
    """Up to a seed's size."""
    assert seeds(shot("a")[:20], near(PLACES[:20], 45)) == [list(range(20))]


def test_a_seed_is_a_close_neighbourhood() -> None:
    """28 of 96 photos, none more than 7 steps from another in a field of 12 x 8."""
    (seed,) = seeds(shot("a"), near(PLACES, 45))
    assert len(seed) == SIZE and seed == sorted(set(seed))
    assert max(abs(a % 12 - b % 12) for a in seed for b in seed) <= 7


def test_each_camera_is_seen_in_a_seed() -> None:
    """Two that take turns share one; a third with photos apart has its own; one with two photos has none."""
    mixed = shot("a", "b")
    mixed = [msgspec.structs.replace(one, camera="c") if one.number % 12 > 7 else one for one in mixed]
    mixed[0], mixed[1] = (msgspec.structs.replace(one, camera="rare") for one in mixed[:2])
    found = seeds(mixed, near(PLACES, 45))
    seen = [[mixed[number].camera for number in seed] for seed in found]
    for camera in "abc":
        assert max(cameras.count(camera) for cameras in seen) >= SIZE // 2 or sum(cameras.count(camera) for cameras in seen) >= SIZE // 2
    assert len(found) <= 3
