"""Lists that lie beside the photos, as ODM has them: ``geo.txt`` (positions) and ``image_groups.txt`` (which photos stay together).

``geo.txt``: its first line names the CRS (``EPSG:4326``, ``WGS84 UTM 16N`` or ``+proj=…``); each other line is one photo,
``name x y [z [yaw pitch roll [horizontal vertical]]]``: x is east or longitude, angles in degrees (0 0 0 looks straight down, top to the
north), accuracies in metres. ``image_groups.txt``: ``name group``. Blanks or tabs between words; between tabs alone, a name may have
blanks. Lines that begin with # are for people.
"""

from __future__ import annotations

import difflib
import math
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from ..libraries import library
from .crs import known
from .errors import BadSurvey
from .records import Record

GEO = "geo.txt"
GROUPS = "image_groups.txt"
_FORM = "name x y [z [yaw pitch roll [horizontal vertical]]]"
_UTM = re.compile(r"WGS ?84[\s/]+UTM(?:\s+zone)?\s+(\d{1,2})\s*([NS])", re.IGNORECASE)
_EPSG = re.compile(r"EPSG:(\d{4,6})(\+\d{4,6})?", re.IGNORECASE)


class Place(Record, frozen=True, kw_only=True):
    """A line of geo.txt."""

    photo: str
    """Path below the task's folder."""
    x: float
    y: float
    z: float | None = None
    angles: tuple[float, float, float] | None = None
    accuracy: tuple[float, float] | None = None
    line: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """Words of a line, and where it stands, for sentences."""

    where: str
    line: int
    text: str

    def words(self) -> list[str]:
        """By blanks; by tabs where there are any, so that a name may have blanks."""
        return [word.strip() for word in self.text.split("\t") if word.strip()] if "\t" in self.text else self.text.split()

    def number(self, word: str, form: str) -> float:
        try:
            value = float(word)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadSurvey(f'{self.where}: "{word[:40]}" is not a number; a line is {form}, with points as decimal marks.')
        return value


class Names:
    """Finds photos as people name them: by path or bare name, capitals or not."""

    def __init__(self, photos: Collection[str]) -> None:
        self._photos = tuple(sorted(photos))
        self._known: dict[str, list[str]] = {}
        for path in self._photos:
            for key in {path.lower(), posixpath.basename(path).lower()}:
                self._known.setdefault(key, []).append(path)

    def find(self, name: str, where: str) -> str:
        """The photo's path. Raises BadSurvey."""
        key = name.replace("\\", "/").removeprefix("./").lower()
        paths = self._known.get(key, [])
        exact = [path for path in paths if path.lower() == key]
        if exact:
            return exact[0]
        if not paths:
            close = difflib.get_close_matches(key, self._known, n=1, cutoff=0.75)
            hint = f"did you mean {posixpath.basename(self._known[close[0]][0])}?" if close else "put a # before the line to leave it out."
            raise BadSurvey(f"{where}: there is no photo {name[:80]} in the folder; {hint}")
        if len(paths) > 1:
            raise BadSurvey(f"{where}: {name} may be {paths[0]} or {paths[1]}; write the path.")
        return paths[0]


def rows(text: str, name: str) -> Iterator[Row]:
    """The lines that say something."""
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield Row(where=f"{name}, line {number}", line=number, text=line.strip())


def text_of(content: bytes, name: str) -> str:
    """Raises BadSurvey where a list is something else than text."""
    if b"\0" in content[:4096]:
        raise BadSurvey(f"{name} is not a text file; save it as plain text (UTF-8).")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("latin-1")  # what Windows' editors write; names of photos are ASCII nearly always


def crs_of(text: str) -> str:
    """``WGS84 UTM 16N`` and ``EPSG:32616`` as pyproj reads them, a PROJ string as it is; empty: it is none of these."""
    word = " ".join(text.split())
    utm = _UTM.fullmatch(word)
    if utm:
        zone = int(utm[1])
        return f"EPSG:{(32600 if utm[2].upper() == 'N' else 32700) + zone}" if 1 <= zone <= 60 else ""
    if _EPSG.fullmatch(word):
        return word.upper()
    return word if re.search(r"\+(proj|init)=\w", word) else ""


def parse_geo(text: str, name: str, photos: Collection[str]) -> tuple[str, tuple[Place, ...]]:
    """The CRS as pyproj reads it, and the places. ``photos``: paths of all photos in the folder. Raises BadSurvey, naming the line."""
    lines = list(rows(text, name))
    if not lines:
        raise BadSurvey(f"{name} is empty: its first line names the CRS, each other line is {_FORM}.")
    crs = crs_of(lines[0].text)
    if not crs:
        read = lines[0].text[:60]
        raise BadSurvey(f'{lines[0].where}: the first line names the CRS, as EPSG:4326, WGS84 UTM 16N or +proj=…; it reads "{read}".')
    photo_names = Names(photos)
    found: dict[str, Place] = {}
    for row in lines[1:]:
        place = _place(row, photo_names)
        if crs in ("EPSG:4326", "EPSG:4979") and not (abs(place.x) <= 180 and abs(place.y) <= 90):
            raise BadSurvey(f"{row.where}: {place.x:.10g} {place.y:.10g} is no longitude and latitude, but the first line says {crs}.")
        if place.photo in found:
            raise BadSurvey(f"{row.where}: {posixpath.basename(place.photo)} stands in line {found[place.photo].line} already.")
        found[place.photo] = place
    if not found:
        raise BadSurvey(f"{name} has no photos after its first line; a line is {_FORM}.")
    return crs, tuple(found.values())


def _place(row: Row, names: Names) -> Place:
    words = row.words()
    if len(words) < 3:
        raise BadSurvey(f"{row.where}: a line is {_FORM}; {_count(words)}.")
    photo = names.find(words[0], row.where)
    numbers = [row.number(word, _FORM) for word in words[1:9]]
    accuracy = (numbers[6], numbers[7]) if len(numbers) >= 8 else None
    if accuracy is not None and min(accuracy) <= 0:
        raise BadSurvey(f"{row.where}: accuracies are metres above 0, not {accuracy[0]:g} {accuracy[1]:g}.")
    if len(numbers) in (4, 5, 7):
        raise BadSurvey(f"{row.where}: a line is {_FORM}; here are {len(words)} words, so it is not clear what they mean.")
    return Place(
        photo=photo,
        x=numbers[0],
        y=numbers[1],
        z=numbers[2] if len(numbers) > 2 else None,
        angles=(numbers[3], numbers[4], numbers[5]) if len(numbers) >= 6 else None,
        accuracy=accuracy,
        line=row.line,
    )


def degrees(crs: str, places: Collection[Place], name: str) -> dict[str, tuple[float, float]]:
    """Photo -> latitude, longitude in WGS 84. Needs pyproj where ``crs`` is another. Raises BadSurvey, naming file and line."""
    if crs in ("EPSG:4326", "EPSG:4979"):
        return {place.photo: (place.y, place.x) for place in places}
    pyproj = library("pyproj", extra="survey")
    pyproj.network.set_network_enabled(False)
    to_wgs84 = pyproj.Transformer.from_crs(known(crs, name), "EPSG:4326", always_xy=True)
    longitudes, latitudes = to_wgs84.transform([place.x for place in places], [place.y for place in places])
    found = {}
    for place, longitude, latitude in zip(places, longitudes, latitudes, strict=True):
        if not (math.isfinite(longitude) and math.isfinite(latitude)):
            raise BadSurvey(f"{name}, line {place.line}: {place.x:.10g} {place.y:.10g} lies outside of {crs}.")
        found[place.photo] = (float(latitude), float(longitude))
    return found


def parse_groups(text: str, name: str, photos: Collection[str]) -> Mapping[str, str]:
    """Photo -> group. Raises BadSurvey, naming the line."""
    photo_names = Names(photos)
    found: dict[str, str] = {}
    for row in rows(text, name):
        words = row.words()
        if len(words) != 2:
            raise BadSurvey(f"{row.where}: a line is name group; {_count(words)}.")
        photo = photo_names.find(words[0], row.where)
        if found.setdefault(photo, words[1]) != words[1]:
            raise BadSurvey(f"{row.where}: {posixpath.basename(photo)} is in the group {found[photo]} already.")
    return found


def list_file(names: Collection[str], usual: str) -> str:
    """Which of a task's files is the list ``usual`` (geo.txt), the least deep one; empty: none."""
    fitting = [name for name in names if posixpath.basename(name).lower() == usual and not name.startswith("stages/")]
    return min(fitting, key=lambda name: (name.count("/"), name), default="")


def _count(words: Collection[str]) -> str:
    return "here is 1 word" if len(words) == 1 else f"here are {len(words)} words"
