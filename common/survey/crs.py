"""Which coordinates the results have, and positions in them.

PROJ is asked for conversions without "ballpark" steps alone: where a grid of a vertical datum is missing it would hand heights on
unchanged. It never asks the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..libraries import library
from .errors import BadSurvey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WGS84 = "EPSG:4979"
"""Longitude, latitude, height above the ellipsoid: what GPS says."""
DISTORTION = 0.01
"""By so much a metre of the CRS may differ from one on the ground; UTM and its like stay below 0.001 in their zone."""


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The CRS of the results."""

    crs: str
    notes: tuple[str, ...] = ()

    def place(self, points: Floats, crs: str = WGS84) -> Floats:
        """(n, 3) x (longitude), y (latitude), height in ``crs`` -> (n, 3) here. Heights of a CRS without a vertical datum stay as they are.

        Raises BadSurvey where there is no way from one to the other.
        """
        import numpy as np

        x, y, z = points.T
        if _vertical(self.crs) and (crs == WGS84 or _vertical(crs)):
            x, y, z = _transformer(crs, self.crs).transform(x, y, z)
        else:  # heights of no stated kind
            x, y = _transformer(_horizontal(crs), _horizontal(self.crs)).transform(x, y)
        found = np.stack([x, y, z], axis=1)
        if not np.isfinite(found).all():
            raise BadSurvey(f"Positions in {crs} cannot be converted to {self.crs}: some lie outside of where it is defined.")
        return found


def utm(longitude: float, latitude: float) -> str:
    """The zone's CRS, WGS 84; without the exceptions about Norway and Svalbard, as ODM."""
    zone = min(60, max(1, math.floor((longitude + 180) / 6) + 1))
    return f"EPSG:{(32600 if latitude >= 0 else 32700) + zone}"


def choose(option: str, control: str, longitude: float | None, latitude: float | None) -> Grid:
    """Option crs, else the CRS of the control points (empty: none) where it is projected, else the UTM zone of the place given.

    Raises BadSurvey where a CRS is unknown, not projected, not in metres, or far from home. A vertical datum whose grid is not on this
    machine is left away, with a note.
    """
    pyproj = library("pyproj", extra="survey")
    pyproj.network.set_network_enabled(False)
    name, source = (option, "Option crs") if option else (control, "The file of control points")
    if not option and control and known(control, source).is_geographic:
        name = ""
    if not name:
        assert longitude is not None and latitude is not None
        return Grid(crs=utm(longitude, latitude))
    crs = in_metres(name, source)
    flat = crs.sub_crs_list[0] if crs.is_compound else crs
    if longitude is not None and latitude is not None:
        _near(flat, name, source, longitude, latitude)
    notes = []
    if _vertical(name):
        try:
            _transformer(WGS84, name)
        except pyproj.exceptions.ProjError:
            vertical = crs.sub_crs_list[1].name if crs.is_compound else "its vertical datum"
            notes.append(
                f"Heights are as the photos have them: the grid that {vertical} needs is not on the node, so the results are in "
                f"{_horizontal(name)} without a vertical datum."
            )
            name = _horizontal(name)
    return Grid(crs=name, notes=(*notes, *_inexact(pyproj, name)))


def known(name: str, source: str) -> Any:
    """A pyproj.CRS; BadSurvey where pyproj does not know it."""
    pyproj = library("pyproj", extra="survey")
    try:
        return pyproj.CRS.from_user_input(name)
    except pyproj.exceptions.CRSError as error:
        raise BadSurvey(f"{source}: {name} is no CRS that is known here; write it as EPSG:32615 or EPSG:32615+5773.") from error


def in_metres(name: str, source: str) -> Any:
    """A pyproj.CRS that results can be in; BadSurvey where it is none."""
    crs = known(name, source)
    flat = crs.sub_crs_list[0] if crs.is_compound else crs
    if not flat.is_projected:
        raise BadSurvey(f"{source}: {name} ({crs.name}) is not projected; name one with metres, such as a UTM zone (EPSG:32615).")
    if any(abs(axis.unit_conversion_factor - 1) > 1e-9 for axis in crs.axis_info):
        raise BadSurvey(f"{source}: {name} ({crs.name}) counts in {flat.axis_info[0].unit_name}; name a CRS in metres.")
    return crs


def _near(flat: Any, name: str, source: str, longitude: float, latitude: float) -> None:
    pyproj = library("pyproj", extra="survey")
    factors = pyproj.Proj(flat).get_factors(longitude, latitude)
    off = max(abs(factors.meridional_scale - 1), abs(factors.parallel_scale - 1))
    if not off <= DISTORTION:
        raise BadSurvey(
            f"{source}: {name} ({flat.name}) is not made for this place, {latitude:.3f} {longitude:.3f}: its metres are off by {off:.0%}; "
            f"the UTM zone there is {utm(longitude, latitude)}."
        )


def _inexact(pyproj: Any, name: str) -> tuple[str, ...]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        group = pyproj.transformer.TransformerGroup(WGS84, _horizontal(name), always_xy=True, allow_ballpark=False)
    if group.best_available or not group.transformers:
        return ()
    good = group.transformers[0].accuracy
    return (f"The way from GPS to {_horizontal(name)} is good to {good:g} m only, as a grid for it is not on the node.",)


def _vertical(name: str) -> bool:
    crs = known(name, "CRS")
    return bool(crs.is_compound or (not crs.is_geographic and len(crs.axis_info) > 2))


def _horizontal(name: str) -> str:
    if name == WGS84:
        return "EPSG:4326"
    crs = known(name, "CRS")
    if not crs.is_compound:
        return name
    flat = crs.sub_crs_list[0]
    code = flat.to_authority(min_confidence=100)
    return ":".join(code) if code else str(flat.to_wkt())


def _transformer(source: str, target: str) -> Any:
    return library("pyproj", extra="survey").Transformer.from_crs(source, target, always_xy=True, allow_ballpark=False)
