"""Frames: whole, in pieces, with a tail, and broken ones."""

from __future__ import annotations

import pytest
from clusterray.common.errors import FrameError
from clusterray.common.wire.frames import CAP, FrameReader, frame
from hypothesis import given, settings
from hypothesis import strategies as st

QUICK = settings(max_examples=60, derandomize=True, deadline=None, database=None)
PAYLOADS = st.lists(st.binary(min_size=1, max_size=40), max_size=5)


@QUICK
@given(payloads=PAYLOADS, cuts=st.lists(st.integers(1, 30), min_size=1))
def test_payloads_come_out_as_they_went_in_however_the_network_cuts_them(payloads: list[bytes], cuts: list[int]) -> None:
    data, reader, out, turn = b"".join(map(frame, payloads)), FrameReader(), [], 0
    while data:
        size = cuts[turn % len(cuts)]
        reader.feed(data[:size])
        out += reader.frames()
        data, turn = data[size:], turn + 1
    reader.eof()
    assert out == payloads


@QUICK
@given(payload=st.binary(min_size=1, max_size=40), tail=st.binary(min_size=1, max_size=3))
def test_a_tail_waits_for_its_rest(payload: bytes, tail: bytes) -> None:
    reader = FrameReader()
    reader.feed(frame(payload) + tail)
    assert list(reader.frames()) == [payload]
    with pytest.raises(FrameError, match="middle of a frame"):
        reader.eof()


@pytest.mark.parametrize("length", [0, CAP + 1, 2**32 - 1])
def test_a_length_out_of_bounds_is_known_from_four_bytes_and_nothing_is_kept(length: int) -> None:
    reader = FrameReader()
    reader.feed(length.to_bytes(4, "big"))
    with pytest.raises(FrameError, match="announced"):
        list(reader.frames())
    reader.feed(b"x" * 1000)
    assert not reader._buffer
    with pytest.raises(FrameError):
        list(reader.frames())
    with pytest.raises(FrameError):
        reader.eof()


def test_the_longest_frame_passes() -> None:
    reader = FrameReader()
    reader.feed(frame(b"x" * CAP))
    assert [len(payload) for payload in reader.frames()] == [CAP]


@pytest.mark.parametrize("size", [0, CAP + 1])
def test_a_frame_that_the_peer_would_refuse_is_not_made(size: int) -> None:
    with pytest.raises(FrameError, match="does not fit"):
        frame(b"x" * size)
