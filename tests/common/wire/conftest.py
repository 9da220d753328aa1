"""Hypothesis strategies for messages, made from the field types themselves: a message added later is tested by itself."""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from typing import Any, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import strategies as st

TEXT = st.text(max_size=12)
FLAT = st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), TEXT)
VALUES = st.recursive(FLAT, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6)
PLAIN = {
    str: TEXT,
    int: st.integers(-(2**60), 2**60),
    float: st.floats(allow_nan=False, allow_infinity=False),
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    type(None): st.none(),
    Any: VALUES,
}


def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a message class or of the type of a field."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return st.lists(of(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(of(arguments[0]), of(arguments[1]), max_size=3)
    if origin in (Union, types.UnionType):
        return st.one_of(*[of(argument) for argument in arguments])
    if issubclass(kind, enum.Enum):
        return st.sampled_from(list(kind))
    return st.builds(kind, **{field.name: of(field.type) for field in msgspec.structs.fields(kind)})


@pytest.fixture(scope="session")
def messages() -> Callable[[Any], st.SearchStrategy[Any]]:
    """``messages(Ask)``: any Ask."""
    return of
