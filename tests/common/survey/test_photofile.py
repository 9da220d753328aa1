"""A photo's file is opened with care: it may be anything."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from clusterray.common.survey.photofile import BadPhoto, check_whole, open_photo, pixels
from PIL import Image

from .shots import exif_of, jpeg, png, textured

PICTURE = textured(1, 160, 120)


def saved(picture: Image.Image, form: str, **more: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **more)  # type: ignore[arg-type]
    return file.getvalue()


def tiff(array: np.ndarray, **more: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, **more)  # type: ignore[arg-type]
    return file.getvalue()


def test_pixels_are_those_of_the_file():
    assert np.array_equal(pixels(png(PICTURE)), PICTURE)
    assert np.array_equal(pixels(tiff(PICTURE, photometric="rgb")), PICTURE)
    assert np.abs(pixels(jpeg(PICTURE, quality=95)).astype(int) - PICTURE).mean() < 8


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_any_mode_becomes_red_green_blue(mode):
    picture = Image.fromarray(PICTURE).convert("L").convert(mode) if mode in ("LA", "1") else Image.fromarray(PICTURE).convert(mode)
    found = pixels(saved(picture, "TIFF" if mode == "CMYK" else "PNG"))
    assert found.shape == (120, 160, 3) and found.dtype == np.uint8


def test_the_orientation_is_not_applied():
    """Coordinates count in the photo as it is stored, also where a viewer would turn it."""
    turned = jpeg(PICTURE, exif_of(more={"0th": {0x0112: 6}}))
    assert pixels(turned).shape == PICTURE.shape and open_photo(turned).width == 160


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_photos_are_brought_to_8_bits_alike(form, bits):
    """A dark and a bright photo of one 12-bit camera keep their brightness beside each other."""
    import cv2
    bright = PICTURE.astype(np.uint16) << (bits - 8)
    bright[0, 0] = (1 << bits) - 1
    dark = bright // 2  # uses one bit less
    for deep in (bright, dark):
        data = cv2.imencode(".png", deep[:, :, ::-1])[1].tobytes() if form == "png" else tiff(deep, photometric="rgb", compression="zlib")
        assert np.array_equal(pixels(data), deep >> (bits - 8))


def test_a_grey_photo_of_16_bits_is_grey():
    found = pixels(tiff(PICTURE[:, :, 0].astype(np.uint16) << 8))
    assert np.array_equal(found[:, :, 0], PICTURE[:, :, 0]) and np.array_equal(found[:, :, 0], found[:, :, 2])


def bomb() -> bytes:
    """A PNG of 60000 x 60000 by its header."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"These are notes of the flight.\n" * 30, "is a text file"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(400), "HEIC"),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(400), "WebP"),
        (bytes(range(256)) * 4, "no JPEG, PNG or TIFF"),
        (jpeg(PICTURE)[:100], "its header cannot be read"),
        (bomb(), "60000 x 60000"),
        (png(PICTURE[:20, :20]), "only 20 x 20"),
        (tiff(PICTURE.astype(np.float32) / 255, photometric="rgb"), "floating point"),
        (tiff(PICTURE, photometric="rgb", extratags=[(34735, "H", 4, (1, 1, 0, 0), True)]), "GeoTIFF"),
    ],
    ids=["empty", "text", "heic", "webp", "bytes", "header", "bomb", "icon", "float", "map"],
)
def test_what_is_no_photo_is_named(data, why):
    with pytest.raises(BadPhoto, match=why):
        pixels(data)


def test_a_photo_that_is_cut_short_is_refused_wherever_it_is_cut():
    whole = jpeg(PICTURE)
    for length in range(0, len(whole) - 2, 97):
        with pytest.raises(BadPhoto):
            pixels(whole[:length])
    for form in (png(PICTURE), tiff(PICTURE.astype(np.uint16) << 8, photometric="rgb", compression="zlib")):
        with pytest.raises(BadPhoto):
            pixels(form[: len(form) * 2 // 3])


def test_a_jpeg_that_is_damaged_in_the_middle_is_refused():
    """A card that lost a sector leaves a picture that decodes, half of it shifted: a survey must not take points from it."""
    whole = jpeg(textured(2, 640, 480))
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(2048) + whole[middle + 2048 :]
    assert pixels(damaged).shape == (480, 640, 3), "pillow lets it pass, which is why there is a check of its own"
    with pytest.raises(BadPhoto, match="is damaged"):
        check_whole(open_photo(damaged))


def test_padding_before_the_end_is_no_damage(capfd):
    """Some cameras fill up their files with zeros."""
    whole = jpeg(PICTURE)
    assert whole.endswith(b"\xff\xd9")
    check_whole(open_photo(whole[:-2] + bytes(500) + whole[-2:]))
    check_whole(open_photo(whole))
    check_whole(open_photo(png(PICTURE)))
    assert capfd.readouterr().err == "", "what the decoder says is not on the job's standard error"


def test_damaged_exif_leaves_the_picture():
    data = jpeg(PICTURE, exif_of(maker="DJI", model="FC6310" * 20))
    at = data.index(b"Exif\0\0") + 14
    photo = open_photo(data[:at] + b"\xff" * 60 + data[at + 60 :])
    assert pixels(photo).shape == PICTURE.shape
