"""Bytes <-> frames: a 4-byte big-endian length, then that many bytes.

A length of 0 or over the cap is a broken peer, and is told from the four bytes alone: no memory is given to a body that
will not be taken. Once broken, a reader stays broken, because nothing after that point can be trusted to be a length.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import FrameError

CAP = 1 << 20
"""Longest body. Lists come in pages, files go by FTP, and small outputs are 16 KiB together: 1 MiB is ample."""

_HEAD = 4


def frame(payload: bytes) -> bytes:
    """One payload, ready for the socket."""
    if not 0 < len(payload) <= CAP:
        raise FrameError(f"A message of {len(payload):,} bytes does not fit a frame (1 to {CAP:,}); send lists in pages.")
    return len(payload).to_bytes(_HEAD, "big") + payload


class FrameReader:
    """Takes bytes as they come, in pieces of any size, and gives whole payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken = ""

    def feed(self, data: bytes) -> None:
        """Add bytes; nothing is judged before ``frames()``."""
        if not self._broken:
            self._buffer += data

    def frames(self) -> Iterator[bytes]:
        """All payloads that are whole by now; the rest waits for more bytes. FrameError: the peer sends no frames."""
        while True:
            if self._broken:
                raise FrameError(self._broken)
            if len(self._buffer) < _HEAD:
                return
            length = int.from_bytes(self._buffer[:_HEAD], "big")
            if not 0 < length <= CAP:
                self._buffer.clear()
                self._broken = f"the peer announced a frame of {length:,} bytes; 1 to {CAP:,} are allowed"
                continue
            if len(self._buffer) < _HEAD + length:
                return
            payload = bytes(self._buffer[_HEAD : _HEAD + length])
            del self._buffer[: _HEAD + length]
            yield payload

    def eof(self) -> None:
        """The peer sends no more. FrameError: it stopped inside a frame."""
        if self._broken:
            raise FrameError(self._broken)
        if self._buffer:
            raise FrameError(f"The peer stopped in the middle of a frame, after {len(self._buffer):,} bytes of it.")
