"""Rendered frames -> photos as a drone would write them: noise, JPEG, EXIF, GPS that is a little off."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .flight import Array, Camera

CRS = "EPSG:32632"
ORIGIN = (546_300.0, 5_256_400.0, 400.0)
"""Of the middle of the place, in ``CRS``: somewhere south of Lake Constance. Absolute coordinates are those of the place plus this."""
MAKER, MODEL = "ClusterRay", "Truth 1"
PIXEL = 0.01
"""Millimetres: the made-up sensor, from which EXIF's focal length follows."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How far the photos are from perfect ones."""

    gps: tuple[float, float, float] = (0.3, 0.3, 0.5)
    """Standard deviation of the GPS to the east, north and up, metres."""
    grain: float = 1.0
    """Standard deviation of a pixel's noise, of 255."""
    focal: float = 0.0
    """By how much (0.01: one in a hundred) the focal length in the EXIF is too long."""
    quality: int = 95
    seed: int = 7


def write_photos(frames: list[Path], cameras: tuple[Camera, ...], folder: Path, faults: Faults) -> Array:
    """One JPEG a camera; gives where the GPS says they are: (n, 3) from the middle of the place."""
    import piexif
    from pyproj import Transformer

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(faults.seed)
    said = np.array([camera.centre for camera in cameras]) + random.normal(0, 1, (len(cameras), 3)) * faults.gps
    to_degrees = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    for number, (frame, camera, place) in enumerate(zip(frames, cameras, said, strict=True)):
        longitude, latitude = to_degrees.transform(place[0] + ORIGIN[0], place[1] + ORIGIN[1])
        exif = piexif.dump(_exif(camera, number, latitude, longitude, place[2] + ORIGIN[2], faults))
        pixels: NDArray[np.float64] = np.asarray(Image.open(frame).convert("RGB"), np.float64)
        pixels = pixels + random.normal(0, faults.grain, pixels.shape)
        written = io.BytesIO()
        Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8)).save(written, "JPEG", quality=faults.quality, exif=exif)
        (folder / camera.name).write_bytes(written.getvalue())
    return said


def _exif(camera: Camera, number: int, latitude: float, longitude: float, altitude: float, faults: Faults) -> dict[str, dict[int, object]]:
    from piexif import GPSIFD, ExifIFD, ImageIFD

    focal = camera.focal * (1 + faults.focal) * PIXEL
    diagonal = np.hypot(camera.width, camera.height) * PIXEL
    taken = f"2026:05:01 10:{number * 2 // 60:02d}:{number * 2 % 60:02d}"
    return {
        "0th": {ImageIFD.Make: MAKER, ImageIFD.Model: MODEL, ImageIFD.DateTime: taken, ImageIFD.Software: "POV-Ray"},
        "Exif": {
            ExifIFD.DateTimeOriginal: taken,
            ExifIFD.FocalLength: _ratio(focal, 1_000_000),
            ExifIFD.FocalLengthIn35mmFilm: round(focal * 43.2666 / diagonal),
            ExifIFD.FocalPlaneXResolution: _ratio(10 / PIXEL, 1000),
            ExifIFD.FocalPlaneYResolution: _ratio(10 / PIXEL, 1000),
            ExifIFD.FocalPlaneResolutionUnit: 3,  # centimetres
            ExifIFD.PixelXDimension: camera.width,
            ExifIFD.PixelYDimension: camera.height,
        },
        "GPS": {
            GPSIFD.GPSVersionID: (2, 3, 0, 0),
            GPSIFD.GPSLatitudeRef: "N" if latitude >= 0 else "S",
            GPSIFD.GPSLatitude: _degrees(latitude),
            GPSIFD.GPSLongitudeRef: "E" if longitude >= 0 else "W",
            GPSIFD.GPSLongitude: _degrees(longitude),
            GPSIFD.GPSAltitudeRef: 0,
            GPSIFD.GPSAltitude: _ratio(altitude, 1000),
        },
    }


def _ratio(value: float, parts: int) -> tuple[int, int]:
    ratio = Fraction(round(value * parts), parts)
    return ratio.numerator, ratio.denominator


def _degrees(value: float) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    whole = int(abs(value))
    minutes = int((abs(value) - whole) * 60)
    seconds = ((abs(value) - whole) * 60 - minutes) * 60
    return (whole, 1), (minutes, 1), (round(seconds * 1_000_000), 1_000_000)
