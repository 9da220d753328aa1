"""Stage ``publish``: results under the names and in the forms that people know. ``data["part"]``: orthophoto, dem, cloud or report."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from . import picture, report_data
from .boundary import NO_PLACE
from .cloud_join import join
from .cog import publish
from .crop import Keep, keep_of
from .geotiff import NODATA
from .ortho_index import PICTURE
from .records import Lens, Photos, load, load_arrays, save
from .report_page import Pictures, page
from .scene import PHOTOS, Scene, load_scene
from .seal import seal
from .shots import cameras_json, images_json, shots_geojson
from .surface_index import DSM, DTM, OBJECT, SURFACE, Surface
from .work import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CAMERAS = "stages/calibration/cameras.json"
POINTS = "stages/surface/points"
LAZ = "odm_georeferencing/odm_georeferenced_model.laz"
ROOM = 0.02
"""Of the longer side: beside what is shown on the map of the survey."""


def run(job: Job) -> None:
    scene = load_scene(job.inputs)
    keep = kept(job, scene)
    for note in keep.notes:
        job.say(note)
    {"orthophoto": _orthophoto, "dem": _dem, "cloud": _cloud, "report": _report}[job.data["part"]](job, scene, keep)
    seal(job.out)
    job.progress(1.0)


def kept(job: Job, scene: Scene) -> Keep:
    """What is not cut off; everything of a model that is not on the map, or has no surface."""
    import numpy as np

    if not scene.frame.georeferenced:
        asked = "boundary" if job.options["boundary"] else "auto-boundary" if job.options["auto-boundary"] else ""
        return Keep(notes=(NO_PLACE.format(option=asked),) if asked else ())
    cameras = np.array([view.centre for view in scene.views]).reshape(-1, 3) + np.array(scene.frame.origin)
    return keep_of(job.inputs, job.options, scene.frame, cameras)


def _orthophoto(job: Job, scene: Scene, keep: Keep) -> None:
    to = job.out / "odm_orthophoto" / "odm_orthophoto.tif"
    crs = scene.frame.crs
    count = publish(job.inputs / PICTURE, to, keep, job.scratch, crs, cores=job.cores)
    job.say(f"{count} pixels")
    job.progress(0.8)
    picture.save_png(picture.colours(to, Keep()), to.with_suffix(".png"))


def _dem(job: Job, scene: Scene, keep: Keep) -> None:
    for at, name in enumerate(job.data["models"]):
        to = job.out / "odm_dem" / f"{name}.tif"
        publish(job.inputs / {"dsm": DSM, "dtm": DTM}[name], to, keep, job.scratch, scene.frame.crs, NODATA, job.cores)
        heights, grid = picture.heights(to, Keep())
        picture.save_png(picture.relief(heights, grid.resolution)[0], to.with_suffix(".png"))
        job.progress((at + 1) / len(job.data["models"]))


def _cloud(job: Job, scene: Scene, keep: Keep) -> None:
    tiles = [job.inputs / POINTS / f"{name}.laz" for name in job.data["tiles"]]
    surface = load(job.inputs / SURFACE, Surface)
    bounds = surface.bounds
    if not surface.georeferenced or bounds[0] >= bounds[2]:
        bounds = _around(tiles)
    joined = join(tiles, job.out / LAZ, crs=scene.frame.crs if scene.frame.georeferenced else "", bounds=bounds, keep=keep)
    job.say(f"{joined.points} points, {joined.dropped} outside of the boundary or in the frayed rim")
    if joined.picture is not None:
        picture.save_png(picture.trimmed(joined.picture), (job.out / LAZ).with_suffix(".png"))


def _around(tiles: list[Path]) -> tuple[float, float, float, float]:
    """Bounds of LAZ files by their headers."""
    from ..libraries import library

    laspy = library("laspy", extra="survey")
    lows, highs = [], []
    for tile in tiles:
        with laspy.open(str(tile)) as reader:
            lows.append(reader.header.mins)
            highs.append(reader.header.maxs)
    return (
        float(min(low[0] for low in lows)), float(min(low[1] for low in lows)),
        float(max(high[0] for high in highs)), float(max(high[1] for high in highs)),
    )  # fmt: skip


def _report(job: Job, scene: Scene, keep: Keep) -> None:
    photos = load(job.inputs / PHOTOS, Photos)
    priors = load(job.inputs / CAMERAS, dict[str, Lens])
    save(cameras_json(scene, priors), job.out / "cameras.json")
    save(images_json(photos), job.out / "images.json")
    save(shots_geojson(scene, priors), job.out / "odm_report" / "shots.geojson")
    data = report_data.gather(job.inputs, str(job.data["title"]), job.options, photos, scene, keep)
    save(data, job.out / "odm_report" / "report.json")
    job.progress(0.3)
    if not job.options["skip-report"]:
        text = page(data, _pictures(job, scene, keep))
        (job.out / "odm_report" / "report.html").write_text(text, encoding="utf-8")


def _pictures(job: Job, scene: Scene, keep: Keep) -> Pictures:
    """JPEGs for the page, of what there is."""
    import numpy as np

    found: dict[str, bytes] = {}
    span: tuple[float, float] | None = None
    if (job.inputs / PICTURE).is_file():
        found["orthophoto"] = jpeg(picture.trimmed(picture.colours(job.inputs / PICTURE, keep)))
    if (job.inputs / DSM).is_file():
        heights, grid = picture.heights(job.inputs / DSM, keep, 1200)
        coloured, span = picture.relief(heights, grid.resolution)
        found["dsm"] = jpeg(picture.trimmed(coloured))
    if scene.frame.georeferenced and scene.frame.nadir and scene.views and len(scene.points):
        cameras = np.array([view.centre for view in scene.views])[:, :2]
        west, south = np.minimum(cameras.min(axis=0), np.percentile(scene.points[:, :2], 0.5, axis=0))
        east, north = np.maximum(cameras.max(axis=0), np.percentile(scene.points[:, :2], 99.5, axis=0))
        room = ROOM * max(east - west, north - south) + 1e-6
        bounds = (float(west - room), float(south - room), float(east + room), float(north + room))
        count = picture.overlap(scene, bounds, float(np.median(scene.points[:, 2])))
        found["map"] = jpeg(picture.survey_map(scene, bounds, count))
    if (job.inputs / OBJECT).is_file() and scene.views:
        arrays = load_arrays(job.inputs / OBJECT)
        for number in range(4):
            view = scene.views[len(scene.views) * number // 4]
            found[f"object{number}"] = jpeg(picture.trimmed(picture.seen_from(view, arrays["points"], arrays["colors"])))
    return Pictures(jpegs=found, heights=span)


def jpeg(rgba: NDArray[np.uint8]) -> bytes:
    """(rows, columns, 4) on white."""
    import numpy as np
    from PIL import Image

    alpha = rgba[..., 3:].astype(np.float32) / 255
    flat = rgba[..., :3] * alpha + 255 * (1 - alpha)
    held = io.BytesIO()
    Image.fromarray(np.rint(flat).astype(np.uint8)).save(held, "JPEG", quality=86)
    return held.getvalue()
