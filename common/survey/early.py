"""What is wrong with control points, CRS and boundary, found once the photos are known, and not hours later by the job that needs them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import KindError
from .boundary import NO_PLACE, elsewhere, read_boundary
from .errors import BadSurvey
from .records import Photos
from .world import gcps_of, grid_for


def look_ahead(photos: Photos, options: Mapping[str, Any], gcp: tuple[str, str], boundary: tuple[str, str]) -> tuple[str, ...]:
    """``gcp`` and ``boundary``: what to call it, and its text; without a name, there is none. Sentences for the submitter.

    Raises BadSurvey. Where pyproj is not on this machine, the CRS is left to the nodes.
    """
    gcps = gcps_of(gcp[1], gcp[0], photos, options["gcp-checkpoints"]) if gcp[0] else None
    try:
        grid_for(options, photos, gcps)
    except BadSurvey:
        raise
    except KindError:
        pass
    places = [(photo.longitude, photo.latitude) for photo in photos.photos if photo.longitude is not None and photo.latitude is not None]
    if boundary[0] and places:
        far = elsewhere(read_boundary(boundary[1], boundary[0]), places)
        if far:
            raise BadSurvey(
                f"The boundary ({boundary[0]}) lies {far:,.0f} km from where the photos were taken; "
                "GeoJSON counts in longitude, then latitude."
            )
    if places or gcps is not None:
        return ()
    asked = "boundary" if boundary[0] else "auto-boundary" if options["auto-boundary"] else ""
    return (NO_PLACE.format(option=asked),) if asked else ()
