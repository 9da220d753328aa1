"""Similarities between point sets."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clusterray.common.survey.similarity import (
    Similarity,
    fit,
    fit_level,
    fit_strip,
    identity,
    mean_rotation,
    nmad,
    robust,
    upright,
    weighted_median,
)

from .worlds import turned

MOVE = turned(2.5, 70, (10, -20, 30))


def cloud(count: int = 40, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(0, 10, (count, 3))


def same(one: Similarity, other: Similarity, within: float = 1e-9) -> bool:
    points = cloud(10, 5)
    return bool(np.abs(one.apply(points) - other.apply(points)).max() < within)


def test_exact() -> None:
    """What was moved by a similarity is found again, with weights or without."""
    points = cloud()
    assert same(fit(points, MOVE.apply(points), np.ones(40)), MOVE)
    assert same(fit(points, MOVE.apply(points), np.arange(1.0, 41)), MOVE)


def test_algebra() -> None:
    """One after another, back again, and a camera that moves with the world sees the same."""
    other = turned(0.3, -20, (1, 2, 3))
    points = cloud()
    assert np.allclose(other.after(MOVE).apply(points), other.apply(MOVE.apply(points)))
    assert same(MOVE.inverse().after(MOVE), identity())
    rotation, translation = turned(1, 33, (0, 0, 0)).rotation, np.array([1.0, 2, 3])
    turn, shift = MOVE.pose(rotation, translation)
    before, after = points @ rotation.T + translation, MOVE.apply(points) @ turn.T + shift
    assert np.allclose(after, MOVE.scale * before)


def test_never_mirrored() -> None:
    """A mirrored world is not answered by a mirror."""
    points = cloud()
    found = fit(points, points * [1, 1, -1], np.ones(40))
    assert np.linalg.det(found.rotation) == pytest.approx(1)


def test_wrong_points() -> None:
    """A third of the points in wrong places do not shift the rest, and are told apart by their distance."""
    points = cloud()
    target = MOVE.apply(points) + np.random.default_rng(1).normal(0, 0.01, points.shape)
    target[:13] += np.random.default_rng(2).normal(0, 50, (13, 3))
    found, off = robust(points, target)
    assert same(found, MOVE, 0.05)
    assert off[:13].min() > 10 * off[13:].max()


def test_same_every_time() -> None:
    """The random draws are the same in each run, to the last bit."""
    points = cloud()
    target = MOVE.apply(points) + cloud(seed=4) * 0.1
    first, second = robust(points, target), robust(points, target)
    assert (first[1] == second[1]).all()


def test_level() -> None:
    """Up stays up: turned about it alone, heights shifted by their median so that one of them may be anything."""
    points = cloud()
    c, s = np.cos(1.0), np.sin(1.0)
    move = Similarity(scale=3.0, rotation=np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]), translation=np.array([5.0, 6, 7]))
    target = move.apply(points)
    target[:15, 2] += 500
    found = fit_level(points, target, np.ones(40))
    assert same(found, move)
    assert found.rotation[2].tolist() == [0, 0, 1]


def test_strip() -> None:
    """Points in one line: the roll about it comes from the direction that was up, and the line from the points."""
    along = np.linspace(0, 100, 9)
    points = np.column_stack([along, 0 * along, 0 * along])
    up = np.array([0.05, 0.0, 1.0])  # leans along the line: the points know better
    move = Similarity(scale=2.0, rotation=upright(np.array([0.0, 0, 1]), np.array([1.0, 1, 0])), translation=np.array([1.0, 2, 3]))
    found = fit_strip(up)(points, move.apply(points), np.ones(9))
    assert same(found, move, 1e-6)


def test_two_points() -> None:
    """Two photos and their up are enough for a place."""
    points = np.array([[0.0, 0, 0], [10, 0, 0]])
    found, off = robust(points, points * 3 + [5, 5, 5], by=fit_strip(np.array([0.0, 0, 1])), sample=2)
    assert found.scale == pytest.approx(3)
    assert off.max() < 1e-9
    assert np.allclose(found.rotation, np.eye(3))


def test_mean_rotation() -> None:
    """One wrong of five does not turn the mean."""
    turn = turned(1, 50, (0, 0, 0)).rotation
    found = mean_rotation(np.array([turn, turn, turn, turn, np.diag([1.0, -1, -1])]))
    assert np.allclose(found, turn)


def test_medians() -> None:
    """A weight of three counts as three; the scatter of normal noise is its standard deviation."""
    assert weighted_median(np.array([1.0, 2, 10]), np.array([1.0, 1, 3])) == 10
    assert weighted_median(np.array([1.0, 2, 3, 4]), np.ones(4)) == 2.5
    assert nmad(np.random.default_rng(0).normal(5, 2, 20000)) == pytest.approx(2, rel=0.03)
    assert nmad(np.zeros(0)) == 0


def test_upright() -> None:
    """Up becomes z, ahead y, also where ahead is straight up."""
    turn = upright(np.array([0, 0.6, 0.8]), np.array([0, 1.0, 0]))
    assert np.allclose(turn @ [0, 0.6, 0.8], [0, 0, 1])
    assert (turn @ [0, 1.0, 0])[1] > 0
    turn = upright(np.array([0, 0, 2.0]), np.array([0, 0, 1.0]))
    assert np.allclose(turn @ turn.T, np.eye(3))
    assert np.linalg.det(turn) == pytest.approx(1)
