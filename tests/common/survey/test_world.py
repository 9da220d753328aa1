"""What a survey knows of its place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.records import Photos
from clusterray.common.survey.work import Job
from clusterray.common.survey.world import World, read_world

from .worlds import CRS, EAST, NORTH, flight, with_gps

SURVEY = with_gps(flight(lines=1, each=4), 0.0)


def read(folder: Path, photos: Photos, gcp: str = "", **options: Any) -> World:
    given = normalise("survey", OPTIONS, {name.replace("_", "-"): value for name, value in options.items()})
    if gcp:
        (folder / "gcp_list.txt").write_text(gcp)
    job = Job(inputs=folder, out=folder, scratch=folder, cores=1, options=given, data={"gcp": "gcp_list.txt" if gcp else ""})
    return read_world(job, photos)


def listed(east: float, north: float) -> str:
    marks = "".join(
        f"{east + 10 * n} {north + 7 * n * n} 5 {100 + n} 100 p{photo:02d}.jpg g{n}\n" for n in range(4) for photo in (0, 1, 2)
    )
    return f"{CRS}\n{marks}"


def test_positions(tmp_path: Path) -> None:
    """GPS in metres from an origin that is a whole number, in the zone's CRS; accuracies by the photo, else by gps-accuracy."""
    photos = SURVEY.photos()
    exact = msgspec.structs.replace(photos.photos[1], accuracy=(0.02, 0.03))
    world = read(tmp_path, msgspec.structs.replace(photos, photos=(photos.photos[0], exact, *photos.photos[2:])), gps_accuracy=5.0)
    assert world.grid is not None and world.grid.crs == CRS
    assert all(value == int(value) for value in world.origin)
    found = world.positions[2] + np.array(world.origin)
    assert found == pytest.approx(SURVEY.centres[2] + [EAST, NORTH, 0], abs=0.001)
    assert world.accuracies == {0: (5, 5), 1: (0.02, 0.03), 2: (5, 5), 3: (5, 5)}


def test_without_altitude(tmp_path: Path) -> None:
    """Photos whose GPS tells no altitude keep their place, and it is said what heights mean."""
    photos = SURVEY.photos()
    flat = msgspec.structs.replace(photos, photos=tuple(msgspec.structs.replace(photo, altitude=None) for photo in photos.photos))
    world = read(tmp_path, flat)
    assert [world.positions[number][2] for number in range(4)] == [0, 0, 0, 0]
    assert "no altitude" in world.notes[0]


def test_control_points_that_lie_elsewhere(tmp_path: Path) -> None:
    """Marks outside of a photo, swapped axes, a file that is no text: a sentence that names the file."""
    photos = replace(SURVEY, gps=None, seen=[], pixels=[]).photos()
    with pytest.raises(BadSurvey, match=r"gcp_list.txt, line 2: pixel 900 100 lies outside of p00.jpg"):
        read(tmp_path, photos, listed(EAST, NORTH).replace(" 100 100 p00", " 900 100 p00"))
    with pytest.raises(BadSurvey, match="swapped"):
        read(tmp_path, photos, listed(NORTH * 4, EAST))
    (tmp_path / "gcp_list.txt").write_bytes(b"\xff\xfe\x00E")
    options = normalise("survey", OPTIONS, {})
    job = Job(inputs=tmp_path, out=tmp_path, scratch=tmp_path, cores=1, options=options, data={"gcp": "gcp_list.txt"})
    with pytest.raises(BadSurvey, match="is not a text file"):
        read_world(job, photos)


def test_control_points_saved_by_an_editor_of_windows(tmp_path: Path) -> None:
    """What passed where the task was submitted does not fail in the job: a remark with umlauts in Latin-1."""
    (tmp_path / "gcp_list.txt").write_bytes(("# Maße von Müller\n" + listed(EAST, NORTH)).encode("latin-1"))
    job = Job(
        inputs=tmp_path, out=tmp_path, scratch=tmp_path, cores=1, options=normalise("survey", OPTIONS, {}), data={"gcp": "gcp_list.txt"}
    )
    gcps = read_world(job, SURVEY.photos()).gcps
    assert gcps is not None and len(gcps.points) == 4


def test_nothing_known(tmp_path: Path) -> None:
    """Neither GPS nor control points: no grid."""
    photos = replace(SURVEY, gps=None, seen=[], pixels=[]).photos()
    world = read(tmp_path, photos)
    assert world.grid is None and not world.positions and world.notes == ()
