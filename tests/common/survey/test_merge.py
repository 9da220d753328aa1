"""Joining submodels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from clusterray.common.survey import colmap
from clusterray.common.survey.merge import Submodel, join, link, submodel
from clusterray.common.survey.records import Block, load
from clusterray.common.survey.similarity import Similarity, fit

from .worlds import Survey, flight, put, turned


def models(
    survey: Survey, folder: Path, blocks: Mapping[str, tuple[Sequence[int], Sequence[int]]], frames: Mapping[str, Similarity], **more: Any
) -> list[Submodel]:
    stages = put(survey, folder, blocks, frames, **more) / "stages"
    made = load(stages / "calibration" / "blocks.json", tuple[Block, ...])
    return [submodel(block, colmap.read_model(stages / "mapping" / block.name)) for block in made]


def shape(rotations: Mapping[int, Any], translations: Mapping[int, Any]) -> Any:
    """(n, 3) centres by number."""
    return np.array([-rotations[number].T @ translations[number] for number in sorted(rotations)])


FOUR = {
    "a": (range(5), range(7)),
    "b": (range(5, 10), range(3, 12)),
    "c": (range(10, 15), range(8, 17)),
    "d": (range(15, 20), range(13, 20)),
}
FRAMES = {"a": turned(1, 0, (0, 0, 0)), "b": turned(9, 100, (5, 5, 5)), "c": turned(0.2, -50, (1, 0, 3)), "d": turned(30, 179, (0, 9, 0))}


def test_chain(tmp_path: Path) -> None:
    """Four blocks of four scales, each with two neighbours at most, come together as they were, to the centimetre of their noise."""
    survey = flight()
    joined = join(models(survey, tmp_path, FOUR, FRAMES))
    assert joined.left_out == ()
    assert sorted(joined.rotations) == list(range(20))
    found = shape(joined.rotations, joined.translations)
    off = fit(found, survey.centres, np.ones(20)).apply(found) - survey.centres
    assert np.abs(off).max() < 0.08


def test_core_tells_the_pose(tmp_path: Path) -> None:
    """A photo that two blocks placed has the pose of the block whose core it is in."""
    blocks = models(flight(), tmp_path, FOUR, FRAMES)
    joined = join(blocks)
    for block in blocks:
        for number in block.block.core:
            turn, shift = joined.moves[block.name].pose(block.rotations[number], block.translations[number])
            assert np.allclose(turn, joined.rotations[number])
            assert np.allclose(shift, joined.translations[number])


def test_photo_that_its_own_block_lost(tmp_path: Path) -> None:
    """A photo that only the neighbour placed has the neighbour's pose."""
    blocks = {**FOUR, "c": ([*range(10, 15), 18], range(8, 17)), "d": ([15, 16, 17, 19], range(13, 20))}
    joined = join(models(flight(), tmp_path, blocks, FRAMES))
    assert 18 in joined.rotations


def test_too_few_shared_photos(tmp_path: Path) -> None:
    """Two shared photos are too few; the sentence says how many are needed."""
    blocks = {"a": (range(10), range(12)), "b": (range(10, 20), range(10, 20))}
    joined = join(models(flight(), tmp_path, blocks, {}))
    assert joined.left_out == (("b", "Submodel b does not fit its neighbour a: they share 2 photos, 3 are needed."),)
    assert len(joined.rotations) == 12


def test_no_shared_photo(tmp_path: Path) -> None:
    """A block that shares nothing is named."""
    blocks = {"a": (range(12), range(12)), "b": (range(12, 20), range(12, 20))}
    assert join(models(flight(), tmp_path, blocks, {})).left_out == (("b", "Submodel b shares no photo with the others."),)


def test_ground_that_does_not_fit(tmp_path: Path) -> None:
    """Where the ground is bent against the neighbour's, the cameras alone do not prove that it fits."""
    blocks = models(flight(), tmp_path, {"a": (range(10), range(13)), "b": (range(10, 20), range(7, 20))}, {}, bend={"b": 6.0})
    found = link(*blocks)
    assert found is not None and found.move is None
    assert "ground scatters" in found.why


def test_another_scale_of_the_ground(tmp_path: Path) -> None:
    """A block whose ground is of another size than its cameras tell is not stretched until it seems to fit."""
    survey = flight()
    first, second = models(survey, tmp_path, {"a": (range(10), range(13)), "b": (range(10, 20), range(7, 20))}, {})
    low = second.points.copy()
    low[:, 0] *= 1.12
    low[:, 1] *= 1.12
    found = link(first, Submodel(**{**vars(second), "points": low}))
    assert found is not None and found.move is None
    assert "cameras tell a scale" in found.why


def test_wrong_matches(tmp_path: Path) -> None:
    """A fifth of the shared points being wrong changes nothing."""
    first, second = models(flight(), tmp_path, {"a": (range(10), range(13)), "b": (range(10, 20), range(7, 20))}, {})
    good = link(first, second)
    points = second.points.copy()
    points[::5] += np.random.default_rng(0).normal(0, 20, points[::5].shape)
    found = link(first, Submodel(**{**vars(second), "points": points}))
    assert good is not None and found is not None and good.move is not None and found.move is not None
    assert np.abs(found.move.apply(second.points) - good.move.apply(second.points)).max() < 0.05
