"""Pictures of a task under way: what they promise to who looks at them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from clusterray.common.bundle import MappingFolder
from clusterray.common.kinds import preview_maps, preview_rows, raster_form
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.preview import preview_frames, preview_samples, preview_tiles
from clusterray.common.kinds.preview_maps import QUIET, SAFE, draw_nodes, grid_layout, heat_colour
from clusterray.common.kinds.preview_pixels import DARK, LIGHT, Means, fitted
from clusterray.common.kinds.preview_sheet import Sheet, capacity, chosen
from clusterray.common.kinds.tiles import grid
from clusterray.common.model import Region
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

CHECKERED = {LIGHT, DARK}


def noise(width: int, height: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def at(picture: np.ndarray, x: int, y: int) -> tuple[int, ...]:
    return tuple(int(value) for value in picture[y, x])


class Tiled:
    """A picture cut into tiles, each a PNG; ``read`` names those that were looked at."""

    def __init__(self, folder: Path, whole: np.ndarray, columns: int, rows: int, nodes: Sequence[str] = ("a", "b")) -> None:
        self.height, self.width = whole.shape[:2]
        self.folder, self.read = folder, []
        self.regions, self.pieces = [], []
        for number, tile in enumerate(grid(self.width, self.height, columns, rows)):
            left, top, right, bottom = tile.rect
            Image.fromarray(whole[top:bottom, left:right]).save(folder / f"{tile.name}.png")
            region = Region(name=tile.name, data={"rect": list(tile.rect)})
            self.regions.append(region)
            self.pieces.append(piece(region, number + 1, nodes[number % len(nodes)]))
        self.out = folder / "out"
        self.out.mkdir()

    def draw(self, pieces: Sequence[Piece], size: int = 48) -> bool:
        def picture(piece: Piece) -> Path:
            self.read.append(piece.region.name)
            return self.folder / f"{piece.region.name}.png"

        return preview_tiles(self.width, self.height, self.regions, pieces, picture, self.out, size)

    def picture(self, name: str = "preview.png") -> np.ndarray:
        return read(self.out / name)


def piece(region: Region, seconds: float = 1.0, node: str = "a") -> Piece:
    return Piece(region=region, files=MappingFolder({}, Path()), seconds=seconds, node=node)


# --- tiles


def test_the_joined_preview_is_that_of_the_whole_picture(tmp_path):
    """All pieces there: each pixel is the mean of the picture's below it, whatever the cuts and the order; no seam is to be seen."""
    whole = noise(160, 96)
    tiled = Tiled(tmp_path, whole, 7, 3)
    for number in reversed(range(21)):
        assert tiled.draw(tiled.pieces[number:], 40)
    with Image.fromarray(whole) as image:
        assert np.array_equal(tiled.picture(), np.asarray(image.reduce(4)))


def test_a_small_picture_is_shown_as_it_is(tmp_path):
    """Nothing is made larger: pixel for pixel the picture itself."""
    whole = noise(40, 30)
    tiled = Tiled(tmp_path, whole, 3, 2)
    tiled.draw(tiled.pieces)
    assert np.array_equal(tiled.picture(), whole)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40), st.data())
def test_means_do_not_depend_on_the_cuts(width, height, size, data):
    """Cut at any bounds, the sums are those of the whole, to the last bit."""
    whole = noise(width, height)
    shape = (width, height, *fitted(width, height, size))
    one, many = Means(*shape), Means(*shape)
    one.add(0, 0, [whole])
    columns, rows, band = data.draw(st.integers(1, width)), data.draw(st.integers(1, height)), data.draw(st.integers(1, height))
    for tile in grid(width, height, min(columns, 5), min(rows, 5)):
        left, top, right, bottom = tile.rect
        part = whole[top:bottom, left:right]
        many.add(left, top, [part[y : y + band] for y in range(0, len(part), band)])
    assert np.array_equal(one.sums, many.sums) and np.array_equal(one.areas, many.areas)
    assert one.sums.sum() == whole.sum(dtype=np.int64) * shape[2] * shape[3]


def test_a_pixel_on_a_bound_counts_in_part(tmp_path):
    """7 x 5 to 4 x 3: each mean is that of what lies below, to the fraction of a pixel."""
    whole = noise(7, 5)
    means = Means(7, 5, 4, 3)
    means.add(0, 0, [whole])
    fine = whole.repeat(4, 1).repeat(3, 0).reshape(3, 5, 4, 7, 3)
    assert np.array_equal(means.sums, fine.sum(axis=(1, 3), dtype=np.int64))


def test_holes_are_seen(tmp_path):
    """Where nothing is yet lies a checkerboard, in its place; in the maps too."""
    tiled = Tiled(tmp_path, np.full((64, 96, 3), 255, np.uint8), 3, 2)
    tiled.draw([tiled.pieces[4]], 96)
    picture = tiled.picture()
    assert (picture[32:, 32:64] == 255).all()
    assert {at(picture, x, y) for x in range(32) for y in range(64)} == CHECKERED
    assert {at(tiled.picture("heat.png")[:, 72:168], x, y) for x in range(2, 30) for y in range(2, 30)} <= CHECKERED


def test_the_first_call_without_pieces_says_that_there_is_nothing(tmp_path):
    """Then nothing is written."""
    tiled = Tiled(tmp_path, noise(20, 20), 2, 2)
    assert not tiled.draw([])
    assert list(tiled.out.iterdir()) == []


def test_only_new_pieces_are_decoded(tmp_path):
    """The second call looks at what came since, and draws all; a damaged memory costs one reading of everything, no more."""
    whole = noise(120, 80)
    tiled = Tiled(tmp_path, whole, 4, 2)
    tiled.draw(tiled.pieces[:5])
    tiled.read.clear()
    tiled.draw(tiled.pieces[2:])
    assert tiled.read == [piece.region.name for piece in tiled.pieces[5:]]
    once = tiled.picture()
    (tiled.out / ".state.npz").write_bytes(b"damaged")
    tiled.read.clear()
    tiled.draw(tiled.pieces)
    assert len(tiled.read) == 8
    assert np.array_equal(tiled.picture(), once)


def test_a_piece_that_cannot_be_read_stays_a_hole_until_it_can(tmp_path):
    """It costs nobody else their place, leaves nothing half drawn, and is tried again."""
    whole = noise(60, 60)
    tiled = Tiled(tmp_path, whole, 2, 2)
    good = (tmp_path / "r000c001.png").read_bytes()
    (tmp_path / "r000c001.png").write_bytes(good[: len(good) // 2])
    for size in (0, 60):
        tiled.draw(tiled.pieces, size)
        assert {at(tiled.picture(), x, y) for x in range(30, 60) for y in range(30)} == CHECKERED
        assert np.array_equal(tiled.picture()[30:], whole[30:])
    (tmp_path / "r000c001.png").write_bytes(good)
    tiled.draw(tiled.pieces, 60)
    assert np.array_equal(tiled.picture(), whole)


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "I;16"])
def test_any_png_is_shown_as_a_viewer_shows_it(tmp_path, mode):
    """Grey, 16 bits, transparent (on black)."""
    values = noise(20, 10)
    image = Image.fromarray(values[..., 0].astype(np.uint16) * 257) if mode == "I;16" else Image.fromarray(values).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.fromarray(values[..., 1]))
    image.save(tmp_path / "a.png")
    black = Image.new("RGBA", (20, 10), "black")
    wanted = values[..., :1] if mode == "I;16" else np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("RGB"))
    drawn = preview_rows.thumbnail(tmp_path / "a.png", 20)
    assert np.abs(drawn.astype(int) - wanted).max() <= 1


def test_the_full_size_is_the_picture_itself(tmp_path):
    """On demand: every pixel that is there, holes where nothing is, no state and no maps."""
    whole = noise(90, 70)
    tiled = Tiled(tmp_path, whole, 3, 3)
    tiled.draw(tiled.pieces[:-1], 0)
    picture = tiled.picture()
    left, top, _, _ = tiled.regions[-1].data["rect"]
    assert {at(picture, x, y) for x in range(left, 90) for y in range(top, 70)} == CHECKERED
    picture = picture.copy()
    picture[top:, left:] = whole[top:, left:]
    assert np.array_equal(picture, whole)
    assert [path.name for path in tiled.out.iterdir()] == ["preview.png"]


@pytest.mark.parametrize("whole_files", [False, True])
def test_tiles_of_other_formats_are_shown_too(tmp_path, monkeypatch, whole_files):
    """OpenEXR, linear light as a screen shows it: files of just the tile, or of the whole picture with the tile in it."""
    import OpenEXR

    monkeypatch.setattr(raster_form, "BAND", 1000)  # several bands, of which some lie outside of a tile
    light = np.random.default_rng(2).random((24, 32, 3), dtype=np.float32)
    regions = [Region(name=tile.name, data={"rect": list(tile.rect)}) for tile in grid(32, 24, 1, 3)]
    for region in regions:
        left, top, right, bottom = region.data["rect"]
        part = np.zeros_like(light) if whole_files else light[top:bottom, left:right]
        if whole_files:
            part[top:bottom, left:right] = light[top:bottom, left:right]
        header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
        OpenEXR.File(header, {"RGB": np.ascontiguousarray(part)}).write(str(tmp_path / f"{region.name}.exr"))
    out = tmp_path / "out"
    out.mkdir()
    assert preview_tiles(32, 24, regions, [piece(region) for region in regions], lambda p: tmp_path / f"{p.region.name}.exr", out, 64)
    codes = 255 * np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    assert np.abs(read(out / "preview.png") - codes).max() < 0.51


# --- maps


def test_the_heat_map_says_which_region_took_how_long(tmp_path):
    """Each region has the colour of its seconds on the legend's scale: the fastest its left end, the slowest its right end."""
    tiled = Tiled(tmp_path, noise(300, 200), 3, 2)
    tiled.draw(tiled.pieces, 300)
    heat = tiled.picture("heat.png")
    bar = [at(heat, x, 200 + 15) for x in range(10, 290)]
    assert (at(heat, 50, 50), at(heat, 250, 150)) == (bar[0], bar[-1]) == (heat_colour(0), heat_colour(1))
    places = [
        bar.index(min(bar, key=lambda c: sum((a - b) ** 2 for a, b in zip(c, at(heat, x, y), strict=True))))
        for y in (50, 150)
        for x in (50, 150, 250)
    ]
    assert places == sorted(places)
    assert all(abs(place - 279 * number / 5) <= 2 for number, place in enumerate(places))


def test_slower_is_lighter():
    """The colours can be put in order without a legend, also in a grey print."""
    levels = [lightness(heat_colour(i / 100)) for i in range(101)]
    steps = [after - before for before, after in pairwise(levels)]
    assert levels[0] < 12 and levels[-1] > 92 and min(steps) > 0.5 and max(steps) < 1.5


def lightness(colour: tuple[int, int, int]) -> float:
    """CIE L*, 0 to 100."""
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (value / 255 for value in colour))
    light = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return 116 * light ** (1 / 3) - 16 if light > 0.008856 else 903.3 * light


def test_nodes_have_the_colours_that_the_legend_says(tmp_path):
    """A region's colour stands in the legend below; a node keeps it when others come."""
    tiled = Tiled(tmp_path, noise(300, 200), 3, 2, nodes=("z", "m", "a"))
    tiled.draw(tiled.pieces[:1], 300)
    first = at(tiled.picture("nodes.png"), 50, 50)
    tiled.draw(tiled.pieces, 300)
    nodes = tiled.picture("nodes.png")
    colours = [at(nodes, x, 50) for x in (50, 150, 250)]
    assert colours[0] == first and colours == list(SAFE[:3])
    legend = {at(nodes, x, y) for x in range(300) for y in range(200, len(nodes))}
    assert legend >= set(colours) and SAFE[3] not in legend


def test_more_nodes_than_colours_are_hatched(tmp_path):
    """The ninth node does not look like the first, nor the seventeenth like either."""
    names = [f"node{number}" for number in range(40)]
    cells = [(name, (number * 12, 0, number * 12 + 12, 40)) for number, name in enumerate(names)]
    draw_nodes(480, 40, cells, {name: name for name in names}, names, tmp_path / "nodes.png")
    nodes = read(tmp_path / "nodes.png")
    looks = [tuple(sorted({at(nodes, x, y) for x in range(number * 12, number * 12 + 11) for y in range(39)})) for number in range(32)]
    patterns = [nodes[0:8, 8 + 24 * (n // 2) - 8 : 16 + 24 * (n // 2) - 8].tobytes() for n in range(0, 32, 2)]
    assert len(set(looks[:16])) == 16 and len(set(patterns)) == 16


def test_times_are_said_in_words_that_one_reads_at_once():
    """Hundredths below a second, minutes above."""
    assert [preview_maps.seconds_text(s) for s in (0.123, 3.14159, 45.6, 125)] == ["0.12 s", "3.1 s", "46 s", "2 min 05 s"]


# --- films


class Film:
    """``count`` frames of one colour each, in chunks of three, the first of each in a first pass."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.out, self.read = folder, folder / "out", []
        self.out.mkdir()
        self.regions = []
        for first in range(1, count + 1, 3):
            self.regions.append(Region(name=f"f{first}", data={"frames": [first]}, turn=0))
            rest = [frame for frame in (first + 1, first + 2) if frame <= count]
            if rest:
                self.regions.append(Region(name=f"f{rest[0]}", data={"frames": rest}, turn=1))
        for frame in range(1, count + 1):
            Image.new("RGB", (64, 36), colour(frame)).save(folder / f"{frame}.png")
        self.pieces = [piece(region, 3.0 * len(frames(region))) for region in self.regions]

    def draw(self, pieces: Sequence[Piece], size: int = 512, before: Sequence[int] = ()) -> bool:
        def picture(frame: int) -> Path:
            self.read.append(frame)
            return self.folder / f"{frame}.png"

        there = {frame: partial(picture, frame) for frame in before}
        return preview_frames(frames, lambda _, frame: picture(frame), self.regions, pieces, self.out, size, there)


def frames(region: Region) -> tuple[int, ...]:
    return tuple(region.data["frames"])


def colour(frame: int) -> tuple[int, int, int]:
    return frame * 7 % 256, frame * 13 % 256, 200


def test_a_sheet_shows_frames_in_their_order_with_holes(tmp_path):
    """Read like a page; a frame that is not there is a hole with its number; the second call looks at new frames only."""
    film = Film(tmp_path, 12)
    assert film.draw(film.pieces[:2])
    film.read.clear()
    film.draw(film.pieces[:5])
    assert film.read == [4, 5, 6, 7]
    picture = read(film.out / "preview.png")
    sheet = Sheet.of([(frame, 0) for frame in range(1, 13)], (64, 36), 512)
    middles = [((n % sheet.columns) * sheet.wide + sheet.wide // 2, (n // sheet.columns) * sheet.high + sheet.high // 4) for n in range(12)]
    assert [at(picture, *middle) for middle in middles[:7]] == [colour(frame) for frame in range(1, 8)]
    assert all(at(picture, *middle) in CHECKERED for middle in middles[7:])


def test_a_long_film_shows_what_fits_and_its_first_pass_first(tmp_path):
    """No thumbnail under 80 pixels; every part of the film has one; once the first pass is rendered, none is a hole."""
    turns = [(frame, 0 if frame % 10 == 1 else 1) for frame in range(1, 1001)]
    most = capacity(1000, 16 / 9, 512)
    assert 30 <= most <= 80
    shown = chosen(turns, most)
    assert len(shown) == most == len(set(shown)) and shown == sorted(shown)
    assert all(frame % 10 == 1 for frame in shown)
    assert max(b - a for a, b in pairwise(shown)) <= 3 * 1000 / most
    sheet = Sheet.of(turns, (640, 360), 512)
    assert sheet.wide >= 80 and sheet.columns * sheet.wide <= 512


def test_a_films_maps_count_by_frame(tmp_path):
    """A chunk of two frames that took six seconds took three for each: all frames of this film look alike."""
    film = Film(tmp_path, 12)
    film.draw(film.pieces)
    heat = read(film.out / "heat.png")
    columns, _, wide, high = grid_layout(12, 64 / 36, 512)
    assert {at(heat, (n % columns) * wide + wide // 2, (n // columns) * high + high // 2) for n in range(12)} == {heat_colour(0)}


def test_frames_that_were_there_before_have_their_place(tmp_path):
    """In order among the rendered ones, from the first drawing on and looked at once; grey in the maps, whose legends say what that is."""
    film = Film(tmp_path, 12)
    known = {2, 3, 12}
    film.regions = [region for region in film.regions if not known & set(frames(region))]
    film.regions.append(Region(name="f11", data={"frames": [11]}))
    film.pieces = [piece(region, 2.0) for region in film.regions]
    film.draw(film.pieces[:1], before=sorted(known))
    assert film.read.count(2) == film.read.count(12) == 1
    sheet = Sheet.of([(frame, 0) for frame in range(1, 13)], (64, 36), 512)
    middles = [((n % sheet.columns) * sheet.wide + sheet.wide // 2, (n // sheet.columns) * sheet.high + sheet.high // 4) for n in range(12)]
    early = read(film.out / "preview.png")
    assert [frame for frame in range(1, 13) if at(early, *middles[frame - 1]) == colour(frame)] == [1, 2, 3, 12]
    film.read.clear()
    film.draw(film.pieces, before=sorted(known))
    assert film.read == [4, 5, 6, 7, 8, 9, 10, 11]
    whole = read(film.out / "preview.png")
    assert [at(whole, *middle) for middle in middles] == [colour(frame) for frame in range(1, 13)]
    columns, rows, wide, high = grid_layout(12, 64 / 36, 512)
    for name in ("heat", "nodes"):
        drawn = read(film.out / f"{name}.png")
        grey = {n + 1 for n in range(12) if at(drawn, n % columns * wide + wide // 2, n // columns * high + high // 2) == QUIET}
        assert grey == known
        assert QUIET in {at(drawn, x, y) for x in range(10, 32) for y in range(rows * high, len(drawn))}


def test_a_film_of_which_all_was_there_is_shown(tmp_path):
    """Its one job renders nothing."""
    film = Film(tmp_path, 4)
    film.regions = [Region(name="nothing", data={"frames": []})]
    assert film.draw([piece(film.regions[0])], before=[1, 2, 3, 4])
    picture = read(film.out / "preview.png")
    assert {colour(frame) for frame in range(1, 5)} <= {at(picture, x, y) for x in range(picture.shape[1]) for y in range(picture.shape[0])}


def test_the_full_size_of_a_film_has_its_frames_as_they_are(tmp_path):
    """Where they fit onto a sheet of 8192 pixels, not a pixel is left out."""
    film = Film(tmp_path, 4)
    noisy = noise(64, 36)
    Image.fromarray(noisy).save(tmp_path / "1.png")
    film.draw(film.pieces, 0)
    picture = read(film.out / "preview.png")
    assert np.array_equal(picture[:20, :64], noisy[:20])
    assert [path.name for path in film.out.iterdir()] == ["preview.png"]


# --- samples


def test_samples_are_averaged_as_light_by_their_weight(tmp_path):
    """Three quarters black and one quarter white is a quarter of the light, not of the code; later calls add to it."""
    out = tmp_path / "out"
    out.mkdir()
    regions = [Region(name=f"s{number}", data={"samples": samples}) for number, samples in enumerate((48, 16, 64))]
    for number, level in enumerate((0, 255, 255)):
        Image.new("RGB", (40, 30), (level,) * 3).save(tmp_path / f"s{number}.png")
    pieces = [piece(region) for region in regions]
    looked = []

    def picture(piece: Piece) -> Path:
        looked.append(piece.region.name)
        return tmp_path / f"{piece.region.name}.png"

    assert not preview_samples(regions, [], picture, out, 32)
    assert preview_samples(regions, pieces[:1], picture, out, 32)
    assert preview_samples(regions, pieces[:2], picture, out, 32)
    assert at(read(out / "preview.png"), 5, 5) == (137,) * 3  # sRGB of 0.25
    preview_samples(regions, pieces, picture, out, 32)
    assert at(read(out / "preview.png"), 5, 5) == (207,) * 3  # of 80 / 128
    assert looked == ["s0", "s1", "s2"]
    assert read(out / "preview.png").shape == (24, 32, 3)
    assert preview_samples(regions, pieces, picture, out, 0) and read(out / "preview.png").shape == (30, 40, 3)


def test_a_highlight_counts_as_what_it_is(tmp_path):
    """One pass of four saw a light of 3.0: the mean is 0.75, not the 0.25 of four cut-off codes; what is no number is dark."""
    import OpenEXR

    regions = [Region(name=f"s{number}", data={"samples": 4}) for number in range(4)]
    for number, region in enumerate(regions):
        light = np.full((6, 8, 3), 3.0 if number == 2 else 0.0, np.float32)
        light[0, 0] = np.nan
        OpenEXR.File({"type": OpenEXR.scanlineimage}, {"RGB": light}).write(str(tmp_path / f"{region.name}.exr"))
    out = tmp_path / "out"
    out.mkdir()
    preview_samples(regions, [piece(region) for region in regions], lambda p: tmp_path / f"{p.region.name}.exr", out, 64)
    picture = read(out / "preview.png")
    assert (at(picture, 4, 4), at(picture, 0, 0)) == ((225,) * 3, (0, 0, 0))
