"""Blender, started once for all tests of its kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .blender_cases import Blender


@pytest.fixture(scope="session")
def blender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Blender]:
    made = Blender(tmp_path_factory.mktemp("blender"))
    yield made
    made.close()
