"""Options as data: what a submitter gave is checked against a kind's ``Option`` list and filled up with its defaults.

Every fault is one TaskFileError that names the option in ``key``, so that taskfile.py can add the file and the line.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ..errors import TaskFileError
from .kind import Option

MOST_TILES = 16_384
"""A tile costs a process of 0.65 s and a few rows in the store; nobody has this many slots."""


def nearest(word: str, words: Collection[str], cutoff: float = 0.55) -> str:
    """A half-sentence with the right name, or with all of them where none is near."""
    known = {name.lower(): name for name in words}
    close = difflib.get_close_matches(word.lower(), known, n=1, cutoff=cutoff)
    if close:
        return f'did you mean "{known[close[0]]}"?'
    return "known are " + ", ".join(sorted(words)) + "." if words else "there are none."


def normalise(kind: str, options: Iterable[Option], given: Mapping[str, Any], table: str = "") -> dict[str, Any]:
    """Every option of ``options`` with a value of its type, in their order; tables likewise, None where absent. Raises TaskFileError.

    ``table``: the dotted name of the table that this is (``animation``); empty: the options themselves.
    """
    known = {option.name: option for option in options}
    for name in given:
        if name not in known:
            has = f'The table [{table}] has no key "{name}"' if table else f'The kind {kind} has no option "{name}"'
            raise TaskFileError(f"{has}; {nearest(name, known)}", key=f"{table or 'options'}.{name}")
    checked: dict[str, Any] = {}
    for name, option in known.items():
        value = given.get(name, option.default)
        if value is None:
            if option.required:
                missing = f"[{table}] needs {name}" if table else f'The option "{name}" is missing'
                raise TaskFileError(f"{missing}: {option.help}.", key=table or "options")
            checked[name] = None
        elif option.type == "table":
            checked[name] = _table(kind, option, value, f"{table}.{name}" if table else name)
        else:
            checked[name] = check(option, value, table)
    return checked


def _table(kind: str, option: Option, value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TaskFileError(f"{path} is a table: write [{path}] on a line of its own, and its keys below.", key=path)
    if option.options:
        return normalise(kind, option.options, value, path)
    return {name: check(Option(name=name, type="value"), one, path) for name, one in value.items()}


def check(option: Option, value: Any, table: str = "") -> Any:
    """``value`` as the option's type; an int is a float too, a tuple a list. Raises TaskFileError, with the key ``table.name``."""
    key = f"{table or 'options'}.{option.name}"
    called = key if table else option.name
    if option.type not in _CHECKS:
        raise ValueError(f"{option.name} has the unknown type {option.type}")
    wanted, convert = _CHECKS[option.type]
    try:
        found = convert(value)
    except ValueError as error:
        if isinstance(error, _Unfit) and error.place:
            raise TaskFileError(f"{called}: {error.place} cannot be {shown(error.value)}: {error}.", key=key) from None
        more = f": {error}" if str(error) else ""
        raise TaskFileError(f"{called} must be {wanted}, not {shown(value)}{more}.", key=key) from None
    if option.type == "choice" and found not in option.choices:
        raise TaskFileError(f"{called} cannot be {shown(value)}; {nearest(found, option.choices)}", key=key)
    if isinstance(found, int | float) and not isinstance(found, bool):
        low, high = option.minimum, option.maximum
        if (low is not None and found < low) or (high is not None and found > high) or not math.isfinite(found):
            raise TaskFileError(f"{called} must be {_span(low, high)}, not {shown(value)}.", key=key)
    return found


def shown(value: Any) -> str:
    """A value as a submitter wrote it, cut short."""
    text = {True: "true", False: "false"}[value] if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _span(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"from {low:,g} to {high:,g}" if max(low, high) < 1e6 else f"from {low:.0f} to {high:.0f}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else "a finite number"


def _int(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError
    return value


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError
    return float(value)


def _bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _str(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _strings(value: Any) -> list[str]:
    if not isinstance(value, Sequence) or isinstance(value, str) or not all(isinstance(word, str) for word in value):
        raise ValueError
    return list(value)


def _tiles(value: Any) -> str | list[int]:
    if value == "auto":
        return "auto"
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise ValueError
    columns, rows = _int(value[0]), _int(value[1])
    if columns < 1 or rows < 1:
        raise ValueError("there must be at least one column and one row")
    if columns * rows > MOST_TILES:
        raise ValueError(f"{columns * rows} tiles are more than the {MOST_TILES} that one task may have")
    return [columns, rows]


def _value(value: Any) -> Any:
    """Numbers, texts, lists and tables, as JSON carries them to the farm: it has no dates, infinities or longer whole numbers."""
    if isinstance(value, Mapping):
        return {str(name): _inside(str(name), one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_entry(at, one, value) for at, one in enumerate(value, 1)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number must be finite")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError("it is too large")
    if not isinstance(value, bool | int | float | str):
        raise ValueError("write a date or time in quotes")
    return value


class _Unfit(ValueError):
    """A part of a value that cannot be taken: ``value``, which is ``place`` of the whole (``entry 2 of points``; empty: the whole)."""

    def __init__(self, why: str, place: str, value: Any) -> None:
        super().__init__(why)
        self.place = place
        self.value = value


def _inside(place: str, value: Any) -> Any:
    """A part of a value. Of a long table its submitter hears the innermost list or key that is wrong, such as one keyframe."""
    try:
        return _value(value)
    except _Unfit as error:
        raise _Unfit(str(error), f"{error.place} of {place}" if error.place else place, error.value) from None
    except ValueError as error:
        raise _Unfit(str(error), place, value) from None


def _entry(at: int, value: Any, whole: Sequence[Any]) -> Any:
    """A number says little without those beside it, so the list is shown."""
    if isinstance(value, Sequence | Mapping) and not isinstance(value, str | bytes):
        return _inside(f"entry {at}", value)
    try:
        return _value(value)
    except ValueError as error:
        raise _Unfit(str(error), "", whole) from None


_CHECKS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "int": ("a whole number", _int),
    "float": ("a number", _float),
    "bool": ("true or false", _bool),
    "str": ("a text in quotes", _str),
    "choice": ("a text in quotes", _str),
    "strings": ('a list of texts, such as ["+MB25"]', _strings),
    "tiles": ('"auto" or [columns, rows]', _tiles),
    "value": ("a number, a text, true or false, a list or a table of these", _value),
}
