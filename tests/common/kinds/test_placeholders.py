"""Placeholders mean what they say, and a wrong one is a sentence before anything is sent."""

from __future__ import annotations

import pytest
from clusterray.common.kinds.placeholders import INT, TEXT, VAR, WORDS, fill, fill_words, parse, used
from hypothesis import given
from hypothesis import strategies as st

KNOWN = {"input": TEXT, "input.stem": TEXT, "frame": INT, "pieces": WORDS, "var": VAR}


def filled(text: str, **values: object) -> str:
    given_values = {name.replace("__", "."): value for name, value in values.items()}
    return fill(parse(text, KNOWN, ["x"]), given_values)  # type: ignore[arg-type]


def test_filling_in() -> None:
    """Texts as they are, numbers with their format, doubled braces as braces; what a value holds is never looked at again."""
    assert filled("{input}", input="a b{frame}") == "a b{frame}"
    assert filled("-f{frame}_{frame:04d}.{frame:X}", frame=26) == "-f26_0026.1A"
    assert filled("{{{frame}}} {{input}}", frame=7) == "{7} {input}"
    assert filled("{input.stem}.png", input__stem="x") == "x.png"
    assert filled("plain % $HOME `ls` ;") == "plain % $HOME `ls` ;"


def test_a_variable_has_no_exponent() -> None:
    """Without a format the shortest digits that read back, with one its digits."""
    values = {"var:x": 1e-7}
    assert fill(parse("{var:x}", KNOWN, ["x"]), values) == "0.0000001"
    assert fill(parse("{var:x:.3f} {var:x:010.4f}", KNOWN, ["x"]), values) == "0.000 00000.0000"


def test_several_words() -> None:
    """{pieces} becomes as many words as there are, none of them cut at a blank."""
    words = [parse(word, KNOWN) for word in ("-o", "{input}", "{pieces}")]
    assert fill_words(words, {"input": "x", "pieces": ("a b", "c")}) == ["-o", "x", "a b", "c"]
    assert fill_words(words, {"input": "x", "pieces": ()}) == ["-o", "x"]
    assert used(words[1]) == {"input"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{inptu}", '"{inptu}" is no placeholder here; did you mean "input"'),
        ("{zzz}", "known are frame, input, input.stem, pieces, var"),
        ("{}", "is no placeholder here"),
        ("{frame", "a brace without its other half; a brace itself is written twice"),
        ("frame}", "a brace without its other half"),
        ("{frame:.2f}", 'it is a whole number, such as "04d"'),
        ("{frame:9999d}", "a format that it cannot take"),
        ("{frame!r}", "is no placeholder here"),
        ("{frame.__class__}", "is no placeholder here"),
        ("{input[0]}", "is no placeholder here"),
        ("{input:>10}", "it is a text, so that it takes no format"),
        ("a{pieces}", "stands for several words, so that it has to be a word of its own"),
        ("{var:y}", 'there is no variable "y" in [keyframes]; known are x'),
        ("{var:x:d}", 'it is a variable, such as ".3f"'),
        ("{var}", 'there is no variable ""'),
    ],
)
def test_mistakes(text: str, words: str) -> None:
    """The sentence shows the placeholder and what is known."""
    with pytest.raises(ValueError) as caught:
        parse(text, KNOWN, ["x"])
    assert words in str(caught.value), caught.value


@given(st.text())
def test_any_text_can_be_said(text: str) -> None:
    """With its braces doubled, a text is itself."""
    assert fill(parse(text.replace("{", "{{").replace("}", "}}"), {}), {}) == text
