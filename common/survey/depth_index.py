"""``stages/depth/index.json``: what the pairs of photos gave, for those who choose among their files."""

from __future__ import annotations

from .footprint import Sight
from .records import Frame, Record

INDEX = "stages/depth/index.json"


class PairEntry(Record, frozen=True, kw_only=True):
    """One stereo pair, whose points are in ``stages/depth/<name>.npz`` (``stereo_file.py``)."""

    name: str
    """``00003-00007``: numbers of the two photos."""
    first: int
    second: int
    block: str = ""
    """The submodel whose core holds both photos."""
    points: int
    """How many pixels have a depth; 0: nothing was found."""
    gsd: float
    """Distance on the surface between neighbouring points, median."""
    photo_gsd: float
    """The same for pixels of the photos as taken."""
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    """Bounds of the points in coordinates of the model, but for the outermost thousandth at each end; beyond in x or y none counts."""
    sights: tuple[Sight, ...] = ()
    """What the two photos look at, at the median height of the points."""
    angle: float
    """Degrees between the two lines of sight, median."""


class DepthIndex(Record, frozen=True, kw_only=True):
    frame: Frame
    pairs: tuple[PairEntry, ...]
    """Those that gave points, by name."""
    gsd: float
    """Median of the pairs' ``gsd``."""
    photo_gsd: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    """Where the subject lies, by the sparse points: beyond is background. Coordinates of the model."""
