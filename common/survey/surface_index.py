"""``stages/surface/surface.json``: where the surface model lies, and the files of the cloud."""

from __future__ import annotations

from .grid import Bounds, Grid, Tile
from .records import Record

SURFACE = "stages/surface/surface.json"
DSM = "stages/surface/dsm.tif"
DTM = "stages/surface/dtm.tif"
OBJECT = "stages/surface/points/object.npz"


class Surface(Record, frozen=True, kw_only=True):
    gsd: float
    """Ground sampling distance of the photos, metres (units of the model where it is not georeferenced)."""
    georeferenced: bool
    """False: ``points/object.npz`` is all there is."""
    resolution: float = 0.0
    """Side of a cell of dsm.tif, metres."""
    bounds: Bounds = (0.0, 0.0, 0.0, 0.0)
    """West, south, east, north of dsm.tif in its CRS."""
    shape: tuple[int, int] = (0, 0)
    """Rows, columns."""
    tiles: tuple[Tile, ...] = ()
    """The points of a tile are in ``points/<name>.laz``."""

    @property
    def grid(self) -> Grid:
        rows, columns = self.shape
        return Grid(resolution=self.resolution, west=self.bounds[0], north=self.bounds[3], columns=columns, rows=rows)
