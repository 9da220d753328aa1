"""What the stages of a survey hand each other, as small files of JSON and arrays.

========================================  ===========================================================================================
``stages/features/photos.json``           ``Photos``: the photos in use, those left out and why
``stages/features/00017.npz``             ``Features`` of photo number 17
``stages/matching/matches.npz``           ``Matches`` between all pairs that were verified
``stages/calibration/cameras.json``       camera key -> ``Lens``, shared by all submodels
``stages/calibration/blocks.json``        ``Block`` for each submodel
``stages/mapping/<block>/``               a COLMAP model (binary) of that submodel, in a frame of its own
``stages/adjustment/model/``              the one COLMAP model of all, in the frame that ``frame.json`` describes (``scene.py`` reads both)
``stages/adjustment/frame.json``          ``Frame``
``stages/<stage>/report.json``            free: what the report says of that stage; ``"notes"`` in it is a list of sentences for the user
========================================  ===========================================================================================

Photos are numbered from 0 in the order of their names; in COLMAP models the image id is the number + 1. All files are the same bytes
whenever they hold the same values, so that a restart finds what it has.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

S = TypeVar("S")


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the records below."""


class Photo(Record, frozen=True, kw_only=True):
    number: int
    name: str
    """Path below the task's folder."""
    width: int
    height: int
    """Pixels as stored; the EXIF orientation is not applied."""
    camera: str
    """Key of the camera that took it: maker, model, size, focal length."""
    focal: float
    """Pixels, as EXIF or a table of sensors tells; a guess where ``focal_known`` is false."""
    focal_known: bool
    latitude: float | None = None
    longitude: float | None = None
    """WGS 84, degrees; both or none."""
    altitude: float | None = None
    """Metres, as the photo says."""
    accuracy: tuple[float, float] | None = None
    """Horizontal and vertical, metres, where the photo (RTK) or geo.txt says; else the option gps-accuracy holds."""
    taken: float | None = None
    """Seconds since 1970 by the camera's clock."""
    angles: tuple[float, float, float] | None = None
    """Yaw, pitch, roll in degrees, as geo.txt or the drone's XMP says: (0, 0, 0) looks straight down, top to the north."""
    group: str = ""
    """From image_groups.txt."""


class LeftOut(Record, frozen=True, kw_only=True):
    name: str
    why: str
    """A sentence."""


class Photos(Record, frozen=True, kw_only=True):
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


class Lens(Record, frozen=True, kw_only=True):
    """COLMAP's camera model OPENCV; a model with fewer parameters has the others at 0."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    prior: float
    """The focal length that EXIF gave, in pixels; 0: none."""
    held: bool = False
    """The focal length was kept at the prior, as flat ground seen from straight above cannot tell it."""
    note: str = ""


class Block(Record, frozen=True, kw_only=True):
    """A submodel."""

    name: str
    core: tuple[int, ...]
    """Numbers of the photos that it answers for; the cores of all blocks hold each photo once."""
    photos: tuple[int, ...]
    """Core and overlap."""


class Frame(Record, frozen=True, kw_only=True):
    """What the coordinates of the adjusted model mean."""

    georeferenced: bool
    """Metres in ``crs`` minus ``origin``; false: the scale and perhaps the direction are arbitrary."""
    crs: str = ""
    """As pyproj reads it: EPSG:32615, or EPSG:32615+5773 with a vertical datum."""
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What is added to x, y, z of the model to have coordinates of ``crs``."""
    by: str = ""
    """gps, gcp, level (GPS too bad for more than place and direction), none"""
    nadir: bool = True
    """Most photos look down: there is a surface to be seen from above, so DSM and orthophoto make sense."""


@dataclass(frozen=True, kw_only=True)
class Features:
    """Of one photo, the largest scale first."""

    points: NDArray[np.float32]
    """(n, 2) pixels of the whole photo"""
    scales: NDArray[np.float32]
    """(n,) pixels"""
    descriptors: NDArray[np.uint8]
    """(n, 128)"""
    colors: NDArray[np.uint8]
    """(n, 3) red, green, blue"""


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Verified matches of all pairs."""

    pairs: NDArray[np.int32]
    """(p, 2) numbers of photos, the smaller first; sorted"""
    starts: NDArray[np.int64]
    """(p + 1,) where each pair's rows begin in ``rows``"""
    rows: NDArray[np.uint32]
    """(m, 2) feature in the first photo, feature in the second"""
    configurations: NDArray[np.int32]
    """(p,) pycolmap.TwoViewGeometryConfiguration"""

    def of(self, pair: int) -> NDArray[np.uint32]:
        """The rows of pair number ``pair``."""
        return self.rows[self.starts[pair] : self.starts[pair + 1]]


def save(value: Any, path: Path) -> None:
    """A record, or lists and dictionaries of records, as JSON for people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(value))


def encoded(value: Any) -> bytes:
    """What ``save`` writes: to compare with what came."""
    return msgspec.json.format(msgspec.json.encode(value, order="deterministic"), indent=1) + b"\n"


def load(path: Path | bytes, form: type[S]) -> S:
    """What ``save`` wrote. Raises msgspec.DecodeError (ValidationError) where the file is something else."""
    return msgspec.json.decode(path if isinstance(path, bytes) else path.read_bytes(), type=form)


def save_features(features: Features, path: Path) -> None:
    save_arrays(path, **vars(features))


def load_features(path: Path | bytes) -> Features:
    return Features(**load_arrays(path))


def save_matches(matches: Matches, path: Path) -> None:
    save_arrays(path, **vars(matches))


def load_matches(path: Path | bytes) -> Matches:
    return Matches(**load_arrays(path))


def save_arrays(path: Path, **arrays: Any) -> None:
    """An .npz, uncompressed; numpy writes no date into it. Each array has a CRC, which ``load_arrays`` checks."""
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.savez(file, **arrays)


def load_arrays(path: Path | bytes) -> Mapping[str, Any]:
    """All arrays of an .npz; ValueError, KeyError, OSError or zipfile.BadZipFile where it is damaged."""
    import numpy as np

    with io.BytesIO(path) if isinstance(path, bytes) else path.open("rb") as source:
        size = source.seek(0, io.SEEK_END)
        source.seek(max(0, size - 22))
        if source.read(4) != b"PK\x05\x06":  # zipfile passes over what follows the end
            raise ValueError("it is cut short, or something follows its end")
        source.seek(0)
        with np.load(source, allow_pickle=False) as file:
            if sum(one.file_size for one in file.zip.infolist()) > size:  # a bomb: ours are not compressed
                raise ValueError("its arrays are larger than the file")
            return {name: file[name] for name in file.files}
