"""The kind ``pointcloud``: a folder of scans is registered pair by pair in parallel, merged, filtered and meshed, by Open3D.

Stages: ``scans`` reads and thins each scan; ``pairs`` finds how two of them lie to each other; ``merge`` places all of them by one pose
graph and joins them in full density. The mathematics is in common/survey/scans_*.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from ..errors import OutputRejected, SplitFailed, StitchFailed, TaskFileError
from ..model import FarmShape, Needs, Region, TaskSpec
from .kind import Examined, Folder, Kind, Option, Piece, Place, Recipe, Stage
from .options import normalise
from .survey.notes import notes_of
from .survey.stage import PROGRAM, SurveyStage, arrays_of, complete, expect, keep, recipe

SCANS = (".ply", ".pcd", ".xyz", ".pts", ".las", ".laz")
ALL_PAIRS = 12
"""Up to so many scans every pair is tried; 66 pairs, a few seconds each."""
NEXT = 3
"""Beyond that, each scan and so many that follow it by name."""

OPTIONS = (
    Option(name="voxel", type="float", default=0.0, minimum=0.0, maximum=1000.0,
           help="size of the cells that scans are thinned to for registration, in their unit; 0: from the size of the scans"),
    Option(name="registration", type="choice", choices=("global", "refine", "none"), default="global",
           help="global: the scans lie anywhere; refine: they lie nearly right; none: they lie right"),
    Option(name="pairs", type="choice", choices=("auto", "all", "sequence"), default="auto",
           help=f"which scans are tried with each other: all, each with the {NEXT} that follow by name, or by their number"),
    Option(name="min-overlap", type="float", default=0.3, minimum=0.01, maximum=1.0,
           help="part of the smaller scan that must lie on the other one for a pair to count"),
    Option(name="unplaced", type="choice", choices=("fail", "leave-out"), default="fail",
           help="what happens where a scan fits to none of the others"),
    Option(name="merged-voxel", type="float", default=0.0, minimum=0.0, maximum=1000.0,
           help="size of the cells that the merged cloud is thinned to; 0: all points are kept"),
    Option(name="outliers", type="float", default=0.0, minimum=0.0, maximum=100.0,
           help="leave out points that are so many standard deviations further from their neighbours than usual; 0: none"),
    Option(name="mesh", type="choice", choices=("none", "poisson"), default="none", help="make a mesh of the merged cloud"),
    Option(name="mesh-octree-depth", type="int", default=9, minimum=4, maximum=14, help="depth of the octree of Poisson's reconstruction"),
    Option(name="mesh-size", type="int", default=200_000, minimum=100, maximum=20_000_000, help="the most triangles of the mesh"),
    Option(name="output", type="choice", choices=("ply", "laz", "pcd"), default="ply", help="form of the merged cloud"),
)  # fmt: skip


def scan_names(files: Folder) -> tuple[str, ...]:
    """The scans of a folder, sorted."""
    return tuple(name for name in files.names() if name.lower().endswith(SCANS) and not name.startswith("stages/"))


class Scans(SurveyStage):
    name = "scans"
    job = "scans_read"
    options = ("voxel",)

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        return [
            Region(name=f"scan{number:05d}", data={"name": name, "number": number}, needs=(name,), weight=float(files.size(name)))
            for number, name in enumerate(scan_names(files))
        ]

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        expect(outputs, (f"{region.data['number']:05d}.npz",), region)
        arrays = arrays_of(outputs, outputs.names()[0], region)
        check(region, arrays, points=3, normals=3, features=33, turned=33)

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        names = scan_names(files)
        came = [piece.region.name for piece in keep(pieces, out)]
        complete([f"scan{number:05d}" for number in range(len(names))], came)
        (out / "scans.json").write_bytes(msgspec.json.encode(list(names)))


class Pairs(SurveyStage):
    name = "pairs"
    job = "scans_pair"
    options = ("voxel", "registration", "min-overlap")

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        if task.options["registration"] == "none":
            return
        count = len(msgspec.json.decode(files.read("stages/scans/scans.json"), type=list[str]))
        for one, other in chosen_pairs(count, task.options["pairs"]):
            needs = tuple(f"stages/scans/{number:05d}.npz" for number in (one, other))
            yield Region(name=f"{one:05d}-{other:05d}", data={"pair": [one, other]}, needs=needs)

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        name = f"{region.name}.json"
        expect(outputs, (name,), region)
        found = msgspec.json.decode(outputs.read(name))
        matrix = [value for row in found["transformation"] for value in row]
        if len(matrix) != 16 or len(found["information"]) != 6 or not 0 <= found["overlap"] <= 1 or found["pair"] != region.data["pair"]:
            raise OutputRejected(f"Job {region.name}: {name} is not what a pair of scans gives.")
        if not all(map(math.isfinite, matrix)):
            raise OutputRejected(f"Job {region.name}: the position is not a number.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        found = [msgspec.json.decode(piece.files.read(f"{piece.region.name}.json")) for piece in pieces]
        (out / "pairs.json").write_bytes(msgspec.json.encode(found))


class Merge(SurveyStage):
    name = "merge"
    job = "scans_merge"

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        names = msgspec.json.decode(files.read("stages/scans/scans.json"), type=list[str])
        return [Region(name="merge", data={"names": names, "task": task.name}, needs=(*names, "stages"))]

    def process(self, task: TaskSpec, region: Region, place: Place) -> Recipe:
        return recipe(self.job, task, region.data, place, (f"{task.name}.{task.options['output']}", "poses.json", "report.json"))

    def reads(self, task: TaskSpec, region: Region) -> Any:
        return [task.options, region.data]

    def notes(self, task: TaskSpec, files: Folder) -> tuple[str, ...]:
        return notes_of(files, "pairs")

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        wanted = [f"{task.name}.{task.options['output']}", "poses.json", "preview.png", "report.json"]
        if task.options["mesh"] != "none":
            wanted.append(f"{task.name}-mesh.ply")
        expect(outputs, wanted, region)
        report = msgspec.json.decode(outputs.read("report.json"))
        for name in wanted:
            if outputs.size(name) != report["sizes"].get(name, outputs.size(name)) or report["points"] < 1:
                raise OutputRejected(f"Job {region.name}: {name} is not whole.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        if [piece.region.name for piece in keep(pieces, out)] != ["merge"]:
            raise StitchFailed("The piece merge is missing.")


def chosen_pairs(count: int, which: str) -> list[tuple[int, int]]:
    """Which scans are tried with each other."""
    if which == "all" or (which == "auto" and count <= ALL_PAIRS):
        return list(combinations(range(count), 2))
    return [(one, other) for one in range(count) for other in range(one + 1, min(count, one + NEXT + 1))]


def check(region: Region, arrays: Any, **columns: int) -> None:
    """Raise OutputRejected where an array has not these columns, not as many rows as the others, or what is no number."""
    import numpy as np

    rows = {len(arrays[name]) for name in columns if name in arrays}
    if len(rows) != 1 or any(name not in arrays or arrays[name].shape[1:] != (wide,) for name, wide in columns.items()):
        raise OutputRejected(f"Job {region.name}: its arrays are not those of a scan.")
    if not all(np.isfinite(arrays[name]).all() for name in columns):
        raise OutputRejected(f"Job {region.name}: it holds what is no number.")


class PointCloud(Kind):
    """See the head of this file."""

    name = "pointcloud"
    scenes = ("scans (.ply, .laz)",)
    version = 1
    allow = "render"
    options = OPTIONS

    def recognise(self, files: Folder) -> bool:
        return len(scan_names(files)) >= 2 and len(scan_names(files)) > len(files.names()) / 2

    def examine(self, spec: TaskSpec, files: Folder) -> Examined:
        options = normalise(self.name, OPTIONS, spec.options)
        found = scan_names(files)
        if not found:
            raise TaskFileError(f"There is no scan in this folder: files that end in {', '.join(SCANS)}.", key="kind")
        if len(found) > 5000:
            raise SplitFailed(f"{len(found)} scans are more than one task can hold (5000): make several of them.")
        warnings = ("There is one scan only: it is filtered, but there is nothing to register.",) if len(found) == 1 else ()
        plain = not any(name.lower().endswith((".las", ".laz")) for name in found)
        if options["output"] == "laz" and options["registration"] != "none" and plain:
            warnings = (*warnings, "The merged .laz has the coordinates of the first scan, without a reference system.")
        return Examined(spec=msgspec.structs.replace(spec, options=options), warnings=warnings)

    def needs(self, spec: TaskSpec) -> Needs:
        return msgspec.structs.replace(spec.needs, program=spec.needs.program or PROGRAM)

    def stages(self, task: TaskSpec) -> tuple[Stage, ...]:
        return (Scans(), Pairs(), Merge())


POINTCLOUD = PointCloud()
