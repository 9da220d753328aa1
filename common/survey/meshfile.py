"""Writes a textured mesh of many pieces, one after the other: OBJ with materials and JPEGs, and GLB. The same bytes each time.

OBJ and GLB hold the model's coordinates: z up, and where the model is georeferenced, metres in its CRS minus the origin of the frame, as
single precision has no room for more. A GLB's y is up by its norm: its one node turns the model, so that a viewer shows it upright.
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from .mesh_piece import MeshPiece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NAME = "odm_textured_model_geo"
GLB_LIMIT = 0xFFFFFFFF
"""Bytes: the header counts them in 32 bits."""
LINES = 65536
Z_UP = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
"""Column by column: x stays, z becomes y, y becomes -z."""
FLOAT, UNSIGNED = 5126, 5125
ARRAY, ELEMENTS = 34962, 34963
LINEAR, MIPMAPS, CLAMP = 9729, 9987, 33071


class MeshWriter:
    """``with MeshWriter(…) as writer``: ``add`` the pieces in order, then ``finish``. Holds one piece at a time."""

    def __init__(self, folder: Path, *, digits: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._digits = folder, digits
        self._obj = (folder / f"{NAME}.obj").open("w", encoding="ascii", newline="\n")
        self._mtl = (folder / f"{NAME}.mtl").open("w", encoding="ascii", newline="\n")
        self._obj.write(f"mtllib {NAME}.mtl\n")
        self._glb = Glb()
        self.vertices = self.faces = self.uvs = self.materials = 0

    def __enter__(self) -> MeshWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._obj.close()
        self._mtl.close()
        self._glb.close()

    def add(self, piece: MeshPiece) -> None:
        import numpy as np

        vertex = f"v %.{self._digits}f %.{self._digits}f %.{self._digits}f\n"
        _lines(self._obj, vertex, piece.vertices)
        _lines(self._obj, "vt %.6f %.6f\n", piece.uv.astype(np.float64) * (1, -1) + (0, 1))
        both = np.stack([piece.faces + (1 + self.vertices), piece.uv_faces + (1 + self.uvs)], axis=2).reshape(-1, 6)
        for page, texture in enumerate(piece.textures):
            name = f"material{self.materials:04d}"
            file = f"{NAME}_{name}_map_Kd.jpg"
            (self._folder / file).write_bytes(texture)
            self._mtl.write(f"newmtl {name}\nKa 1.000000 1.000000 1.000000\nKd 1.000000 1.000000 1.000000\n")
            self._mtl.write(f"Ks 0.000000 0.000000 0.000000\nd 1.000000\nillum 1\nmap_Kd {file}\n\n")
            mine = piece.pages == page
            self._obj.write(f"usemtl {name}\n")
            _lines(self._obj, "f %d/%d %d/%d %d/%d\n", both[mine])
            self._glb.add(piece, mine, texture, name)
            self.materials += 1
        self.vertices += len(piece.vertices)
        self.uvs += len(piece.uv)
        self.faces += len(piece.faces)

    def finish(self) -> bool:
        """Whether there is a GLB: it is left out where it would be larger than its norm allows."""
        self._obj.flush()
        self._mtl.flush()
        return self._glb.write(self._folder / f"{NAME}.glb")


def _lines(file: IO[str], form: str, rows: NDArray[Any]) -> None:
    for first in range(0, len(rows), LINES):
        part = rows[first : first + LINES]
        file.write((form * len(part)) % tuple(part.ravel().tolist()))


class Glb:
    """A GLB in the making: its binary part waits in a temporary file."""

    def __init__(self) -> None:
        self._binary = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []
        self._images: list[dict[str, Any]] = []
        self._materials: list[dict[str, Any]] = []
        self._primitives: list[dict[str, Any]] = []

    def add(self, piece: MeshPiece, mine: NDArray[np.bool_], texture: bytes, name: str) -> None:
        """The faces ``mine`` of a piece, which share a texture. A vertex is there once for each place that it has in the texture."""
        import numpy as np

        if not mine.any():
            return
        keys = piece.faces[mine].astype(np.int64) * len(piece.uv) + piece.uv_faces[mine]
        both, index = np.unique(keys, return_inverse=True)
        place, uv = np.divmod(both, len(piece.uv))
        number = len(self._images)
        vertices = piece.vertices[place].astype("<f4")
        attributes = {
            "POSITION": self._accessor(vertices, "VEC3", min=vertices.min(axis=0).tolist(), max=vertices.max(axis=0).tolist()),
            "NORMAL": self._accessor(piece.normals[place].astype("<f4"), "VEC3"),
            "TEXCOORD_0": self._accessor(piece.uv[uv].astype("<f4"), "VEC2"),
        }
        indices = self._accessor(index.reshape(-1).astype("<u4"), "SCALAR")
        self._images.append({"bufferView": self._view(texture, 0), "mimeType": "image/jpeg", "name": name})
        self._materials.append(
            {
                "name": name,
                "pbrMetallicRoughness": {"baseColorTexture": {"index": number}, "metallicFactor": 0.0, "roughnessFactor": 1.0},
                "extensions": {"KHR_materials_unlit": {}},  # light and shadow are in the photos
            }
        )
        self._primitives.append({"attributes": attributes, "indices": indices, "material": number, "mode": 4})

    def _view(self, data: bytes, target: int) -> int:
        start = self._binary.tell()
        self._binary.write(data + b"\0" * (-len(data) % 4))
        self._views.append({"buffer": 0, "byteOffset": start, "byteLength": len(data)} | ({"target": target} if target else {}))
        return len(self._views) - 1

    def _accessor(self, array: NDArray[Any], form: str, **more: Any) -> int:
        indices = form == "SCALAR"
        view = self._view(array.tobytes(), ELEMENTS if indices else ARRAY)
        kind = UNSIGNED if indices else FLOAT
        self._accessors.append({"bufferView": view, "componentType": kind, "count": len(array), "type": form} | more)
        return len(self._accessors) - 1

    def write(self, path: Path) -> bool:
        size = self._binary.tell()
        count = len(self._images)
        words = {
            "asset": {"version": "2.0", "generator": "ClusterRay"},
            "extensionsUsed": ["KHR_materials_unlit"],
            "scene": 0,
            "scenes": [{"nodes": [0]}],
            "nodes": [{"mesh": 0, "matrix": Z_UP, "name": NAME}],
            "meshes": [{"name": NAME, "primitives": self._primitives}],
            "materials": self._materials,
            "textures": [{"sampler": 0, "source": number} for number in range(count)],
            "samplers": [{"magFilter": LINEAR, "minFilter": MIPMAPS, "wrapS": CLAMP, "wrapT": CLAMP}],
            "images": self._images,
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": size}],
        }
        text = json.dumps(words, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        whole = 12 + 8 + len(text) + 8 + size
        fits = whole <= GLB_LIMIT and bool(count)
        if fits:
            with path.open("wb") as file:
                file.write(struct.pack("<4sII", b"glTF", 2, whole) + struct.pack("<I4s", len(text), b"JSON") + text)
                file.write(struct.pack("<I4s", size, b"BIN\0"))
                self._binary.seek(0)
                shutil.copyfileobj(self._binary, file, 1 << 20)
        return fits

    def close(self) -> None:
        self._binary.close()


def write_mesh(pieces: Iterable[MeshPiece], folder: Path, *, digits: int) -> MeshWriter:
    """All of it."""
    with MeshWriter(folder, digits=digits) as writer:
        for piece in pieces:
            writer.add(piece)
        writer.finish()
        return writer
