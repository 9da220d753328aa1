"""Farms for the end-to-end tests."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from .box import Box


@pytest.fixture
def make_box():
    """Boxes that are closed at the end, whatever happened."""
    boxes = []

    def make(**settings):
        # a short path: bubblewrap, sockets and people like it
        boxes.append(Box(Path(tempfile.mkdtemp(prefix="cr-farm-")), **settings))
        return boxes[-1]

    yield make
    for box in boxes:
        box.close()


@pytest.fixture
def box(make_box):
    """A server that is up, with a submitter logged in."""
    return make_box().server().login()
