"""Kinds are found by name."""

from __future__ import annotations

import pytest
from clusterray.common.errors import KindError, UsageError
from clusterray.common.kinds.registry import EXTRA, kind, kinds


def test_the_kinds_of_the_house_are_there() -> None:
    """The installed package brings these, and only what it should: the echo kind is for tests."""
    for name in ("blender", "command", "mitsuba", "povray"):
        assert kind(name).name == name
    assert "echo" not in kinds()


def test_the_nearest_name() -> None:
    """A misspelt kind is told the right one."""
    with pytest.raises(UsageError, match='"povrai"; did you mean "povray"'):
        kind("povrai")


def test_extra_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable adds kinds that are no entry points; one that is not there is named."""
    monkeypatch.setenv(EXTRA, "clusterray.common.kinds.echo:ECHO")
    assert {"echo", "povray"} <= set(kinds())
    monkeypatch.setenv(EXTRA, "clusterray.nowhere:KIND")
    with pytest.raises(KindError, match=r"clusterray\.nowhere:KIND"):
        kinds()
