"""Rectangles on pages."""

from __future__ import annotations

import numpy as np
from clusterray.common.survey.atlas_packing import EVEN, pack, pack_small
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = st.lists(st.tuples(st.integers(1, 200), st.integers(1, 200)), max_size=60).map(lambda rows: np.array(rows, np.int64).reshape(-1, 2))


@given(SIZES)
@settings(max_examples=60, deadline=None)
def test_nothing_overlaps(sizes: np.ndarray) -> None:
    """Each rectangle lies whole on a page, and no two share a texel."""
    found = pack_small(sizes, 256, 60)
    assert found is not None
    pages = [np.zeros((height, width), int) for width, height in found.pages]
    for (page, left, top), (width, height) in zip(found.places, sizes, strict=True):
        assert left + width <= found.pages[page][0]
        assert top + height <= found.pages[page][1]
        pages[page][top : top + height, left : left + width] += 1
    assert all(page.max(initial=0) <= 1 for page in pages)
    assert all(width <= 256 and height <= 256 and height % EVEN == 0 for width, height in found.pages)


def test_what_does_not_fit_is_refused() -> None:
    """Too large, or too many: None, so that the caller scales down."""
    assert pack(np.array([[257, 4]]), 256, 9) is None
    assert pack(np.array([[256, 256]] * 3), 256, 2) is None
    assert pack(np.array([[256, 256]] * 3), 256, 3) is not None


def test_little_room_is_lost() -> None:
    """Of a full page, most is used."""
    generator = np.random.default_rng(3)
    sizes = generator.integers(10, 120, (420, 2))
    found = pack(sizes, 1024, 8)
    assert found is not None
    used = (sizes[:, 0] * sizes[:, 1]).sum() / sum(width * height for width, height in found.pages)
    assert used > 0.85
