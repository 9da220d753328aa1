"""What is told of quality."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey import colmap, residuals
from clusterray.common.survey.merge import join
from clusterray.common.survey.similarity import Similarity, identity

from .test_merge import models
from .worlds import flight, put

BLOCKS = {"a": (range(10), range(13)), "b": (range(10, 20), range(7, 20))}


def test_step_of_the_ground(tmp_path: Path) -> None:
    """Two blocks whose ground differs by half a metre: told as such before, in GSD too, and gone where both see from the same cameras."""
    survey = flight()
    two = {model.name: model for model in models(survey, tmp_path / "two", BLOCKS, {})}
    joined = join(list(two.values()))
    one = colmap.read_model(put(survey, tmp_path / "one") / "stages" / "mapping" / "all")
    rays = residuals.Rays(model=one, features=tmp_path / "one" / "stages" / "features")
    step = Similarity(scale=1.0, rotation=np.eye(3), translation=np.array([0, 0, -0.5]))
    gsd = residuals.ground_sampling(one)
    assert gsd == pytest.approx(60 / 700, rel=0.05)
    told = residuals.between(joined.links[0], two, {"a": identity(), "b": step}, rays, gsd)
    assert told["before"]["ground"]["median"] == pytest.approx(0.5, abs=0.01)
    assert told["before"]["ground"]["median_gsd"] == pytest.approx(0.5 / gsd, rel=0.05)
    assert told["before"]["cameras"]["median"] == pytest.approx(0.5, abs=0.02)
    assert abs(told["after"]["ground"]["median"]) < 0.02
    assert told["seam"]["ground"]["count"] > 50
    assert abs(told["seam"]["ground"]["median"]) < 0.03


def test_rays_meet() -> None:
    """A point is where its rays meet, each owner by itself; one ray, or rays side by side, tell none."""
    point = np.array([1.0, 2, 3])
    at = np.array([[0.0, 0, 10], [5, 0, 10], [0, 5, 10], [0, 0, 0], [0, 0, 0], [1, 0, 0]])
    sights = point - at
    sights[4:] = [0, 0, 1]
    sights /= np.linalg.norm(sights, axis=1, keepdims=True)
    found = residuals.nearest(at, sights, np.array([0, 0, 0, 1, 2, 2]), 3)
    assert np.allclose(found[0], point)
    assert np.isnan(found[1:]).all()


def test_numbers_and_words() -> None:
    """RMSE for each axis; per cent from EXIF; long lists are cut, and say so."""
    assert residuals.rmse(np.array([[3.0, 0, 1], [3, 0, -1]])) == [3, 0, 1]
    assert residuals.rmse(np.zeros((0, 3))) is None
    assert residuals.focal_change(1050, 1000) == 5
    assert residuals.focal_change(1050, 0) is None
    assert residuals.names(["a", "b"]) == "a, b"
    assert residuals.names(list("abcdefg")) == "a, b, c, d, e and 2 others"
