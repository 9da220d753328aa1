"""Spans of time and amounts of bytes as people write them: ``"2h"``, ``"1h30m"``, ``"15m"``, ``"30d"``; ``"2GB"``, ``"500MB"``.

Settings and task.toml share these, so that a unit means the same in both. Sizes are decimal (1 GB is 10**9 bytes), as disks
are sold and as ``df -H`` counts; the binary ones have names of their own (GiB). A bare number is seconds or bytes.
"""

from __future__ import annotations

import re

from .errors import UsageError

_ENDLESS = 1e18
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "b": 1} | {
    letter + ending: base**power for power, letter in enumerate("kmgtp", 1) for ending, base in (("", 1000), ("b", 1000), ("ib", 1024))
}
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_SPAN = re.compile(rf"({_NUMBER})\s*([a-z]+)\s*", re.ASCII)
_SIZE = re.compile(rf"({_NUMBER})\s*([a-z]*)", re.ASCII)


def parse_duration(text: str | int | float) -> float:
    """Seconds. Takes a number, or parts of one number and one unit each (ms, s, m, h, d, w) added up. Raises UsageError."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return _finite(text, text)
    word = str(text).strip().lower()
    try:
        if re.fullmatch(_NUMBER, word, re.ASCII):
            return _finite(float(word), text)
        parts = _SPAN.findall(word)
        if parts and _SPAN.sub("", word) == "":
            return _finite(sum(float(number) * _SECONDS[unit] for number, unit in parts), text)
    except KeyError:
        pass
    raise UsageError(f'"{text}" is no span of time: write a number with a unit (s, m, h, d, w), such as "90s", "2h" or "30d".')


def parse_size(text: str | int | float) -> int:
    """Bytes. Takes a number, or one number with a unit (B, kB, MB, GB, TB, or KiB, MiB, GiB, TiB). Raises UsageError."""
    if isinstance(text, int | float) and not isinstance(text, bool):
        return int(_finite(text, text))
    match = _SIZE.fullmatch(str(text).strip().lower())
    if match and match[2] in _BYTES:
        return int(_finite(float(match[1]) * _BYTES[match[2]], text))
    raise UsageError(f'"{text}" is no size: write a number with a unit (kB, MB, GB, TB, or MiB, GiB), such as "500MB" or "2GB".')


def show_duration(seconds: float) -> str:
    """As people read it, in the two largest units: ``1h 05m``, ``3m 12s``, ``42s``, ``30d``."""
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{days}d" + (f" {hours:02d}h" if hours else "")
    if hours:
        return f"{hours}h" + (f" {minutes:02d}m" if minutes else "")
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def show_size(size: int) -> str:
    """As people read it: ``0 B``, ``12.3 MB``, ``2 GB``."""
    value = float(size)
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(value) < 999.95 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" or value == int(value) else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def _finite(value: float | int, text: object) -> float:
    if not 0 <= value < _ENDLESS:
        raise UsageError(f'"{text}" must be neither negative nor beyond all bounds.')
    return float(value)
