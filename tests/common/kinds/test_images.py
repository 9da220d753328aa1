"""Pictures in and out: our PNG files are read by everybody, and we read everybody's."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from clusterray.common.errors import OutputRejected
from clusterray.common.kinds import images
from clusterray.common.kinds.images import PictureWriter, TileReader, any_rows, gamma_chunks, unfilter
from clusterray.common.kinds.png import BadPicture, FilteredRows, Format, check_tile, write_tile
from clusterray.common.kinds.pnm import rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image


def noise(form: Format, seed: int = 1) -> np.ndarray:
    """Smooth and rough bytes, (height, bytes of a row)."""
    random = np.random.default_rng(seed)
    ramp = np.add.outer(np.arange(form.height), np.arange(form.stride)).astype(np.uint8)
    return np.where(random.random(ramp.shape) < 0.3, random.integers(0, 256, ramp.shape, np.uint8), ramp)


def rows(data: np.ndarray) -> list[bytes]:
    return [row.tobytes() for row in data]


FORMS = [
    Format(width=w, height=h, bits=b, channels=c) for (w, h), b, c in itertools.product([(1, 1), (7, 5), (33, 40)], (8, 16), (1, 2, 3, 4))
]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_tile_comes_back_as_it_was(form: Format, tmp_path: Path) -> None:
    """Every size, depth and colour, read in bands of any height."""
    data = noise(form)
    write_tile(tmp_path / "t.png", form, rows(data))
    check_tile(tmp_path / "t.png", form)
    with TileReader(tmp_path / "t.png") as tile:
        back = np.concatenate([tile.read(3) for _ in range(0, form.height, 3)])
    assert (back == data).all()
    assert (np.concatenate(list(any_rows(tmp_path / "t.png"))) == data).all()


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_picture_is_what_was_put_in(form: Format, big: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of writing give the same pixels, whatever the bands."""
    monkeypatch.setattr(images, "FAST_FROM", 0 if big else 1 << 40)
    data = noise(form)
    with PictureWriter(tmp_path / "p.png", form, gamma_chunks(form.bits, form.channels, "sRGB")) as picture:
        for at in range(0, form.height, 4):
            picture.rows(data[at : at + 4])
    with FilteredRows(tmp_path / "p.png") as file:
        assert file.form == form
    assert (np.concatenate(list(any_rows(tmp_path / "p.png"))) == data).all()
    if form.bits == 8 and form.channels > 2:
        with Image.open(tmp_path / "p.png") as opened:
            assert opened.tobytes() == data.tobytes()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pillows_files_are_read(mode: str, tmp_path: Path) -> None:
    """libpng's own choice of filters, Paeth and Average among them."""
    smooth = Image.radial_gradient("L").resize((90, 70))
    Image.merge(mode, [smooth.rotate(40 * turn) for turn in range(len(mode))]).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as opened:
        wanted = opened.tobytes()
    assert np.concatenate(list(any_rows(tmp_path / "x.png"))).tobytes() == wanted


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 3, 4, 6, 8]), st.data())
def test_any_mix_of_filters_is_undone(width: int, height: int, pixel: int, data: st.DataObject) -> None:
    """The diagonal way gives what the definition of the five filters gives, byte by byte."""
    filters = data.draw(st.lists(st.integers(0, 4), min_size=height, max_size=height))
    raw = data.draw(st.binary(min_size=width * pixel * (height + 1), max_size=width * pixel * (height + 1)))
    block = np.frombuffer(raw, np.uint8).reshape(height + 1, -1)
    above = block[-1]
    wanted = by_definition(filters, block[:-1].tolist(), above.tolist(), pixel)
    assert unfilter(np.array(filters, np.uint8), block[:-1], above, pixel).tolist() == wanted


def by_definition(filters: list[int], block: list[list[int]], above: list[int], pixel: int) -> list[list[int]]:
    out: list[list[int]] = []
    for kind, row in zip(filters, block, strict=True):
        done: list[int] = []
        for x, value in enumerate(row):
            a = done[x - pixel] if x >= pixel else 0
            b = above[x]
            c = above[x - pixel] if x >= pixel else 0
            guess = a + b - c
            nearest = min((abs(guess - a), 0, a), (abs(guess - b), 1, b), (abs(guess - c), 2, c))[2]
            done.append((value + (0, a, b, (a + b) // 2, nearest)[kind]) % 256)
        out.append(done)
        above = done
    return out


def test_a_damaged_tile_is_refused(tmp_path: Path) -> None:
    """Cut short anywhere, one bit turned anywhere, something behind it: never accepted, never anything but BadPicture."""
    form = Format(width=20, height=9, bits=8, channels=3)
    write_tile(tmp_path / "t.png", form, rows(noise(form)))
    good = (tmp_path / "t.png").read_bytes()
    bad = [good[:end] for end in range(0, len(good), 7)] + [good + b"x"]
    bad += [good[:at] + bytes([good[at] ^ 16]) + good[at + 1 :] for at in range(0, len(good), 5)]
    for data in bad:
        (tmp_path / "b.png").write_bytes(data)
        with pytest.raises(BadPicture):
            check_tile(tmp_path / "b.png", form)


def test_other_forms_and_filters_are_no_tile(tmp_path: Path) -> None:
    """A tile of another size is refused, and so is a PNG that did not come from write_tile()."""
    form = Format(width=20, height=9, bits=8, channels=3)
    write_tile(tmp_path / "t.png", form, rows(noise(form)))
    with pytest.raises(BadPicture, match="20 x 9, 8 bits, RGB instead of 20 x 9, 16 bits"):
        check_tile(tmp_path / "t.png", Format(width=20, height=9, bits=16, channels=3))
    Image.radial_gradient("L").convert("RGB").save(tmp_path / "p.png")
    with pytest.raises(BadPicture, match="not filtered"):
        check_tile(tmp_path / "p.png", Format(width=256, height=256, bits=8, channels=3))
    with pytest.raises(BadPicture, match="8 of 9 rows"):
        write_tile(tmp_path / "s.png", form, rows(noise(form))[:8])


def test_a_zip_bomb_stays_small(tmp_path: Path) -> None:
    """A tile that unpacks to more than it says is stopped at what it says."""
    form = Format(width=4, height=2, bits=8, channels=3)
    data = zlib.compress(bytes([2]) * 50_000_000)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 4, 2, 8, 2, 0, 0, 0)), (b"IDAT", data), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks)
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(BadPicture, match="more rows"):
        check_tile(tmp_path / "b.png", form)


def test_a_rectangle_out_of_a_ppm(tmp_path: Path) -> None:
    """Exactly the asked pixels, with POV-Ray's comments in the header; a short or other file is refused."""
    data = np.arange(7 * 5 * 3, dtype=">u2").reshape(5, 7, 3)
    header = b"P6\n# Software: POV-Ray\n# Compiler: g++\n7 5\n65535\n"
    path = tmp_path / "x.ppm"
    path.write_bytes(header + data.tobytes())
    assert b"".join(rows_of(path, 7, 5, 16, (2, 1, 6, 4))) == data[1:4, 2:6].tobytes()
    with pytest.raises(OutputRejected, match="7 x 5"):
        list(rows_of(path, 8, 5, 16, (0, 0, 1, 1)))
    path.write_bytes(header + data.tobytes()[:-1])
    with pytest.raises(OutputRejected, match="cut short"):
        list(rows_of(path, 7, 5, 16, (0, 0, 1, 1)))
    path.write_bytes(b"P6 7")
    with pytest.raises(OutputRejected, match="no PPM"):
        list(rows_of(path, 7, 5, 16, (0, 0, 1, 1)))
