"""What came out of all batches of photos -> ``Photos``: numbered, without doubles, with places and groups from the files beside them.

Whatever is passed over is named in a sentence. Cheap, as it runs in a hand of the server.
"""

from __future__ import annotations

import math
import posixpath
from base64 import b64decode
from collections.abc import Collection, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import msgspec

from .errors import BadSurvey
from .exif import Facts
from .features import Seen
from .geofile import Place
from .records import LeftOut, Photo, Photos

LEAST = 2
"""Photos; one has no depth."""
POOR = 50
"""Features; a photo with fewer hardly finds its neighbours."""
FAR_SPREADS, FAR_METRES = 10.0, 200.0
"""A position is wrong that is so many spreads (median absolute deviations) farther from the middle than the others, and so far from any
other photo. Long strips and several sites stay within: the spread grows with them."""
SENTENCES = 12
"""Sentences about photos left out; photos.json has them all."""
_METRES = 111_320.0
"""Of a degree of latitude"""


def take_in(
    seen: Iterable[Seen],
    *,
    left_out: Sequence[LeftOut] = (),
    places: Mapping[str, tuple[Place, float, float]] | None = None,
    places_file: str = "geo.txt",
    groups: Mapping[str, str] | None = None,
    control: bool = False,
) -> Photos:
    """``left_out``: what was no photo by its name. ``places``: photo -> line of geo.txt, latitude, longitude. ``control``: there are
    ground control points. Raises BadSurvey where fewer than LEAST photos can be used."""
    good, out = _sort_out(tuple(seen))
    out = sorted([*out, *left_out], key=lambda one: one.name)
    notes = list(about_left_out(out))
    if len(good) < LEAST:
        found = {0: "None of the photos", 1: "Only one photo"}[len(good)]
        why = f": {'; '.join(_sentence(one) for one in out[:5])}" + f"; and {len(out) - 5} more" * (len(out) > 5) if out else ""
        raise BadSurvey(f"{found} can be used, and a survey needs at least {LEAST}{why}.")
    photos = [_photo(number, one, (groups or {}).get(one.name, "")) for number, one in enumerate(good)]
    photos = _placed(photos, places or {})
    photos, lost = drop_far(photos)
    notes += about_cameras(photos)
    notes += _about_places(photos, good, places or {}, places_file, lost, control)
    notes += _about_poor(good)
    return Photos(photos=tuple(photos), left_out=tuple(out), notes=tuple(notes))


def _sort_out(seen: Sequence[Seen]) -> tuple[list[Seen], list[LeftOut]]:
    """Those that can be used, by name, and the others: with a fault, or the same picture as one that stays.

    Of doubles that one stays which tells most: a copy that a program saved may have lost position and focal length.
    """
    good: list[Seen] = []
    out: list[LeftOut] = []
    known: dict[str, str] = {}
    moments: dict[tuple[Any, ...], list[Seen]] = {}
    for one in sorted(seen, key=lambda one: (-_tells(one), one.name)):
        if one.facts is None:
            out.append(LeftOut(name=one.name, why=f"{one.name} {one.fault}."))
            continue
        moment = (one.facts.taken, one.facts.width, one.facts.height)
        alike = [] if one.facts.taken is None else [other for other in moments.get(moment, []) if _alike(one, other)]
        twin = known.get(one.file) or known.get(one.picture) or (alike[0].name if alike else "")
        if twin:
            same = "file" if one.file in known else "picture"
            out.append(LeftOut(name=one.name, why=f"{one.name} is the same {same} as {twin}."))
            known.setdefault(one.file, twin)  # a third one may be its double alone
            known.setdefault(one.picture, twin)
            continue
        known[one.file] = known[one.picture] = one.name
        moments.setdefault(moment, []).append(one)
        good.append(one)
    return sorted(good, key=lambda one: one.name), out


def _tells(one: Seen) -> int:
    """How much a photo says of itself."""
    return 0 if one.facts is None else 2 * (one.facts.latitude is not None) + one.facts.focal_known


def _alike(one: Seen, other: Seen) -> bool:
    """Whether two pictures of one moment are one picture that was saved twice: JPEG changes a mean over 1/256 of it by less than 2."""
    here, there = b64decode(one.thumbnail), b64decode(other.thumbnail)
    return len(here) == len(there) and max(abs(a - b) for a, b in zip(here, there, strict=True)) <= 2


def _photo(number: int, seen: Seen, group: str) -> Photo:
    facts = seen.facts
    assert facts is not None
    told = {name: getattr(facts, name) for name in Facts.__struct_fields__ if name != "gps_fault"}
    return Photo(number=number, name=seen.name, group=group, **told)


def _placed(photos: Sequence[Photo], places: Mapping[str, tuple[Place, float, float]]) -> list[Photo]:
    """With what geo.txt says, which wins over the photo; what it does not say stays."""
    placed = []
    for photo in photos:
        if photo.name in places:
            place, latitude, longitude = places[photo.name]
            photo = msgspec.structs.replace(
                photo,
                latitude=latitude,
                longitude=longitude,
                altitude=photo.altitude if place.z is None else place.z,
                angles=place.angles or photo.angles,
                accuracy=place.accuracy,
            )
        placed.append(photo)
    return placed


def drop_far(photos: Sequence[Photo]) -> tuple[list[Photo], dict[str, float]]:
    """Without the positions of photos that are far from all others, and how far these were from the middle, in metres."""
    at = {photo.number: (photo.latitude, photo.longitude) for photo in photos if photo.latitude is not None and photo.longitude is not None}
    if len(at) < 5:
        return list(photos), {}
    where = {number: (float(latitude or 0), float(longitude or 0)) for number, (latitude, longitude) in at.items()}
    middle = (median(latitude for latitude, _ in where.values()), median(longitude for _, longitude in where.values()))
    distances = {number: _metres(place, middle) for number, place in where.items()}
    usual = median(distances.values())
    spread = median(abs(distance - usual) for distance in distances.values())
    far = [number for number, distance in distances.items() if distance - usual > max(FAR_SPREADS * spread, FAR_METRES)]
    alone = {number for number in far if all(other == number or _metres(where[number], where[other]) > FAR_METRES for other in where)}
    kept = [
        msgspec.structs.replace(photo, latitude=None, longitude=None, altitude=None, accuracy=None) if photo.number in alone else photo
        for photo in photos
    ]
    return kept, {photo.name: distances[photo.number] for photo in photos if photo.number in alone}


def _metres(one: tuple[float, float], other: tuple[float, float]) -> float:
    """On a plane, which is enough to tell near from far."""
    east = ((one[1] - other[1] + 180) % 360 - 180) * math.cos(math.radians((one[0] + other[0]) / 2))
    return math.hypot(one[0] - other[0], east) * _METRES


def about_left_out(out: Sequence[LeftOut]) -> tuple[str, ...]:
    """One sentence for each reason that many share, one for each photo otherwise."""
    reasons: dict[str, list[LeftOut]] = {}
    for one in out:
        reasons.setdefault(_sentence(one).removeprefix(one.name).strip(), []).append(one)
    sentences = []
    for why, some in reasons.items():
        if len(some) == 1:
            sentences.append(f"Left out: {_sentence(some[0])}.")
        else:
            sentences.append(f"{len(some)} files are left out, each of which {why}: {several([one.name for one in some])}.")
    if len(sentences) > SENTENCES:
        rest = len(sentences) - SENTENCES + 1
        sentences = [*sentences[: SENTENCES - 1], f"{rest} more files are left out for other reasons, which the report names."]
    return tuple(sentences)


def about_cameras(photos: Sequence[Photo]) -> list[str]:
    counts: dict[str, int] = {}
    for photo in photos:
        counts[photo.camera] = counts.get(photo.camera, 0) + 1
    notes = []
    if len(counts) > 1:
        named = ", ".join(f"{camera} ({_photos(count)})" for camera, count in sorted(counts.items())[:6]) + " and others" * (
            len(counts) > 6
        )
        notes.append(f"The photos come from {len(counts)} cameras, or sizes or zooms of one, each calibrated by itself: {named}.")
    guessed = [photo.name for photo in photos if not photo.focal_known]
    if guessed:
        who = "All photos are" if len(guessed) == len(photos) else f"{len(guessed)} of {len(photos)} photos ({several(guessed)}) are"
        notes.append(
            f"{who} without a focal length in the EXIF: calibration starts from a guess, so heights are less sure; "
            "use the photos as the camera saved them."
        )
    return notes


def _about_places(
    photos: Sequence[Photo], good: Sequence[Seen], places: Mapping[str, Any], file: str, lost: Mapping[str, float], control: bool
) -> list[str]:
    notes = [
        f"The GPS of {name} is not used, as it is {distance / 1000:,.1f} km from the middle of the others; the photo itself is."
        for name, distance in list(lost.items())[:5]
    ]
    faults: dict[str, list[str]] = {}
    for one in good:
        if one.facts is not None and one.facts.gps_fault and one.name not in places:
            faults.setdefault(one.facts.gps_fault, []).append(one.name)
    notes += [f"The GPS of {_photos(len(names))} is not used, as it {fault}: {several(names)}." for fault, names in faults.items()]
    used = sum(photo.name in places for photo in photos)
    if used:
        rest = "; the others keep their own" if used < len(photos) else ""
        notes.append(f"Positions of {used} of {len(photos)} photos come from {file}{rest}.")
    without = [photo.name for photo in photos if photo.latitude is None]
    if len(without) == len(photos) and not control:
        notes.append(
            "No photo says where it was taken, so the model has neither scale nor north: points and a mesh are made, but no orthophoto or "
            "surface model. Ground control points (gcp_list.txt) or positions (geo.txt) would give it its place."
        )
    placing = " and will be placed by the others" if len(photos) - len(without) >= LEAST or control else ""
    told = {*lost, *(name for names in faults.values() for name in names)}
    without = [name for name in without if name not in told]
    if without and len(without) < len(photos):
        notes.append(f"{len(without)} of {len(photos)} photos {_has(without)} no GPS{placing}: {several(without)}.")
    flat = [photo.name for photo in photos if photo.latitude is not None and photo.altitude is None]
    if flat:
        notes.append(
            f"{_photos(len(flat))} {_has(flat)} a position without altitude, which counts for east and north only: {several(flat)}."
        )
    return notes


def _about_poor(good: Sequence[Seen]) -> list[str]:
    poor = [one.name for one in good if one.features < POOR]
    if not poor:
        return []
    return [
        f"{_photos(len(poor))} {_has(poor)} hardly any features (too dark, plain or blurred) and may not find a place: {several(poor)}."
    ]


def several(names: Collection[str], most: int = 3) -> str:
    """``a.jpg, b.jpg, c.jpg and 9 others``, without their folders."""
    first = [posixpath.basename(name) for name in list(names)[:most]]
    rest = len(names) - len(first)
    return ", ".join(first) + (f" and {rest} other{'s' * (rest > 1)}" if rest else "")


def _sentence(one: LeftOut) -> str:
    return one.why.removesuffix(".")


def _photos(count: int) -> str:
    return f"{count} photo{'s' * (count != 1)}"


def _has(names: Collection[str]) -> str:
    return "has" if len(names) == 1 else "have"
