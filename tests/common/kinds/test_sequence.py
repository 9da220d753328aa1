"""Frames are read as people write them, and dealt so that each is rendered once."""

from __future__ import annotations

import pytest
from clusterray.common.kinds.sequence import HIGHEST, Chunk, chunks, parse_frames, shown_frames
from hypothesis import given
from hypothesis import strategies as st

FRAMES = st.sets(st.integers(0, 300), min_size=1).map(sorted)


@pytest.mark.parametrize(
    ("value", "frames"),
    [
        ("1-5", (1, 2, 3, 4, 5)),
        ("1-100x25", (1, 26, 51, 76)),
        (" 9 - 12 , 1,5, 9", (1, 5, 9, 10, 11, 12)),
        (7, (7,)),
        ("0", (0,)),
        ([3, 1, 2, 2], (1, 2, 3)),
        ([1, "4-6"], (1, 4, 5, 6)),
        ("7-7x3", (7,)),
        (f"{HIGHEST}", (HIGHEST,)),
    ],
)
def test_ways_to_write_frames(value: object, frames: tuple[int, ...]) -> None:
    """Runs, steps, lists and single numbers; distinct and ascending, however they were said."""
    assert parse_frames(value) == frames


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", 'must name frames, such as "1-240", not ""'),
        (["5", " "], 'must name frames, such as "1-240", not " "'),
        ("1-", 'which "1-" is not'),
        ("1..5", "must be frames"),
        ("-3", "must be frames"),
        ("10-1", 'must count upwards, which "10-1" does not'),
        ("1-9x0", "step of at least 1"),
        ("1,,2", "must be frames"),
        ("٣", "must be frames"),
        (-1, "-1 is not"),
        ("1-1000000", "from 0 to 999999"),
        (True, "must be frames"),
        (1.5, "must be frames"),
        ([], "at least one frame"),
        (None, "must be frames"),
    ],
)
def test_what_is_no_frame(value: object, words: str) -> None:
    """The half-sentence follows the name of an option."""
    with pytest.raises(ValueError, match=r"^must ") as caught:
        parse_frames(value)
    assert words in str(caught.value)


@given(FRAMES)
def test_what_is_shown_reads_back(frames: list[int]) -> None:
    """Whatever frames, their short form means the same."""
    assert parse_frames(shown_frames(frames)) == tuple(frames)


def test_shown_as_people_write() -> None:
    """Runs and steps are folded; two frames apart are not a run."""
    assert shown_frames(range(1, 241)) == "1-240"
    assert shown_frames(range(1, 97, 5)) == "1-96x5"
    assert shown_frames([1, 2, 5, 9, 10, 11]) == "1-2,5,9-11"
    assert shown_frames([]) == ""


@given(FRAMES, st.integers(1, 40), st.integers(0, 20), st.booleans())
def test_every_frame_is_in_one_chunk(frames: list[int], size: int, first_pass: int, contiguous: bool) -> None:
    """The chunks one after the other are the film, none is too long, and their names are distinct and sort in this order."""
    dealt = chunks(frames, size, first_pass, contiguous)
    assert [frame for chunk in dealt for frame in chunk.frames] == frames
    assert all(1 <= len(chunk.frames) <= size for chunk in dealt)
    names = [chunk.name for chunk in dealt]
    assert names == sorted(set(names))
    if contiguous:
        assert all(list(chunk.frames) == list(range(chunk.frames[0], chunk.frames[-1] + 1)) for chunk in dealt)


@given(FRAMES, st.integers(1, 40), st.integers(0, 20), st.booleans())
def test_the_first_pass(frames: list[int], size: int, first_pass: int, contiguous: bool) -> None:
    """Every n-th frame of the list is a job of its own and goes first; without a first pass all jobs are equal."""
    dealt = chunks(frames, size, first_pass, contiguous)
    early = [chunk.frames for chunk in dealt if chunk.turn == 0]
    if first_pass:
        assert early == [(frame,) for frame in frames[::first_pass]]
        assert {chunk.turn for chunk in dealt} <= {0, 1}
    else:
        assert len(early) == len(dealt)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 12), st.integers(0, 7))
def test_a_longer_film_keeps_its_jobs(length: int, more: int, size: int, first_pass: int) -> None:
    """All jobs of the shorter film but the last run are jobs of the longer one, so that their results are taken over."""
    short = chunks(range(1, length + 1), size, first_pass, True)
    assert chunks(range(1, length + more + 1), size, first_pass, True)[: len(short) - 1] == short[:-1]


def test_names() -> None:
    """Six digits, one number for a single frame."""
    assert Chunk(frames=tuple(range(1, 17)), turn=0).name == "f000001-000016"
    assert Chunk(frames=(7,), turn=1).name == "f000007"
    with pytest.raises(ValueError, match="at least one frame"):
        chunks([1], 0, 0, False)
