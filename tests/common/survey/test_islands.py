"""How photos hang together."""

from __future__ import annotations

import numpy as np
from clusterray.common.survey.islands import islands, listed, told
from clusterray.common.survey.matching import joined
from clusterray.common.survey.records import Matches

NAMES = {number: f"{number}.jpg" for number in range(20)}


def ties(*pairs: tuple[int, int]) -> Matches:
    return joined([(pair, np.zeros((15, 2), np.uint32), 2) for pair in pairs])


def test_photos_that_hang_together_are_one_island() -> None:
    """Nothing is to be told of it."""
    groups = islands(ties((0, 1), (2, 3), (1, 3)), range(4))
    assert groups == [[0, 1, 2, 3]] and told(groups, NAMES) == []


def test_islands_are_told_with_their_photos() -> None:
    """The largest first; photos that match nothing apart from them."""
    groups = islands(ties((5, 6), (0, 2), (2, 3)), range(8))
    assert groups == [[0, 2, 3], [5, 6], [1], [4], [7]]
    first, second = told(groups, NAMES)
    assert "2 islands" in first and "3 photos: 0.jpg, 2.jpg, 3.jpg" in first and "2 photos: 5.jpg, 6.jpg" in first
    assert "3 photos" in second and "1.jpg, 4.jpg, 7.jpg" in second


def test_of_many_names_the_first_are_said() -> None:
    """And how many more."""
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(number) for number in range(20)]) == "0, 1, 2, 3, 4, 5, 6, 7 and 12 more"
