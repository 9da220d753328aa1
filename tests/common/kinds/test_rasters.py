"""Pictures of any depth are joined, cropped and looked at as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.kinds import tiles
from clusterray.common.kinds.png import BadPicture
from clusterray.common.kinds.png_rows import kept_chunks
from clusterray.common.kinds.rasters import as_rgb8, check_picture, crop, join_tiles, montage, shape_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from .raster_cases import DPI, EVERY, GAMMA, SIZES, fresh, grids, noise, read_exr, read_png, read_tiff, write_exr, write_png, write_tiff

Array = np.ndarray[Any, Any]
FORMS = ("png", "tiff", "exr")


def write(path: Path, form: str, pixels: Array) -> Path:
    """RGB of 8 bits as PNG and TIFF, of floats as OpenEXR."""
    if form == "exr":
        write_exr(path, {name: np.ascontiguousarray(pixels[:, :, number], "f4") for number, name in enumerate("RGB")})
    else:
        {"png": write_png, "tiff": write_tiff}[form](path, pixels)
    return path


def read(path: Path, form: str) -> Array:
    if form == "exr":
        found = read_exr(path)
        return np.stack([found[name] for name in "RGB"], axis=-1)
    return {"png": read_png, "tiff": read_tiff}[form](path)


@EVERY
@given(data=st.data(), size=SIZES, kind=st.sampled_from(["u1", "u2"]), channels=st.integers(1, 4))
def test_png_tiles_join_bit_for_bit(data: st.DataObject, size: tuple[int, int], kind: str, channels: int, tmp_path: Path) -> None:
    """8 and 16 bits, grey to RGBA, any grid; gamma and resolution stay."""
    place = fresh(tmp_path / "x")
    pixels = noise(1, size[1], size[0], channels, kind=kind)
    parts = []
    for tile in tiles.grid(*size, *data.draw(grids(size))):
        left, top, right, bottom = tile.rect
        write_png(place / tile.name, pixels[top:bottom, left:right], (GAMMA, DPI))
        parts.append((tile.rect, place / tile.name))
    join_tiles(parts, *size, place / "whole")
    assert (read_png(place / "whole") == pixels).all()
    assert kept_chunks(place / "whole") == [GAMMA, DPI]
    check_picture(place / "whole", width=size[0], height=size[1], format="png", bits=pixels.dtype.itemsize * 8, channels=channels)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_pillows_png_is_read_with_any_filter(mode: str, tmp_path: Path) -> None:
    """What another writer chose row by row; and what we write is what pillow reads."""
    count = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}[mode]
    pixels = noise(2, 60, 50, count, kind="u2" if mode == "I;16" else "u1")
    Image.fromarray(pixels[:, :, 0] if count == 1 else pixels).save(tmp_path / "a.png", dpi=(300, 300))
    crop(tmp_path / "a.png", (5, 7, 41, 53), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.mode == mode and round(picture.info["dpi"][0]) == 300
        assert (np.asarray(picture).reshape(46, 36, count) == pixels[7:53, 5:41]).all()


@pytest.mark.parametrize("form", FORMS)
def test_full_size_tiles_and_a_frame_of_odd_pieces(form: str, tmp_path: Path) -> None:
    """Pieces need no grid; a file of the whole size gives its rectangle."""
    pixels = noise(3, 40, 60, 3, kind="u1")
    whole = write(tmp_path / "whole", form, pixels)
    rects = [(0, 0, 17, 40), (17, 0, 60, 9), (17, 9, 44, 40), (44, 9, 60, 40)]
    parts = [(rect, whole) for rect in rects[:2]]
    for number, (left, top, right, bottom) in enumerate(rects[2:]):
        parts.append(((left, top, right, bottom), write(tmp_path / f"{number}", form, pixels[top:bottom, left:right])))
    join_tiles(parts, 60, 40, tmp_path / "joined")
    assert (read(tmp_path / "joined", form) == pixels).all()
    assert shape_of(tmp_path / "joined").format == form


@pytest.mark.parametrize("form", FORMS)
def test_mistakes_in_a_tiling_are_named(form: str, tmp_path: Path) -> None:
    """Holes, overlaps, pieces that stick out, pieces of another size or form: nothing is joined silently."""
    good = write(tmp_path / "good", form, noise(1, 10, 10, 3, kind="u1"))
    small = write(tmp_path / "small", form, noise(1, 10, 9, 3, kind="u1"))
    grey = tmp_path / "grey"
    write_png(grey, noise(1, 10, 10, 1, kind="u2"))
    left, right = ((0, 0, 10, 10), good), (10, 0, 20, 10)
    for parts, words in [
        ([left], "no piece covers the pixels from column 10 on in the rows 0 to 9"),
        ([left, ((9, 0, 20, 10), good)], "columns 9 to 19, rows 0 to 9 .good.: another piece is there"),
        ([left, ((10, 0, 21, 10), good)], "outside of the picture"),
        ([left, (right, small)], r"columns 10 to 19.*\(small\): it is 9 x 10 pixels instead of 10 x 10"),
        ([left, (right, grey)], r"\(grey\): it is PNG, 16 bits, Y where the first piece is"),
        ([], "nothing to join"),
    ]:
        with pytest.raises(BadPicture, match=words):
            join_tiles(parts, 20, 10, tmp_path / "joined")


@pytest.mark.parametrize("form", FORMS)
def test_a_montage(form: str, tmp_path: Path) -> None:
    """Row by row, bit for bit; what is left over is black."""
    pictures = [noise(seed, 8, 12, 3, kind="u1") for seed in range(5)]
    montage([write(tmp_path / f"{n}", form, pixels) for n, pixels in enumerate(pictures)], 3, tmp_path / "all")
    found = read(tmp_path / "all", form)
    assert found.shape == (16, 36, 3)
    for number, pixels in enumerate(pictures):
        row, column = divmod(number, 3)
        assert (found[row * 8 : row * 8 + 8, column * 12 : column * 12 + 12] == pixels).all()
    assert not found[8:, 24:].any()


def test_jpeg_is_looked_at_but_not_joined(tmp_path: Path) -> None:
    """Its size, its look, its montage as PNG; a joined JPEG would be another picture."""
    pixels = np.tile(np.linspace(0, 255, 64, dtype="u1")[None, :, None], (48, 1, 3))
    path = tmp_path / "x.jpg"
    Image.fromarray(pixels).save(path, quality=95)
    shape = check_picture(path, width=64, height=48, format="jpeg", bits=8, channels="RGB")
    assert str(shape) == "JPEG, 64 x 48, 8 bits of whole numbers, R, G, B"
    assert np.abs(as_rgb8(path).astype(int) - pixels).max() < 8 and as_rgb8(path, 16).shape == (12, 16, 3)
    montage([path, path], 2, tmp_path / "m.png")
    assert shape_of(tmp_path / "m.png").width == 128
    with pytest.raises(BadPicture, match="let the renderer write PNG, TIFF or OpenEXR"):
        join_tiles([((0, 0, 64, 48), path)], 64, 48, tmp_path / "y.jpg")
    data = path.read_bytes()
    for bad in (data[:-1], data[: len(data) // 2], data + data[:64]):
        path.write_bytes(bad)
        with pytest.raises(BadPicture):
            check_picture(path, width=64, height=48)


def test_odd_png_is_seen_but_not_joined(tmp_path: Path) -> None:
    """Palettes and depths below 8 bits have no place in a joined picture; people may still look at them."""
    pixels = noise(1, 20, 30, kind="u1") // 86 * 85
    Image.fromarray(pixels).convert("P").save(tmp_path / "p.png")
    Image.fromarray(pixels > 100).save(tmp_path / "b.png")
    for name in ("p.png", "b.png"):
        check_picture(tmp_path / name, width=30, height=20, format="png")
        assert as_rgb8(tmp_path / name).shape == (20, 30, 3)
        with pytest.raises(BadPicture, match="is not read here"):
            join_tiles([((0, 0, 30, 20), tmp_path / name)], 30, 20, tmp_path / "x.png")
    assert (as_rgb8(tmp_path / "p.png")[:, :, 0] == pixels).all()


def test_a_png_that_is_cut_short_or_damaged_is_refused(tmp_path: Path) -> None:
    """All of it is decoded: any cut, any changed byte, anything behind the end."""
    path = tmp_path / "x.png"
    write_png(path, noise(1, 20, 30, 3, kind="u2"))
    data = path.read_bytes()
    bad = [data[:cut] for cut in (0, 7, 20, 50, len(data) // 2, len(data) - 1)] + [data + b"x"]
    for content in bad + [data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in range(33, len(data), 97)]:
        path.write_bytes(content)
        with pytest.raises(BadPicture):
            check_picture(path, width=30, height=20)


def test_another_form_than_asked_for_is_said(tmp_path: Path) -> None:
    """Size, format, depth and channels, each in its own words."""
    write_png(tmp_path / "x.png", noise(1, 20, 30, 3, kind="u2"))
    for wanted, words in [
        ({"width": 31}, "30 x 20 pixels instead of 31 x 20"),
        ({"format": "exr"}, "PNG instead of OpenEXR"),
        ({"bits": 8}, "16 bits instead of 8"),
        ({"channels": 4}, "channels are R, G, B instead of 4"),
        ({"channels": "RGBA"}, "instead of R, G, B, A"),
    ]:
        with pytest.raises(BadPicture, match=words):
            check_picture(tmp_path / "x.png", **({"width": 30, "height": 20} | wanted))


def test_what_is_no_picture_is_said(tmp_path: Path) -> None:
    """The sentence names what is wrong with the file, not what a library thought of it."""
    for content, words in [
        (b"", "empty"),
        (b"hello there", "no PNG, JPEG, TIFF or OpenEXR"),
        (b"\x89PNG\r\n\x1a\n", "cut short"),
        (b"v/1\x01", "cut short"),
        (b"II*\0", "header is damaged"),
        (b"\xff\xd8\xff\xe0", "header is damaged"),
    ]:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(BadPicture, match=words):
            shape_of(tmp_path / "x")


@EVERY
@given(size=st.tuples(st.integers(1, 200), st.integers(1, 200)), longest=st.integers(1, 70), form=st.sampled_from(FORMS))
def test_scaled_down(size: tuple[int, int], longest: int, form: str, tmp_path: Path) -> None:
    """The longer side is as asked, never larger than the picture; an even grey stays that grey."""
    write(tmp_path / "x", form, np.full((size[1], size[0], 3), 1 if form == "exr" else 77, "u1"))
    found = as_rgb8(tmp_path / "x", longest)
    assert max(found.shape[:2]) == min(longest, max(size)) and found.dtype == np.uint8
    assert (found == (255 if form == "exr" else 77)).all()


def test_scaling_takes_means(tmp_path: Path) -> None:
    """A fine chequer becomes grey, not one of its colours; halves stay where they are."""
    chequer = (np.indices((64, 96)).sum(axis=0) % 2 * 255).astype("u1")
    chequer[:, 48:] = 255
    write_png(tmp_path / "x.png", np.repeat(chequer[:, :, None], 3, axis=2))
    small = as_rgb8(tmp_path / "x.png", 24)
    assert small.shape == (16, 24, 3) and (small[:, :12] == 128).all() and (small[:, 12:] == 255).all()


def test_gamma_and_alpha_as_screens_show_them(tmp_path: Path) -> None:
    """A linear PNG (gAMA 1) is encoded as sRGB; a see-through pixel lies over black; 16 bits are rounded."""
    write_png(tmp_path / "linear.png", np.full((2, 2, 3), 128, "u1"), (GAMMA,))
    assert (as_rgb8(tmp_path / "linear.png") == 188).all()
    write_png(tmp_path / "alpha.png", np.full((2, 2, 4), 0x8000, "u2"))
    assert (as_rgb8(tmp_path / "alpha.png") == 64).all()
    write_png(tmp_path / "grey.png", np.full((2, 2, 1), 0x80FF, "u2"))
    assert (as_rgb8(tmp_path / "grey.png") == 128).all()


@pytest.mark.parametrize("size", [(9, 8), (8, 7)])
def test_a_montage_of_different_sizes_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    """Nothing is cut off without a word."""
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    Image.new("RGB", size).save(tmp_path / "b.png")
    with pytest.raises(BadPicture, match=rf"b.png has {size[0]} x {size[1]} pixels where a.png has 8 x 8"):
        montage([tmp_path / "a.png", tmp_path / "b.png"], 2, tmp_path / "m.png")
