"""Random pictures of every form that is joined, written by the libraries that others use, for the tests of rasters."""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import tifffile
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image

Array = np.ndarray[Any, Any]
DPI = (b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
GAMMA = (b"gAMA", struct.pack(">I", 100000))
PROFILE = b"\0\0\x02\x0clcms\x02\x10\0\0mntrRGB XYZ " + bytes(100)
EVERY = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


def fresh(place: Path) -> Path:
    """An empty folder for one example."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    return place


def grids(size: tuple[int, int]) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(1, min(4, size[0])), st.integers(1, min(4, size[1])))


def noise(seed: int, *shape: int, kind: str) -> Array:
    """Half noise and half a ramp, so that both sorts of packing are met."""
    rng = np.random.default_rng(seed)
    if kind[0] == "f":
        data = rng.normal(0.5, 2, shape).astype(kind)
    else:
        data = rng.integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)
    data[: shape[0] // 2] = np.arange(shape[0] // 2).reshape(-1, *[1] * (len(shape) - 1))
    return data


def write_png(path: Path, pixels: Array, extra: tuple[tuple[bytes, bytes], ...] = ()) -> None:
    """Pillow's PNG where it can, ours (by hand) for 16 bits of more than grey, with chunks put in."""
    rows, width, channels = pixels.shape
    bits = pixels.dtype.itemsize * 8
    head = struct.pack(">IIBBBBB", width, rows, bits, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    data = pixels.astype(">u2" if bits == 16 else "u1").reshape(rows, -1).view("u1")
    packed = zlib.compress(np.insert(data, 0, 0, axis=1).tobytes())
    chunks = [(b"IHDR", head), *extra, (b"IDAT", packed), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    )


def read_png(path: Path) -> Array:
    """By our reader of rows for 16 bits, else by pillow."""
    with Image.open(path) as picture:
        if picture.mode in ("L", "LA", "RGB", "RGBA") and path.read_bytes()[24] == 8:
            pixels = np.asarray(picture)
            return pixels if pixels.ndim == 3 else pixels[:, :, None]
        size = picture.size
    from clusterray.common.kinds.images import any_rows

    return np.concatenate(list(any_rows(path))).view(">u2").reshape(size[1], size[0], -1)


def write_tiff(path: Path, pixels: Array, **options: Any) -> None:
    channels = pixels.shape[2]
    tifffile.imwrite(
        path,
        pixels if channels > 1 else pixels[:, :, 0],
        photometric="rgb" if channels > 2 else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples={2: [2], 4: [1]}.get(channels),
        resolution=(300, 300),
        resolutionunit="INCH",
        iccprofile=PROFILE,
        description="a tile",
        metadata=None,
        **options,
    )


def read_tiff(path: Path) -> Array:
    pixels = tifffile.imread(path)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def exr_header(compression: str = "ZIP", **more: Any) -> dict[str, Any]:
    return {
        "compression": getattr(OpenEXR, f"{compression}_COMPRESSION"),
        "type": OpenEXR.scanlineimage,
        "renderer": "ours, é",
        "pixelAspectRatio": 1.5,
        "chromaticities": (0.7, 0.29, 0.17, 0.79, 0.13, 0.04, 0.31, 0.33),
        **more,
    }


def window(left: int, top: int, right: int, bottom: int) -> tuple[Array, Array]:
    """Half-open bounds as the library has them."""
    return np.array([left, top], np.int32), np.array([right - 1, bottom - 1], np.int32)


def write_exr(path: Path, channels: dict[str, Array], compression: str = "ZIP", **more: Any) -> None:
    # a copy, as the library puts its own objects into the dictionary
    OpenEXR.File(exr_header(compression, **more), dict(channels)).write(str(path))


def read_exr(path: Path, part: int = 0) -> dict[str, Array]:
    file = OpenEXR.File(str(path), separate_channels=True)
    return {name: channel.pixels for name, channel in file.channels(part).items()}
