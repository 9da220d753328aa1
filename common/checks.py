"""What a setting accepts: from a TOML value or from text (a variable, a flag) to the value that is used, or UsageError.

Each check takes both, so that a port in a file, in a variable and behind a flag is the same port.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from .errors import UsageError
from .units import parse_duration, parse_size

Check = Callable[[Any], Any]


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"text in quotes is wanted, not {_shown(value)}.")
    if any(not char.isprintable() for char in value):
        raise UsageError("text must not hold control characters.")
    return value.strip()


def whole(low: int, high: int) -> Check:
    """A whole number from ``low`` to ``high``."""

    def check(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value.strip(), re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise UsageError(f"a whole number from {low} to {high} is wanted, not {_shown(value)}.")
        return value

    return check


port = whole(0, 65535)


def ports(value: Any) -> str:
    """A range of ports, ``first-last``; ``0`` or ``0-0`` lets the system choose."""
    word = text(str(value) if isinstance(value, int) and not isinstance(value, bool) else value)
    match = re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", word, re.ASCII)
    if match:
        first, last = int(match[1]), int(match[2] or match[1])
        if first <= last <= 65535:
            return f"{first}-{last}"
    raise UsageError(f'a range of ports such as "3458-3557" is wanted, not {_shown(value)}.')


def duration(value: Any) -> float:
    """A span of time, in seconds."""
    return parse_duration(_number_or_text(value))


def size(value: Any) -> int:
    """An amount of bytes."""
    return parse_size(_number_or_text(value))


def strings(value: Any) -> tuple[str, ...]:
    """A list of words; as text, separated by commas."""
    items = value.split(",") if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise UsageError(f"a list of texts is wanted, not {_shown(value)}.")
    return tuple(word for word in (text(item) for item in items) if word)


def choice(*words: str) -> Check:
    """One of these words."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value.strip().lower() not in words:
            raise UsageError(f"one of {', '.join(words)} is wanted, not {_shown(value)}.")
        return value.strip().lower()

    return check


def chosen(*words: str) -> Check:
    """A list of some of these words."""
    one = choice(*words)
    return lambda value: tuple(one(word) for word in strings(value))


def table(value: Any) -> Mapping[str, str]:
    """Names to texts; as text, ``name=value,name=value``."""
    if isinstance(value, str):
        pairs = [item.partition("=") for item in strings(value)]
        if any(not sign for _, sign, _ in pairs):
            raise UsageError(f"name=value, separated by commas, is wanted, not {_shown(value)}.")
        value = {name.strip(): word.strip() for name, _, word in pairs}
    if not isinstance(value, Mapping):
        raise UsageError(f"a table of texts is wanted, not {_shown(value)}.")
    return MappingProxyType({text(name): text(word) for name, word in value.items()})


def written(value: Any) -> str:
    """A value as a variable carries it: what the checks above read back."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={word}" for name, word in value.items())
    if isinstance(value, list | tuple):
        return ",".join(str(word) for word in value)
    return str(value)


def _number_or_text(value: Any) -> str | int | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UsageError(f"a number with a unit is wanted, not {_shown(value)}.")
    return value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if not isinstance(value, str) else f'"{value}"'
