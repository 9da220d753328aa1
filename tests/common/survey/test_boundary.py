"""The boundary is a GeoJSON polygon in degrees; what is something else is named."""

from __future__ import annotations

import json
from typing import Any

import pytest
from clusterray.common.survey.boundary import elsewhere, read_boundary
from clusterray.common.survey.errors import BadSurvey

RING = [[11.0, 46.0], [11.1, 46.0], [11.1, 46.1], [11.0, 46.0]]
CORNERS = ((11.0, 46.0), (11.1, 46.0), (11.1, 46.1))
POLYGON = {"type": "Polygon", "coordinates": [RING]}


def wrapped(geometry: Any) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": geometry}]}


def test_a_polygon_however_it_is_wrapped():
    for value in (
        POLYGON,
        {"type": "Feature", "geometry": POLYGON},
        wrapped(POLYGON),
        wrapped({"type": "MultiPolygon", "coordinates": [[RING]]}),
    ):
        assert read_boundary(json.dumps(value), "boundary.json") == ((CORNERS,),)
    two = {"type": "MultiPolygon", "coordinates": [[RING, RING], [RING]]}
    assert read_boundary(json.dumps(two), "boundary.json") == ((CORNERS, CORNERS), (CORNERS,))


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("{", "boundary.json: this is no GeoJSON"),
        ("[" * 100_000, "no GeoJSON"),
        ({"type": "Polygon", "coordinates": [[[10**400, 46.0], *RING]]}, "a corner of a polygon is"),
        ({"type": "LineString", "coordinates": RING}, "a boundary is a Polygon, not LineString"),
        ({"coordinates": [RING]}, "something without a type"),
        ([], "something without a type"),
        ({"type": "FeatureCollection", "features": []}, "there is no polygon"),
        (wrapped(None), "something without a type"),
        ({"type": "Polygon", "coordinates": []}, "there is no polygon"),
        ({"type": "Polygon", "coordinates": 5}, "no list of coordinates"),
        ({"type": "Polygon", "coordinates": [[1, 2, 3]]}, r"\[longitude, latitude\]"),
        ({"type": "Polygon", "coordinates": [RING[:2]]}, "at least 3 corners, not 2"),
        ({"type": "Polygon", "coordinates": [[[500000, 5000000], [500100, 5000000], [500000, 5000100]]]}, "no longitude and latitude"),
        ({"type": "Polygon", "coordinates": [[[float("nan"), 1], [1, 1], [1, 2]]]}, "no longitude and latitude"),
    ],
)
def test_what_is_no_boundary_is_named(value, sentence):
    with pytest.raises(BadSurvey, match=sentence):
        read_boundary(value if isinstance(value, str) else json.dumps(value), "boundary.json")


def test_a_boundary_far_from_the_photos_is_known_early():
    """Swapped longitude and latitude are thousands of kilometres; a farm next door may be in the pictures; the date line is no wall."""
    ring = read_boundary(json.dumps(POLYGON), "b")
    assert elsewhere(ring, [(11.05, 46.05), (11.051, 46.05)]) == 0
    assert elsewhere(ring, [(11.12, 46.05)]) == 0, "1.5 km from it"
    assert 4000 < elsewhere(ring, [(46.0, 11.0)]) < 10_000
    across = read_boundary(json.dumps({"type": "Polygon", "coordinates": [[[179.99, 0], [179.999, 0], [179.99, 1]]]}), "b")
    assert elsewhere(across, [(-179.999, 0.1)]) == 0
