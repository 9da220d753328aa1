"""OpenEXR files are joined channel for channel and averaged in double; attributes, layers, parts and compression stay."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import OpenEXR
import pytest
from clusterray.common.kinds import tiles
from clusterray.common.kinds.exr import read_parts
from clusterray.common.kinds.png import BadPicture
from clusterray.common.kinds.rasters import as_rgb8, average, check_picture, crop, join_tiles, shape_of, to_png8, to_png16
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from .raster_cases import EVERY, SIZES, exr_header, fresh, grids, noise, read_exr, read_png, window, write_exr

LOSSLESS = ("NO", "RLE", "ZIPS", "ZIP", "PIZ", "HTJ2K32", "HTJ2K256", "ZSTD")


def layers(width: int, height: int, seed: int = 1) -> dict[str, np.ndarray[Any, Any]]:
    """Half, float and whole numbers under names as renderers give them, one longer than 31 bytes."""
    names = {"View Layer.Combined.R": "f2", "View Layer.Combined.A": "f2", "a layer with a name that is very long.Z": "f4", "id": "u4"}
    return {name: noise(seed + number, height, width, kind=kind) for number, (name, kind) in enumerate(names.items())}


def cut(channels: dict[str, np.ndarray[Any, Any]], rect: tiles.Rect) -> dict[str, np.ndarray[Any, Any]]:
    left, top, right, bottom = rect
    return {name: np.ascontiguousarray(pixels[top:bottom, left:right]) for name, pixels in channels.items()}


def same(found: dict[str, np.ndarray[Any, Any]], wanted: dict[str, np.ndarray[Any, Any]]) -> bool:
    return found.keys() == wanted.keys() and all(
        found[name].dtype == pixels.dtype and found[name].tobytes() == pixels.tobytes() for name, pixels in wanted.items()
    )


def header(path: Path, part: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = OpenEXR.File(str(path), header_only=True).header(part)
    return found


@EVERY
@given(
    data=st.data(), size=SIZES, packed=st.sampled_from(LOSSLESS), placed=st.sampled_from(["alone", "in place", "whole"]), deep=st.booleans()
)
def test_tiles_join_bit_for_bit(
    data: st.DataObject, size: tuple[int, int], packed: str, placed: str, deep: bool, tmp_path: Path
) -> None:
    """Any grid and lossless compression; a tile may be its rectangle alone, have its data window in its place, or be of the whole size."""
    place = fresh(tmp_path / "x")
    channels = layers(*size) if deep else {name: noise(9, size[1], size[0], kind="f4") for name in "RGB"}
    parts = []
    for tile in tiles.grid(*size, *data.draw(grids(size))):
        path = place / f"{tile.name}.exr"
        if placed == "whole":
            write_exr(path, channels, packed)
        elif placed == "alone":
            write_exr(path, cut(channels, tile.rect), packed)
        else:
            write_exr(path, cut(channels, tile.rect), packed, dataWindow=window(*tile.rect), displayWindow=window(0, 0, *size))
        parts.append((tile.rect, path))
    join_tiles(parts, *size, place / "whole.exr")
    assert same(read_exr(place / "whole.exr"), channels)
    said = header(place / "whole.exr")
    assert said["renderer"] == "ours, é" and said["pixelAspectRatio"] == 1.5 and said["chromaticities"] == header(path)["chromaticities"]
    assert said["compression"] == header(path)["compression"]
    assert [corner.tolist() for corner in said["displayWindow"]] == [[0, 0], [size[0] - 1, size[1] - 1]]
    check_picture(place / "whole.exr", width=size[0], height=size[1], format="exr", channels=list(channels))


def test_a_tile_that_was_rendered_with_a_margin(tmp_path: Path) -> None:
    """Its data window is larger than its rectangle and lies in the display window of the whole: the margin is cut off."""
    channels = {"R": noise(6, 50, 70, kind="f4")}
    parts = []
    for rect, grown in [((0, 0, 30, 50), (0, 0, 37, 50)), ((30, 0, 70, 20), (25, 0, 70, 28)), ((30, 20, 70, 50), (21, 13, 70, 50))]:
        path = tmp_path / f"{rect[0]}-{rect[1]}.exr"
        moved = [bound + shift for bound, shift in zip(grown, (100, -7, 100, -7), strict=True)]
        write_exr(path, cut(channels, grown), dataWindow=window(*moved), displayWindow=window(100, -7, 170, 43))
        parts.append((rect, path))
    join_tiles(parts, 70, 50, tmp_path / "whole.exr")
    assert same(read_exr(tmp_path / "whole.exr"), channels)
    with pytest.raises(BadPicture, match="37 x 50 pixels where 40 x 50 are to be taken"):
        join_tiles([((0, 0, 40, 50), parts[0][1]), ((40, 0, 70, 50), parts[0][1])], 70, 50, tmp_path / "x.exr")


@pytest.mark.parametrize("packed", ["PXR24", "B44", "B44A", "DWAA", "DWAB"])
def test_what_was_packed_with_loss_loses_no_more(packed: str, tmp_path: Path) -> None:
    """The joined file holds the values that the tiles decode to."""
    parts, wanted = [], {}
    for tile in tiles.grid(70, 50, 3, 2):
        left, top, right, bottom = tile.rect
        path = tmp_path / f"{tile.name}.exr"
        write_exr(path, {name: np.abs(noise(7, bottom - top, right - left, kind="f2")) for name in "RGBA"}, packed)
        parts.append((tile.rect, path))
        for name, pixels in read_exr(path).items():
            wanted.setdefault(name, np.zeros((50, 70), pixels.dtype))[top:bottom, left:right] = pixels
    join_tiles(parts, 70, 50, tmp_path / "whole.exr")
    assert same(read_exr(tmp_path / "whole.exr"), wanted)


def parts_of(size: tuple[int, int], rect: tiles.Rect | None = None, packed: tuple[str, str] = ("ZIP", "PIZ")) -> list[Any]:
    """Two parts of several channels."""
    made = []
    for number, compression in enumerate(packed):
        channels = layers(*size, seed=10 * number)
        made.append(OpenEXR.Part(exr_header(compression), cut(channels, rect) if rect else channels, f"part {number}"))
    return made


def test_parts_join_part_by_part(tmp_path: Path) -> None:
    """Parts of different compression keep their names, attributes and pixels."""
    placed = []
    for tile in tiles.grid(70, 90, 2, 3):
        OpenEXR.File(parts_of((70, 90), tile.rect)).write(str(tmp_path / tile.name))
        placed.append((tile.rect, tmp_path / tile.name))
    join_tiles(placed, 70, 90, tmp_path / "whole.exr")
    for number in range(2):
        assert same(read_exr(tmp_path / "whole.exr", number), layers(70, 90, seed=10 * number))
        assert header(tmp_path / "whole.exr", number)["name"] == f"part {number}"
        assert header(tmp_path / "whole.exr", number)["renderer"] == "ours, é"
    assert "part 1.View Layer.Combined.R" in shape_of(tmp_path / "whole.exr").channels


def test_a_file_stored_in_tiles_is_joined_by_scanlines(tmp_path: Path) -> None:
    """Storage may change, pixels and attributes do not."""
    channels = layers(40, 30)
    described = OpenEXR.TileDescription()
    described.xSize = described.ySize = 16
    write_exr(tmp_path / "t.exr", channels, "ZIP", type=OpenEXR.tiledimage, tiles=described)
    join_tiles([((0, 0, 40, 30), tmp_path / "t.exr")], 40, 30, tmp_path / "whole.exr")
    assert same(read_exr(tmp_path / "whole.exr"), channels)
    assert header(tmp_path / "whole.exr")["type"] == OpenEXR.scanlineimage


def test_crop(tmp_path: Path) -> None:
    """The rectangle alone, as a picture of its own."""
    channels = layers(70, 50)
    write_exr(tmp_path / "whole.exr", channels, "PIZ")
    crop(tmp_path / "whole.exr", (13, 21, 60, 47), tmp_path / "part.exr")
    assert same(read_exr(tmp_path / "part.exr"), cut(channels, (13, 21, 60, 47)))


@EVERY
@given(weights=st.lists(st.integers(1, 2000), min_size=1, max_size=5), size=SIZES, kind=st.sampled_from(["f2", "f4"]))
def test_the_mean_is_that_of_doubles(weights: list[int], size: tuple[int, int], kind: str, tmp_path: Path) -> None:
    """Weighted, every channel, summed in double and rounded once; written as 32-bit float."""
    place = fresh(tmp_path / "x")
    pictures = [{name: noise(seed, size[1], size[0], kind=kind) for name in ("A", "L.R", "Z")} for seed in range(len(weights))]
    for number, channels in enumerate(pictures):
        write_exr(place / f"{number}.exr", channels, "PIZ")
    average([(weight, place / f"{number}.exr") for number, weight in enumerate(weights)], place / "mean.exr")
    found = read_exr(place / "mean.exr")
    for name in pictures[0]:
        wanted = sum(weight * channels[name].astype("f8") for weight, channels in zip(weights, pictures, strict=True)) / sum(weights)
        assert found[name].dtype == np.float32 and (found[name] == wanted.astype("f4")).all()
    assert header(place / "mean.exr")["renderer"] == "ours, é"


def test_ids_have_no_mean(tmp_path: Path) -> None:
    """Cryptomatte, indices and whole numbers are those of the first file, bit for bit; a NaN stays one."""
    names = {"R": "f4", "CryptoObject00.R": "f4", "Layer.IndexOB.X": "f4", "View.CryptoAsset00.g": "f4", "count": "u4"}
    for seed in range(2):
        channels = {name: noise(seed, 20, 30, kind=kind) for name, kind in names.items()}
        channels["R"][3, 4] = np.nan
        write_exr(tmp_path / f"{seed}.exr", channels)
    average([(1, tmp_path / "0.exr"), (3, tmp_path / "1.exr")], tmp_path / "mean.exr")
    found, first = read_exr(tmp_path / "mean.exr"), read_exr(tmp_path / "0.exr")
    assert same({name: found[name] for name in names if name != "R"}, {name: first[name] for name in names if name != "R"})
    assert np.isnan(found["R"]).sum() == 1 and not (found["R"] == first["R"]).all()


def test_a_mean_of_different_pictures_is_refused(tmp_path: Path) -> None:
    """The file that does not fit is named; so is one that is damaged."""
    write_exr(tmp_path / "a.exr", {"R": noise(1, 20, 20, kind="f4")})
    write_exr(tmp_path / "b.exr", {"R": noise(1, 20, 21, kind="f4")})
    write_exr(tmp_path / "c.exr", {"G": noise(1, 20, 20, kind="f4")})
    (tmp_path / "d.exr").write_bytes((tmp_path / "a.exr").read_bytes()[:-9])
    for name, words in [("b.exr", "b.exr has other channels or another size than a.exr"), ("c.exr", "c.exr has"), ("d.exr", "d.exr: ")]:
        with pytest.raises(BadPicture, match=words):
            average([(1, tmp_path / "a.exr"), (1, tmp_path / name)], tmp_path / "mean.exr")
    with pytest.raises(ValueError, match="positive"):
        average([(0, tmp_path / "a.exr")], tmp_path / "mean.exr")


@pytest.mark.parametrize("packed", ["ZIP", "ZIPS", "PIZ", "NO"])
def test_what_is_cut_short_or_damaged_is_refused(packed: str, tmp_path: Path) -> None:
    """Any cut, anything behind the end, rows that were never written; a changed byte where the packing has a sum (deflate)."""
    path, bad = tmp_path / "good.exr", tmp_path / "bad.exr"
    ramp = np.linspace(0, 1, 64 * 48, dtype="f4").reshape(48, 64)
    write_exr(path, dict.fromkeys("RGB", ramp), packed)
    data = path.read_bytes()
    check_picture(path, width=64, height=48, format="exr", bits=32, channels="RGB")
    tampered = [data[:-cut] for cut in (1, 2, 9, 100, len(data) // 2, len(data) - 3, len(data))] + [data + data[:64]]
    if packed in ("ZIP", "ZIPS"):
        tampered += [data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :] for at in (len(data) // 2, len(data) * 3 // 4, len(data) - 20)]
    for content in tampered:
        bad.write_bytes(content)
        with pytest.raises(BadPicture):
            check_picture(bad, width=64, height=48)


def test_rows_that_were_never_written_are_noticed(tmp_path: Path) -> None:
    """A renderer that died leaves zeros in the table of rows."""
    path = tmp_path / "x.exr"
    write_exr(path, {"Y": noise(1, 64, 20, kind="f2")}, "ZIP")
    data = bytearray(path.read_bytes())
    last = read_parts(path)[0].offsets[-1]
    at = data.index(last.to_bytes(8, "little"))
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    with pytest.raises(BadPicture, match="incomplete: rows are missing"):
        check_picture(path, width=20, height=64)


def test_not_a_single_number(tmp_path: Path) -> None:
    """All NaN is refused; black, and a few NaN, are not."""
    for value, fine in [(np.nan, False), (np.inf, False), (0.0, True)]:
        pixels = np.full((20, 20), value, "f4")
        write_exr(tmp_path / "x.exr", {"R": pixels})
        if fine:
            check_picture(tmp_path / "x.exr", width=20, height=20)
            continue
        with pytest.raises(BadPicture, match="none of its samples is a number"):
            check_picture(tmp_path / "x.exr", width=20, height=20)
        pixels[7, 7] = 0
        write_exr(tmp_path / "x.exr", {"R": pixels})
        check_picture(tmp_path / "x.exr", width=20, height=20)


def test_deep_and_subsampled_files_are_refused(tmp_path: Path) -> None:
    """What is not understood is said, not guessed."""
    write_exr(tmp_path / "x.exr", {"Y": noise(1, 20, 20, kind="f2"), "RY": noise(1, 20, 20, kind="f2")})
    data = (tmp_path / "x.exr").read_bytes()
    once = b"RY\0" + struct.pack("<iiii", 1, 0, 1, 1)
    for old, new, words in [
        (once, once[:-8] + struct.pack("<ii", 2, 2), "fewer pixels than others"),
        (b"scanlineimage", b"deepscanlines", "deep pixels"),
        (b"compression\0\x01\0\0\0\x03", b"compression\0\x01\0\0\0\x63", "compression, number 99, is not known"),
    ]:
        assert old in data
        (tmp_path / "x.exr").write_bytes(data.replace(old, new))
        with pytest.raises(BadPicture, match=words):
            shape_of(tmp_path / "x.exr")


@pytest.mark.parametrize("bits", [8, 16])
def test_png_of_light(bits: int, tmp_path: Path) -> None:
    """sRGB by the formula of the standard, alpha made straight, no number is black, too bright is white."""
    light = np.linspace(-0.1, 1.2, 600, dtype="f4").reshape(20, 30)
    light[0, 0], light[0, 1] = np.nan, np.inf
    write_exr(tmp_path / "x.exr", {"R": light, "G": light / 2, "B": light / 4, "A": np.full((20, 30), 0.5, "f4")})
    (to_png8 if bits == 8 else to_png16)(tmp_path / "x.exr", tmp_path / "x.png")
    found = read_png(tmp_path / "x.png")
    most = 2**bits - 1
    clean = np.nan_to_num(light, nan=0.0, posinf=9.0)
    for number in range(3):
        straight = np.clip(clean.astype("f8") / 2**number / 0.5, 0, 1)
        wanted = np.where(straight <= 0.0031308, straight * 12.92, 1.055 * straight ** (1 / 2.4) - 0.055) * most
        assert np.abs(found[:, :, number] - wanted).max() < 0.51 + bits / 100
    assert (found[:, :, 3] == round(most / 2 + 1e-9)).all()
    with Image.open(tmp_path / "x.png") as picture:
        assert picture.info["srgb"] == 0


def test_the_layer_that_is_seen(tmp_path: Path) -> None:
    """Plain R, G, B before a layer's; the combined layer before others; grey where there is nothing else."""
    one, half = np.ones((4, 4), "f4"), np.full((4, 4), 0.5, "f4")
    for bright, dark in [("", "L."), ("View.Combined.", "View.Diffuse."), ("B.Combined.", "A.Normal.")]:
        write_exr(tmp_path / "x.exr", {bright + "R": one, bright + "G": one, bright + "B": one} | {dark + c: half for c in "RGB"})
        assert (as_rgb8(tmp_path / "x.exr") == 255).all()
    write_exr(tmp_path / "x.exr", {"Z": half})
    assert (as_rgb8(tmp_path / "x.exr") == 188).all()
