"""Whether a folder is a survey, and whether what is asked for makes sense: by names and the files beside the photos alone."""

from __future__ import annotations

from ...errors import TaskFileError
from ...model import TaskSpec
from ..kind import Examined, Folder
from ..options import normalise
from .options import OPTIONS

PHOTOS = (".jpg", ".jpeg", ".tif", ".tiff", ".png")


def photo_names(files: Folder) -> tuple[str, ...]:
    """What looks like a photo by its name, anywhere in the folder but below ``stages/``, sorted."""
    return tuple(name for name in files.names() if name.lower().endswith(PHOTOS) and not name.startswith("stages/"))


def is_survey(files: Folder) -> bool:
    """Two photos or more, and nothing else that a farm would take for its own."""
    return sum(name.lower().endswith((".jpg", ".jpeg")) for name in files.names()) >= 2


def examine(spec: TaskSpec, files: Folder) -> Examined:
    options = normalise("survey", OPTIONS, spec.options)
    if len(photo_names(files)) < 2:
        raise TaskFileError("A survey needs at least 2 photos (.jpg, .tif, .png); better 5 and more of each place.", key="kind")
    import msgspec

    return Examined(spec=msgspec.structs.replace(spec, options=options))
