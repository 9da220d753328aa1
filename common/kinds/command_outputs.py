"""What a job of the command kind has made: found by its patterns, written down with checksums on the node, verified on the server.

A program may write any bytes, so damage on the way is seen by the manifest that the agent writes when the program has ended; pictures
are decoded besides, as a program that was cut short may still exit with 0.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ..errors import OutputRejected
from .command_items import MANIFEST, matcher
from .command_options import PICTURES
from .kind import Folder
from .png import BadPicture

BLOCK = 1 << 20
Wanted = Mapping[str, Sequence[str]]
"""Item, for people -> the patterns of its outputs; each has to match a file that holds something."""


def seal(out: Path, wanted: Wanted) -> None:
    """Write the manifest of the outputs below ``out``, and remove what is none. Raises OutputRejected naming the item that lacks one.

    There are no links below ``out`` and it is none (node/outputs.py), or this would write and remove elsewhere.
    """
    if (out / MANIFEST).is_dir():
        raise OutputRejected(f"The program made a folder {MANIFEST}, which is a name of ours.")
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file() and not path.is_symlink())
    sizes = {name: (out / name).stat().st_size for name in names if name != MANIFEST}
    fits = _matched(sizes, wanted)
    found = {name: [sizes[name], _checksum(out / name)] for name in fits}
    for name in sizes.keys() - found.keys():
        (out / name).unlink()
    (out / MANIFEST).write_text(json.dumps(found, sort_keys=True), "utf-8")


def verify(outputs: Folder, wanted: Wanted, measures: Mapping[str, tuple[int, int]] = MappingProxyType({})) -> None:
    """Raise OutputRejected where the files are not those of the manifest, an output is missing or empty, or a picture is damaged.

    ``measures``: name of a picture -> columns and rows that it has to have.
    """
    names = [name for name in outputs.names() if name != MANIFEST]
    try:
        said = json.loads(outputs.read(MANIFEST))
        sealed = {str(name): (int(one[0]), int(one[1])) for name, one in said.items()}
    except (KeyError, ValueError, TypeError, AttributeError, IndexError):
        raise OutputRejected(f"{MANIFEST} is missing or damaged.") from None
    if sorted(sealed) != names:
        other = sorted(set(sealed) ^ set(names))[0]
        raise OutputRejected(f"{other} is missing." if other in sealed else f"{other} came, which the job did not make.")
    sizes = {name: outputs.size(name) for name in names}
    strange = sorted(set(names) - set(_matched(sizes, wanted)))
    if strange:
        raise OutputRejected(f"{strange[0]} came, which was not asked for.")
    for name in names:
        if (sizes[name], _checksum(outputs.path(name))) != sealed[name]:
            raise OutputRejected(f"{name} was damaged on its way.")
        if name.lower().endswith(PICTURES):
            try:
                check_picture(outputs.path(name), measures.get(name))
            except BadPicture as error:
                raise OutputRejected(f"{name}: {error}.") from error


def check_picture(path: Path, size: tuple[int, int] | None = None) -> None:
    """Decode all of it. Raises BadPicture."""
    from . import rasters

    shape = rasters.shape_of(path)
    width, height = size or (shape.width, shape.height)
    rasters.check_picture(path, width=width, height=height)


def _matched(sizes: Mapping[str, int], wanted: Wanted) -> list[str]:
    """The files that any pattern fits. Raises OutputRejected where one fits none that holds something."""
    found: set[str] = set()
    for item, patterns in wanted.items():
        for pattern in patterns:
            fits = _fits(sizes, pattern)
            if not any(sizes[name] for name in fits):
                what = "is empty" if fits else "was not made"
                raise OutputRejected(f"The output {pattern!r} of {item} {what}, though the program ended well.")
            found |= fits
    return sorted(found)


def _fits(sizes: Mapping[str, int], pattern: str) -> set[str]:
    if "*" not in pattern and "?" not in pattern:
        return {pattern} & sizes.keys()
    match = matcher(pattern)
    return {name for name in sizes if match.fullmatch(name)}


def in_item_order(names: Iterable[str], wanted: Wanted) -> list[str]:
    """The files of a job by item and pattern, as they go into a join; those of one pattern sorted."""
    sizes = {name: 1 for name in names if name != MANIFEST}
    ordered: dict[str, None] = {}
    for patterns in wanted.values():
        for pattern in patterns:
            ordered |= dict.fromkeys(sorted(_fits(sizes, pattern)))
    return list(ordered)


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found = zlib.crc32(block, found)
    return found
