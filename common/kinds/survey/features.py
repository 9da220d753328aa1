"""Stage ``features`` of a survey: photos are opened and looked at, in batches; the stitch numbers those that can be used.

A batch depends on the names of its photos alone, not on the farm: a restart, or a task with some photos more, finds the others' features.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from ...errors import KindError, OutputRejected, SplitFailed
from ...model import FarmShape, Region, TaskSpec
from ...survey import geofile
from ...survey.early import look_ahead
from ...survey.errors import BadSurvey
from ...survey.features import PHOTOS, Batch, Seen, check_sum, file_of
from ...survey.gcp import gcp_file
from ...survey.intake import take_in
from ...survey.photofile import LARGEST, SMALLEST
from ...survey.records import Features as Points
from ...survey.records import LeftOut, Photos, encoded, load, load_features, save
from ..kind import Folder, Piece
from .examine import no_photos, photo_names
from .options import SCALE
from .stage import SurveyStage, complete, expect

SIZES = ((24, 2), (160, 4))
"""Up to so many photos, batches of about so many; more: LARGE. A batch costs a start of about 1 s, a photo 2 to 5 s."""
LARGE = 8


class Features(SurveyStage):
    name = "features"
    job = "features"
    options = ("min-num-features",)

    def split(self, task: TaskSpec, files: Folder, farm: FarmShape) -> Iterable[Region]:
        photos = photo_names(files)
        if not photos:
            raise SplitFailed("There is no photo in the folder.")
        scale = SCALE[task.options["feature-quality"]]
        return [
            Region(name=f"photos{number:05d}", data={"photos": list(some), "scale": scale}, needs=tuple(some), weight=float(len(some)))
            for number, some in enumerate(batches(photos))
        ]

    def verify(self, task: TaskSpec, region: Region, outputs: Folder) -> None:
        try:
            batch = _batch(outputs, region.data["photos"])
        except (KeyError, ValueError) as error:
            raise OutputRejected(f"Job {region.name}: {PHOTOS} is damaged or not of these photos ({error}).") from error
        expect(outputs, [PHOTOS, *(file_of(one.name) for one in batch.photos if not one.fault)], region)
        for one in batch.photos:
            if one.facts is None:
                continue
            odd = _odd(one)
            if odd:
                raise OutputRejected(f"Job {region.name}: the facts of {one.name} {odd}.")
            try:
                fault = _fault(load_features(outputs.path(file_of(one.name))), one, int(task.options["min-num-features"]))
            except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile, EOFError, MemoryError) as error:
                raise OutputRejected(f"Job {region.name}: the features of {one.name} are damaged ({error}).") from error
            if fault:
                raise OutputRejected(f"Job {region.name}: the features of {one.name} {fault}.")

    def stitch(self, task: TaskSpec, files: Folder, pieces: Iterator[Piece], out: Path, progress: Callable[[float], None]) -> None:
        photos = photo_names(files)
        wanted = [f"photos{number:05d}" for number, _ in enumerate(batches(photos))]
        seen: dict[str, Seen] = {}
        found: dict[str, Path] = {}
        came = []
        for piece in pieces:
            for one in load(piece.files.path(PHOTOS), Batch).photos:
                seen[one.name] = one
                if not one.fault:
                    found[one.name] = piece.files.path(file_of(one.name))
            came.append(piece.region.name)
        complete(wanted, came)
        try:
            taken = take_in(
                seen.values(), left_out=unread(files), control=bool(gcp_file(files.names(), task.options["gcp"])), **_beside(task, files)
            )
            notes = look_ahead(taken, task.options, _list(files, gcp_file(files.names(), task.options["gcp"])), _boundary(task, files))
            taken = msgspec.structs.replace(taken, notes=(*taken.notes, *notes))
        except (BadSurvey, KindError) as error:
            raise SplitFailed(str(error)) from error
        for photo in taken.photos:
            shutil.copyfile(found[photo.name], out / f"{photo.number:05d}.npz")
            progress((photo.number + 1) / len(taken.photos))
        save(taken, out / "photos.json")
        save(_report(taken, seen), out / "report.json")


def batches(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Neighbours by name, cut after names whose digest says so: a photo that is put in or taken out changes the batch around it alone."""
    size = next((size for most, size in SIZES if len(names) <= most), LARGE)
    found: list[tuple[str, ...]] = []
    some: list[str] = []
    for name in names:
        some.append(name)
        cut = sha256(name.encode("utf-8", "surrogateescape")).digest()[0] % size == 0
        if (cut and len(some) >= size // 2) or len(some) == 2 * size:
            found.append(tuple(some))
            some = []
    return [*found, tuple(some)] if some else found


def unread(files: Folder) -> list[LeftOut]:
    """Pictures of formats that are not read, and masks."""
    return [LeftOut(name=name, why=f"{name} {why}.") for name, why in no_photos(files)]


def _list(files: Folder, name: str) -> tuple[str, str]:
    """Its name and text; twice nothing where there is none."""
    return (name, geofile.text_of(files.read(name), name)) if name else ("", "")


def _boundary(task: TaskSpec, files: Folder) -> tuple[str, str]:
    """What to call it, and the GeoJSON."""
    given: str = task.options["boundary"]
    return ("option boundary", given) if given.lstrip().startswith("{") else _list(files, given)


def _beside(task: TaskSpec, files: Folder) -> dict[str, Any]:
    """What geo.txt and image_groups.txt say, for take_in. Raises BadSurvey."""
    names, photos = files.names(), photo_names(files)
    geo = task.options["geo"] or geofile.list_file(names, geofile.GEO)
    groups = geofile.list_file(names, geofile.GROUPS)
    beside: dict[str, Any] = {}
    if geo:
        crs, places = geofile.parse_geo(geofile.text_of(files.read(geo), geo), geo, photos)
        at = geofile.degrees(crs, places, geo)
        beside |= {"places": {place.photo: (place, *at[place.photo]) for place in places}, "places_file": geo}
    if groups:
        beside["groups"] = geofile.parse_groups(geofile.text_of(files.read(groups), groups), groups, photos)
    return beside


def _batch(outputs: Folder, names: Sequence[str]) -> Batch:
    """Raises ValueError (DecodeError is one), KeyError."""
    told = outputs.read(PHOTOS)
    batch = msgspec.json.decode(told, type=Batch)
    if encoded(batch) != told or batch.sum != check_sum(batch.photos):
        raise ValueError("its sum is wrong")
    if [one.name for one in batch.photos] != list(names):
        raise ValueError("it names other photos")
    if any((one.facts is None) != bool(one.fault) for one in batch.photos):
        raise ValueError("a photo has neither facts nor a fault, or both")
    return batch


def _fault(features: Points, seen: Seen, most: int) -> str:
    """What is wrong with the features of a photo; empty: nothing."""
    import numpy as np

    assert seen.facts is not None
    count = seen.features
    forms = {"points": (count, 2), "scales": (count,), "descriptors": (count, 128), "colors": (count, 3)}
    types = {"points": np.float32, "scales": np.float32, "descriptors": np.uint8, "colors": np.uint8}
    for name, form in forms.items():
        array = getattr(features, name)
        if array.shape != form or array.dtype != types[name]:
            return f"have {name} of {array.dtype} {array.shape} instead of {np.dtype(types[name])} {form}"
    if count > most:
        return f"are {count} instead of at most {most}"
    points, scales = features.points, features.scales
    if not (np.isfinite(points).all() and np.isfinite(scales).all()):
        return "hold what is no number"
    if count and ((points < 0).any() or (points >= [seen.facts.width, seen.facts.height]).any()):
        return "lie outside of the photo"
    if (scales <= 0).any() or (np.diff(scales) > 0).any():
        return "are not in the order of their scales"
    return ""


def _odd(seen: Seen) -> str:
    """What cannot be in the facts of a photo; empty: nothing."""
    facts = seen.facts
    assert facts is not None
    if min(facts.width, facts.height) < SMALLEST or facts.width * facts.height > LARGEST or facts.focal <= 0 or not facts.camera:
        return "have no size or no camera"
    if (facts.latitude is None) != (facts.longitude is None) or abs(facts.latitude or 0) > 90 or abs(facts.longitude or 0) > 180:
        return "are at no place"
    return ""


def _report(taken: Photos, seen: Mapping[str, Seen]) -> dict[str, object]:
    counts = [seen[photo.name].features for photo in taken.photos]
    cameras: dict[str, int] = {}
    for photo in taken.photos:
        cameras[photo.camera] = cameras.get(photo.camera, 0) + 1
    return {
        "photos": len(taken.photos),
        "left_out": taken.left_out,
        "with_position": sum(photo.latitude is not None for photo in taken.photos),
        "cameras": cameras,
        "features": {"least": min(counts), "mean": round(sum(counts) / len(counts), 1), "most": max(counts)},
        "notes": taken.notes,
    }
