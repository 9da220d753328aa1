"""Stage ``matching``: pairs chosen, compared, joined, told."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from clusterray.common.errors import OutputRejected, SplitFailed
from clusterray.common.kinds.survey.matching import Matching
from clusterray.common.survey.matching import joined
from clusterray.common.survey.records import Photos, load, load_matches, save, save_matches
from clusterray.common.survey.seal import seal
from clusterray.common.testing_kinds import PlainFiles, check_lost, check_refusals

from ...survey.described import elsewhere, put, straight, truth
from .rounds import rehearsal, through

STAGE = Matching()


def report(folder: Path) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode((folder / "stages/matching/report.json").read_bytes())
    return found


def test_a_survey_is_matched_in_several_jobs(tmp_path: Path) -> None:
    """12 photos: all true pairs with most of their matches; damage is refused, loss is named, order does not matter."""
    survey = straight(12)
    put(tmp_path / "task", survey, matched=False)
    round_, pieces = through(STAGE, tmp_path / "task", tmp_path / "work")
    assert len(pieces) == 3
    found, expected = load_matches(tmp_path / "task/stages/matching/matches.npz"), truth(survey)
    sizes = {(a, b): len(found.of(index)) for index, (a, b) in enumerate(found.pairs.tolist())}
    for index, (a, b) in enumerate(expected.pairs.tolist()):
        if len(expected.of(index)) >= 30:
            assert sizes[a, b] > 0.85 * len(expected.of(index))
    assert report(tmp_path / "task")["notes"] == [] and len(report(tmp_path / "task")["islands"]) == 1  # type: ignore[arg-type]
    assert round_.stitch(pieces[::-1], "turned") == round_.stitch(pieces, "again")
    check_refusals(round_, pieces[1].region, pieces[1].files)
    check_lost(round_, pieces)


def test_a_corrected_position_does_not_change_the_jobs(tmp_path: Path) -> None:
    """Another altitude, a time, a group: the same regions, so that nothing is matched anew; another size: others."""
    photos = put(tmp_path / "task", straight(6), matched=False)
    before = rehearsal(STAGE, tmp_path / "task", tmp_path / "one").split()
    replace = msgspec.structs.replace
    other = Photos(photos=tuple(replace(one, taken=float(one.number), group="g") for one in photos.photos), notes=("a note",))
    save(other, tmp_path / "task/stages/features/photos.json")
    assert rehearsal(STAGE, tmp_path / "task", tmp_path / "two").split() == before
    save(Photos(photos=tuple(replace(one, focal=690.0) for one in photos.photos)), tmp_path / "task/stages/features/photos.json")
    assert rehearsal(STAGE, tmp_path / "task", tmp_path / "three").split() != before
    assert "stages/features/photos.json" not in before[0].needs


def test_two_islands_are_told(tmp_path: Path) -> None:
    """4 photos of one place, 3 of another, one of a third: all are named."""
    survey, other, third = straight(4), straight(3), elsewhere(straight(2), [1])
    put(tmp_path / "task", survey, other, third, matched=False)
    through(STAGE, tmp_path / "task", tmp_path / "work")
    first, second = report(tmp_path / "task")["notes"]  # type: ignore[misc]
    assert "2 islands" in first and "images/000.jpg" in first and "images/006.jpg" in first
    assert "images/007.jpg" in second and "cannot be used" in second


def test_photos_that_do_not_overlap_fail_with_a_sentence(tmp_path: Path) -> None:
    """It says how much overlap is needed."""
    put(tmp_path / "task", elsewhere(straight(1), [0]), elsewhere(straight(2), [1]), matched=False)
    with pytest.raises(SplitFailed, match=r"do not overlap: no two of the 2 .*70 %"):
        through(STAGE, tmp_path / "task", tmp_path / "work")


def test_matches_that_were_not_asked_for_are_refused(tmp_path: Path) -> None:
    """Whole and well-formed, of other pairs; with too few rows."""
    survey = straight(4)
    put(tmp_path / "task", survey, matched=False)
    round_ = rehearsal(STAGE, tmp_path / "task", tmp_path / "work")
    (region,) = round_.split()
    matches = truth(survey)
    rows = matches.of(0)
    for number, (pair, some) in enumerate(((((0, 7)), rows), ((0, 1), rows[:5]))):
        out = tmp_path / f"{number}"
        save_matches(joined([(pair, some, 2)]), out / "matches.npz")
        seal(out)
        with pytest.raises(OutputRejected, match=region.name):
            STAGE.verify(round_.spec, region, PlainFiles(out))


def test_what_features_had_to_say_is_handed_on(tmp_path: Path) -> None:
    """Its notes are told once matching begins."""
    put(tmp_path / "task", straight(2), matched=False)
    save({"notes": ["It rained."]}, tmp_path / "task/stages/features/report.json")
    round_ = rehearsal(STAGE, tmp_path / "task", tmp_path / "work")
    assert STAGE.notes(round_.spec, round_.files) == ("It rained.",)
    assert load(tmp_path / "task/stages/features/photos.json", Photos).notes == ()
