"""The model on the map, by what GPS says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clusterray.common.survey.georeference import Placement, by_gps, looks_at_surface, looks_down, up_of, without_gps
from clusterray.common.survey.records import Photo
from clusterray.common.survey.similarity import Similarity

from .worlds import Survey, down, flight, turned

FRAME = turned(0.05, 130, (4, 5, 6)).inverse()
"""Metres -> a model's own frame"""


def model(survey: Survey, frame: Similarity = FRAME) -> tuple[Any, Any]:
    """Rotations and centres in a frame of its own."""
    poses = [frame.pose(turn, -turn @ centre) for turn, centre in zip(survey.rotations, survey.centres, strict=True)]
    return np.array([turn for turn, _ in poses]), frame.apply(survey.centres)


def place(survey: Survey, gps: Any, sigma: float = 3.0, angles: Any = None) -> tuple[Placement, Any]:
    """And how far cameras come to lie from where they were, (n, 3)."""
    rotations, centres = model(survey)
    count = len(centres)
    plain = {"width": 8, "height": 6, "camera": "c", "focal": 7, "focal_known": True}
    photos = {n: Photo(number=n, name=f"{n}", angles=angles and angles[n], **plain) for n in range(count)}
    known = {n: gps[n] for n in range(count) if np.isfinite(gps[n]).all()}
    found = by_gps(range(count), rotations, centres, photos, known, dict.fromkeys(range(count), (sigma, sigma)))
    return found, found.move.apply(centres) - survey.centres


def noisy(survey: Survey, sigma: float, seed: int = 0) -> Any:
    return survey.centres + np.random.default_rng(seed).normal(0, sigma, survey.centres.shape)


def test_good_gps() -> None:
    """A block with GPS good to 1 m comes to lie where it was, and every photo's GPS may pull."""
    survey = flight()
    found, off = place(survey, noisy(survey, 1.0))
    assert found.by == "gps"
    assert len(found.trusted) == 20
    assert np.abs(off.mean(axis=0)).max() < 0.8
    assert found.notes == ()


def test_one_photo_astray() -> None:
    """One photo with GPS in the wrong place is named with its distance and moves nothing."""
    survey = flight()
    gps = noisy(survey, 0.3)
    gps[7] += [150, -200, 0]
    found, off = place(survey, gps)
    assert [(number, round(distance, -1)) for number, distance in found.wrong] == [(7, 250.0)]
    assert 7 not in found.trusted
    assert np.abs(off).max() < 1


def test_bad_gps() -> None:
    """GPS that would tip the model over places it and does not level it, and that is said (caliterra: 17 m, altitude drifting by 114 m)."""
    survey = flight(lines=5, each=8)
    gps = noisy(survey, 12.0)
    gps[:, 2] += np.linspace(0, 114, len(gps))
    found, off = place(survey, gps)
    assert found.by == "level"
    assert found.trusted == ()
    assert "too bad to level" in found.notes[0]
    assert np.ptp(off[:, 2]) < 6  # level to a few degrees over 90 m
    assert np.abs(off[:, :2].mean(axis=0)).max() < 6


def test_gps_that_only_scatters() -> None:
    """GPS that is off by 20 m here and there does not decide how the ground leans, though it would not tip it over."""
    survey = flight(lines=8, each=10)
    found, off = place(survey, noisy(survey, 20.0))
    assert found.by == "level"
    assert np.ptp(off[:, 2]) < 6


def test_bad_gps_of_a_flight_that_climbs() -> None:
    """Where it was not flown at one height, the way the cameras were held tells the level."""
    survey = flight(lines=5, each=8, tilt=1.0)
    survey.centres[:, 2] += 25 * np.sin(np.arange(40) * 2.1)
    gps = noisy(survey, 14.0)
    gps[:, 2] += np.linspace(0, 114, len(gps))
    found, _ = place(survey, gps)
    assert found.by == "level"
    assert "held" in found.notes[0]
    _, rotations = np.eye(3), np.array([turn @ found.move.rotation.T for turn in model(survey)[0]])
    assert np.degrees(np.arccos(-rotations[:, 2, 2].mean())) < 3


def test_strip() -> None:
    """One line of photos: the ground does not lean, though GPS cannot tell; and it is said."""
    survey = flight(lines=1, each=9, tilt=1.0)
    found, off = place(survey, noisy(survey, 0.5))
    assert found.by == "gps"
    assert "one line" in found.notes[0]
    assert np.abs(off).max() < 2
    up = found.move.rotation @ FRAME.rotation[:, 2]
    assert np.degrees(np.arccos(up[2])) < 3
    assert found.trusted == ()


def test_strip_with_angles() -> None:
    """A line of photos that look 30 degrees ahead: the photos' own angles tell the level."""
    survey = flight(lines=1, each=9, tilt=0.0)
    pitched = [down(0.4, np.radians(30)) for _ in survey.centres]
    survey.rotations[:] = pitched
    assert survey.rotations[0][2] @ [0, 0, -1] == pytest.approx(np.cos(np.radians(30)))
    found, _ = place(survey, noisy(survey, 0.2), angles=[(23.0, 30.0, 0.0)] * 9)
    up = found.move.rotation @ FRAME.rotation[:, 2]
    assert np.degrees(np.arccos(up[2])) < 2
    assert "own angles" in found.notes[0]


def test_two_photos() -> None:
    """Two photos have a place, a direction and a size; one has none."""
    survey = flight(lines=1, each=2, tilt=1.0)
    found, off = place(survey, survey.centres)
    assert found.by == "gps"
    assert np.abs(off).max() < 0.2
    gps = survey.centres.copy()
    gps[1] = np.nan
    assert place(survey, gps)[0].by == "none"


def test_up() -> None:
    """Up is found for cameras that look down, that look all around at an object, and that lean one way; and whether it is sure."""
    photos = [Photo(number=0, name="a", width=8, height=6, camera="c", focal=7, focal_known=True)] * 12
    above = np.array([down(0.5 * n) for n in range(12)])
    up, sure = up_of(above, photos)
    assert sure and up @ [0, 0, 1] > 0.999
    around = []
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        look = np.array([np.cos(angle), np.sin(angle), -0.5])
        look /= np.linalg.norm(look)
        right = np.cross(look, [0, 0, 1])
        right /= np.linalg.norm(right)
        around.append(np.stack([right, np.cross(look, right), look]))
    up, sure = up_of(np.array(around), photos)
    assert sure and up @ [0, 0, 1] > 0.999


def test_without_gps() -> None:
    """A model without a place stands upright, around 0, and its cameras are 1 away; a surface seen from above is known as one."""
    survey = flight()
    rotations, centres = model(survey)
    points = FRAME.apply(survey.points)
    move, above = without_gps(rotations, centres, points, [])
    assert above
    assert np.median(np.linalg.norm(move.apply(centres), axis=1)) == pytest.approx(1)
    assert np.abs(np.median(move.apply(points), axis=0)).max() < 0.05
    up = move.rotation @ FRAME.rotation[:, 2]
    assert np.degrees(np.arccos(up[2])) < 3


def test_object() -> None:
    """Photos from all around are no surface from above; nor are walls."""
    rng = np.random.default_rng(0)
    ball = rng.normal(0, 1, (500, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    centres, rotations = [], []
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        look = -np.array([np.cos(angle), np.sin(angle), 0.3])
        centres.append(-4 * look)
        look /= np.linalg.norm(look)
        right = np.cross(look, [0, 0, 1])
        right /= np.linalg.norm(right)
        rotations.append(np.stack([right, np.cross(look, right), look]))
    assert not looks_at_surface(np.array(rotations), np.array(centres), ball)
    assert not looks_down(np.array(rotations))
    assert looks_down(flight().rotations)
