"""A message as one line of a log: short, and with nothing in it that opens a door.

The secrets are known by the names of their fields, at any depth: so a message that is added later and carries an account
is covered already.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .messages import AnyMessage

SECRETS = frozenset({"token", "node_token", "password"})

_TEXT = 60
_ITEMS = 6
_DEPTH = 6
_LINE = 600


def describe(message: AnyMessage) -> str:
    """``Ask wait=5.0``; defaults are left out, long texts and lists are cut, secrets are ``***``."""
    try:
        fields = msgspec.to_builtins(message)
    except (TypeError, ValueError, RecursionError):  # a log line is no place to fail; sending or judging the message is
        return type(message).__name__
    fields.pop("type", None)
    line = " ".join([type(message).__name__, *(f"{name}={_shown(name, value)}" for name, value in fields.items())])
    return line if len(line) <= _LINE else line[:_LINE] + "…"


def _shown(name: str, value: Any, depth: int = 0) -> str:
    if name in SECRETS:
        return "***" if value else "''"
    if depth > _DEPTH:
        return "…"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(str(key), inner, depth + 1)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        items = [_shown("", inner, depth + 1) for inner in value[:_ITEMS]]
        return "[" + ", ".join(items) + (f", … {len(value)} in all" if len(value) > _ITEMS else "") + "]"
    if isinstance(value, str) and len(value) > _TEXT:
        return repr(value[:_TEXT]) + "…"
    return repr(value) if value is None or isinstance(value, (str, int, float)) else f"<{type(value).__name__}>"
