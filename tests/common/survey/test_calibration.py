"""One lens for each camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from clusterray.common.survey import calibration
from clusterray.common.survey.calibration import GUESS, judged
from clusterray.common.survey.matching import plain
from clusterray.common.survey.records import Block, Lens, load

from .described import around, job, put, straight
from .worlds import Survey, flight


def calibrate(folder: Path, *surveys: Survey, known: bool = True, guess: float = 1.0, **options: Any) -> tuple[dict[str, Lens], list[str]]:
    """All photos as the seed, unless lenses are fixed."""
    photos = put(folder, *surveys, known=known, guess=guess)
    seeds = [] if options else [[photo.number for photo in photos.photos]]
    calibration.run(job(folder, folder / "job", {"seeds": seeds}, **options))
    return load(folder / "job/out" / calibration.LENSES, dict[str, Lens]), load(folder / "job/out" / calibration.NOTES, list[str])


def test_an_object_seen_from_all_sides_tells_the_focal_length(tmp_path: Path) -> None:
    """EXIF is 8 % off: 700 pixels to 0.5 %, and the difference is told."""
    lenses, (note,) = calibrate(tmp_path, around(), guess=1.08)
    assert lenses["cam"].fx == pytest.approx(700.0, rel=0.005) and not lenses["cam"].held and lenses["cam"].prior == pytest.approx(756.0)
    assert "-7" in note and "cam" in note


def test_an_unknown_focal_length_comes_from_the_photos(tmp_path: Path) -> None:
    """A guess 15 % off, and a lens with distortion."""
    lenses, notes = calibrate(tmp_path, around(), known=False, guess=1.15)
    assert lenses["cam"].fx == pytest.approx(700.0, rel=0.005) and lenses["cam"].prior == 0 and not notes
    assert lenses["cam"].k1 == pytest.approx(0.01, abs=0.02)


def test_flat_ground_from_straight_above_leaves_the_focal_length_alone(tmp_path: Path) -> None:
    """It cannot be told there; the distortion can."""
    survey = straight(12)
    level = survey.points * [1, 1, 0.0]
    flat = Survey(centres=survey.centres, rotations=survey.rotations, points=level, noise=0.3)
    lenses, notes = calibrate(tmp_path, flat, guess=1.03)
    assert lenses["cam"].fx == 721.0 and lenses["cam"].held and "near parallel" in lenses["cam"].note and not notes


def test_hills_from_above_tell_the_focal_length_where_both_halves_agree(tmp_path: Path) -> None:
    """EXIF is 2 % off, as a rounded equivalent is."""
    survey = flight(lines=4, each=5, height=40.0, tilt=3.0, points=1500)
    hilly = Survey(centres=survey.centres, rotations=survey.rotations, points=survey.points * [1, 1, 2.5], noise=0.1)
    lenses, _ = calibrate(tmp_path, hilly, guess=1.02)
    assert lenses["cam"].fx == pytest.approx(700.0, rel=0.01) and not lenses["cam"].held


def test_fixed_lenses_are_as_exif_has_them(tmp_path: Path) -> None:
    """use-fixed-camera-params: no photo is looked at."""
    lenses, notes = calibrate(tmp_path, straight(3), use_fixed_camera_params=True)
    assert lenses == {"cam": msgspec.structs.replace(plain(800, 600, 700.0, True), held=True, note=lenses["cam"].note)} and not notes


BEFORE = plain(800, 600, 700.0, True)
UNKNOWN = plain(800, 600, 960.0, False)


def free(focal: float, k1: float = 0.0) -> Lens:
    return msgspec.structs.replace(BEFORE, fx=focal, fy=focal, k1=k1)


@pytest.mark.parametrize(
    ("found", "flat", "apart", "focal", "held"),
    [
        (760.0, False, 100.0, 760.0, False),  # oblique: as found, whatever it is
        (707.0, True, 0.2, 707.0, False),  # parallel, and both halves say so
        (707.0, True, 3.0, 700.0, True),  # parallel, and the halves differ
        (760.0, True, 0.2, 700.0, True),  # parallel, the halves agree and EXIF does not
        (2000.0, False, 100.0, 700.0, True),  # absurd
    ],
)
def test_which_focal_length_is_believed(found: float, flat: bool, apart: float, focal: float, held: bool) -> None:
    """The table of all cases with a focal length in EXIF."""
    lens = judged(BEFORE, BEFORE, free(found), flat=flat, apart=apart)
    assert (lens.fx, lens.held) == (focal, held) and lens.note


def test_a_focal_length_that_nothing_tells_is_a_guess() -> None:
    """No EXIF, flat ground from above: what was found is taken and said to be a guess; what is absurd is not taken."""
    unknown = [msgspec.structs.replace(lens, prior=0.0) for lens in (free(800.0), free(800.0, k1=3.0))]
    assert judged(UNKNOWN, unknown[0], unknown[0], flat=True, apart=9.0).note == GUESS
    assert judged(UNKNOWN, unknown[1], unknown[1], flat=True, apart=9.0).fx == 960.0
    assert "EXIF has none" in judged(UNKNOWN, unknown[0], unknown[0], flat=False, apart=9.0).note


def test_the_cut_is_a_job_of_its_own(tmp_path: Path) -> None:
    """Photos that are not in use are in no submodel."""
    put(tmp_path, straight(14))
    calibration.run(job(tmp_path, tmp_path / "job", {"blocks": 2, "overlap": 0.0, "photos": list(range(1, 13))}))
    one, other = load(tmp_path / "job/out" / calibration.BLOCKS, list[Block])
    assert sorted(one.core + other.core) == list(range(1, 13)) and len(set(one.photos) & set(other.photos)) >= 6
