"""PNG read in one go shows the very pixels that reading by bands shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clusterray.common.kinds.images import PictureWriter
from clusterray.common.kinds.png import BadPicture, Format
from clusterray.common.kinds.png_quick import png_plane
from clusterray.common.kinds.rasters import as_rgb8, open_source, shape_of
from clusterray.common.kinds.scaled import scaled_rgb8


def picture(path: Path, bits: int, channels: int) -> Path:
    """Waves with grain, so that all filters of PNG are used."""
    form = Format(width=37, height=29, bits=bits, channels=channels)
    y, x = np.mgrid[0:29, 0:37]
    waves = np.sin(x / 5)[:, :, None] * np.cos(y / 7)[:, :, None] * np.arange(1, channels + 1) / channels
    grain = np.random.default_rng(3).normal(0, 0.02, (29, 37, channels))
    samples = (np.clip(0.5 + 0.45 * waves + grain, 0, 1) * ((1 << bits) - 1)).astype(">u2" if bits == 16 else np.uint8)
    with PictureWriter(path, form, []) as file:
        file.rows(np.frombuffer(samples.tobytes(), np.uint8).reshape(29, -1))
    return path


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_both_readers_show_the_same(bits: int, channels: int, tmp_path: Path) -> None:
    """8 and 16 bits, grey, colour, with and without alpha: no pixel differs."""
    path = picture(tmp_path / "a.png", bits, channels)
    source = open_source(path)
    slowly = scaled_rgb8(source, 0)
    source.close()
    assert np.array_equal(as_rgb8(path), slowly)
    assert (png_plane(path, shape_of(path)) is None) == (bits == 16 and channels == 2)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_damaged_picture_is_noticed(bits: int, tmp_path: Path) -> None:
    """A frame that is cut short never shows half a picture."""
    path = picture(tmp_path / "a.png", bits, 3)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(BadPicture):
        as_rgb8(path)
