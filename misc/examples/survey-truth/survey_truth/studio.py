"""From a size of survey to the folders that a farm renders, and from what it rendered to the survey."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from . import photos, place, scene
from .place import Truth, grow


def write_scenes(folder: Path, size: place.Size, seed: int) -> Truth:
    """``photo/`` and ``above/``: the folders to be rendered. ``said`` of the truth is yet to come."""
    ground, cameras = place.layout(size, seed)
    gsd = size.plan.gsd
    inner = place.inner(cameras, gsd)
    truth = Truth(ground=ground, cameras=cameras, said=np.zeros((0, 3)), gsd=gsd, inner=inner, whole=grow(inner, 10.0))
    for name in ("photo", "above"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    ground.save(folder / "photo")
    scene.write_world(folder / "photo", ground, 0.6 * gsd, seed)
    for name in ("heights.png", "ground.png", "world.inc"):
        shutil.copy(folder / "photo" / name, folder / "above")
    scene.write_photos(folder / "photo", cameras)
    scene.write_above(folder / "above", truth.whole, gsd, ground.top)
    return truth


def finish(folder: Path, truth: Truth, faults: photos.Faults) -> Truth:
    """From what was rendered: ``task/images``, ``truth.json``, ``dsm_truth.tif``, ``ortho_truth.tif`` and ``ortho_truth.png``."""
    frames = sorted((folder / "photo-result/frames").glob("*.png"))
    said = photos.write_photos(frames, truth.cameras, folder / "task/images", faults)
    truth = replace(truth, said=said)
    place.save(folder, truth, faults)
    above = Image.open(folder / "above-result/above.png").convert("RGB")
    above.save(folder / "ortho_truth.png")
    place.write_raster(folder / "ortho_truth.tif", np.moveaxis(np.asarray(above), 2, 0), truth.whole, truth.gsd)
    return truth
