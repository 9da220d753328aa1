"""Lines out of bytes, however they arrive."""

from __future__ import annotations

from clusterray.common.lines import LINE_CAP, LineSplitter


def test_split_is_the_same_however_the_bytes_arrive() -> None:
    """No line is lost or doubled where a pipe cuts the output, also in the middle of a letter."""
    data = "one\rtwo\r\n\nthree\u00e4\nfour".encode()
    whole = LineSplitter()
    expected = whole.feed(data) + whole.end()
    single = LineSplitter()
    lines = [line for byte in data for line in single.feed(bytes([byte]))] + single.end()
    assert lines == expected == ["one", "two", "three\u00e4", "four"]


def test_an_endless_line_is_cut() -> None:
    """Its beginning is kept, the rest is dropped, and the next line is whole."""
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 1000) == []
    assert splitter.feed(b"\nnext\n") == ["x" * LINE_CAP, "next"]


def test_what_would_move_a_terminal_is_made_harmless() -> None:
    """Escape sequences in a program's output do nothing to whoever reads its log."""
    assert LineSplitter().feed(b"a\x1b[2Jb\tc\xff\n") == ["a\ufffd[2Jb c\ufffd"]
