"""Pictures of a task under way, for ``Stage.preview``: what is there with holes, seconds by region, and which node made what.

Each call finds in ``out`` what the last one left, with a state file, and decodes only pieces that are new: a picture of 32,768 x
32,768 pixels must not be read again every few seconds. A piece that cannot be read stays a hole and is tried again.
At size 0 (the full size) ``preview.png`` is drawn alone, from all that is there, and leaves no state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

from ..model import Region
from .kind import Piece
from .png import BadPicture
from .preview_maps import BEFORE, Cell, cells_of_grid, cells_of_rects, draw_heat, draw_nodes
from .preview_pixels import Means, fitted, full_picture, linear, save
from .preview_rows import bands, encoded, picture_shape
from .preview_sheet import Sheet
from .preview_state import State, load
from .tiles import Rect

PREVIEW, HEAT, NODES = "preview.png", "heat.png", "nodes.png"


def preview_tiles(
    width: int, height: int, regions: Sequence[Region], pieces: Sequence[Piece], picture_of: Callable[[Piece], Path], out: Path, size: int
) -> bool:
    """A picture cut into rectangles (``region.data["rect"]``): each pixel is the mean of those of the picture that lie below it."""
    if not pieces:
        return False
    if size == 0:
        full_picture(width, height, [(_rect(piece.region), picture_of(piece)) for piece in pieces], out / PREVIEW)
        return True
    means = Means(width, height, *fitted(width, height, size))
    state = load(out, ["tiles", width, height, size])
    if state.arrays:
        means.sums, means.areas = state.arrays["sums"], state.arrays["areas"]
    for piece in state.new(pieces):
        rect = _rect(piece.region)
        with state.taking(piece.region.name):
            means.add(rect[0], rect[1], bands(picture_of(piece), rect))
    state.arrays = {"sums": means.sums, "areas": means.areas}
    save(means.picture(), out / PREVIEW)
    cells = cells_of_rects([(region.name, _rect(region)) for region in regions], width, height, size)
    _maps(cells, {piece.region.name: piece.seconds for piece in pieces}, pieces, state, out, "region")
    state.save(out)
    return True


def preview_frames(
    frame_lists: Callable[[Region], tuple[int, ...]],
    picture_of: Callable[[Piece, int], Path],
    regions: Sequence[Region],
    pieces: Sequence[Piece],
    out: Path,
    size: int,
    before: Mapping[int, Callable[[], Path]] | None = None,
) -> bool:
    """A film: a sheet of its frames in their order, a selection where they are too many to be seen; the maps show all of them.

    ``before``: frames that no region renders as they were there before the stage. Each picture is asked for once, and only where the sheet
    shows it; in the maps they are grey.

    The full size is a sheet with frames as large as SHEET allows.
    """
    import numpy as np

    pieces = [piece for piece in pieces if frame_lists(piece.region)]
    rendered = {frame: region for region in regions for frame in frame_lists(region)}
    there = {frame: path for frame, path in (before or {}).items() if frame not in rendered}
    frames = sorted(rendered.keys() | there.keys())
    state = load(out, ["frames", size, frames, sorted(there)])
    known = state.arrays.get("shape")
    shape = _first_shape(frame_lists, picture_of, pieces, there) if known is None else (int(known[0]), int(known[1]))
    if shape is None:
        return False
    sheet = Sheet.of([(frame, rendered[frame].turn if frame in rendered else 0) for frame in frames], shape, size)
    image = state.arrays["image"] if state.arrays else sheet.empty()
    for piece in state.new(pieces):
        with state.taking(piece.region.name):
            for frame in sheet.shown(frame_lists(piece.region)):
                sheet.put(image, frame, picture_of(piece, frame))
    for frame in sheet.shown(sorted(there)):
        if f"/{frame}" not in state.done:
            with state.taking(f"/{frame}"):
                sheet.put(image, frame, there[frame]())
    save(image, out / PREVIEW)
    if size:
        names = [rendered[frame].name if frame in rendered else BEFORE for frame in frames]
        cells = cells_of_grid(names, shape[0] / shape[1], size)
        _maps(cells, {piece.region.name: piece.seconds / len(frame_lists(piece.region)) for piece in pieces}, pieces, state, out, "frame")
        state.arrays = {"image": image, "shape": np.array(shape)}
        state.save(out)
    return True


def preview_samples(regions: Sequence[Region], pieces: Sequence[Piece], picture_of: Callable[[Piece], Path], out: Path, size: int) -> bool:
    """A picture rendered many times over, each time with other samples: the mean of what is there, weighted by ``region.data["samples"]``.

    Means are of light: an 8 bit picture is taken out of its sRGB encoding before, and brought back after.
    """
    import numpy as np

    state = load(out, ["samples", size, len(regions)])
    sums, weight = (state.arrays["sums"], float(state.arrays["weight"])) if state.arrays else (None, 0.0)
    for piece in state.new(pieces):
        with state.taking(piece.region.name):
            light = linear(picture_of(piece), size)
            share = float(piece.region.data.get("samples", 1))
            sums, weight = light * share if sums is None else sums + light * share, weight + share
    if sums is None:
        return False
    save(encoded(sums / weight), out / PREVIEW)
    if size:
        cells = cells_of_grid([region.name for region in regions], sums.shape[1] / sums.shape[0], size)
        _maps(cells, {piece.region.name: piece.seconds for piece in pieces}, pieces, state, out, "pass")
        state.arrays = {"sums": sums, "weight": np.array(weight)}
        state.save(out)
    return True


def _first_shape(
    frame_lists: Callable[[Region], tuple[int, ...]],
    picture_of: Callable[[Piece, int], Path],
    pieces: Sequence[Piece],
    there: Mapping[int, Callable[[], Path]],
) -> tuple[int, int] | None:
    """Width and height of a frame; None where none can be read."""
    rendered: Iterator[Callable[[], Path]] = (partial(picture_of, piece, frame_lists(piece.region)[0]) for piece in pieces)
    for path in chain(rendered, there.values()):
        try:
            return picture_shape(path())
        except (BadPicture, OSError):
            continue
    return None


def _maps(
    cells: tuple[int, int, list[Cell]], seconds: dict[str, float], pieces: Sequence[Piece], state: State, out: Path, what: str
) -> None:
    draw_heat(*cells, seconds, out / HEAT, what)
    draw_nodes(*cells, {piece.region.name: piece.node for piece in pieces}, state.nodes, out / NODES)


def _rect(region: Region) -> Rect:
    left, top, right, bottom = region.data["rect"]
    return left, top, right, bottom
