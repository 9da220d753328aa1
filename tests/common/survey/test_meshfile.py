"""The mesh's files open elsewhere and show the right texture at the right place."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path

import numpy as np
import pymeshlab
import pytest
import trimesh
from clusterray.common.survey.mesh_piece import About, MeshPiece, load_piece, save_piece
from clusterray.common.survey.meshfile import NAME, MeshWriter, write_mesh
from numpy.typing import NDArray
from PIL import Image

COLORS = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 30))


def picture(colors: tuple[tuple[int, int, int], ...]) -> bytes:
    """A JPEG whose upper left, upper right, lower left and lower right quarter have these colours."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    for number, color in enumerate(colors):
        pixels[32 * (number // 2) : 32 * (number // 2) + 32, 32 * (number % 2) : 32 * (number % 2) + 32] = color
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=95, subsampling=0)
    return out.getvalue()


def piece(east: float = 0.0, pages: int = 1) -> MeshPiece:
    """A flat square, 2 x 2 metres, of four quarters with two triangles each; quarter q has colour q: north-west, north-east …"""
    vertices, faces, uv, uv_faces, page = [], [], [], [], []
    for number in range(4):
        x, y = east + number % 2, 1.0 - number // 2
        u, v = 0.5 * (number % 2), 0.5 * (number // 2)
        start = 4 * number
        vertices += [(x, y, 3.0), (x + 1, y, 3.0), (x + 1, y + 1, 3.0), (x, y + 1, 3.0)]
        uv += [(u + 0.1, v + 0.4), (u + 0.4, v + 0.4), (u + 0.4, v + 0.1), (u + 0.1, v + 0.1)]
        faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
        uv_faces += [(start, start + 1, start + 2), (start, start + 2, start + 3)]
        page += [number * pages // 4] * 2
    return MeshPiece(
        vertices=np.array(vertices, float), normals=np.tile(np.float32([0, 0, 1]), (16, 1)), faces=np.array(faces, np.int32),
        uv=np.array(uv, np.float32), uv_faces=np.array(uv_faces, np.int32), pages=np.array(page, np.int32),
        textures=tuple(picture(COLORS) for _ in range(pages)), about=About(faces=8, textured=8, photos=1, charts=4, scale=1.0),
    )  # fmt: skip


def expected(middles: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n, 3) the colour of the places (n, 3)."""
    quarter = (np.floor(middles[:, 0]).astype(int) % 2) + 2 * (middles[:, 1] < 1)
    return np.array(COLORS)[quarter]


def shown(uv: NDArray[np.float64], image: Image.Image) -> NDArray[np.int64]:
    """What is at places of a texture, v up."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    height, width = pixels.shape[:2]
    return pixels[((1 - uv[:, 1]) * height).astype(int), (uv[:, 0] * width).astype(int)]


@pytest.mark.parametrize("suffix", ["obj", "glb"])
def test_trimesh_shows_each_quarter_in_its_colour(tmp_path: Path, suffix: str) -> None:
    """OBJ and GLB, two pieces of two textures each, as trimesh (and what is built on it) reads them."""
    write_mesh([piece(0, 2), piece(2, 2)], tmp_path, digits=4)
    scene = trimesh.load_scene(tmp_path / f"{NAME}.{suffix}")
    meshes = scene.dump() if suffix == "glb" else list(scene.geometry.values())
    assert sum(len(mesh.faces) for mesh in meshes) == 16
    for mesh in meshes:
        middles = mesh.triangles_center
        if suffix == "glb":  # the node has turned z up into y up
            assert np.allclose(mesh.vertices[:, 1], 3.0)
            middles = np.stack([middles[:, 0], -middles[:, 2], middles[:, 1]], axis=1)
        material = mesh.visual.material
        image = material.image if suffix == "obj" else material.baseColorTexture
        uv = mesh.visual.uv[mesh.faces].mean(axis=1)
        assert np.abs(shown(uv, image) - expected(middles)).max() < 12


def test_meshlab_opens_the_obj(tmp_path: Path) -> None:
    """MeshLab finds the triangles, their places in the textures, and the texture files."""
    write_mesh([piece(0, 2), piece(2, 2)], tmp_path, digits=4)
    materials = tmp_path / f"{NAME}.mtl"
    materials.write_text(materials.read_text().replace(".jpg", ".png"))
    for path in tmp_path.glob("*.jpg"):  # MeshLab reads JPEGs, but the Qt in pymeshlab's wheel comes without its plug-in for them
        Image.open(path).save(path.with_suffix(".png"))
    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh(str(tmp_path / f"{NAME}.obj"))
    mesh = meshes.current_mesh()
    assert mesh.face_number() == 16
    assert mesh.has_wedge_tex_coord()
    assert mesh.texture_number() == 4
    uv = mesh.wedge_tex_coord_matrix().reshape(-1, 3, 2).mean(axis=1)
    middles = mesh.vertex_matrix()[mesh.face_matrix()].mean(axis=1)
    assert sorted(mesh.textures()) == [f"{NAME}_material{number:04d}_map_Kd.png" for number in range(4)]
    assert all(texture.width() == texture.height() == 64 for texture in mesh.textures().values())
    page = Image.open(tmp_path / f"{NAME}_material0000_map_Kd.jpg")
    assert np.abs(shown(uv, page) - expected(middles)).max() < 12


def test_the_glb_is_sound(tmp_path: Path) -> None:
    """Lengths, offsets and bounds in a GLB are as the norm asks."""
    write_mesh([piece(0, 2)], tmp_path, digits=4)
    data = (tmp_path / f"{NAME}.glb").read_bytes()
    magic, version, length = struct.unpack_from("<4sII", data)
    assert (magic, version, length) == (b"glTF", 2, len(data))
    size, kind = struct.unpack_from("<I4s", data, 12)
    words = json.loads(data[20 : 20 + size])
    assert kind == b"JSON"
    assert size % 4 == 0
    binary, kind = struct.unpack_from("<I4s", data, 20 + size)
    assert kind == b"BIN\0"
    assert binary == words["buffers"][0]["byteLength"] == len(data) - 28 - size
    for view in words["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= binary
    for primitive in words["meshes"][0]["primitives"]:
        accessor = words["accessors"][primitive["attributes"]["POSITION"]]
        view = words["bufferViews"][accessor["bufferView"]]
        start = 28 + size + view["byteOffset"]
        places = np.frombuffer(data[start : start + view["byteLength"]], "<f4").reshape(-1, 3)
        assert len(places) == accessor["count"]
        assert places.min(axis=0).tolist() == accessor["min"]
        assert places.max(axis=0).tolist() == accessor["max"]


def test_the_same_mesh_gives_the_same_bytes(tmp_path: Path) -> None:
    """All files, each time."""
    for name in ("a", "b"):
        write_mesh([piece(0, 2), piece(2)], tmp_path / name, digits=4)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert len(names) == 3 + 3
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_nothing_is_an_empty_obj(tmp_path: Path) -> None:
    """Without triangles there is an OBJ that says so, and no GLB, which may not be empty."""
    with MeshWriter(tmp_path, digits=4) as writer:
        assert not writer.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{NAME}.mtl", f"{NAME}.obj"]


def test_a_piece_comes_back(tmp_path: Path) -> None:
    """What a job saves is what the stitch loads."""
    made = piece(0, 2)
    save_piece(made, tmp_path / "mesh.npz")
    found = load_piece(tmp_path / "mesh.npz")
    assert found.about == made.about
    assert found.textures == made.textures
    assert all(
        np.array_equal(getattr(found, name), getattr(made, name)) for name in ("vertices", "normals", "faces", "uv", "uv_faces", "pages")
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("faces", np.full((8, 3), 16, np.int32), "faces point at"),
        ("uv_faces", np.full((8, 3), -1, np.int32), "uv_faces point at"),
        ("pages", np.full(8, 2, np.int32), "pages point at"),
        ("pages", np.array([1, 0] * 4, np.int32), "order"),
        ("vertices", np.full((16, 3), np.nan), "not finite"),
        ("uv", np.full((16, 2), 1.5, np.float32), "outside"),
        ("uv", np.zeros((16, 2)), "form"),
        ("textures", (b"\xff\xd8 no picture",) * 2, "damaged"),
        ("about", About(faces=8, textured=9, photos=1, charts=4, scale=1.0), "as it says"),
    ],
)
def test_a_piece_that_makes_no_sense_is_refused(tmp_path: Path, name: str, value: object, said: str) -> None:
    """With a sentence that says what is wrong."""
    save_piece(MeshPiece(**vars(piece(0, 2)) | {name: value}), tmp_path / "mesh.npz")
    with pytest.raises(ValueError, match=said):
        load_piece(tmp_path / "mesh.npz")
