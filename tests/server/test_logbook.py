"""What programs said."""

from __future__ import annotations

from clusterray.server.logbook import CAP, Logbook


def test_lines_come_back_in_pages_under_their_headings(tmp_path):
    """A log of any length is read piece by piece, and nothing is shown twice."""
    book = Logbook(tmp_path)
    for number in (1, 2):
        book.add("t", book.name(0, number, f"l{number}"), [f"line {n} of {number}" for n in range(5)])
    leases = [(book.name(0, n, f"l{n}"), f"attempt {n}") for n in (1, 2)]
    seen, after, more = [], 0, True
    while more:
        lines, after, more = book.lines("t", leases, after, 4)
        seen += lines
    assert seen == [line for n in (1, 2) for line in (f"== attempt {n}", *(f"line {k} of {n}" for k in range(5)))]


def test_a_chatterer_cannot_fill_the_disk(tmp_path):
    """A lease's log is capped, and says that more was left out."""
    book = Logbook(tmp_path)
    name = book.name(0, 1, "l")
    for _ in range(30):
        book.add("t", name, ["x" * 1000] * 100)
    assert (tmp_path / "t" / name).stat().st_size <= CAP + 100
    assert "left out" in (tmp_path / "t" / name).read_text()[-100:]
