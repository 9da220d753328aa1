"""Regions of films: which frames a job covers, and a check that all pieces come, in order."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import StitchFailed
from ..model import Region
from .kind import Piece
from .sequence import Chunk, parse_frames, shown_frames


def regions_of(chunks: Sequence[Chunk], needs: tuple[str, ...]) -> list[Region]:
    """One region per chunk, in order. Each knows its neighbours' names, so that a lost one can be named."""
    names = ["", *(chunk.name for chunk in chunks), ""]
    return [
        Region(
            name=chunk.name,
            data={"frames": shown_frames(chunk.frames), "before": names[at], "after": names[at + 2]},
            needs=needs,
            turn=chunk.turn,
            weight=float(len(chunk.frames)),
        )
        for at, chunk in enumerate(chunks)
    ]


def frames_of(region: Region) -> tuple[int, ...]:
    """The frames of a region, ascending; none for a job that has nothing to render."""
    return parse_frames(region.data["frames"]) if region.data["frames"] else ()


def in_order(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces as they come. Raises StitchFailed naming the first that is not there."""
    last, expected = "", None
    for piece in pieces:
        before = piece.region.data["before"]
        if before != last:
            raise StitchFailed(f"The frames of job {expected or before} are missing.")
        last, expected = piece.region.name, piece.region.data["after"]
        yield piece
    if expected is None:
        raise StitchFailed("The frames of all jobs are missing.")
    if expected:
        raise StitchFailed(f"The frames of job {expected} are missing.")


def keep(source: Path, to: Path) -> None:
    """``source`` as ``to``, bit for bit: another name for the same file where the disk can do that, else a copy."""
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)
