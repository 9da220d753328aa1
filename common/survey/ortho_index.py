"""``stages/ortho/…``: what a tile's job says of itself, and what the joined picture's ``seams.json`` says."""

from __future__ import annotations

from .grid import Grid
from .records import Record

PICTURE = "stages/ortho/orthophoto.tif"
SEAMS = "stages/ortho/seams.json"


class Seam(Record, frozen=True, kw_only=True):
    """One place where two photos meet."""

    first: int
    second: int
    """Numbers of the photos."""
    x: float
    y: float
    """In the CRS."""
    shift: float
    """Between what the two show there, cells."""
    step: float
    """Between their mean brightness after evening out, grey levels of 255."""


class TileFacts(Record, frozen=True, kw_only=True):
    """``<tile>.json`` beside ``<tile>.tif``."""

    grid: Grid
    cells: int
    """That have a colour."""
    hidden: int
    """Of those: that no photo sees freely, taken from the photo where least is missing."""
    filled: int
    """That lie in a hole of the surface model, at a height between those around it."""
    photos: tuple[int, ...]
    """Numbers of those that it is made of."""
    seams: tuple[Seam, ...]
    unlike: int
    """Places at seams where the photos could not be compared."""


class SeamReport(Record, frozen=True, kw_only=True):
    """Of all places, or of those where submodels meet."""

    places: int
    shift_median: float
    shift_p90: float
    """Pixels of the orthophoto."""
    shift_median_metres: float
    step_median: float
    step_p90: float
    """Grey levels."""
