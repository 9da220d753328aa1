"""Frames of a film: how they are written, and how they are dealt to jobs.

A frame belongs to exactly one chunk, and chunks in split order are in frame order, whatever the order in which they are rendered:
a first pass (every n-th frame, for an early look) is a matter of ``turn`` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

HIGHEST = 999_999
"""The last frame number there may be: names of jobs and files have six digits."""
_RUN = re.compile(r"(\d+)(?:\s*-\s*(\d+)(?:\s*x\s*(\d+))?)?")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """The frames of one job, ascending. ``turn``: as in model.Region."""

    frames: tuple[int, ...]
    turn: int

    @property
    def name(self) -> str:
        """``f000001-000016`` or ``f000007``: sorts in frame order, fit for a file name."""
        first, last = self.frames[0], self.frames[-1]
        return f"f{first:06d}" if first == last else f"f{first:06d}-{last:06d}"


def parse_frames(value: object) -> tuple[int, ...]:
    """``"1-240"``, ``"1-100x5"`` (every fifth: 1, 6, …), ``"1,5,9-12"``, a number, or a list of any of these -> distinct frames, ascending.

    Raises ValueError with a half-sentence that begins with "must".
    """
    words: list[object] = list(value) if isinstance(value, list | tuple) else [value]
    found: set[int] = set()
    for word in words:
        if isinstance(word, bool) or not isinstance(word, int | str):
            raise ValueError('must be frames, such as "1-240", "1-100x5" or [1, 5, 9]')
        if isinstance(word, int):
            found.add(_one(word))
        elif not word.strip():
            raise ValueError(f'must name frames, such as "1-240", not "{word}"')
        else:
            for part in word.split(","):
                found.update(_run(part.strip(), word))
    if not found:
        raise ValueError('must name at least one frame, such as "1-240"')
    return tuple(sorted(found))


def shown_frames(frames: Iterable[int]) -> str:
    """The shortest usual way to write ascending frames: ``1-240``, ``1-96x5``, ``1,5``; parse_frames() reads it back."""
    rest = list(frames)
    words = []
    while rest:
        step = rest[1] - rest[0] if len(rest) > 1 else 0
        length = 1
        while length < len(rest) and rest[length] - rest[length - 1] == step:
            length += 1
        if length == 1 or (step > 1 and length == 2):
            words.append(str(rest.pop(0)))
            continue
        words.append(f"{rest[0]}-{rest[length - 1]}" + (f"x{step}" if step > 1 else ""))
        del rest[:length]
    return ",".join(words)


def chunks(frames: Sequence[int], size: int, first_pass: int, contiguous: bool) -> list[Chunk]:
    """Ascending ``frames`` dealt to jobs of at most ``size`` frames, in frame order.

    ``first_pass`` n > 0: every n-th frame of the list is a job of its own, of turn 0, and the others are of turn 1; no chunk spans
    such a frame. ``contiguous``: the frames of a chunk follow each other by 1. Chunks are filled from the front, not evened out, so
    that a film made longer keeps the jobs that it had.
    """
    if size < 1:
        raise ValueError(f"a job needs at least one frame, not {size}")
    dealt: list[Chunk] = []
    for early, run in _runs(frames, first_pass, contiguous):
        turn = 1 if first_pass and not early else 0
        dealt += [Chunk(frames=tuple(run[at : at + size]), turn=turn) for at in range(0, len(run), size)]
    return dealt


def _runs(frames: Sequence[int], first_pass: int, contiguous: bool) -> Iterator[tuple[bool, list[int]]]:
    """The frames cut where a chunk may not go on; True: a frame of the first pass, alone."""
    run: list[int] = []
    for number, frame in enumerate(frames):
        early = bool(first_pass) and number % first_pass == 0
        if run and (early or (contiguous and frame != run[-1] + 1)):
            yield False, run
            run = []
        if early:
            yield True, [frame]
        else:
            run.append(frame)
    if run:
        yield False, run


def _one(number: int) -> int:
    if not 0 <= number <= HIGHEST:
        raise ValueError(f"must name frames from 0 to {HIGHEST}, which {number} is not")
    return number


def _run(part: str, whole: str) -> range:
    match = _RUN.fullmatch(part)
    if match is None or not part.isascii():
        raise ValueError(f'must be frames, such as "1-240", "1-100x5" or "1,5,9-12", which "{whole}" is not')
    first = _one(int(match[1]))
    last = _one(int(match[2])) if match[2] else first
    step = int(match[3]) if match[3] else 1
    if last < first:
        raise ValueError(f'must count upwards, which "{part}" does not')
    if step < 1:
        raise ValueError(f'must have a step of at least 1, which "{part}" has not')
    return range(first, last + 1, step)
