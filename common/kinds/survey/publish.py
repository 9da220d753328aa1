"""Stage ``publish`` of a survey, the last: the files that people fetch, in the places and by the names that ODM's users know."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ...errors import OutputRejected
from ...libraries import library
from ...model import FarmShape, Region, TaskSpec
from ...survey.cloud import check_header
from ...survey.geotiff import BLOCK, open_geotiff
from ...survey.ortho_index import PICTURE
from ...survey.publish import CAMERAS, LAZ, POINTS
from ...survey.records import Frame, load, save
from ...survey.report_data import STAGES
from ...survey.scene import FRAME, NEEDS
from ...survey.seal import NAME as MADE
from ...survey.seal import listing
from ...survey.surface_index import DSM, DTM, OBJECT, SURFACE, Surface
from ..kind import Folder, Piece
from .notes import notes_of, report_of
from .stage import SurveyStage, complete, expect, keep

MESH = "stages/mesh/"
CUT = ("crop", "boundary", "auto-boundary")
REPORT = ("cameras.json", "images.json", "odm_report/report.json", "odm_report/shots.geojson")
PAGE = "odm_report/report.html"


class Publish(SurveyStage):
    """See the head of this file."""

    name = "publish"
    job = "publish"
    options = CUT

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        names = set(files.names())
        boundary = task.options["boundary"]
        cut = tuple(name for name in (*NEEDS, SURFACE, DSM, boundary) if name in names or name == NEEDS[0])
        if PICTURE in names:
            yield Region(name="orthophoto", data={"part": "orthophoto"}, needs=(*cut, PICTURE), weight=4.0)
        models = [name for name, file in (("dsm", DSM), ("dtm", DTM)) if task.options[name] and file in names]
        if models:
            needs = tuple(dict.fromkeys((*cut, *({"dsm": DSM, "dtm": DTM}[name] for name in models))))
            yield Region(name="dem", data={"part": "dem", "models": models}, needs=needs, weight=2.0)
        tiles = _tiles(files, names)
        if tiles:
            points = tuple(f"{POINTS}/{name}.laz" for name in tiles)
            yield Region(name="cloud", data={"part": "cloud", "tiles": tiles}, needs=(*cut, *points), weight=3.0)
        told = tuple(name for name in (CAMERAS, PICTURE, OBJECT, *(f"stages/{stage}/report.json" for stage in STAGES)) if name in names)
        yield Region(name="report", data={"part": "report", "title": task.name}, needs=(*cut, *told))

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*notes_of(files, "ortho"), *notes_of(files, "mesh"))))

    def reads(self, task: TaskSpec, region: Region) -> Any:
        if region.data["part"] == "report":  # it shows all of them
            return [task.options, region.data]
        return super().reads(task, region)

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        names = made_by(task, region, outputs.names())
        expect(outputs, (*names, MADE), region)
        if outputs.read(MADE) != listing((name, outputs.path(name)) for name in names):
            raise OutputRejected(f"Job {region.name}: a file is not the one that was made.")
        for name in names:
            check(outputs, name, region)

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        regions = [region.name for region in self.split(task, files, FarmShape())]
        came = []
        for piece in keep(pieces, out):
            (out / MADE).unlink()
            came.append(piece.region.name)
            progress(min(0.9, 0.9 * len(came) / len(regions)))
        complete(regions, came)
        for name in files.names():
            if name.startswith(f"{MESH}odm_texturing/"):
                to = out / name.removeprefix(MESH)
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(files.path(name), to)
        save(log(task, files), out / "log.json")
        progress(1.0)


def made_by(task: TaskSpec, region: Region, came: Iterable[str] = ()) -> tuple[str, ...]:
    """The files that a job makes, sorted."""
    part = region.data["part"]
    if part == "orthophoto":
        return ("odm_orthophoto/odm_orthophoto.png", "odm_orthophoto/odm_orthophoto.tif")
    if part == "dem":
        return tuple(sorted(f"odm_dem/{name}.{suffix}" for name in region.data["models"] for suffix in ("png", "tif")))
    if part == "cloud":
        picture = LAZ.replace(".laz", ".png")  # a boundary may leave no point to be seen
        return tuple(sorted({LAZ, *({picture} & set(came))}))
    return tuple(sorted((*REPORT, *(() if task.options["skip-report"] else (PAGE,)))))


def check(outputs: Folder, name: str, region: Region) -> None:
    """Raise OutputRejected where a file is not what its name says."""
    suffix = name.rpartition(".")[2]
    try:
        {"tif": _tif, "png": _png, "laz": _laz, "json": _json, "geojson": _json, "html": _html}[suffix](outputs, name)
    except OutputRejected:
        raise
    except Exception as error:  # whatever a library says of damaged files
        raise OutputRejected(f"Job {region.name}: {name} is damaged ({error}).") from error


def _tif(outputs: Folder, name: str) -> None:
    rasterio = library("rasterio", extra="survey")
    with rasterio.Env(GDAL_CACHEMAX=64), open_geotiff(outputs.path(name)) as file:
        bands = 4 if name.startswith("odm_orthophoto/") else 1
        if file.count != bands or file.crs is None or (not file.overviews(1) and max(file.width, file.height) > 2 * BLOCK):
            raise ValueError("it has other bands, no CRS or no overviews")
        for _, window in file.block_windows(1):
            file.read(window=window)


def _png(outputs: Folder, name: str) -> None:
    from PIL import Image

    with Image.open(outputs.path(name), formats=("PNG",)) as picture:
        picture.load()


def _laz(outputs: Folder, name: str) -> None:
    laspy = library("laspy", extra="survey")
    check_header(outputs.path(name))
    with laspy.open(str(outputs.path(name))) as reader:
        count = sum(len(points) for points in reader.chunk_iterator(1_000_000))
        if count != reader.header.point_count:
            raise ValueError(f"it has {count} points and announces {reader.header.point_count}")


def _json(outputs: Folder, name: str) -> None:
    msgspec.json.decode(outputs.read(name))


def _html(outputs: Folder, name: str) -> None:
    if not outputs.read(name).endswith(b"</html>\n"):
        raise ValueError("it is cut short")


def log(task: TaskSpec, files: Folder) -> dict[str, Any]:
    """``log.json``: what each stage said, in ODM's form; without times, so that it is the same whenever it is made."""
    stages = []
    for name in STAGES:
        report = report_of(files, name)
        messages = [{"message": str(note), "type": "warning"} for note in report.get("notes", ())]
        stages.append({"name": name, "messages": messages, "report": {key: value for key, value in report.items() if key != "notes"}})
    return {"software": "ClusterRay", "name": task.name, "options": task.options, "stages": stages, "success": True}


def _tiles(files: Folder, names: set[str]) -> list[str]:
    """The files of the cloud, without their suffix, in the order of the tiles."""
    if SURFACE not in names:
        return []
    if not load(files.read(FRAME), Frame).georeferenced or DSM not in names:
        return ["object"] if f"{POINTS}/object.laz" in names else []
    return [tile.name for tile in load(files.read(SURFACE), Surface).tiles if f"{POINTS}/{tile.name}.laz" in names]
