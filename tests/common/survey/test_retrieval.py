"""Photos that look alike."""

from __future__ import annotations

import numpy as np
from clusterray.common.survey import retrieval

from .described import features, straight


def test_photos_of_the_same_place_are_found() -> None:
    """A walk of 30 photos in no order: nine of ten of the pairs that overlap most are among the first 8 of each; twice the same."""
    survey = straight(30, points=1500)
    order = np.random.default_rng(1).permutation(30).tolist()
    held = [features(survey, number).descriptors for number in order]
    found = retrieval.similar(range(30), range(30), held.__getitem__, count=8)
    close = {(first, second) for first in range(30) for second in range(30) if abs(order[first] - order[second]) in (1, 2)}
    assert len(close & set(found)) > 0.9 * len(close)
    assert len(found) == 30 * 8 and not any(first == second for first, second in found)
    assert retrieval.similar(range(30), range(30), held.__getitem__, count=8) == found


def test_only_those_asked_for_are_looked_up() -> None:
    """And a photo without any feature does no harm."""
    survey = straight(6)
    empty = np.zeros((0, 128), np.uint8)
    found = retrieval.similar(range(6), [2, 4], lambda number: empty if number == 4 else features(survey, number).descriptors, count=3)
    assert [first for first, _ in found] == [2, 2, 2, 4, 4, 4]
