"""The seqFile.txt of 2010 means what its author meant, and nothing in it is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.keyframes import parse_keyframes
from clusterray.common.kinds.seqfile import parse_seqfile

HEAD = "bpm:155\r\nfrm:30\r\n\r\nlen:24.0.0\r\n"


def test_both_generations() -> None:
    """With a curve for each point, its name in quotes or bare; and the older form without, with or without a key."""
    film = parse_seqfile(
        "\ufeff" + HEAD + "varseq:(height, ((3, 1, '0.0.0'), (-1.5, 0.3, '4.0.0'), (2, 7, '8.0.0')))\n"
        "VARSEQ: ('turn', [(0,'0.0.0'),(360,'24.0.0')])\n('var1',((3,'0.0.0'),(1,'4.0.0'),))\n# the end\nvarseq:(one, ((5, '1.0.0')))\n"
    )
    assert film.keyframes == {
        "bpm": 155,
        "beats": 4,
        "start": 1,
        "height": {"points": [["0.0.0", 3.0, 1.0], ["4.0.0", -1.5, 0.3], ["8.0.0", 2.0, 1.0]]},
        "turn": {"points": [["0.0.0", 0.0, "linear"], ["24.0.0", 360.0, "linear"]]},
        "var1": {"points": [["0.0.0", 3.0, "linear"], ["4.0.0", 1.0, "linear"]]},
        "one": {"points": [["1.0.0", 5.0, "linear"]]},
    }
    assert film.lines == {"keyframes.height": 5, "keyframes.turn": 6, "keyframes.var1": 7, "keyframes.one": 9}


def test_the_length_and_the_values_by_hand() -> None:
    """24 bars at 155 bpm last 24 * 4 * 60 / 155 = 37.16 s: 1,114.8 frames at 30 a second, so 1,115 frames begin in them. Bar 4 begins at
    frame 1 + 64 * 2.9032 = 186.8; half of the way there, a linear variable has half of its way behind it."""
    film = parse_seqfile(HEAD + "varseq:(v, ((3, 1, '0.0.0'), (1, 0.5, '4.0.0'), (2, 0, '8.0.0'), (9, 1, '9.0.0')))")
    assert (film.frames, film.fps) == (1115, 30)
    curves = parse_keyframes(film.keyframes, film.fps)
    assert [point.frame for point in curves.tracks["v"]] == pytest.approx([1, 186.80645, 372.6129, 419.06452], abs=1e-4)
    half, quarter = 1 + 185.80645 / 2, 186.80645 + 185.80645 / 4
    assert curves.at(half)["v"] == pytest.approx(2)
    assert curves.at(quarter)["v"] == pytest.approx(1 + 1 * 0.25**0.5), "the exponent of the point where the piece begins"
    assert curves.at(373)["v"] == 9, "an exponent of 0 is the next value at once"
    assert curves.at(2000)["v"] == 9, "the last value is held"


def test_a_film_without_variables() -> None:
    """Length and rate alone are a film; an exact length gives no frame too many."""
    film = parse_seqfile("bpm:120\nfrm:25\nlen:1.0.0")
    assert (film.frames, film.keyframes) == (50, {})
    assert parse_seqfile("bpm:120\nfrm:12.5\nlen:0.0.1").frames == 2


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("varseq:(v, __import__('os').system('touch hacked'))", "must be (name, "),
        ("(v, ((open('hacked', 'w'), '0.0.0'),))", "must be (name, "),
        ("varseq:(v, ((1+2, '0.0.0'),))", "must be (name, "),
        ("varseq:(v, ((1, '0.0.0')", "must be (name, "),
        ("varseq:" + "(" * 5000, "must be (name, "),
        ("varseq:(v, ())", "has no point"),
        ("varseq:(v, ((1, 2, 3, '0.0.0'),))", "point 1 of v that is neither"),
        ("varseq:(v, ((1, '0.0.0'), ('x', '1.0.0')))", "point 2 of v that is not made of numbers"),
        ("varseq:(v, ((1, 1, 4),))", "has no time such as"),
        ("varseq:(v, ((1, '0.0.0'),))\n(v, ((1, '0.0.0'),))", '"v" twice'),
        ("tempo:120", 'no key "tempo"'),
        ("bmp:120", 'did you mean "bpm"'),
        ("frm:0", "above 0"),
        ("len:24", "such as 24.0.0"),
        ("bpm", "of the form key:value"),
    ],
)
def test_mistakes_are_one_sentence_with_file_and_line(line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what looks like a program is a mistake too: it is never run."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskFileError) as caught:
        parse_seqfile(HEAD + line, "f/seqFile.txt")
    at = 6 if "\n" in line else 5
    assert str(caught.value).startswith(f"f/seqFile.txt:{at}: ") and words in str(caught.value), caught.value
    assert "\n" not in str(caught.value) and not list(tmp_path.iterdir())


def test_what_is_missing() -> None:
    """Each of the three that a film needs; and a length of nothing is none."""
    with pytest.raises(TaskFileError, match="bpm and len are missing"):
        parse_seqfile("frm:30\n", "s")
    with pytest.raises(TaskFileError, match="0 frames is no film"):
        parse_seqfile("bpm:1\nfrm:30\nlen:0.0.0\n", "s")
