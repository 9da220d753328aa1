"""Arrays in files, as strangers may send them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey.records import load_arrays, save_arrays


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    """Bit for bit, an empty one too."""
    save_arrays(tmp_path / "a.npz", few=np.arange(5, dtype=np.int16), none=np.zeros((0, 3), np.float32))
    found = load_arrays(tmp_path / "a.npz")
    assert found["few"].dtype == np.int16 and found["few"].tolist() == [0, 1, 2, 3, 4] and found["none"].shape == (0, 3)


def test_a_file_that_blows_up_is_refused_before_it_does() -> None:
    """Ours are not compressed: half a megabyte does not hold half a gigabyte."""
    file = io.BytesIO()
    np.savez_compressed(file, zeros=np.zeros(5_000_000, np.uint8))
    with pytest.raises(ValueError, match="larger than the file"):
        load_arrays(file.getvalue())


def test_what_a_header_announces_is_not_believed() -> None:
    """An array of terabytes without a byte behind it, and one of Python objects, which only pickle could read."""
    for dtype, shape in (("<f4", (10**13,)), ("|O", (1,))):
        header, file = io.BytesIO(), io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.npy", header.getvalue() + b"x" * 8)
        with pytest.raises((ValueError, MemoryError)):
            load_arrays(file.getvalue())
