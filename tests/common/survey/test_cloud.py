"""Clouds as LAZ."""

from __future__ import annotations

import struct
from datetime import date
from pathlib import Path

import laspy
import numpy as np
import pytest
from clusterray.common.survey.cloud import read_cloud, write_cloud

PLACES = np.random.default_rng(0).uniform((576700, 5188100, 240), (576800, 5188200, 260), (500, 3))
COLORS = np.random.default_rng(1).integers(0, 256, (500, 3)).astype(np.uint8)
VIEWS = np.arange(500).astype(np.uint8)


def test_what_other_programs_read(tmp_path: Path) -> None:
    """Places to the millimetre, 16-bit colours, how many photos saw each point, the CRS, and no date of the day."""
    write_cloud(tmp_path / "a.laz", PLACES, COLORS, VIEWS, crs="EPSG:32615")
    found = laspy.read(tmp_path / "a.laz")
    assert np.abs(found.xyz - PLACES).max() < 0.00051
    assert (found.red == COLORS[:, 0].astype(int) * 257).all() and (found.views == VIEWS).all()
    assert found.header.parse_crs().to_epsg() == 32615
    assert found.header.creation_date == date(2000, 1, 1)


def test_the_same_points_make_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_cloud(tmp_path / f"{name}.laz", PLACES, COLORS, VIEWS, crs="EPSG:32615")
    assert (tmp_path / "a.laz").read_bytes() == (tmp_path / "b.laz").read_bytes()


@pytest.mark.parametrize("count", [0, 500])
def test_there_and_back(tmp_path: Path, count: int) -> None:
    """Also a tile without a point."""
    write_cloud(tmp_path / "a.laz", PLACES[:count], COLORS[:count], VIEWS[:count])
    places, colors, views = read_cloud(tmp_path / "a.laz")
    assert places.shape == (count, 3) and (colors == COLORS[:count]).all() and (views == VIEWS[:count]).all()


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    write_cloud(tmp_path / "a.laz", PLACES, COLORS, VIEWS)
    (tmp_path / "a.laz").write_bytes((tmp_path / "a.laz").read_bytes()[:-900])
    with pytest.raises(ValueError, match=r"a\.laz cannot be read"):
        read_cloud(tmp_path / "a.laz")


@pytest.mark.parametrize(
    ("at", "form", "value"), [(100, "<I", 0xFFFFFFFF), (243, "<I", 0xFFFFFFFF), (96, "<I", 1 << 30), (131, "<d", float("nan"))]
)
def test_a_header_that_announces_what_cannot_be_is_refused_at_once(tmp_path: Path, at: int, form: str, value: float) -> None:
    """Thousands of millions of records, of which laspy would make each; points far beyond the end; places that are no numbers."""
    write_cloud(tmp_path / "a.laz", PLACES, COLORS, VIEWS)
    data = bytearray((tmp_path / "a.laz").read_bytes())
    struct.pack_into(form, data, at, value)
    (tmp_path / "a.laz").write_bytes(data)
    with pytest.raises(ValueError, match=r"the cloud a\.laz (announces|cannot be read)"):
        read_cloud(tmp_path / "a.laz")
