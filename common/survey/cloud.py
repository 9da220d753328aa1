"""Point clouds as LAZ: the same points give the same file, so no date is written."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCALE = 0.001
SOFTWARE = "ClusterRay"
_RECORDS = struct.Struct("<96xII139xI")
"""Of a LAS 1.4 header: where the points begin, how many records are before them and how many behind."""
MOST_RECORDS = 64
"""Ours have four."""


def write_cloud(
    path: Path, places: NDArray[np.float64], colors: NDArray[np.uint8], views: NDArray[np.uint8], *, crs: str = "", scale: float = SCALE
) -> None:
    """places: (n, 3); colors: (n, 3) 8 bit; views: (n,) how many photos saw each point, the extra dimension ``views``.

    The offset is that of the whole thousands below the places, so that clouds side by side mostly share it.
    """
    import numpy as np

    laspy = library("laspy", extra="survey")
    header = laspy.LasHeader(version="1.4", point_format=7)
    header.creation_date = datetime.date(2000, 1, 1)  # where there is none, laspy writes that of the day
    header.generating_software = header.system_identifier = SOFTWARE
    header.scales = np.full(3, scale)
    step = scale * 1e6
    header.offsets = np.floor(places.min(0) / step) * step if len(places) else np.zeros(3)
    header.add_extra_dim(laspy.ExtraBytesParams(name="views", type=np.uint8, description="photos that saw it"))
    if crs:
        header.add_crs(library("pyproj", extra="survey").CRS.from_user_input(crs))
    record = laspy.LasData(header)
    record.x, record.y, record.z = places[:, 0], places[:, 1], places[:, 2]
    record.red, record.green, record.blue = (colors[:, i].astype(np.uint16) * 257 for i in range(3))
    record.views = views
    record.return_number[:] = 1
    record.number_of_returns[:] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    record.write(str(path), laz_backend=laspy.LazBackend.Lazrs)


def read_cloud(path: Path) -> tuple[NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint8]]:
    """Places (n, 3), colours (n, 3) 8 bit, views (n,), of a file that ``write_cloud`` wrote. ValueError where it is damaged."""
    import numpy as np

    laspy = library("laspy", extra="survey")
    check_header(path)
    try:
        found: Any = laspy.read(str(path))
        colors = np.stack([found.red, found.green, found.blue], axis=1) // 257
        places = np.array(found.xyz, np.float64)
        if len(places) != found.header.point_count:
            raise ValueError("it is cut short")
        if not np.isfinite(places).all():
            raise ValueError("there are places that are no numbers")
        return places, colors.astype(np.uint8), np.array(found.views, np.uint8)
    except Exception as error:  # laspy, lazrs and numpy each have their own
        raise ValueError(f"the cloud {path.name} cannot be read ({error})") from error


def check_header(path: Path) -> None:
    """Raise ValueError where a header announces what would keep laspy busy for minutes: it makes each record, also those beyond the end."""
    with path.open("rb") as file:
        head = file.read(_RECORDS.size)
    if len(head) < _RECORDS.size or not head.startswith(b"LASF"):
        raise ValueError(f"the cloud {path.name} is none, or cut short")
    start, before, behind = _RECORDS.unpack(head)
    if start > path.stat().st_size or max(before, behind) > MOST_RECORDS:
        raise ValueError(f"the cloud {path.name} announces {before} and {behind} records, or points that are not there")
