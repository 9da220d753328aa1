"""Ground control points: places on the ground that somebody measured, and where they are seen in photos. ODM's ``gcp_list.txt``.

The first line names the CRS (``EPSG:32616``, ``WGS84 UTM 16N`` or ``+proj=…``); each other line is one mark, ``x y z px py photo [name]``,
with blanks or tabs between. Marks of one name are one point; without names, marks at the same x, y, z. Lines that begin with # are for
people.
Pixels count from the outer corner of the first pixel, x to the right and y down, in the photo as it is stored: what a click on it gives.

Which photos there are is told to ``parse_gcps``; sizes are not known before the photos are opened, so ``check_marks`` is for the job.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Collection, Iterable, Mapping

from .errors import BadSurvey
from .records import Record

CHECK = "CHK-"
"""A point whose name begins so is measured, not used."""
LEAST = 3
"""So many points not in one line fix place, direction and scale."""
USUAL = ("gcp_list.txt", "gcp.txt")

_UTM = re.compile(r"WGS ?84\s+UTM\s+(\d{1,2})\s*([NS])", re.IGNORECASE)
_EPSG = re.compile(r"EPSG:\d+(\+\d+)?", re.IGNORECASE)


class Mark(Record, frozen=True, kw_only=True):
    photo: str
    """Path below the task's folder where photos were told, else as written."""
    x: float
    y: float
    """Pixels."""
    line: int
    """In the file, from 1."""


class ControlPoint(Record, frozen=True, kw_only=True):
    name: str
    position: tuple[float, float, float]
    """x (east, or longitude), y, z in ``Gcps.crs``"""
    marks: tuple[Mark, ...]
    check: bool = False
    """A checkpoint: measured, not used."""


class Gcps(Record, frozen=True, kw_only=True):
    file: str
    crs: str
    """As pyproj reads it; whether pyproj knows it is found out by the job."""
    points: tuple[ControlPoint, ...]
    """In the order of their first marks."""

    @property
    def control(self) -> tuple[ControlPoint, ...]:
        """Those that are used."""
        return tuple(point for point in self.points if not point.check)


def gcp_file(names: Collection[str], option: str = "") -> str:
    """Which of a task's files holds the control points; empty: none. BadSurvey where the option names a file that is not there."""
    if option:
        if option not in names:
            raise BadSurvey(f"The file {option} with the ground control points (option gcp) is not in the folder.")
        return option
    return next(iter(gcp_files(names)), "")


def gcp_files(names: Collection[str]) -> tuple[str, ...]:
    """All that are called as lists of control points usually are; the one that is read first."""
    return tuple(name for usual in USUAL for name in sorted(names, key=_depth) if posixpath.basename(name).lower() == usual)


def parse_gcps(
    text: str, name: str = "gcp_list.txt", photos: Collection[str] | None = None, checkpoints: Iterable[str] = (), *, lenient: bool = False
) -> Gcps:
    """``text`` of the file ``name``. ``photos``: paths of all photos, to find unknown ones; None: not known yet. ``checkpoints``: option
    gcp-checkpoints. ``lenient``: a mark in a photo that is not among ``photos`` is passed over (the job: a photo may have been left out).

    Raises BadSurvey, which names file and line.
    """
    lines = [(number, line.strip()) for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1)]
    lines = [(number, line) for number, line in lines if line and not line.startswith("#")]
    if not lines:
        raise BadSurvey(f"{name} is empty: its first line names the CRS, each other line is x y z px py photo [name].")
    crs = _crs(lines[0][1], f"{name}, line {lines[0][0]}")
    known = None if photos is None else _by_name(photos)
    found: dict[str, tuple[int, tuple[float, float, float], list[Mark]]] = {}
    for number, line in lines[1:]:
        where = f"{name}, line {number}"
        position, (x, y), photo, point = _mark(line, where)
        path = photo if known is None else _photo(photo, known, where, lenient)
        first, there, marks = found.setdefault(point, (number, position, []))
        if there != position:
            raise BadSurvey(f"{where}: the point {point} has other coordinates than in line {first}.")
        if any(mark.photo == path for mark in marks if path):
            raise BadSurvey(f"{where}: the point {point} is marked in {photo} twice.")
        if path:
            marks.append(Mark(photo=path, x=x, y=y, line=number))
    checks = tuple(checkpoints)
    unknown = [check for check in checks if check not in found]
    if unknown:
        has = ", ".join(list(found)[:5]) or "it has none"
        raise BadSurvey(f"Option gcp-checkpoints names {unknown[0]}, which is no point of {name}: {has}.")
    points = tuple(
        ControlPoint(name=point, position=position, marks=tuple(marks), check=point in checks or point.upper().startswith(CHECK))
        for point, (_, position, marks) in found.items()
    )
    used = sum(not point.check for point in points)
    if used < LEAST:
        raise BadSurvey(f"{name} has {used} control point{'s' * (used != 1)} besides checkpoints; at least {LEAST} are needed, better 5.")
    several = sum(len(point.marks) >= 2 for point in points if not point.check)
    if several < LEAST and not lenient:
        raise BadSurvey(
            f"{name}: {several} of {used} control points are marked in 2 photos or more; "
            f"{LEAST} such points are needed, better in 3 photos each."
        )
    return Gcps(file=name, crs=crs, points=points)


def check_marks(gcps: Gcps, sizes: Mapping[str, tuple[int, int]]) -> None:
    """``sizes``: width and height by photo. Raises BadSurvey, which names the line of a mark that lies outside of its photo."""
    for point in gcps.points:
        for mark in point.marks:
            width, height = sizes.get(mark.photo, (math.inf, math.inf))
            if not (0 <= mark.x <= width and 0 <= mark.y <= height):
                raise BadSurvey(
                    f"{gcps.file}, line {mark.line}: pixel {mark.x:g} {mark.y:g} lies outside of {posixpath.basename(mark.photo)}, "
                    f"which has {width} x {height} pixels; were the points marked in photos of another size?"
                )


def gcp_warnings(gcps: Gcps) -> tuple[str, ...]:
    """Sentences for the submitter about what is allowed and little."""
    few = [point.name for point in gcps.points if len(point.marks) < 3]
    if not few:
        return ()
    names = ", ".join(few[:5]) + " and others" * (len(few) > 5)
    return (f"{gcps.file}: {names} marked in fewer than 3 photos; mistakes there are hard to see.",)


def _depth(name: str) -> tuple[int, str]:
    return name.count("/"), name


def _crs(line: str, where: str) -> str:
    utm = _UTM.fullmatch(line)
    if utm:
        zone = int(utm[1])
        if not 1 <= zone <= 60:
            raise BadSurvey(f"{where}: there are UTM zones 1 to 60, not {zone}.")
        return f"EPSG:{(32600 if utm[2].upper() == 'N' else 32700) + zone}"
    if _EPSG.fullmatch(line):
        return line.upper()
    if "+proj" in line or "+init" in line:
        return line
    raise BadSurvey(f'{where}: the first line names the CRS, as EPSG:32616, WGS84 UTM 16N or +proj=…; it reads "{line[:60]}".')


def _mark(line: str, where: str) -> tuple[tuple[float, float, float], tuple[float, float], str, str]:
    """x y z, pixel, photo, name of the point."""
    words = [word.strip() for word in line.split("\t")]
    if len(words) < 6:  # names with blanks are fine only between tabs
        words = line.split()
    if len(words) < 6:
        raise BadSurvey(f"{where}: a mark is x y z px py photo [name], so 6 words at least; here are {len(words)}.")
    numbers = [_number(word, where) for word in words[:5]]
    point = words[6] if len(words) > 6 and words[6] else " ".join(words[:3])
    return (numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4]), words[5], point


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BadSurvey(f'{where}: "{word[:40]}" is not a number; a mark is x y z px py photo [name], with points as decimal marks.')
    return value


def _by_name(photos: Collection[str]) -> dict[str, list[str]]:
    """Both the path and the bare name, without regard to case, lead to a photo."""
    found: dict[str, list[str]] = {}
    for path in sorted(photos):
        for key in {path.lower(), posixpath.basename(path).lower()}:
            found.setdefault(key, []).append(path)
    return found


def _photo(name: str, known: Mapping[str, list[str]], where: str, lenient: bool) -> str:
    """The path of the photo; empty: passed over."""
    paths = known.get(name.replace("\\", "/").lower(), [])
    if len(paths) > 1:
        raise BadSurvey(f"{where}: {name} may be {paths[0]} or {paths[1]}; write the path.")
    if not paths and not lenient:
        raise BadSurvey(f"{where}: there is no photo {name} in the folder.")
    return paths[0] if paths else ""
