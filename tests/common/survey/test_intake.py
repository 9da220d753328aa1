"""Photos are numbered; whatever is passed over, fallen back to or doubtful is said in a sentence."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import pytest
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.exif import Facts
from clusterray.common.survey.features import Seen
from clusterray.common.survey.geofile import Place
from clusterray.common.survey.intake import take_in
from clusterray.common.survey.records import LeftOut, Photos

NORTH = 1 / 111_320
"""Degrees in a metre"""


def seen(number: int, name: str = "", *, fault: str = "", features: int = 5000, thumbnail: bytes = b"", **facts: Any) -> Seen:
    """A good photo 20 m north of the one before, with ``facts`` changed."""
    name = name or f"images/{number:03d}.jpg"
    if fault:
        return Seen(name=name, fault=fault)
    plain = {"width": 4000, "height": 3000, "camera": "a", "focal": 3000.0, "focal_known": True, "altitude": 100.0}
    place = {"latitude": 46.0 + 20 * number * NORTH, "longitude": 11.0}
    return Seen(
        name=name,
        facts=Facts(**(plain | place | facts)),
        features=features,
        file=f"file {number}",
        picture=f"picture {number}",
        thumbnail=b64encode(thumbnail or bytes([number * 6] * 256)).decode(),
    )


def note(photos: Photos, words: str) -> str:
    """The one note with these words."""
    (found,) = [sentence for sentence in photos.notes if words in sentence]
    assert found.endswith(".") and "\n" not in found
    return found


def test_good_photos_are_numbered_by_name_and_nothing_is_said():
    found = take_in([seen(2), seen(0), seen(1)])
    assert [(photo.number, photo.name) for photo in found.photos] == [(0, "images/000.jpg"), (1, "images/001.jpg"), (2, "images/002.jpg")]
    assert (found.left_out, found.notes) == ((), ())


def test_photos_that_cannot_be_used_are_left_out_and_named():
    found = take_in([seen(0), seen(1), seen(2, fault="is damaged")], left_out=[LeftOut(name="a.heic", why="a.heic is HEIC.")])
    assert found.left_out == (
        LeftOut(name="a.heic", why="a.heic is HEIC."),
        LeftOut(name="images/002.jpg", why="images/002.jpg is damaged."),
    )
    assert found.notes == ("Left out: a.heic is HEIC.", "Left out: images/002.jpg is damaged.")


def test_many_with_one_fault_are_one_sentence():
    found = take_in([seen(0), seen(1), *(seen(2 + number, fault="is a text file") for number in range(10))])
    assert found.notes == ("10 files are left out, each of which is a text file: 002.jpg, 003.jpg, 004.jpg and 7 others.",)
    different = take_in([seen(0), seen(1), *(seen(2 + number, fault=f"is damaged at {number}") for number in range(30))])
    assert len(different.notes) == 12 and "19 more files are left out" in different.notes[-1] and len(different.left_out) == 30


def test_doubles_are_left_out():
    """The same file, the same pixels under other EXIF, and the same picture saved again with less quality."""
    first = seen(0, taken=5.0, thumbnail=bytes(range(256)))
    again = Seen(name="copy/000.jpg", facts=first.facts, features=1, file=first.file, picture=first.picture)
    pixels = Seen(name="copy/001.jpg", facts=seen(9).facts, features=1, file="other", picture=first.picture)
    quality = seen(3, "smaller.jpg", taken=5.0, thumbnail=bytes([1, *range(1, 256)]))
    burst = seen(4, "next.jpg", taken=5.0, thumbnail=bytes(reversed(range(256))))
    found = take_in([seen(1), again, pixels, quality, burst, first])
    assert [photo.name for photo in found.photos] == ["copy/000.jpg", "images/001.jpg", "next.jpg", "smaller.jpg"]
    names = {one.name: one.why for one in found.left_out}
    assert names["images/000.jpg"] == "images/000.jpg is the same file as copy/000.jpg."
    assert names["copy/001.jpg"] == "copy/001.jpg is the same picture as copy/000.jpg."
    resaved = take_in([seen(1), quality, burst, first])
    assert [one.why for one in resaved.left_out] == ["smaller.jpg is the same picture as images/000.jpg."]


def test_of_doubles_the_one_that_tells_its_place_stays():
    """A picture exported from a photo program has lost its GPS and focal length: it does not push out the photo of the camera."""
    photo = seen(0)
    bare = {"latitude": None, "longitude": None, "altitude": None, "focal_known": False}
    export = Seen(name="a export.tif", facts=seen(0, **bare).facts, features=1, file="other", picture=photo.picture)
    found = take_in([export, seen(1), photo])
    assert [photo.name for photo in found.photos] == ["images/000.jpg", "images/001.jpg"] and found.photos[0].latitude == 46.0
    assert found.notes == ("Left out: a export.tif is the same picture as images/000.jpg.",)


def test_one_position_places_nobody():
    """It is not promised that a single photo with GPS places the others."""
    nowhere = {"latitude": None, "longitude": None, "altitude": None}
    few = take_in([seen(0), *(seen(number, **nowhere) for number in range(1, 6))])
    assert note(few, "no GPS") == "5 of 6 photos have no GPS: 001.jpg, 002.jpg, 003.jpg and 2 others."
    assert "will be placed by the others" in note(take_in([seen(0), seen(1), seen(2, **nowhere)]), "no GPS")


def test_a_double_of_a_double_is_left_out():
    """The camera's photo, one saved again with less quality, and a TIFF made of the first: one picture."""
    again = seen(0, "again.jpg", taken=5.0, thumbnail=bytes([1, *range(1, 256)]))
    photo = seen(2, taken=5.0, thumbnail=bytes(range(256)))
    tiff = Seen(name="z.tif", facts=seen(0, taken=None).facts, features=1, file="other", picture=photo.picture)
    found = take_in([again, photo, tiff, seen(1)])
    assert [photo.name for photo in found.photos] == ["again.jpg", "images/001.jpg"]
    assert [one.why for one in found.left_out][1] == "z.tif is the same picture as again.jpg."


def test_fewer_than_two_photos_fail_and_say_why():
    with pytest.raises(BadSurvey, match=r"^Only one photo can be used, and a survey needs at least 2: images/001.jpg is damaged\.$"):
        take_in([seen(0), seen(1, fault="is damaged")])
    with pytest.raises(BadSurvey, match=r"^None of the photos can be used.*images/004.jpg is damaged; and 4 more\.$"):
        take_in([seen(number, fault="is damaged") for number in range(9)])
    with pytest.raises(BadSurvey, match=r"is the same file as images/000.jpg\.$"):
        take_in([seen(0), Seen(name="z.jpg", facts=seen(0).facts, file="file 0", picture="picture 0")])


def test_two_cameras_are_named():
    found = take_in([seen(0), seen(1), seen(2, camera="b")])
    assert "from 2 cameras" in note(found, "cameras") and "a (2 photos), b (1 photo)" in note(found, "cameras")


def test_a_guessed_focal_length_is_said():
    assert note(take_in([seen(0), seen(1, focal_known=False)]), "focal").startswith("1 of 2 photos (001.jpg) are without a focal length")
    assert note(take_in([seen(0, focal_known=False), seen(1, focal_known=False)]), "focal").startswith(
        "All photos are without a focal length"
    )


def test_photos_without_gps():
    nowhere = {"latitude": None, "longitude": None, "altitude": None}
    some = take_in([seen(0), seen(1), seen(2, **nowhere)])
    assert note(some, "GPS") == "1 of 3 photos has no GPS and will be placed by the others: 002.jpg."
    none = [seen(0, **nowhere), seen(1, **nowhere)]
    assert "neither scale nor north" in note(take_in(none), "No photo says where")
    assert take_in(none, control=True).notes == (), "control points give the place"


def test_gps_without_reception_and_altitude_missing():
    zero = {"latitude": None, "longitude": None, "altitude": None, "gps_fault": "says 0, 0, as it does without reception"}
    found = take_in([seen(0), seen(1), seen(2, altitude=None), seen(3, **zero)])
    assert note(found, "0, 0") == "The GPS of 1 photo is not used, as it says 0, 0, as it does without reception: 003.jpg."
    assert note(found, "altitude") == "1 photo has a position without altitude, which counts for east and north only: 002.jpg."


def test_a_photo_whose_gps_is_far_away_loses_it():
    """One photo of another flight in the folder, or one wrong fix, must not stretch the survey over a county."""
    found = take_in([*(seen(number) for number in range(8)), seen(8, latitude=46.5, accuracy=(1.0, 2.0))])
    assert note(found, "GPS").startswith("The GPS of images/008.jpg is not used, as it is 55.6 km from the middle")
    lost = found.photos[8]
    assert (lost.latitude, lost.longitude, lost.altitude, lost.accuracy) == (None, None, None, None)
    assert all(photo.latitude is not None for photo in found.photos[:8])


def test_gps_across_the_date_line_is_not_far():
    found = take_in([seen(number, longitude=-179.9999 if number else 179.9999) for number in range(8)])
    assert all(photo.longitude is not None for photo in found.photos)


@pytest.mark.parametrize("shape", ["strip", "field", "two sites", "one apart"])
def test_surveys_of_any_shape_keep_their_gps(shape):
    """A road of 10 km, a field, two villages, a photo taken 150 m aside: none of these is an error."""
    at = {
        "strip": lambda number: (number * 250, 0),
        "field": lambda number: (number // 6 * 30, number % 6 * 30),
        "two sites": lambda number: (number * 20 + 5000 * (number > 20), 0),
        "one apart": lambda number: (number * 10, 0 if number else 150),
    }[shape]
    places = [at(number) for number in range(40)]
    found = take_in(seen(n, latitude=46 + place[0] * NORTH, longitude=11 + place[1] * NORTH * 1.44) for n, place in enumerate(places))
    assert all(photo.latitude is not None for photo in found.photos)


def test_geo_txt_wins_over_the_photos():
    place = Place(photo="images/000.jpg", x=1, y=2, z=300.0, angles=(1, 2, 3), accuracy=(0.1, 0.2), line=2)
    flat = Place(photo="images/001.jpg", x=1, y=2, line=3)
    places = {"images/000.jpg": (place, 47.0, 12.0), "images/001.jpg": (flat, 47.0, 12.0)}
    found = take_in([seen(0), seen(1, accuracy=(9, 9)), seen(2)], places=places, places_file="geo.txt")
    first, second, third = found.photos
    assert (first.latitude, first.longitude, first.altitude, first.angles, first.accuracy) == (47.0, 12.0, 300.0, (1, 2, 3), (0.1, 0.2))
    assert (second.latitude, second.altitude, second.accuracy) == (47.0, 100.0, None), "the accuracy was that of the place it had"
    assert third.latitude == pytest.approx(46.0 + 40 * NORTH)
    assert note(found, "geo.txt") == "Positions of 2 of 3 photos come from geo.txt; the others keep their own."


def test_groups_are_kept():
    found = take_in([seen(0), seen(1)], groups={"images/001.jpg": "B"})
    assert [photo.group for photo in found.photos] == ["", "B"]


def test_plain_and_dark_photos_are_kept_and_named():
    found = take_in([seen(0), seen(1, features=12)])
    assert len(found.photos) == 2 and "hardly any features" in note(found, "001.jpg")
