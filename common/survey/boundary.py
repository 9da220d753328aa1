"""The area that results are cut to, as a GeoJSON polygon in longitude and latitude (RFC 7946), written down or in a file."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from .errors import BadSurvey

ROOM = 5.0
"""Kilometres that photos may show around where they were taken."""
NO_PLACE = "Option {option} has no meaning here: nobody knows where the model lies, so it is not cut."
Ring = tuple[tuple[float, float], ...]
"""Longitude and latitude of its corners; the last is not the first again."""


def read_boundary(text: str, name: str) -> tuple[tuple[Ring, ...], ...]:
    """Polygons, each an outer ring and its holes. ``name``: of the file or option, for the sentence. Raises BadSurvey."""
    try:
        value = json.loads(text)
        polygons = list(_polygons(value, name))
    except (ValueError, RecursionError) as error:
        raise BadSurvey(f"{name}: this is no GeoJSON ({error}).") from error
    found = tuple(tuple(_ring(ring, name) for ring in polygon) for polygon in polygons)
    if not found or not all(found):
        raise BadSurvey(f"{name}: there is no polygon in this GeoJSON.")
    return found


def elsewhere(polygons: tuple[tuple[Ring, ...], ...], places: Sequence[tuple[float, float]]) -> float:
    """How many kilometres away the nearest polygon is from photos taken at ``places`` (longitude, latitude); 0: they may show some of it.

    Generous (ROOM), as what the photos show is known much later.
    """
    across = 111.32 * max(0.01, math.cos(math.radians(places[0][1])))
    flat = [_from(place, places[0], across) for place in places]
    (west, south), (east, north) = (min(x for x, _ in flat), min(y for _, y in flat)), (max(x for x, _ in flat), max(y for _, y in flat))
    room = ROOM + math.hypot(east - west, north - south)
    gaps = []
    for polygon in polygons:
        corners = [_from(corner, places[0], across) for corner in polygon[0]]
        xs, ys = [x for x, _ in corners], [y for _, y in corners]
        gaps.append(math.hypot(max(min(xs) - east, west - max(xs), 0.0), max(min(ys) - north, south - max(ys), 0.0)))
    return min(gaps) if min(gaps) > room else 0.0


def _from(place: tuple[float, float], home: tuple[float, float], across: float) -> tuple[float, float]:
    """Kilometres east and north of ``home``."""
    return ((place[0] - home[0] + 180) % 360 - 180) * across, (place[1] - home[1]) * 111.32


def _polygons(value: Any, name: str) -> Iterator[list[Any]]:
    kind = value.get("type") if isinstance(value, dict) else None
    inside = {"FeatureCollection": "features", "Feature": "geometry", "GeometryCollection": "geometries"}.get(str(kind))
    if inside:
        held = value.get(inside)
        for one in held if isinstance(held, list) else [held]:
            yield from _polygons(one, name)
    elif kind in ("Polygon", "MultiPolygon"):
        rings = value.get("coordinates")
        polygons = [rings] if kind == "Polygon" else rings
        if not isinstance(polygons, list) or not all(isinstance(polygon, list) for polygon in polygons):
            raise BadSurvey(f"{name}: the {kind} has no list of coordinates.")
        yield from polygons
    else:
        raise BadSurvey(f"{name}: a boundary is a Polygon, not {str(kind)[:40] if kind else 'something without a type'}.")


def _ring(ring: Any, name: str) -> Ring:
    try:
        corners = tuple((float(corner[0]), float(corner[1])) for corner in ring)
    except (TypeError, ValueError, OverflowError, IndexError, KeyError) as error:
        raise BadSurvey(f"{name}: a corner of a polygon is [longitude, latitude].") from error
    if len(corners) > 1 and corners[0] == corners[-1]:
        corners = corners[:-1]
    if len(corners) < 3:
        raise BadSurvey(f"{name}: a polygon has at least 3 corners, not {len(corners)}.")
    wrong = next((one for one in corners if not (math.isfinite(one[0]) and abs(one[0]) <= 180 and abs(one[1]) <= 90)), None)
    if wrong:
        raise BadSurvey(f"{name}: {wrong[0]:.10g} {wrong[1]:.10g} is no longitude and latitude in degrees, in which GeoJSON counts.")
    return corners
