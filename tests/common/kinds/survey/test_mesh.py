"""The stage ``mesh``: from a surface model, or the points of an object, to a textured mesh that one opens elsewhere."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.errors import OutputRejected, StitchFailed
from clusterray.common.kinds.kind import Folder, Piece
from clusterray.common.kinds.options import normalise
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.kinds.survey.mesh import FOLDER, Mesh
from clusterray.common.kinds.survey.options import OPTIONS
from clusterray.common.model import TaskSpec
from clusterray.common.survey.geotiff import NODATA, write_raster
from clusterray.common.survey.grid import Grid, tiles
from clusterray.common.survey.mesh_piece import PIECE, MeshPiece, load_piece
from clusterray.common.survey.meshfile import NAME
from clusterray.common.survey.records import Frame, save, save_arrays
from clusterray.common.survey.surface_index import DSM, OBJECT, SURFACE, Surface
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_lost, check_refusals
from numpy.typing import NDArray
from PIL import Image

from ....common.survey import painted

FRAME = Frame(georeferenced=True, crs="EPSG:32615", origin=(576705.0, 5188170.0, 250.0), by="gps")
GRID = Grid(resolution=0.05, west=576702.0, north=5188173.0, columns=120, rows=120)


def surface(folder: Path, cut: tuple[int, int]) -> None:
    """The painted box and plain as a surface model."""
    x, y = (values - start for values, start in zip(GRID.centres(), FRAME.origin, strict=False))
    inside = (np.abs(x)[None, :] < painted.HALF) & (np.abs(y)[:, None] < painted.HALF)
    heights = (250 + np.where(inside, painted.HEIGHT, 0.0)).astype(np.float32)
    heights[:15, :15] = NODATA
    write_raster(folder / DSM, heights, GRID, crs=FRAME.crs, nodata=NODATA)
    words = Surface(gsd=0.03, georeferenced=True, resolution=0.05, bounds=GRID.bounds, shape=GRID.shape, tiles=tiles(GRID, *cut))
    save(words, folder / SURFACE)


def rehearsal(folder: Path, work: Path, options: Mapping[str, Any]) -> Rehearsal:
    spec = TaskSpec(kind="survey", name="box", options=dict(normalise("survey", OPTIONS, dict(options))))
    return Rehearsal(kind=SURVEY, spec=spec, stage=Mesh(), files=PlainFiles(folder), inputs=folder, work=work, warnings=())


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("box") / "task"
    above = [painted.view(20 + n, (x, y, 9.0), (x, y, 0.0), up=(0, 1, 0)) for n, (x, y) in enumerate([(-2, -2), (2, -2), (-2, 2), (2, 2)])]
    painted.write_task(folder, [*painted.ring(8), *above], FRAME)
    return folder


def with_stage(photos: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in photos.rglob("*"):
        if path.is_file():
            to = folder / path.relative_to(photos)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.hardlink_to(path)
    return folder


def faces_of(pieces: list[MeshPiece]) -> NDArray[np.float64]:
    found = np.concatenate([piece.vertices[piece.faces].reshape(-1, 9) for piece in pieces])
    return found[np.lexsort(found.T)]


def middles(piece: MeshPiece) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The middle of each face, and the colour there."""
    pages = [np.asarray(Image.open(io.BytesIO(texture))).astype(int) for texture in piece.textures]
    uv = piece.uv[piece.uv_faces].mean(axis=1)
    colors = np.zeros((len(uv), 3), int)
    for number, page in enumerate(pages):
        mine = piece.pages == number
        colors[mine] = page[(uv[mine, 1] * page.shape[0]).astype(int), (uv[mine, 0] * page.shape[1]).astype(int)]
    return piece.vertices[piece.faces].mean(axis=1), colors


def test_tiles_give_the_mesh_of_the_whole(photos: Path, tmp_path: Path) -> None:
    """Four jobs give the triangles of one, bit for bit, in the true colours, from the photos that see each tile; all files are made."""
    pieces = {}
    for name, cut in (("whole", (1, 1)), ("tiled", (2, 2))):
        folder = with_stage(photos, tmp_path / name)
        surface(folder, cut)
        task = rehearsal(folder, tmp_path / f"work-{name}", {"mesh-size": 4000, "texture-size": 512})
        regions = task.split()
        assert len(regions) == cut[0] * cut[1]
        found = list(task.pieces(regions))
        assets = task.stitch(found)
        pieces[name] = [load_piece(piece.files.read(PIECE)) for piece in found]
        report = json.loads(assets["report.json"])
        assert report["faces"] <= 4000
        assert report["textured_percent"] > 90
        assert report["glb"]
        assert f"{FOLDER}/{NAME}.obj" in assets
        assert f"{FOLDER}/{NAME}.mtl" in assets
        assert assets[f"{FOLDER}/offset.txt"] == b"EPSG:32615\n576705.000 5188170.000 250.000\n"
        if name == "tiled":
            check_refusals(task, regions[1], found[1].files)
            check_lost(task, found)
    assert np.array_equal(faces_of(pieces["whole"]), faces_of(pieces["tiled"]))
    for piece in (piece for made in pieces.values() for piece in made):
        places, colors = middles(piece)
        flat = (np.ptp(piece.vertices[piece.faces][:, :, 2], axis=1) < 0.01) & (np.abs(np.abs(places[:, :2]).max(axis=1) - 1) > 0.1)
        truth = painted.paint(places, places[:, 2] > 1)
        off = np.abs(colors - truth).max(axis=1)[flat]
        assert np.median(off) < 5
        assert np.percentile(off, 97) < 25


def test_a_region_needs_the_photos_that_see_it(photos: Path, tmp_path: Path) -> None:
    """A node fetches no photo of elsewhere."""
    folder = with_stage(photos, tmp_path / "task")
    surface(folder, (1, 1))
    far = GRID.part(4000, 0, GRID.columns, GRID.rows)
    words = Surface(
        gsd=0.03, georeferenced=True, resolution=0.05, bounds=GRID.bounds, shape=GRID.shape,
        tiles=(*tiles(GRID, 1, 1), tiles(far, 2, 1)[1]),
    )  # fmt: skip
    (folder / SURFACE).unlink()
    save(words, folder / SURFACE)
    task = rehearsal(folder, tmp_path / "work", {})
    near, other = task.split()
    assert sum(name.startswith("images/") for name in near.needs) == 13
    assert not any(name.startswith("images/") for name in other.needs)
    assert DSM in near.needs


def test_an_object_becomes_a_mesh_with_its_colours(photos: Path, tmp_path: Path) -> None:
    """Points and photos of a thing without GPS: one job, at most mesh-size triangles, in the true colours; the same bytes again."""
    folder = with_stage(photos, tmp_path / "task")
    mesh, box = painted.box_mesh(60, 120)
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    normal = mesh.normals[mesh.faces[:, 0]]
    colors = painted.paint(middle, box).astype(np.uint8)
    inside = np.abs(middle[:, :2]).max(axis=1) < 2.5
    save_arrays(
        folder / OBJECT, points=middle[inside].astype(np.float32), colors=colors[inside], normals=normal[inside].astype(np.float32),
        views=np.full(int(inside.sum()), 3, np.uint8),
    )  # fmt: skip
    task = rehearsal(folder, tmp_path / "work", {"mesh-size": 6000, "mesh-octree-depth": 7})
    (region,) = task.split()
    outputs = task.process(region)
    task.stage.verify(task.spec, region, outputs)
    piece = load_piece(outputs.read(PIECE))
    assert 4000 < len(piece.faces) <= 6000
    assert piece.about.textured > 0.9 * len(piece.faces)
    places, colors = middles(piece)
    away = np.abs(np.abs(places[:, :2]).max(axis=1) - 1) > 0.15
    off = np.abs(colors - painted.paint(places, (places[:, 2] > 0.1) & (np.abs(places[:, :2]).max(axis=1) < 1.2))).max(axis=1)[away]
    assert np.median(off) < 5
    assert np.percentile(off, 95) < 20
    first = outputs.read(PIECE)
    again = rehearsal(folder, tmp_path / "again", {"mesh-size": 6000, "mesh-octree-depth": 7})
    assert again.process(region).read(PIECE) == first
    assets = task.stitch([Piece(region=region, files=outputs)])
    assert assets[f"{FOLDER}/offset.txt"].startswith(b"EPSG")


def test_nothing_to_do(photos: Path, tmp_path: Path) -> None:
    """Without a surface, or with skip-3dmodel, there is no job, and a report that says that nothing was made."""
    task = rehearsal(photos, tmp_path / "a", {})
    assert task.split() == []
    assert json.loads(task.stitch([])["report.json"])["made"] is False
    folder = with_stage(photos, tmp_path / "task")
    surface(folder, (1, 1))
    assert rehearsal(folder, tmp_path / "b", {"skip-3dmodel": True}).split() == []


def test_other_options_keep_the_mesh(photos: Path, tmp_path: Path) -> None:
    """A restart with options that the mesh does not depend on takes its pieces over; one with another texture size does not."""
    folder = with_stage(photos, tmp_path / "task")
    surface(folder, (2, 1))
    one, other, finer = (
        rehearsal(folder, tmp_path, more) for more in ({}, {"orthophoto-resolution": 2.0, "mesh-octree-depth": 10}, {"texture-size": 2048})
    )
    keys = [[task.stage.reads(task.spec, region) for region in task.split()] for task in (one, other, finer)]
    assert keys[0] == keys[1]
    assert keys[0] != keys[2]


class Only(PlainFiles):
    """One file under the name of a piece."""

    def __init__(self, data: bytes, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / PIECE).write_bytes(data)
        super().__init__(folder)


def test_a_foreign_file_is_refused(photos: Path, tmp_path: Path) -> None:
    """Something that is no piece: a sentence, not a crash."""
    folder = with_stage(photos, tmp_path / "task")
    surface(folder, (1, 1))
    task = rehearsal(folder, tmp_path, {})
    (region,) = task.split()
    other = tmp_path / "x.npz"
    save_arrays(other, a=np.zeros(3))
    for number, data in enumerate((b"", b"PK", other.read_bytes())):
        outputs: Folder = Only(data, tmp_path / f"{number}")
        with pytest.raises(OutputRejected, match=region.name):
            task.stage.verify(task.spec, region, outputs)
    with pytest.raises(StitchFailed, match=region.name):
        task.stitch([])
