"""Options: right values pass, wrong ones get one sentence that names the nearest right name."""

from __future__ import annotations

from typing import Any

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.kind import Option
from clusterray.common.kinds.options import nearest, normalise

OPTIONS = (
    Option(name="width", type="int", default=10, minimum=1, maximum=100),
    Option(name="threshold", type="float", default=None, minimum=0, maximum=3),
    Option(name="mode", type="choice", default="fast", choices=("fast", "slow")),
    Option(name="args", type="strings", default=[]),
    Option(name="tiles", type="tiles", default="auto"),
    Option(name="deep", type="bool", default=False),
)


def test_defaults_are_filled_in() -> None:
    """Every option is there afterwards, in order, so that a task means the same on any version of its defaults."""
    assert normalise("k", OPTIONS, {"threshold": 1, "tiles": (2, 3)}) == {
        "width": 10, "threshold": 1.0, "mode": "fast", "args": [], "tiles": [2, 3], "deep": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"widht": 3}, 'no option "widht"; did you mean "width"?'),
        ({"zzz": 3}, "known are args, deep"),
        ({"width": 0}, "width must be from 1 to 100, not 0"),
        ({"width": 10**9}, "not 1000000000"),
        ({"width": True}, "whole number, not true"),
        ({"width": "10"}, 'not "10"'),
        ({"threshold": float("nan")}, "threshold must be from 0 to 3"),
        ({"mode": "fats"}, 'did you mean "fast"?'),
        ({"args": "+A"}, "list of texts"),
        ({"tiles": [0, 1]}, "at least one column"),
        ({"tiles": [1000, 1000]}, "1000000 tiles are more"),
        ({"tiles": "many"}, '"auto" or [columns, rows]'),
        ({"tiles": [1.5, 2]}, "not [1.5, 2]"),
        ({"deep": 1}, "true or false"),
    ],
)
def test_one_sentence_for_each_mistake(given: dict[str, Any], words: str) -> None:
    """The sentence names the option and the way out, and carries the key, by which the line is found."""
    with pytest.raises(TaskFileError) as caught:
        normalise("k", OPTIONS, given)
    assert words in str(caught.value) and caught.value.key == f"options.{next(iter(given))}"


def test_nearest_says_all_where_none_is_near() -> None:
    """A word that resembles nothing gets the whole list, sorted."""
    assert nearest("qqq", ["b", "a"]) == "known are a, b."
    assert nearest("WIDTH", ["Width"]) == 'did you mean "Width"?'
