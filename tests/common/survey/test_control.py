"""Ground control points on a model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from clusterray.common.survey import colmap, control
from clusterray.common.survey.crs import Grid
from clusterray.common.survey.gcp import ControlPoint, Gcps, Mark
from clusterray.common.survey.residuals import Rays

from .worlds import CRS, EAST, NORTH, Survey, flight, put

ORIGIN = (EAST, NORTH, 0.0)
PLACES = [(0, 0), (50, 0), (50, 45), (0, 45), (25, 20), (12, 30), (30, 10), (5, 20)]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Survey, Rays]:
    survey = flight()
    folder = put(survey, tmp_path_factory.mktemp("world")) / "stages"
    return survey, Rays(model=colmap.read_model(folder / "mapping" / "all"), features=folder / "features")


def gcps(survey: Survey, count: int, move: dict[int, Any] | None = None, marks: dict[tuple[int, int], Any] | None = None) -> Gcps:
    """``move``: metres that a point's survey erred; ``marks``: pixels that a mark (point, photo) is off."""
    points = []
    for index, (x, y) in enumerate(PLACES[:count]):
        place = np.array([x, y, 3 * np.sin(x / 11) + 3 * np.cos(y / 7)])
        seen = []
        for number in range(len(survey.centres)):
            (pixel,), _ = survey.project(number, place[None])
            if 0 < pixel[0] < 800 and 0 < pixel[1] < 600:
                pixel = pixel + (marks or {}).get((index, number), 0)
                seen.append(Mark(photo=f"p{number:02d}.jpg", x=float(pixel[0]), y=float(pixel[1]), line=1))
        said = place + ORIGIN + (move or {}).get(index, 0)
        points.append(ControlPoint(name=f"g{index}", position=tuple(said.tolist()), marks=tuple(seen)))
    return Gcps(file="gcp_list.txt", crs=CRS, points=tuple(points))


def sighted(world: tuple[Survey, Rays], given: Gcps) -> tuple[Any, ...]:
    return control.sightings(given, world[0].photos(), Grid(crs=CRS), ORIGIN, world[1])


def test_where_they_are(world: tuple[Survey, Rays]) -> None:
    """The marks' rays meet where the point is; its error is told for each axis."""
    points, left_out, notes = sighted(world, gcps(world[0], 4, {1: (0.5, 0, -0.25)}))
    assert left_out == () and notes == ()
    told = control.told(points, world[1])
    assert told["points"][0]["error"] == pytest.approx([0, 0, 0], abs=0.03)
    assert told["points"][1]["error"] == pytest.approx([-0.5, 0, 0.25], abs=0.03)
    assert told["rmse"] == pytest.approx([0.25, 0, 0.125], abs=0.03)
    assert told["points"][0]["pixels"] < 1


@pytest.mark.parametrize("count", [4, 5, 8])
def test_one_elsewhere(world: tuple[Survey, Rays], count: int) -> None:
    """One point of four, five or eight that lies elsewhere is found, and said how far."""
    points, _, _ = sighted(world, gcps(world[0], count, {2: (6, -8, 0)}))
    found = control.believe(points, world[1], 0.086)
    assert found is not None
    assert [name for name, _ in found.left_out] == ["g2"]
    assert "10.0" in found.left_out[0][1] or "9.9" in found.left_out[0][1]
    assert len(found.points) == count - 1
    assert np.abs(found.move.translation).max() < 0.3
    assert found.move.scale == pytest.approx(1, abs=0.005)


def test_a_bent_model_loses_no_points(world: tuple[Survey, Rays]) -> None:
    """Points that all disagree a little, as where the model is not adjusted to them yet, are all kept."""
    rng = np.random.default_rng(0)
    points, _, _ = sighted(world, gcps(world[0], 8, {index: rng.normal(0, 0.7, 3) for index in range(8)}))
    found = control.believe(points, world[1], 0.086)
    assert found is not None and found.left_out == ()


def test_wrong_mark(world: tuple[Survey, Rays]) -> None:
    """One mark on the wrong stone is dropped and told; the point stays."""
    number = min(sighted(world, gcps(world[0], 5))[0][4].marks)
    points, left_out, notes = sighted(world, gcps(world[0], 5, marks={(4, number): (120, 60)}))
    assert left_out == ()
    assert "1 of" in notes[0] and "g4" in notes[0]
    assert number not in points[4].marks


def test_marked_too_little(world: tuple[Survey, Rays]) -> None:
    """A point that one placed photo shows is left out by name; fewer than three points hold nothing."""
    given = gcps(world[0], 3)
    once = ControlPoint(name="once", position=given.points[0].position, marks=given.points[0].marks[:1])
    points, left_out, _ = sighted(world, Gcps(file="gcp_list.txt", crs=CRS, points=(*given.points[:2], once)))
    assert left_out[0][0] == "once" and "1 placed photo," in left_out[0][1]
    assert control.believe(points, world[1], 0.086) is None
