"""Options: right values pass, wrong ones get one sentence that names the nearest right name."""

from __future__ import annotations

import datetime
import math
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
    Option(name="free", type="float", default=None),
)


def test_defaults_are_filled_in() -> None:
    """Every option is there afterwards, in order, so that a task means the same on any version of its defaults."""
    assert normalise("k", OPTIONS, {"threshold": 1, "tiles": (2, 3)}) == {
        "width": 10, "threshold": 1.0, "mode": "fast", "args": [], "tiles": [2, 3], "deep": False, "free": None,
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
        ({"free": math.inf}, "free must be a finite number, not inf"),
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


TABLES = (
    Option(name="size", type="int", default=3),
    Option(
        name="animation",
        type="table",
        options=(
            Option(name="frames", type="value", required=True, help="which"),
            Option(name="fps", type="float", default=25.0, minimum=1),
            Option(name="sound", type="table", options=(Option(name="track", type="str", default=""),)),
        ),
    ),
    Option(name="any", type="table"),
)


def test_tables_are_filled_in_like_options() -> None:
    """A table that is not there is None; one that is there has all of its keys; one without known keys takes any."""
    assert normalise("k", TABLES, {}) == {"size": 3, "animation": None, "any": None}
    found = normalise("k", TABLES, {"animation": {"frames": (1, 2)}, "any": {"x": {"y": [1, (2, "z")]}, "b": True}})
    assert found["animation"] == {"frames": [1, 2], "fps": 25.0, "sound": None}
    assert found["any"] == {"x": {"y": [1, [2, "z"]]}, "b": True}
    assert normalise("k", TABLES, found) == found, "what was normalised stays as it is"


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"animation": 3}, "animation", "animation is a table: write [animation] on a line of its own"),
        ({"animation": {}}, "animation", "[animation] needs frames: which"),
        ({"animation": {"frames": 1, "fsp": 2}}, "animation.fsp", 'The table [animation] has no key "fsp"; did you mean "fps"?'),
        ({"animation": {"frames": 1, "fps": 0}}, "animation.fps", "animation.fps must be at least 1, not 0"),
        ({"animation": {"frames": 1, "fps": "x"}}, "animation.fps", 'animation.fps must be a number, not "x"'),
        (
            {"animation": {"frames": 1, "sound": {"track": 1}}},
            "animation.sound.track",
            "animation.sound.track must be a text in quotes, not 1",
        ),
        ({"animation": {"frames": datetime.date(2010, 4, 4)}}, "animation.frames", "write a date or time in quotes"),
        ({"any": {"x": [1, math.inf]}}, "any.x", "any.x must be a number, a text, true or false, a list or a table"),
        ({"any": {"x": 1 << 63}}, "any.x", "it is too large"),
    ],
)
def test_mistakes_in_tables(given: dict[str, Any], key: str, words: str) -> None:
    """The words and the key say where, as task.toml writes it; what JSON could not carry to the farm is refused here."""
    with pytest.raises(TaskFileError) as caught:
        normalise("k", TABLES, given)
    assert words in str(caught.value) and caught.value.key == key, caught.value


def test_nearest_says_all_where_none_is_near() -> None:
    """A word that resembles nothing gets the whole list, sorted."""
    assert nearest("qqq", ["b", "a"]) == "known are a, b."
    assert nearest("WIDTH", ["Width"]) == 'did you mean "Width"?'
