"""PNG pixels in one go, for looking at: by pillow, and by PyAV where pillow would cut 16 bits down to 8.

The reader by bands (images.py) undoes the filters Average and Paeth in numpy, which takes 0.1 s for a frame of 640 x 480 and 0.7 s for
1920 x 1080; libpng and FFmpeg take 7 and 45 ms. A film of 240 frames is read once by its stitch, and so it counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .png import BadPicture

if TYPE_CHECKING:
    from .raster_form import Plane, Shape

MOST = 1 << 26
"""Pixels; larger pictures are read by bands."""


def png_plane(path: Path, shape: Shape) -> Plane | None:
    """The samples of a PNG (rows, columns, channels), None where it has to be read by bands. Raises BadPicture."""
    if shape.format != "png" or shape.width * shape.height > MOST:
        return None
    if shape.bits == 8 or len(shape.channels) == 1:
        return _by_pillow(path, shape)
    return _by_av(path, shape) if shape.bits == 16 else None


def _by_pillow(path: Path, shape: Shape) -> Plane | None:
    import numpy as np
    from PIL import Image, ImageFile

    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            data: Any = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadPicture(f"its data are damaged or cut short ({error})") from error
    data = data.reshape(shape.height, shape.width, -1)
    return data if data.shape[2] == len(shape.channels) and data.dtype.itemsize * 8 == shape.bits else None


def _by_av(path: Path, shape: Shape) -> Plane | None:
    try:
        import av
    except ImportError:
        return None
    form = {3: "rgb48le", 4: "rgba64le"}.get(len(shape.channels))
    if form is None:
        return None
    try:
        with av.open(str(path), format="png_pipe") as file:
            frame = next(file.decode(video=0), None)
            if frame is None or (frame.width, frame.height) != (shape.width, shape.height):
                raise BadPicture("its data are damaged or cut short")
            return frame.to_ndarray(format=form)
    except av.FFmpegError as error:
        raise BadPicture(f"its data are damaged or cut short ({error.strerror})") from error
