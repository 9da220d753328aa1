"""A surface model becomes one mesh, however it is cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.grid import Grid, tiles
from clusterray.common.survey.mesh import MARGIN
from clusterray.common.survey.mesh_surface import Blocks, block_cells, grid_mesh, in_sight, read_blocks, window_of
from clusterray.common.survey.scene import View
from clusterray.common.survey.texture import choose
from clusterray.common.survey.triangles import Triangles, crosses
from numpy.typing import NDArray

from .painted import HALF, HEIGHT, ring, view
from .painted import photograph as taken

ORIGIN = (576705.0, 5188170.0, 100.0)
WHOLE = Grid(resolution=0.5, west=576700.0, north=5188200.0, columns=61, rows=47)


def write(path: Path) -> NDArray[np.float32]:
    x, y = np.meshgrid(np.arange(WHOLE.columns), np.arange(WHOLE.rows))
    heights = (120 + 2 * np.sin(x / 7) + np.cos(y / 5) + 6 * ((x > 20) & (x < 30) & (y > 10) & (y < 25))).astype(np.float32)
    heights[(x - 45) ** 2 + (y - 30) ** 2 < 40] = NODATA
    heights[0, :9] = NODATA
    write_raster(path, heights, WHOLE, nodata=NODATA)
    return heights


def corners(mesh: Triangles) -> NDArray[np.float64]:
    """(f, 9) the corners of the core faces, sorted: what they are, whatever their numbers."""
    found = mesh.vertices[mesh.faces[mesh.core]].reshape(-1, 9)
    return found[np.lexsort(found.T)]


def made(path: Path, part: Grid, cells: int, margin: int = 3) -> Triangles:
    core = window_of(part, WHOLE, cells)
    wide = core[0] - margin, core[1] - margin, core[2] + margin, core[3] + margin
    return grid_mesh(read_blocks(path, wide, cells, ORIGIN), core)


@pytest.mark.parametrize("cells", [1, 2, 3, 5])
@pytest.mark.parametrize("cut", [(2, 2), (3, 4), (7, 1)])
def test_tiles_fit_without_cracks(tmp_path: Path, cells: int, cut: tuple[int, int]) -> None:
    """The tiles together are, bit for bit, the triangles of the whole: none twice, none missing, the same corners and normals."""
    write(tmp_path / "dsm.tif")
    whole = made(tmp_path / "dsm.tif", WHOLE, cells)
    parts = [made(tmp_path / "dsm.tif", tile.grid, cells) for tile in tiles(WHOLE, *cut)]
    together = np.concatenate([corners(part) for part in parts])
    assert np.array_equal(together[np.lexsort(together.T)], corners(whole))
    normals = {tuple(place): tuple(normal) for place, normal in zip(whole.vertices, whole.normals, strict=True)}
    for part in parts:
        for number in np.unique(part.faces[part.core]):
            assert normals[tuple(part.vertices[number])] == tuple(part.normals[number])


def test_the_mesh_lies_on_the_surface(tmp_path: Path) -> None:
    """Vertices are in the middle of cells, at their heights, minus the frame's origin; all triangles look up; unknown cells are holes."""
    heights = write(tmp_path / "dsm.tif")
    mesh = made(tmp_path / "dsm.tif", WHOLE, 1)
    x, y, z = (mesh.vertices + ORIGIN).T
    column, row = ((x - 576700.0) / 0.5 - 0.5).round().astype(int), ((5188200.0 - y) / 0.5 - 0.5).round().astype(int)
    assert np.allclose(x, 576700.0 + 0.5 * (column + 0.5))
    assert np.allclose(z, heights[row, column])
    assert len(mesh.vertices) == (heights != NODATA).sum()
    assert (crosses(mesh.vertices, mesh.faces)[:, 2] > 0).all()
    hole = mesh.vertices[mesh.faces].mean(axis=1) + ORIGIN
    assert not (np.hypot((hole[:, 0] - 576722.75), (hole[:, 1] - 5188184.75)) < 2.5).any()


@pytest.mark.parametrize(("cells", "limit"), [(2867, 100), (1_000_000, 200_000), (1_000_001, 200_000), (10, 100)])
def test_mesh_size_is_kept(cells: int, limit: int) -> None:
    """Blocks are as small as mesh-size allows and no smaller."""
    side = block_cells(cells, limit)
    assert 2 * cells / side**2 <= limit
    assert side == 1 or 2 * cells / (side - 1) ** 2 > limit - 2


def test_a_wall_hides_the_ground_behind_it() -> None:
    """A photo does not see what a building hides, and sees what lies beside it and on it."""
    heights = np.zeros((60, 60))
    heights[:, 30:33] = 5.0
    blocks = Blocks(heights=heights, left=0, top=0, west=0.0, north=60.0, size=1.0)
    seen = view(0, (10.0, 30.0, 10.0), (30.0, 30.0, 0.0))
    # the ray over the top of the wall, 5 high and 20 to 23 away from a camera at 10, meets the ground at 10 + 2 * 23
    places = np.array([[20.0, 30, 0], [36.0, 30, 0], [50.0, 30, 0], [58.5, 30, 0], [31.5, 30, 5], [36.0, 50, 0], [36.0, 30, 6]])
    assert in_sight(blocks, seen, places, 100).tolist() == [True, False, False, True, True, False, True]
    assert in_sight(blocks, seen, places, 2).all()


def test_a_surface_without_heights_gives_no_triangles(tmp_path: Path) -> None:
    """A tile in which nothing is known is empty, and no error."""
    write_raster(tmp_path / "dsm.tif", np.full(WHOLE.shape, NODATA, np.float32), WHOLE, nodata=NODATA)
    mesh = made(tmp_path / "dsm.tif", WHOLE, 2)
    assert len(mesh.faces) == len(mesh.vertices) == 0


def test_tiles_choose_the_photos_of_the_whole() -> None:
    """A tile has its colours from the very photos that it would have had in one piece, up to its border: no seam is made by cutting."""
    side, size = 220, 0.04
    at = (np.arange(side) + 0.5) * size - side * size / 2
    heights = np.where((np.abs(at)[None, :] < HALF) & (np.abs(at)[:, None] < HALF), HEIGHT, 0.0)
    whole = Blocks(heights=heights, left=0, top=0, west=-side * size / 2, north=side * size / 2, size=size)
    views = ring(6)
    photos = {each.number: taken(each, 1) for each in views}

    def labels(blocks: Blocks, core: tuple[int, int, int, int]) -> dict[tuple[float, ...], int]:
        mesh = grid_mesh(blocks, core)

        def sight(each: View, faces: NDArray[np.int64]) -> NDArray[np.bool_]:
            return in_sight(whole, each, mesh.vertices[mesh.faces[faces]].mean(axis=1), 100)

        chosen = choose(mesh, views, sight, lambda each: photos[each.number], lambda _: None).labels
        corners = mesh.vertices[mesh.faces].reshape(-1, 9)
        return {tuple(corners[n]): int(chosen[n]) for n in np.nonzero(mesh.core)[0]}

    together = {}
    for first, last in ((0, 100), (100, side)):
        left, right = max(0, first - MARGIN), min(side, last + MARGIN)
        part = Blocks(heights=heights[:, left:right], left=left, top=0, west=whole.west, north=whole.north, size=size)
        together |= labels(part, (first, 0, last, side))
    one = labels(whole, (0, 0, side, side))
    assert len(set(one.values())) > 4
    assert together == one
