"""What a photo says of itself: its camera, focal length, place, direction and time, from EXIF and from the XMP of drones.

Cameras write these by hand-made firmware: every value may be missing, text instead of a number, a fraction by zero or simply wrong. What
cannot be is passed over.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

from .photofile import Photofile
from .records import Record
from .sensors import SENSORS, across, aspect_of, camera_name

FILM = math.hypot(36.0, 24.0)
"""Diagonal of 35 mm film in millimetres, to which CIPA's "35 mm equivalent" refers."""
GUESS = 1.2
"""Times the longer side: the focal length of a photo that tells none, as COLMAP starts with."""
NOWHERE = 1e-4
"""Degrees: a GPS without reception writes 0, 0; nobody surveys this patch of 20 m of the Atlantic."""

_MAKE, _MODEL = 0x010F, 0x0110
_ORIGINAL, _DATE, _SUBSECONDS = 0x9003, 0x0132, 0x9291
_FOCAL, _FOCAL35, _ZOOM, _PIXELS = 0x920A, 0xA405, 0xA404, 0xA002
_PLANE_X, _PLANE_UNIT = 0xA20E, 0xA210
_UNITS = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
"""Millimetres in a FocalPlaneResolutionUnit"""
_SENSOR_WIDTHS = (4.0, 60.0)
"""Millimetres; outside of them the focal plane's resolution is that of the picture before it was scaled."""
_RTK_WORTH = (34, 50)
"""RtkFlag of DJI: float and fixed solution. Otherwise the deviations that it writes mean nothing."""


class Facts(Record, frozen=True, kw_only=True):
    """See records.Photo, whose fields these become."""

    width: int
    height: int
    camera: str
    focal: float
    focal_known: bool
    latitude: float | None = None
    longitude: float | None = None
    altitude: float | None = None
    accuracy: tuple[float, float] | None = None
    taken: float | None = None
    angles: tuple[float, float, float] | None = None
    gps_fault: str = ""
    """Why the GPS that the photo has is not used; goes on after "its GPS "."""


def facts_of(photo: Photofile) -> Facts:
    """Never fails: what cannot be read is not there."""
    name = camera_name(_text(photo.tags.get(_MAKE)), _text(photo.tags.get(_MODEL))) or "unknown camera"
    millimetres = _number(photo.exif.get(_FOCAL))
    equivalent = _number(photo.exif.get(_FOCAL35))
    focal = _focal(photo, name, millimetres, equivalent)
    length = f" {millimetres:.2f} mm" if millimetres else f" {equivalent:g} mm" if equivalent else ""
    latitude, longitude, altitude, fault = _place(photo)
    return Facts(
        width=photo.width,
        height=photo.height,
        camera=f"{name} {photo.width}x{photo.height}{length}",
        focal=focal or GUESS * max(photo.width, photo.height),
        focal_known=focal > 0,
        latitude=latitude,
        longitude=longitude,
        altitude=altitude,
        accuracy=_accuracy(photo.xmp),
        taken=_taken(photo),
        angles=_angles(photo.xmp, name),
        gps_fault=fault,
    )


def _focal(photo: Photofile, name: str, millimetres: float, equivalent: float) -> float:
    """Pixels; 0: unknown. The best source first: the drone's own calibration, a known sensor, the equivalent, the focal plane."""
    longer = max(photo.width, photo.height)
    zoom = max(1.0, _number(photo.exif.get(_ZOOM)))
    ways = (
        _calibrated(photo),
        _by_sensor(photo, SENSORS.get(name), millimetres * zoom),
        _finer(_by_equivalent(photo, millimetres, equivalent), _by_plane(photo, millimetres * zoom), equivalent),
        _by_plane(photo, millimetres * zoom),
    )
    return next((focal for focal in ways if 0.2 * longer < focal < 20 * longer), 0.0)


def _calibrated(photo: Photofile) -> float:
    """DJI's CalibratedFocalLength in pixels; the calibrated centre tells of which size, if the photo was scaled since."""
    focal, centre = _xmp_number(photo.xmp, "CalibratedFocalLength"), _xmp_number(photo.xmp, "CalibratedOpticalCenterX")
    if not focal or not centre or centre <= 0:
        return 0.0
    ratio = photo.width / (2 * centre)
    return focal * (1.0 if abs(ratio - 1) < 0.05 else ratio)


def _by_sensor(photo: Photofile, sensor: tuple[float, float] | None, millimetres: float) -> float:
    if sensor is None:
        return 0.0
    return millimetres / sensor[0] * across(photo.width, photo.height, sensor[0] / sensor[1])


def _by_equivalent(photo: Photofile, millimetres: float, equivalent: float) -> float:
    """Film and sensor have the same angle over the diagonal: of the sensor, not of a photo that was cut out of it."""
    if not equivalent:
        return 0.0
    longer, shorter = max(photo.width, photo.height), min(photo.width, photo.height)
    aspect = aspect_of(equivalent / millimetres) if millimetres else longer / shorter
    wide = across(photo.width, photo.height, aspect)
    return equivalent / FILM * math.hypot(wide, wide / aspect)


def _finer(rounded: float, plane: float, equivalent: float) -> float:
    """The equivalent is whole millimetres, 1 to 2 % of it; where the focal plane says the same but for that, it says it better."""
    return plane if rounded and abs(plane / rounded - 1) <= 0.5 / equivalent else rounded


def _by_plane(photo: Photofile, millimetres: float) -> float:
    resolution, unit = _number(photo.exif.get(_PLANE_X)), _UNITS.get(int(_number(photo.exif.get(_PLANE_UNIT)) or 2), 0.0)
    if not resolution or not unit or not millimetres:
        return 0.0
    was = int(_number(photo.exif.get(_PIXELS))) or photo.width  # the width that the camera gave it, if an editor left that
    sensor = was / resolution * unit
    if not _SENSOR_WIDTHS[0] <= sensor <= _SENSOR_WIDTHS[1]:
        return 0.0
    return millimetres / sensor * photo.width


def _place(photo: Photofile) -> tuple[float | None, float | None, float | None, str]:
    """Latitude, longitude, altitude, and why what is there is not used."""
    gps = photo.gps
    latitude, longitude = _degrees(gps.get(2), gps.get(1), "S"), _degrees(gps.get(4), gps.get(3), "W")
    height = _fraction(gps.get(6))
    altitude = None if height is None else -height if _below(gps.get(5)) else height
    if latitude is None or longitude is None:
        latitude = _xmp_number(photo.xmp, "(?:GpsLatitude|Latitude)")
        longitude = _xmp_number(photo.xmp, "(?:GpsLongitude|GpsLongtitude|Longitude)")  # DJI's firmware spelt it so for years
    if altitude is None:
        altitude = _xmp_number(photo.xmp, "AbsoluteAltitude")
    if latitude is None or longitude is None:
        return None, None, None, "cannot be read" if 2 in gps or 4 in gps else ""
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        return None, None, None, f"says {latitude:g}, {longitude:g}, which is no place"
    if abs(latitude) < NOWHERE and abs(longitude) < NOWHERE:
        return None, None, None, "says 0, 0, as it does without reception"
    if altitude is not None and not -500 <= altitude <= 20_000:
        altitude = None
    return latitude, longitude, altitude, ""


def _degrees(value: Any, reference: Any, negative: str) -> float | None:
    """Degrees, minutes and seconds, each perhaps a fraction, perhaps left out."""
    parts = list(value) if isinstance(value, tuple | list) else [value]
    numbers = [_fraction(part) for part in parts[:3]]
    if not numbers or numbers[0] is None or any(number is None and index == 1 for index, number in enumerate(numbers)):
        return None
    total: float = sum((number or 0.0) / 60**index for index, number in enumerate(numbers))
    return -abs(total) if _text(reference).upper().startswith(negative) else total


def _below(reference: Any) -> bool:
    """GPSAltitudeRef: 1 is below sea level; pillow gives it as a byte."""
    return bool((reference[0] if isinstance(reference, bytes) and reference else reference) in (1, ord("1"), "1"))


def _accuracy(xmp: str) -> tuple[float, float] | None:
    """Horizontal and vertical standard deviation in metres, of RTK and PPK receivers."""
    flag = _xmp_number(xmp, "RtkFlag")
    if flag is None or int(flag) in _RTK_WORTH:
        east, north, up = (_xmp_number(xmp, f"RtkStd{axis}") for axis in ("Lon", "Lat", "Hgt"))
        if east and north and up and min(east, north, up) > 0:
            return max(east, north), up
    level, up = _xmp_number(xmp, "GPSXYAccuracy"), _xmp_number(xmp, "GPSZAccuracy")
    return (level, up) if level and up and min(level, up) > 0 else None


def _angles(xmp: str, camera: str) -> tuple[float, float, float] | None:
    """Yaw, pitch, roll; 0, 0, 0 looks straight down. A DJI gimbal that looks down has a pitch of -90."""
    gimbal = tuple(_xmp_number(xmp, f"Gimbal{axis}Degree") for axis in ("Yaw", "Pitch", "Roll"))
    if gimbal[0] is not None and gimbal[1] is not None:
        return gimbal[0], gimbal[1] + 90.0, gimbal[2] or 0.0
    yaw, pitch, roll = (_xmp_number(xmp, rf"Camera:{axis}") for axis in ("Yaw", "Pitch", "Roll"))
    if yaw is None or pitch is None or roll is None:
        return None
    return yaw, pitch, -roll if camera.startswith("sensefly") else roll


def _taken(photo: Photofile) -> float | None:
    """Seconds since 1970, the camera's clock taken for UTC: only differences between photos mean something."""
    text = _text(photo.exif.get(_ORIGINAL)) or _text(photo.tags.get(_DATE))
    found = re.match(r"\s*(\d{4})\D(\d\d)\D(\d\d)\D+(\d\d)\D(\d\d)\D(\d\d)", text)
    if not found:
        return None
    try:
        whole = datetime(*(int(part) for part in found.groups()), tzinfo=UTC).timestamp()  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    part = re.match(r"\d{1,9}", _text(photo.exif.get(_SUBSECONDS)).strip())
    return whole + (float(f"0.{part[0]}") if part else 0.0)


def _xmp_number(xmp: str, name: str) -> float | None:
    """``drone-dji:GimbalYawDegree="+12.30"``, or the same as an element. ``name`` is a regular expression, with or without its prefix."""
    prefix = r"\b" if ":" in name.replace("(?:", "") else r"(?<=[\w-]:)"  # of a fixed length: XMP may be a megabyte of nothing but "a-"
    found = re.search(rf"{prefix}{name}\s*(?:=\s*[\"']|>)\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)(?![\d./])", xmp)
    value = float(found[1]) if found else math.inf
    return value if math.isfinite(value) else None


def _number(value: Any) -> float:
    """0 where it is none: for lengths and counts, which are never 0."""
    found = _fraction(value)
    return found if found is not None and found > 0 else 0.0


def _fraction(value: Any) -> float | None:
    if isinstance(value, tuple | list) and len(value) == 1:
        value = value[0]
    try:
        found = float(value[0]) / float(value[1]) if isinstance(value, tuple | list) else float(value)
    except (TypeError, ValueError, ZeroDivisionError, IndexError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in value).strip() if isinstance(value, str) else ""
