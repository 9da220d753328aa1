"""Where photos look."""

from __future__ import annotations

import numpy as np
import pytest
from clusterray.common.survey.footprint import footprint, looks, sight, within

from . import painted


def test_a_photo_from_above() -> None:
    """The ground that a photo shows lies in its footprint, as far as the lens bends, and nothing else does."""
    view = painted.view(0, (1.0, 2.0, 6.0), (1.0, 2.0, 0.0), up=(0, 1, 0))
    x, y = np.meshgrid(np.linspace(-4, 6, 60), np.linspace(-3, 7, 60))
    pixels, _ = view.project(np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1))
    shown = ((pixels > 0) & (pixels < (320, 240))).all(axis=1)
    assert (within(footprint(view, 0.0), x.ravel(), y.ravel()) == shown).mean() > 0.97


def test_on_a_roof_a_photo_shows_less() -> None:
    """At another height than that of the ground it was made for."""
    view = painted.view(0, (1.0, 2.0, 6.0), (1.0, 2.0, 0.0), up=(0, 1, 0))
    x, y = (values.ravel() for values in np.meshgrid(np.linspace(-4, 6, 60), np.linspace(-3, 7, 60)))
    for height in (-1.0, 2.0, 7.0):
        pixels, depth = view.project(np.stack([x, y, np.full(len(x), height)], axis=1))
        shown = ((pixels > 0) & (pixels < (320, 240))).all(axis=1) & (depth > 0)
        assert (looks(sight(view, 0.0), x, y, height) == shown).mean() > 0.97


@pytest.mark.parametrize("target", [(30.0, 0.0, 6.0), (0.0, 0.0, 12.0)])
def test_a_photo_of_the_horizon_or_the_sky_has_none(target: tuple[float, float, float]) -> None:
    view = painted.view(0, (0.1, 0.0, 6.0), target, up=(0, 1, 0.2))
    assert footprint(view, 0.0) == ()
    assert not within((), np.zeros(3), np.zeros(3)).any()
