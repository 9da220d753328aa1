"""What a job of the stage ``mesh`` hands in: one .npz with a textured part of the mesh, its textures as JPEGs in it.

One file, as the CRC of its arrays then covers the textures too.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from .records import Record, load_arrays, save_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIECE = "mesh.npz"
LARGEST = 16_384
"""Texels along the side of a texture, as the option texture-size allows."""


class About(Record, frozen=True, kw_only=True):
    """What the report says of a part."""

    faces: int
    textured: int
    """Faces that have their colours from a photo; the others' are a guess from around."""
    photos: int
    """Photos that are in the textures."""
    charts: int
    scale: float
    """Texels for each pixel of a photo along its side: 1, or less where the textures would not have fitted."""
    watertight: bool = False


@dataclass(frozen=True, kw_only=True)
class MeshPiece:
    vertices: NDArray[np.float64]
    """(n, 3) in the model's frame"""
    normals: NDArray[np.float32]
    """(n, 3)"""
    faces: NDArray[np.int32]
    """(f, 3) rows of ``vertices``, counter-clockwise seen from outside"""
    uv: NDArray[np.float32]
    """(t, 2) place in a texture, 0 to 1 from its upper left corner, as glTF has it"""
    uv_faces: NDArray[np.int32]
    """(f, 3) rows of ``uv``"""
    pages: NDArray[np.int32]
    """(f,) number of the texture; ascending"""
    textures: tuple[bytes, ...]
    """JPEGs"""
    about: About


def save_piece(piece: MeshPiece, path: Path) -> None:
    import numpy as np

    arrays = {name: value for name, value in vars(piece).items() if name not in ("textures", "about")}
    arrays |= {f"texture{number:02d}": np.frombuffer(data, np.uint8) for number, data in enumerate(piece.textures)}
    arrays["about"] = np.frombuffer(msgspec.json.encode(piece.about), np.uint8)
    save_arrays(path, **arrays)


def load_piece(source: Path | bytes) -> MeshPiece:
    """What ``save_piece`` wrote, looked at as something that came from elsewhere. Raises ValueError, or one of ``load_arrays``."""
    arrays = dict(load_arrays(source))
    textures: list[bytes] = []
    while (name := f"texture{len(textures):02d}") in arrays:
        textures.append(arrays.pop(name).tobytes())
    about = msgspec.json.decode(arrays.pop("about").tobytes(), type=About)
    wanted = set(MeshPiece.__dataclass_fields__) - {"textures", "about"}
    if set(arrays) != wanted:
        raise ValueError(f"it holds {', '.join(sorted(arrays))}")
    piece = MeshPiece(**arrays, textures=tuple(textures), about=about)
    check_piece(piece)
    return piece


def check_piece(piece: MeshPiece) -> None:
    """Raise ValueError, which says what is wrong, where numbers point nowhere or a texture is no picture."""
    import numpy as np
    from PIL import Image

    n, f, t = len(piece.vertices), len(piece.faces), len(piece.uv)
    forms: dict[str, tuple[Any, tuple[int, ...]]] = {
        "vertices": (np.float64, (n, 3)), "normals": (np.float32, (n, 3)), "faces": (np.int32, (f, 3)), "uv": (np.float32, (t, 2)),
        "uv_faces": (np.int32, (f, 3)), "pages": (np.int32, (f,)),
    }  # fmt: skip
    for name, (form, shape) in forms.items():
        array = getattr(piece, name)
        if array.dtype != form or array.shape != shape:
            raise ValueError(f"its {name} have the form {array.dtype} {array.shape}")
    for name, limit in (("faces", n), ("uv_faces", t), ("pages", len(piece.textures))):
        array = getattr(piece, name)
        if array.size and (array.min() < 0 or array.max() >= limit):
            raise ValueError(f"its {name} point at what is not there")
    if not all(np.isfinite(array).all() for array in (piece.vertices, piece.normals, piece.uv)):
        raise ValueError("it holds numbers that are not finite")
    if t and (piece.uv.min() < 0 or piece.uv.max() > 1):
        raise ValueError("a place in a texture lies outside of it")
    if (np.diff(piece.pages) < 0).any():
        raise ValueError("its faces are not in the order of their textures")
    if piece.about.faces != f or not 0 <= piece.about.textured <= f:
        raise ValueError("it does not hold as many faces as it says")
    Image.MAX_IMAGE_PIXELS = None  # the size is looked at before anything is decoded
    for number, texture in enumerate(piece.textures):
        try:
            with Image.open(io.BytesIO(texture), formats=("JPEG",)) as picture:
                if max(picture.size) > LARGEST:
                    raise ValueError(f"texture {number} has {picture.size[0]} x {picture.size[1]} pixels")
                picture.load()
        except (OSError, SyntaxError) as error:
            raise ValueError(f"texture {number} is damaged ({error})") from error
