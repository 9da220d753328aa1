"""Seams: which photo is taken where, how two are blended, how brightness is evened out, how a seam is judged."""

from __future__ import annotations

import numpy as np
import pytest
from clusterray.common.survey import seams
from clusterray.common.survey.scene import Scene

from . import built, painted


def test_the_photo_that_looks_straight_down_wins() -> None:
    here, there = (painted.view(n, (x, 0, 6), (x, 0, 0), up=(0, 1, 0)) for n, x in enumerate((0.0, 1.0)))
    x, zero = np.array([0.1, 0.9]), np.zeros(2)
    one, other = (seams.score(view, x, zero, zero, zero - 1, 0.02)[0] for view in (here, there))
    assert one[0] > other[0] and one[1] < other[1]


def test_what_is_hidden_is_taken_only_where_nothing_is_better() -> None:
    view = painted.view(0, (0, 0, 6), (0, 0, 0), up=(0, 1, 0))
    zero = np.zeros(3)
    scores, _, _ = seams.score(view, zero, zero, zero, np.array([-1.0, 0.4, 2.0]), 0.02)
    assert scores[0] > scores[1] > scores[2] and np.isfinite(scores).all()


def test_outside_of_the_picture_a_photo_has_no_score() -> None:
    view = painted.view(0, (0, 0, 6), (0, 0, 0), up=(0, 1, 0))
    scores, _, _ = seams.score(view, np.array([0.0, 9.0]), np.zeros(2), np.zeros(2), np.full(2, -1.0), 0.02)
    assert np.isfinite(scores[0]) and np.isneginf(scores[1])


def test_a_photo_from_far_away_gives_way_to_a_fine_one() -> None:
    """One overview from high above does not blur what low photos show."""
    low, high = painted.view(0, (1, 0, 6), (1, 0, 0), up=(0, 1, 0)), painted.view(1, (0, 0, 24), (0, 0, 0), up=(0, 1, 0))
    zero = np.zeros(1)
    one, other = (seams.score(view, zero, zero, zero, zero - 1, 6 / 280)[0] for view in (low, high))
    assert one > other


def test_shares_fade_over_the_seam_and_are_one_elsewhere() -> None:
    scores = np.array([0.0, -0.05, -0.1, -0.3, -np.inf])
    assert seams.weights(scores, np.zeros(5), 0.1).tolist() == pytest.approx([1.0, 0.5, 0.0, 0.0, 0.0])


def survey(gains: dict[int, float]) -> tuple[Scene, dict[int, np.ndarray]]:
    """Sparse points with the mean colours of photos that are brighter or darker."""
    points, tracks = built.sparse(built.SIX)
    taken = {view.number: painted.photograph(view, 1) * gains.get(view.number, 1.0) for view in built.SIX}
    pictures = {number: np.clip(picture, 0, 255).astype(np.uint8) for number, picture in taken.items()}
    colours = []
    for point, track in zip(points, tracks, strict=True):
        seen = []
        for number in track:
            ((u, v),) = built.SIX[number].project(point[None])[0]
            seen.append(pictures[number][int(v), int(u)])
        colours.append(np.mean(seen, axis=0))
    scene = Scene(
        frame=built.HERE, views=built.SIX, points=points, colors=np.array(colours).round().astype(np.uint8),
        errors=np.zeros(len(points)), tracks=tuple(np.array(track, np.int32) for track in tracks),
    )  # fmt: skip
    return scene, pictures


def tones(gains: dict[int, float]) -> dict[int, seams.Tone]:
    scene, pictures = survey(gains)
    mine = {n: np.array([row for row, track in enumerate(scene.tracks) if n in track]) for n in pictures}
    return {view.number: seams.tone(scene, mine[view.number], view, pictures[view.number]) for view in built.SIX}


def test_a_dark_photo_is_brought_to_its_neighbours() -> None:
    """Photo 1 is 25 % darker: after evening out the difference is less than a third of that."""
    found = tones({1: 0.75})
    ratio = 0.75 * np.mean(found[1].gain) / np.mean([np.mean(found[n].gain) for n in (0, 2, 4)])
    assert 0.92 < ratio < 1.0


def test_photos_that_agree_stay_as_they_are() -> None:
    for tone in tones({}).values():
        assert np.allclose(tone.gain, 1.0, atol=0.03)


def test_a_photo_without_points_keeps_its_colours() -> None:
    scene, pictures = survey({})
    assert seams.tone(scene, np.zeros(0, np.int64), built.SIX[0], pictures[0]) == seams.Tone()


def test_a_shift_between_two_photos_is_measured() -> None:
    random = np.random.default_rng(5)
    from scipy.ndimage import gaussian_filter, shift

    texture = gaussian_filter(random.uniform(0, 255, (80, 80)), 1.5) * 6
    moved = shift(texture, (0.0, 1.5), order=3)
    part = slice(8, 8 + seams.PATCH)
    told = seams.compare(texture[part, part].astype(np.float32), (moved[part, part] + 5).astype(np.float32))
    assert told is not None
    assert told[0] == pytest.approx(1.5, abs=0.3)
    assert told[1] == pytest.approx(5, abs=1.5)


def test_bare_ground_says_nothing_about_shifts() -> None:
    flat = np.full((seams.PATCH, seams.PATCH), 90, np.float32)
    assert seams.compare(flat, flat) is None


def test_places_to_compare_lie_on_seams_and_apart() -> None:
    label = np.zeros((300, 300), np.int32)
    label[:, 140:] = 7
    upright, flat = seams.places(label, 0, 0), seams.places(label.T.copy(), 0, 0)
    assert len(upright) == len(flat) == 5
    assert all(column == 139 and pair == [0, 7] for _, column, *pair in upright)
    assert all(row == 139 for row, *_ in flat)
    assert len({row // seams.PATCH for row, *_ in upright}) == len(upright)
