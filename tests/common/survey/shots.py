"""Photos for tests: textured pictures with the EXIF, GPS and XMP that a test asks for."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import piexif
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin


def textured(seed: int, width: int = 320, height: int = 240) -> NDArray[np.uint8]:
    """(height, width, 3) blots of several sizes: enough for some hundred features."""
    random = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cells in (8, 24, 60):
        noise = random.random((max(2, cells * height // width), cells, 3), np.float32)
        for band in range(3):
            rough = Image.fromarray(noise[:, :, band] * 255.0)
            picture[:, :, band] += np.asarray(rough.resize((width, height), Image.Resampling.BICUBIC)) / 3
    return np.clip(picture, 0, 255).astype(np.uint8)


def exif_of(
    *,
    maker: str = "",
    model: str = "",
    millimetres: float = 0.0,
    equivalent: int = 0,
    at: tuple[float, float, float] | None = None,
    below: bool = False,
    taken: str = "",
    more: dict[str, dict[int, Any]] | None = None,
) -> bytes:
    """``at``: latitude, longitude, altitude; ``more``: other tags by directory, as piexif has them."""
    found: dict[str, dict[int, Any]] = {"0th": {}, "Exif": {}, "GPS": {}}
    if maker:
        found["0th"][piexif.ImageIFD.Make] = maker
    if model:
        found["0th"][piexif.ImageIFD.Model] = model
    if millimetres:
        found["Exif"][piexif.ExifIFD.FocalLength] = (round(millimetres * 1000), 1000)
    if equivalent:
        found["Exif"][piexif.ExifIFD.FocalLengthIn35mmFilm] = equivalent
    if taken:
        found["Exif"][piexif.ExifIFD.DateTimeOriginal] = taken
    if at is not None:
        latitude, longitude, altitude = at
        found["GPS"] = {
            piexif.GPSIFD.GPSLatitudeRef: "N" if latitude >= 0 else "S",
            piexif.GPSIFD.GPSLatitude: sixty(abs(latitude)),
            piexif.GPSIFD.GPSLongitudeRef: "E" if longitude >= 0 else "W",
            piexif.GPSIFD.GPSLongitude: sixty(abs(longitude)),
            piexif.GPSIFD.GPSAltitudeRef: int(below),
            piexif.GPSIFD.GPSAltitude: (round(altitude * 1000), 1000),
        }
    for directory, tags in (more or {}).items():
        found[directory] |= tags
    dumped: bytes = piexif.dump(found)
    return dumped


def sixty(degrees: float) -> tuple[tuple[int, int], ...]:
    """Degrees, minutes, and seconds to a millionth."""
    whole = int(degrees)
    minutes = int((degrees - whole) * 60)
    return (whole, 1), (minutes, 1), (round(((degrees - whole) * 60 - minutes) * 60 * 1_000_000), 1_000_000)


def jpeg(picture: NDArray[np.uint8], exif: bytes = b"", xmp: str = "", quality: int = 90) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, exif=exif, **({"xmp": xmp.encode()} if xmp else {}))
    return file.getvalue()


def png(picture: NDArray[Any], xmp: str = "") -> bytes:
    file, info = io.BytesIO(), PngImagePlugin.PngInfo()
    if xmp:
        info.add_itxt("XML:com.adobe.xmp", xmp)
    Image.fromarray(picture).save(file, "PNG", pnginfo=info)
    return file.getvalue()


def dji(**tags: object) -> str:
    """XMP as DJI's drones write it."""
    words = "\n".join(f'   drone-dji:{name}="{value}"' for name, value in tags.items())
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        f' <rdf:Description xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/"\n{words}>\n </rdf:Description></rdf:RDF></x:xmpmeta>'
    )


def survey(folder: Path, count: int = 8, **exif: Any) -> list[str]:
    """So many photos in ``folder/images``, 20 m apart to the north; their names."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(count):
        place = {"maker": "DJI", "model": "FC6310", "millimetres": 8.8, "equivalent": 24, "at": (46.0 + number * 0.00018, 11.0, 300.0)}
        names.append(f"images/DJI_{number:04d}.jpg")
        (folder / names[-1]).write_bytes(jpeg(textured(number), exif_of(**(place | exif))))
    return names
