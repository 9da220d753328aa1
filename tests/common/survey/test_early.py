"""What only the last stages need is looked at as soon as the photos are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.survey.early import look_ahead
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.world import middle

from .test_world import EAST, NORTH, SURVEY, listed, read

NOWHERE = '{"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1]]]}'


def look(gcp: str = "", boundary: str = "", *, places: bool = True, **options: Any) -> tuple[str, ...]:
    from dataclasses import replace

    photos = (SURVEY if places else replace(SURVEY, gps=None)).photos()
    given = normalise("survey", OPTIONS, {name.replace("_", "-"): value for name, value in options.items()})
    return look_ahead(photos, given, ("gcp_list.txt", gcp) if gcp else ("", ""), ("area.geojson", boundary) if boundary else ("", ""))


def test_what_is_right_passes(tmp_path: Path) -> None:
    gcps = read(tmp_path, SURVEY.photos(), listed(EAST, NORTH)).gcps
    assert gcps is not None
    x, y = middle(gcps)
    here = f'{{"type": "Polygon", "coordinates": [[[{x}, {y}], [{x + 0.01}, {y}], [{x}, {y + 0.01}]]]}}'
    assert look(listed(EAST, NORTH), here, crs="EPSG:32633") == ()


def test_mistakes_are_told_before_the_long_work() -> None:
    """A mark beyond its photo, a CRS of another continent, a boundary elsewhere."""
    with pytest.raises(BadSurvey, match=r"pixel 900 100 lies outside of p00.jpg"):
        look(listed(EAST, NORTH).replace(" 100 100 p00", " 900 100 p00"))
    with pytest.raises(BadSurvey, match="is not made for this place"):
        look(crs="EPSG:32615")
    with pytest.raises(BadSurvey, match=r"The boundary \(area.geojson\) lies [\d,]+ km from where the photos were taken"):
        look(boundary=NOWHERE)


def test_a_boundary_without_a_place_is_not_ignored_in_silence() -> None:
    assert "Option boundary has no meaning here" in look(boundary=NOWHERE, places=False)[0]
    assert "Option auto-boundary has no meaning here" in look(places=False, auto_boundary=True)[0]
    assert look(places=False) == ()
