"""On the node: the room that povray works in, and its full-size picture cropped to the tile that travels.

povray runs in a folder of its own that holds links to what lies beside the scene, so that relative names resolve as they do at
home, files that a scene writes land in scratch, and no name of ours or of the submitter's has to pass POV-Ray's option parser,
which takes neither letters outside of ASCII nor quotes. Its settings come from an .ini of ours alone (POVINI): a povray.ini in
the task's folder or of the machine's owner would change the picture unseen.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import OutputRejected
from . import pnm
from .png import BadPicture, FilteredRows, Format, write_tile
from .tiles import Rect

INI = "clusterray.ini"
OUTPUT = "clusterray-tile"
TILE = "tile.png"
SCENE = "<scene>"
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True, kw_only=True)
class Room:
    """povray's working folder. ``renames``: names of ours that it may print -> names in the task."""

    path: Path
    scene: str
    libraries: tuple[str, ...]
    renames: Mapping[str, str]


def furnish(
    inputs: Path, scratch: Path, scene: str, library: Sequence[str], own: Sequence[Path], *, files: Mapping[str, bytes | Path] | None = None
) -> Room:
    """Make the working folder: links, and the .ini that names POV-Ray's own libraries (``own``; none known: it keeps its system's).

    ``files``: more of them, as bytes or as what to link to; under the name SCENE, what is rendered instead of the scene's own text.
    """
    room = scratch / "room"
    room.mkdir(exist_ok=True)
    base, name = posixpath.split(scene)
    more = files or {}
    renames: dict[str, str] = {}
    for entry in sorted((inputs / base).iterdir()):
        if entry.name not in (INI, "povray.ini", *more) and not (entry.name == name and SCENE in more):
            _link(room / entry.name, entry)
    called = name
    if not _PLAIN.fullmatch(name):
        called = "clusterray-scene.pov"
        renames[called] = scene
        if SCENE not in more:
            _link(room / called, inputs / scene)
    for alias, content in more.items():
        to = room / (called if alias == SCENE else alias)
        if isinstance(content, Path):
            _link(to, content)
        else:
            to.write_bytes(content)
    libraries = []
    for number, folder in enumerate(dict.fromkeys([*library, *([""] if base else [])])):
        alias = f"clusterray-lib{number}"
        _link(room / alias, inputs / folder)
        libraries.append(alias)
        renames[alias] = folder
    if own:
        (room / INI).write_text("".join(f'Library_Path="{path}"\n' for path in own), "utf-8")
    return Room(path=room, scene=called, libraries=tuple(libraries), renames=renames)


def crop(picture: Path, form: Format, whole: tuple[int, int], rect: Rect, tile: Path) -> None:
    """Write the tile of the form ``form`` that is ``rect`` of povray's full-size ``picture``; then remove that. Raises OutputRejected."""
    if not picture.is_file():
        raise OutputRejected("POV-Ray ended well but wrote no picture.")
    rows = pnm.rows_of(picture, *whole, form.bits, rect) if picture.suffix == ".ppm" else _png_rows(picture, form, whole, rect)
    try:
        write_tile(tile, form, rows)
    except BadPicture as error:
        raise OutputRejected(f"The picture that POV-Ray wrote cannot be read: {error}.") from error
    picture.unlink()


def _png_rows(picture: Path, form: Format, whole: tuple[int, int], rect: Rect) -> Iterator[bytes]:
    """The way of alpha and grey, which POV-Ray writes in PNG only: it needs numpy."""
    from .images import any_rows

    left, top, right, bottom = rect
    with FilteredRows(picture) as file:
        wanted = Format(width=whole[0], height=whole[1], bits=form.bits, channels=form.channels)
        if file.form != wanted:
            raise OutputRejected(f"POV-Ray wrote {file.form} where {wanted} was asked for.")
    at = 0
    for band in any_rows(picture):
        for row in band[max(0, top - at) : max(0, bottom - at)]:
            yield row[left * form.pixel : right * form.pixel].tobytes()
        at += len(band)
        if at >= bottom:
            return


def _link(path: Path, to: Path) -> None:
    if not path.is_symlink():
        path.symlink_to(to)
