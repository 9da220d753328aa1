"""TIFF tiles are joined as they were written; what cannot be kept is refused in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from clusterray.common.kinds import tiff, tiles
from clusterray.common.kinds.png import BadPicture
from clusterray.common.kinds.rasters import as_rgb8, check_picture, join_tiles, shape_of
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from .raster_cases import EVERY, SIZES, fresh, grids, noise, read_tiff, write_tiff

STORED = [{}, {"compression": "zlib"}, {"tile": (16, 32)}, {"compression": "zlib", "tile": (16, 16)}, {"rowsperstrip": 3, "byteorder": ">"}]


@EVERY
@given(data=st.data(), size=SIZES, kind=st.sampled_from(["u1", "u2", "f4"]), channels=st.integers(1, 4), options=st.sampled_from(STORED))
def test_tiles_join_bit_for_bit(
    data: st.DataObject, size: tuple[int, int], kind: str, channels: int, options: dict[str, Any], tmp_path: Path
) -> None:
    """8 and 16 bits and float, grey to RGBA, stored in strips or tiles, plain or deflated; ICC profile, dpi, description, alpha stay."""
    place = fresh(tmp_path / "x")
    pixels = noise(2, size[1], size[0], channels, kind=kind)
    predictor = {"predictor": 2} if kind != "f4" and "compression" in options else {}
    parts = []
    for tile in tiles.grid(*size, *data.draw(grids(size))):
        left, top, right, bottom = tile.rect
        write_tiff(place / tile.name, pixels[top:bottom, left:right], **options, **predictor)
        parts.append((tile.rect, place / tile.name))
    join_tiles(parts, *size, place / "whole.tif")
    found = read_tiff(place / "whole.tif")
    assert found.dtype == np.dtype(kind) and (found == pixels).all()
    with tifffile.TiffFile(parts[0][1]) as before, tifffile.TiffFile(place / "whole.tif") as after:
        for code in (34675, 282, 283, 296, 270, 338, 262, 277, 305):
            old, new = before.pages.first.tags.get(code), after.pages.first.tags.get(code)
            assert (new and new.value) == (old and old.value), code
    check_picture(place / "whole.tif", width=size[0], height=size[1], format="tiff", channels=channels)


def test_pillow_reads_what_was_joined(tmp_path: Path) -> None:
    """A reader that shares no code with the writer sees the same pixels."""
    pixels = noise(3, 40, 50, 3, kind="u1")
    write_tiff(tmp_path / "tile", pixels)
    join_tiles([((0, 0, 50, 40), tmp_path / "tile")], 50, 40, tmp_path / "whole.tif")
    with Image.open(tmp_path / "whole.tif") as picture:
        assert (np.asarray(picture) == pixels).all() and picture.info["dpi"] == (300, 300)


def test_over_four_gigabytes_it_is_a_bigtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is moved, so that the test needs no disk; the pixels are the same."""
    monkeypatch.setattr(tiff, "BIG", 1000)
    pixels = noise(3, 40, 50, 1, kind="f4")
    write_tiff(tmp_path / "tile", pixels)
    join_tiles([((0, 0, 50, 40), tmp_path / "tile")], 50, 40, tmp_path / "whole.tif")
    assert (tmp_path / "whole.tif").read_bytes()[:4] == b"II+\0"
    assert (read_tiff(tmp_path / "whole.tif") == pixels).all()


@pytest.mark.parametrize("options", STORED)
def test_what_is_cut_short_or_damaged_is_refused(options: dict[str, Any], tmp_path: Path) -> None:
    """A file without its end never passes; a changed byte in deflated data neither."""
    path, bad = tmp_path / "good.tif", tmp_path / "bad.tif"
    write_tiff(path, noise(4, 64, 64, 3, kind="u2"), **options)
    data = path.read_bytes()
    check_picture(path, width=64, height=64, bits=16, channels="RGB")
    for cut in (1, 8, 100, len(data) // 2, len(data) - 3, len(data)):
        bad.write_bytes(data[: len(data) - cut])
        with pytest.raises(BadPicture):
            check_picture(bad, width=64, height=64)
    if "compression" in options:
        for at in (len(data) // 3, len(data) // 2):
            bad.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
            with pytest.raises(BadPicture, match="damaged"):
                check_picture(bad, width=64, height=64)


def test_what_is_not_read_is_named(tmp_path: Path) -> None:
    """LZW, several pictures, colours apart, no number at all."""
    grey = noise(5, 20, 20, kind="u1")
    Image.fromarray(grey).save(tmp_path / "lzw.tif", compression="tiff_lzw")
    tifffile.imwrite(tmp_path / "many.tif", np.stack([grey, grey]), photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "apart.tif", np.stack([grey] * 3), photometric="rgb", planarconfig="separate", metadata=None)
    tifffile.imwrite(tmp_path / "nan.tif", np.full((20, 20), np.nan, "f4"), photometric="minisblack", metadata=None)
    tifffile.imwrite(tmp_path / "double.tif", np.zeros((20, 20), "f8"), photometric="minisblack", metadata=None)
    for name, words in [
        ("lzw.tif", "LZW, is not read here; write it uncompressed or deflated"),
        ("many.tif", "several pictures"),
        ("apart.tif", "each colour apart"),
        ("nan.tif", "none of its samples is a number"),
        ("double.tif", "float64"),
    ]:
        with pytest.raises(BadPicture, match=words):
            check_picture(tmp_path / name, width=20, height=20)


def test_as_screens_show_it(tmp_path: Path) -> None:
    """8 bits as they are, 16 rounded, float as linear light, straight alpha over black."""
    for kind, value, shown in [("u1", 200, 200), ("u2", 0x8000, 128), ("f4", 0.5, 188)]:
        write_tiff(tmp_path / "x.tif", np.full((4, 5, 3), value, kind))
        assert (as_rgb8(tmp_path / "x.tif") == shown).all() and as_rgb8(tmp_path / "x.tif").shape == (4, 5, 3)
    write_tiff(tmp_path / "x.tif", np.full((4, 5, 2), 100, "u1"))
    assert shape_of(tmp_path / "x.tif").channels == ("Y", "A")
    assert (as_rgb8(tmp_path / "x.tif") == 39).all()
