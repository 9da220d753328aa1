"""Depth kept: a still as TIFF or OpenEXR holds the values that povray itself writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusterray.common.errors import KindError, OutputRejected, StitchFailed
from clusterray.common.kinds import rasters
from clusterray.common.kinds.povray import POVRAY
from clusterray.common.kinds.povray_join import crop_exr
from clusterray.common.model import TaskSpec
from clusterray.common.process import run
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, rehearse

from .povray_house import BALLS, ENV, SKY, folder, unsplit


def task_of(inputs: Path, work: Path, **options: Any) -> Rehearsal:
    spec = TaskSpec(kind="povray", name="picture", options={"width": 70, "height": 50, "tiles": [2, 2], "antialias": 0.2} | options)
    return rehearse(POVRAY, spec, inputs, work)


def exr(path: Path) -> dict[str, np.ndarray]:
    import OpenEXR

    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels.copy() for name, channel in file.channels().items()}


def alone(inputs: Path, work: Path, *words: str) -> Path:
    """What one povray writes."""
    argv = ["povray", "+Iscene.pov", f"+O{work}/alone.exr", "-D", "+W70", "+H50", "+FE", "+A0.2", *words]
    done = run(argv, timeout=60, cwd=inputs, env=ENV)
    assert done.code == 0, done.stderr
    return work / "alone.exr"


@pytest.mark.parametrize("alpha", [False, True])
def test_openexr_is_exact(alpha: bool, tmp_path: Path) -> None:
    """Half floats in linear light, tiles grown for antialiasing and cropped."""
    inputs = folder(tmp_path, **{"scene.pov": BALLS + ("" if alpha else SKY)})
    task = task_of(inputs, tmp_path / "work", format="exr", alpha=alpha)
    assert list(task.whole()) == ["picture.exr"]
    ours, theirs = exr(tmp_path / "work" / "result" / "picture.exr"), exr(alone(inputs, tmp_path, *["+UA"] * alpha))
    assert ours.keys() == theirs.keys() == set("RGBA" if alpha else "RGB")
    assert all(ours[name].dtype == np.float16 and np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert max(float(plane.max()) for plane in ours.values()) > 1.0 or alpha, "brighter than white is kept"


@pytest.mark.parametrize(
    ("options", "switches"), [({"bits": 16}, ["+FN16"]), ({"bits": 8, "alpha": True}, ["+FN", "+UA"]), ({"grey": True}, ["+FNg"])]
)
def test_tiff_is_exact(options: dict[str, Any], switches: list[str], tmp_path: Path) -> None:
    """The values of povray's PNG, of which it writes no TIFF."""
    import tifffile

    inputs = folder(tmp_path)
    task = task_of(inputs, tmp_path / "work", format="tiff", **options)
    assert list(task.whole()) == ["picture.tif"]
    wanted = unsplit(inputs, tmp_path, "+W70", "+H50", "+A0.2", *switches)
    ours = tifffile.imread(tmp_path / "work" / "result" / "picture.tif")
    assert ours.dtype == (np.uint8 if options.get("bits") == 8 else np.uint16)
    assert (ours.astype(ours.dtype.newbyteorder(">")).reshape(50, -1).view(np.uint8) == wanted).all()


def test_a_node_without_openexr_sends_the_whole_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its black rest packs to nearly nothing, and the join takes the tile out of it."""

    def missing(*_: object) -> None:
        raise KindError("The library OpenEXR is not on this machine")

    inputs = folder(tmp_path)
    task = task_of(inputs, tmp_path / "work", format="exr", tiles=[2, 1])
    first, other = task.split()
    with monkeypatch.context() as patched:
        patched.setattr(rasters, "crop", missing)  # a machine cannot be had without it
        pieces = list(task.pieces([first]))
    assert rasters.shape_of(pieces[0].files.path("tile.exr")).width == 70
    task.stitch([*pieces, *task.pieces([other])])
    ours, theirs = exr(tmp_path / "work" / "result" / "picture.exr"), exr(alone(inputs, tmp_path))
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)


def test_damaged_openexr_is_refused(tmp_path: Path) -> None:
    """On the node, before acceptance, and a lost tile at the join."""
    task = task_of(folder(tmp_path), tmp_path / "work", format="exr", tiles=[3, 1])
    regions = task.split()
    pieces = list(task.pieces(regions))
    with pytest.raises(StitchFailed, match=regions[2].name):
        task.stitch(pieces[:2], "lost")
    with pytest.raises(OutputRejected, match="instead of"):
        other = task_of(tmp_path / "scene", tmp_path / "other", format="exr", alpha=True)
        other.stage.verify(other.spec, regions[0], pieces[0].files)
    with pytest.raises(OutputRejected, match="no picture"):
        crop_exr(tmp_path / "none.exr", (0, 0, 1, 1), tmp_path / "to.exr")
    (tmp_path / "broken.exr").write_bytes(pieces[0].files.read("tile.exr")[:300])
    with pytest.raises(OutputRejected, match="cannot be read"):
        crop_exr(tmp_path / "broken.exr", (0, 0, 1, 1), tmp_path / "to.exr")
    good = pieces[0].files.read("tile.exr")
    for bad in (b"", good[:-9], good[: len(good) // 2]):
        (tmp_path / "bad").mkdir(exist_ok=True)
        (tmp_path / "bad" / "tile.exr").write_bytes(bad)
        with pytest.raises(OutputRejected, match=regions[0].name):
            task.stage.verify(task.spec, regions[0], PlainFiles(tmp_path / "bad"))
