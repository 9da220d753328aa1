"""Whether a folder is a survey, and whether what is asked for makes sense: by names and the files beside the photos alone.

It runs where the task is submitted: no photo is opened, and no library of the extra ``survey`` is needed.
"""

from __future__ import annotations

import difflib
import posixpath
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from ...errors import KindError, TaskFileError
from ...model import TaskSpec
from ...survey import crs, gcp, geofile
from ...survey.boundary import read_boundary
from ...survey.errors import BadSurvey
from ...survey.intake import about_left_out
from ...survey.records import LeftOut
from ..kind import Examined, Folder
from ..mitsuba_scene import main_scenes
from ..options import normalise
from .options import OPTIONS

PHOTOS = (".jpg", ".jpeg", ".tif", ".tiff", ".png")
UNREAD = (
    ".heic", ".heif", ".avif", ".webp", ".jp2", ".jxl",
    ".dng", ".raw", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".srw", ".pef",
)  # fmt: skip
"""Photos too, which no library here opens."""
SCENES = (".pov", ".blend")
"""Pictures beside these are textures."""
RESULTS = ("stages", "odm_orthophoto", "odm_dem", "odm_texturing", "odm_texturing_25d", "odm_report", "opensfm", "__MACOSX")
"""Folders whose pictures are results, of ours and of ODM, or copies for file managers; those that begin with . or @ too."""
FEW, MANY = 5, 5000
CONVERT = "convert them to JPEG, such as by: magick mogrify -format jpg"


def photo_names(files: Folder) -> tuple[str, ...]:
    """What looks like a photo by its name, anywhere in the folder but below RESULTS, sorted. Masks are none."""
    names = [name for name in files.names() if name.lower().endswith(PHOTOS) and not _hidden(name)]
    stems = {posixpath.splitext(name)[0].lower() for name in names}
    return tuple(name for name in names if not _is_mask(name, stems))


def no_photos(files: Folder) -> Iterator[tuple[str, str]]:
    """Pictures that are not used, and why; it goes on after the name."""
    photos = set(photo_names(files))
    for name in files.names():
        ending = posixpath.splitext(name)[1]
        if _hidden(name) or name in photos:
            continue
        if ending.lower() in UNREAD:
            yield name, f"is in the format {ending[1:].upper()}, which is not read; {CONVERT} *{ending}"
        elif ending.lower() in PHOTOS:
            yield name, "is a mask, and masks are not used"


def is_survey(files: Folder) -> bool:
    """Two photos or more, also such as must be converted first, and no scene that they could be textures of."""
    photos = [name for name in files.names() if name.lower().endswith((".jpg", ".jpeg", *UNREAD)) and not _hidden(name)]
    return len(photos) >= 2 and not any(name.lower().endswith(SCENES) for name in files.names()) and not main_scenes(files)


def examine(spec: TaskSpec, files: Folder) -> Examined:
    """See the kind's contract. Checked are the options, and every list beside the photos, as the stages will read them."""
    options = normalise("survey", OPTIONS, spec.options)
    photos = photo_names(files)
    unused = list(no_photos(files))
    _check_count(photos, [name for name, _ in unused if name.lower().endswith(UNREAD)])
    names = files.names()
    # word for word what the stage features says later, so that the task says it once
    warnings = [*about_left_out([LeftOut(name=name, why=f"{name} {why}.") for name, why in unused]), *_about_count(len(photos))]
    for option in ("gcp", "geo"):
        _check_file(options[option], option, names)
    if options["crs"]:
        _check_crs(options["crs"], "Option crs", "options.crs", metres=True)
        options["crs"] = geofile.crs_of(options["crs"])  # pyproj does not know "WGS84 UTM 15N"
    try:
        warnings += _control(options, files, photos)
        warnings += _positions(options, files, photos)
        if options["boundary"]:
            _boundary(options["boundary"], files)
    except BadSurvey as error:
        raise TaskFileError(str(error)) from error
    return Examined(spec=msgspec.structs.replace(spec, options=options), warnings=tuple(warnings))


def _control(options: Mapping[str, Any], files: Folder, photos: Collection[str]) -> tuple[str, ...]:
    """Ground control points; warnings."""
    name, checkpoints = gcp.gcp_file(files.names(), options["gcp"]), options["gcp-checkpoints"]
    if not name:
        if checkpoints:
            raise TaskFileError("there are no ground control points: gcp_list.txt is missing.", key="options.gcp-checkpoints")
        return ()
    found = gcp.parse_gcps(geofile.text_of(files.read(name), name), name, photos, checkpoints)
    _check_crs(found.crs, f"{name}, first line", "")
    others = [other for other in gcp.gcp_files(files.names()) if other != name]
    rest = ", ".join(others[:3])
    two = f"There are several lists of ground control points: {name} is read, {rest} not; option gcp names another."
    return (*gcp.gcp_warnings(found), *((two,) if others and not options["gcp"] else ()))


def _positions(options: Mapping[str, Any], files: Folder, photos: Collection[str]) -> Iterator[str]:
    """geo.txt and image_groups.txt; warnings."""
    geo = options["geo"] or geofile.list_file(files.names(), geofile.GEO)
    if geo:
        found, _ = geofile.parse_geo(geofile.text_of(files.read(geo), geo), geo, photos)
        _check_crs(found, f"{geo}, first line", "")
    groups = geofile.list_file(files.names(), geofile.GROUPS)
    if groups:
        grouped = geofile.parse_groups(geofile.text_of(files.read(groups), groups), groups, photos)
        if grouped and options["split"]:
            yield f"Option split is not used: the submodels are the groups of {groups}."


def _check_count(photos: Collection[str], unread: Collection[str]) -> None:
    if len(photos) >= 2:
        return
    has = f"there {'is 1 photo' if len(photos) == 1 else 'are no photos'} (.jpg, .tif, .png) in the folder"
    if unread:
        one = next(iter(unread))
        ending = posixpath.splitext(one)[1]
        raise TaskFileError(f"{has}, but {len(unread)} as {posixpath.basename(one)}, which cannot be read; {CONVERT} *{ending}", key="kind")
    raise TaskFileError(f"{has}; a survey needs at least 2, better 5 and more of each place.", key="kind")


def _about_count(count: int) -> Iterator[str]:
    if count < FEW:
        yield f"{count} photos are few: a place is measured well where 5 or more overlap."
    if count > MANY:
        yield f"{count} photos are very many for one task: think of several, or see that nodes and disk are large enough."


def _check_file(given: str, option: str, names: Collection[str]) -> None:
    if given and given not in names:
        near = difflib.get_close_matches(given, names, n=1, cutoff=0.6)
        below = next((name for name in names if posixpath.basename(name) == posixpath.basename(given)), near[0] if near else "")
        hint = f'did you mean "{below}"?' if below else "a path counts from the folder."
        raise TaskFileError(f'{option}: there is no file "{given}" in the folder; {hint}', key=f"options.{option}")


def _check_crs(name: str, source: str, key: str, *, metres: bool = False) -> None:
    """By its form; by pyproj too where it is on this machine. ``metres``: the results are to be in it."""
    if not geofile.crs_of(name):
        raise TaskFileError(f'{source}: "{name[:60]}" is no CRS; write it as EPSG:32615 or EPSG:32615+5773.', key=key)
    try:
        crs.known(geofile.crs_of(name), source)
        if metres:
            crs.in_metres(geofile.crs_of(name), source)
    except BadSurvey as error:
        raise TaskFileError(str(error), key=key) from error
    except KindError:
        return  # the nodes have it


def _boundary(given: str, files: Folder) -> None:
    if given.lstrip().startswith("{"):
        read_boundary(given, "Option boundary")
        return
    _check_file(given, "boundary", files.names())
    read_boundary(geofile.text_of(files.read(given), given), given)


def _is_mask(name: str, stems: Collection[str]) -> bool:
    """ODM's ``DJI_0018_mask.png`` beside ``DJI_0018.jpg``."""
    stem = posixpath.splitext(name)[0].lower()
    return stem.endswith("_mask") and stem.removesuffix("_mask") in stems


def _hidden(name: str) -> bool:
    *folders, last = name.split("/")
    return any(folder in RESULTS or folder.startswith((".", "@")) for folder in folders) or last.startswith(".")
