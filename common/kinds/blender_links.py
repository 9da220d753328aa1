"""The files that a .blend uses, found without Blender: pictures, libraries, fonts, sounds, films, caches and volumes.

What is packed into the .blend, or lies where the .blend looks for it inside of the task's folder, is fine; the rest is named before
anything is sent. Linked .blend files are followed. Not seen here, but by Blender on a node (the stage look): strips of the video sequencer
and the caches of simulations.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass

from .blender_file import BadBlend, BlendFile, Block
from .kind import Folder

KINDS = {"IM": "image", "LI": "library", "SO": "sound", "VF": "font", "MC": "movie clip", "CF": "cache", "VO": "volume"}
"""Code of the block -> what people call it."""
_PACKED = ("packedfile", "newpackedfile", "packedfiles")
_FILES, _SEQUENCE, _TILED = (1, 2, 3, 6), 2, 6
"""Image.source: file, sequence, movie, UDIM tiles; the others (generated, viewer) have no file."""
OWN = "/datafiles/assets/"
"""Blender's own brushes, which every Blender has."""
_MOST = 200
"""Linked files that are followed."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """One datablock that lies in a file of its own."""

    kind: str
    name: str
    path: str
    """As the .blend has it: ``//textures/wood.png`` is relative to its folder."""
    source: int = 1
    """Image.source"""


def faults(blend: str, files: Folder) -> list[str]:
    """A sentence for each file that a task's .blend, or one that it links to, lacks; also for one that is damaged."""
    found: list[str] = []
    seen, waiting = {blend}, [blend]
    while waiting and len(seen) <= _MOST:
        name = waiting.pop(0)
        try:
            links = list(links_of(BlendFile.read(files.path(name), KINDS)))
        except BadBlend as error:
            found.append(f"{name}: {error}.")
            continue
        for link in links:
            where = inside(name, link.path)
            if where is None:
                found.append(_outside(name, link))
            elif not _there(where, link, files):
                lacks = f"which is not in the task's folder{_spelt(where, files)}"
                found.append(f'{name}: the {link.kind} "{link.name}" uses {link.path}, {lacks}.')
            elif link.kind == "library" and where not in seen:
                seen.add(where)
                waiting.append(where)
    return found


def links_of(file: BlendFile) -> Iterator[Link]:
    """The datablocks of a file, read with KINDS, that are not packed."""
    for block in file.blocks:
        path = file.text(block, "filepath") if file.field(block, "filepath") else file.text(block, "name")
        if not path or path == "<builtin>" or OWN in path.replace("\\", "/") or any(file.is_set(block, name) for name in _PACKED):
            continue
        source = file.number(block, "source") if block.code == "IM" else 1
        if source in _FILES:
            yield Link(kind=KINDS[block.code], name=_title(file, block), path=path, source=source or 1)


def inside(blend: str, path: str) -> str | None:
    """Where a path of a .blend lies in the task's folder; None: outside of it."""
    path = path.replace("\\", "/")
    if not path.startswith("//"):
        return None
    where = posixpath.normpath(posixpath.join(posixpath.dirname(blend), path[2:].lstrip("/")))
    return None if where.startswith("../") or where == ".." else where


def _there(where: str, link: Link, files: Folder) -> bool:
    names = files.names()
    if where in names:
        return True
    if link.source == _TILED or "<UDIM>" in where or "<UVTILE>" in where:
        pattern = re.escape(where).replace("<UDIM>", r"\d{4}").replace("<UVTILE>", r"u\d+_v\d+")
        return any(re.fullmatch(pattern, name) for name in names)
    if link.source == _SEQUENCE or link.kind == "cache" or link.kind == "volume" or link.kind == "movie clip":
        pattern = re.sub(r"\d+(?=\D*$)", r"\\d+", re.escape(where))
        return any(re.fullmatch(pattern, name) for name in names)
    return False


def _title(file: BlendFile, block: Block) -> str:
    """A datablock's name; the first two characters are the code of its kind."""
    return (file.text(block, "id.name") or "")[2:]


def _outside(blend: str, link: Link) -> str:
    how = "by a path of this machine" if not link.path.startswith("//") else "outside of the task's folder"
    return f'{blend}: the {link.kind} "{link.name}" uses {link.path}, {how}.'


def _spelt(where: str, files: Folder) -> str:
    other = next((name for name in files.names() if name.lower() == where.lower()), "")
    return f" (there is {other}, spelt otherwise)" if other else ""
