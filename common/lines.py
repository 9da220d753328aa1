"""What a program prints, as lines: bytes in, text out, and never more memory than one line is allowed."""

from __future__ import annotations

LINE_CAP = 4096
"""Bytes kept of one line; the rest of a longer one is dropped unread."""


class LineSplitter:
    """Bytes in, lines out: split at CR or LF, blank ones dropped, long ones cut, control characters made harmless."""

    def __init__(self, cap: int = LINE_CAP) -> None:
        self._cap = cap
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that these bytes complete."""
        pieces = data.replace(b"\r", b"\n").split(b"\n")
        pieces[0] = self._rest + pieces[0]
        self._rest = pieces.pop()[: self._cap]
        return [self._text(piece) for piece in pieces if piece]

    def end(self) -> list[str]:
        """The last line, if it had no end."""
        rest, self._rest = self._rest, b""
        return [self._text(rest)] if rest else []

    def _text(self, piece: bytes) -> str:
        text = piece[: self._cap].decode("utf-8", "replace")
        if text.isprintable():
            return text
        return "".join(c if c.isprintable() else " " if c == "\t" else "\ufffd" for c in text)
