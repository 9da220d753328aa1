"""The same points in two photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey import matching
from clusterray.common.survey.records import load_matches

from .described import elsewhere, facts, features, job, put, straight, truth, words
from .worlds import flight


def test_nearest_either_way_by_a_margin() -> None:
    """Against a plain search over all, of which it is a faster form: the same rows, the same ratios."""
    rng = np.random.default_rng(0)
    twins = np.concatenate([words(300, 1) + rng.normal(0, 8, (300, 128)), words(300, 1)[:60] + rng.normal(0, 18, (60, 128))])
    first = np.clip(twins, 0, 255).round().astype(np.uint8)  # 60 have two that are like them, one more so
    second = np.clip(words(400, 1)[::-1] + rng.normal(0, 8, (400, 128)), 0, 255).round().astype(np.uint8)
    rows, ratios = matching.alike(first, second)
    distances = np.linalg.norm(first.astype(float)[:, None] - second.astype(float)[None], axis=2)
    expected = []
    for a in range(360):
        b = int(distances[a].argmin())
        forward, back = np.sort(distances[a])[:2], np.sort(distances[:, b])[:2]
        near = 2 * np.sin(matching.FARTHEST / 2) * 512
        part = max(forward[0] / forward[1], back[0] / back[1])
        if distances[:, b].argmin() == a and part < matching.LOOSE and forward[0] < near:
            expected.append((a, b, part))
    assert rows.tolist() == [[a, b] for a, b, _ in expected] and len(rows) > 250
    assert ratios == pytest.approx([part for _, _, part in expected], abs=1e-5)


@pytest.mark.parametrize("known", [True, False])
def test_what_two_photos_show_alike_is_found(known: bool) -> None:
    """Nine tenths of the points that both show, and next to nothing else; with a focal length that is known and one that is not."""
    survey = flight(points=600)
    lens = matching.plain(800, 600, 700.0, known)
    rows, configuration = matching.match(lens, features(survey, 6), lens, features(survey, 7))
    expected = {(a, b) for a, b in truth(elsewhere(survey, (6, 7))).of(0).tolist()}
    right = expected & {(a, b) for a, b in rows.tolist()}
    assert len(right) > 0.9 * len(expected) and len(right) > 0.98 * len(rows)
    assert configuration in (2, 3, 4, 6)


def test_photos_of_different_places_are_no_pair() -> None:
    """Not one of 9 pairs with nothing in common; what descriptors have in common by chance is taken out."""
    one, other = straight(3), straight(3)
    lens = matching.plain(800, 600, 700.0, True)
    ours = [features(one, number, strange=600) for number in range(3)]
    for theirs in (features(other, number, seed=99, strange=600) for number in range(3)):
        assert all(len(matching.match(lens, own, lens, theirs)[0]) == 0 for own in ours)


def test_matches_by_chance_are_no_pair() -> None:
    """Points that are matched at random: of 150 a few more than 15 lie on some geometry, which is too few."""
    survey = straight(2)
    first, second = features(survey, 0), features(survey, 1)
    lens = matching.plain(800, 600, 700.0, True)
    rng = np.random.default_rng(4)
    for _ in range(5):
        rows = np.stack([rng.permutation(len(first.points))[:150], rng.permutation(len(second.points))[:150]], axis=1).astype(np.uint32)
        assert len(matching.verified(lens, first, lens, second, rows)[0]) == 0


def test_wrong_matches_are_taken_out_by_geometry() -> None:
    """A third of the descriptors belong to other points."""
    survey = straight(2)
    first, second = features(survey, 0), features(survey, 1)
    rows = truth(survey).of(0).copy()
    wrong = np.arange(0, len(rows), 3)
    rows[wrong, 1] = np.roll(rows[wrong, 1], 7)
    lens = matching.plain(800, 600, 700.0, True)
    kept, _ = matching.verified(lens, first, lens, second, rows)
    good = {(a, b) for a, b in np.delete(rows, wrong, axis=0).tolist()}
    assert len(good & {(a, b) for a, b in kept.tolist()}) > 0.97 * len(good)
    assert len(kept) < len(good) + 0.1 * len(wrong)


def test_a_job_is_the_same_each_time(tmp_path: Path) -> None:
    """Pairs in any order; a photo without features is no error."""
    survey = straight(4)
    photos = put(tmp_path, survey, matched=False)
    (tmp_path / "stages/features/00003.npz").unlink()
    from clusterray.common.survey.records import Features, save_features

    none = Features(points=np.zeros((0, 2), np.float32), scales=np.zeros(0, np.float32), descriptors=np.zeros((0, 128), np.uint8),
                    colors=np.zeros((0, 3), np.uint8))  # fmt: skip
    save_features(none, tmp_path / "stages/features/00003.npz")
    made = []
    for turn, pairs in enumerate(([[0, 1], [1, 2], [2, 3]], [[2, 3], [0, 1], [1, 2]])):
        matching.run(job(tmp_path, tmp_path / f"{turn}", {"pairs": pairs, "photos": facts(photos)}))
        made.append((tmp_path / f"{turn}/out" / matching.OUTPUT).read_bytes())
    assert made[0] == made[1]
    assert load_matches(made[0]).pairs.tolist() == [[0, 1], [1, 2]]
