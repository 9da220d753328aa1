"""Poses of a submodel's photos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from clusterray.common.survey import colmap, mapping
from clusterray.common.survey.calibration import prior
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.mapping import Mapped, told
from clusterray.common.survey.records import Matches, load, load_matches, save, save_matches

from .described import job, put, straight
from .worlds import Survey, flight


def place(folder: Path, out: Path, numbers: list[int], *, alone: bool = True, core: list[int] | None = None, **options: Any) -> Mapped:
    """Do the job on a folder with features and matches; lenses as EXIF has them."""
    from clusterray.common.survey.records import Photos

    photos = load(folder / "stages/features/photos.json", Photos)
    save({photo.camera: prior(photo) for photo in photos.photos}, folder / "stages/calibration/cameras.json")
    data = {"block": "b", "core": core or numbers, "photos": numbers, "alone": alone}
    mapping.run(job(folder, out, data, **options))
    return load(out / "out/b" / mapping.REPORT, Mapped)


def error(survey: Survey, folder: Path) -> float:
    """Metres RMSE of the cameras after a similarity."""
    centres = colmap.centres(colmap.read_model(folder / "out/b"))
    ours, true = np.array([centres[number] for number in sorted(centres)]), survey.centres[sorted(centres)]
    move = pycolmap.estimate_sim3d(ours, true)
    return float(np.sqrt(np.mean([np.sum((move * one - other) ** 2) for one, other in zip(ours, true, strict=True)])))


def test_a_flight_is_placed_whole_and_the_same_each_time(tmp_path: Path) -> None:
    """12 of 12 photos, to 10 cm at 60 m; two runs give the same bytes."""
    survey = flight(lines=3, each=4, points=500)
    put(tmp_path, survey)
    for out in ("one", "two"):
        mapped = place(tmp_path, tmp_path / out, list(range(12)))
        assert mapped.placed == tuple(range(12)) and mapped.core_placed == 12 and mapped.error < 0.5 and mapped.track > 3
    assert error(survey, tmp_path / "one") < 0.1
    for path in sorted((tmp_path / "one/out/b").iterdir()):
        assert path.read_bytes() == (tmp_path / "two/out/b" / path.name).read_bytes()


@pytest.mark.parametrize(("photos", "step"), [(2, 12.0), (3, 12.0), (4, 3.0)])
def test_a_handful_of_photos_is_placed(tmp_path: Path, photos: int, step: float) -> None:
    """Two are enough; and four within 9 m at a height of 60, where COLMAP's own thresholds give up."""
    survey = straight(photos, step=step)
    put(tmp_path, survey)
    mapped = place(tmp_path, tmp_path / "out", list(range(photos)))
    assert len(mapped.placed) == photos and mapped.points > 100


def test_lenses_of_submodels_stay_as_calibrated(tmp_path: Path) -> None:
    """One of several keeps its focal length to the last digit, though it is 5 % wrong; the only one finds its own."""
    survey = flight(lines=3, each=4, points=500, tilt=12.0)
    put(tmp_path, survey, guess=1.05)
    place(tmp_path, tmp_path / "some", list(range(12)), alone=False)
    place(tmp_path, tmp_path / "only", list(range(12)))
    some, only = (colmap.read_model(tmp_path / name / "out/b").cameras[1].params for name in ("some", "only"))
    assert some.tolist() == [735.0, 400.0, 300.0, 0.0, 0.0]
    assert only[0] == pytest.approx(700.0, rel=0.01)


def test_the_model_of_the_core_is_kept_and_the_rest_told(tmp_path: Path) -> None:
    """Two places in one block: the core's model, though the other is larger."""
    survey = flight(lines=3, each=4, points=500)
    other = straight(5)
    put(tmp_path, survey, other)
    mapped = place(tmp_path, tmp_path / "out", list(range(17)), core=[12, 13, 14, 15, 16])
    assert mapped.placed == (12, 13, 14, 15, 16) and mapped.apart == (tuple(range(12)),)
    assert mapped.error < 0.5
    (note,) = told([mapped], {number: f"{number}.jpg" for number in range(17)}, range(17))
    assert "12 photos hang together but not with the rest" in note and "0.jpg" in note


def unmatched(folder: Path) -> None:
    """Three photos without a pair that was verified: nothing can be placed."""
    survey = straight(3)
    put(folder, survey)
    matches = load_matches(folder / "stages/matching/matches.npz")
    none = Matches(pairs=matches.pairs[:0], starts=matches.starts[:1], rows=matches.rows[:0], configurations=matches.configurations[:0])
    save_matches(none, folder / "stages/matching/matches.npz")


def test_photos_that_cannot_be_placed_fail_with_a_sentence(tmp_path: Path) -> None:
    """It names the photos and says how to take them."""
    unmatched(tmp_path)
    with pytest.raises(BadSurvey, match=r"images/000\.jpg.*Move sideways"):
        place(tmp_path, tmp_path / "alone", [0, 1, 2])
    with pytest.raises(BadSurvey, match=r"Submodel b: .*images/000\.jpg"):
        place(tmp_path, tmp_path / "block", [0, 1, 2], alone=False)


def test_a_submodel_that_cannot_be_made_is_left_out_where_asked_for(tmp_path: Path) -> None:
    """split-failed = leave-out: no model, and the reason; not where it is the only one."""
    unmatched(tmp_path)
    mapped = place(tmp_path, tmp_path / "out", [0, 1, 2], alone=False, split_failed="leave-out")
    assert mapped.why and not mapped.placed
    assert {path.name for path in (tmp_path / "out/out/b").iterdir()} == {mapping.REPORT, "made.json"}
    assert any(mapped.why in note for note in told([mapped], {number: f"{number}" for number in range(3)}, range(3)))
    with pytest.raises(BadSurvey):
        place(tmp_path, tmp_path / "alone", [0, 1, 2], split_failed="leave-out")
