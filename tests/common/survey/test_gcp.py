"""Lists of ground control points."""

from __future__ import annotations

import pytest
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.gcp import Gcps, check_marks, gcp_file, gcp_warnings, parse_gcps

PHOTOS = ("images/A.JPG", "images/b.jpg", "images/c.jpg")
LIST = """EPSG:32616
# a comment
544256.7 5320919.9 5.5 100 200 a.jpg one
544256.7 5320919.9 5.5 110 210 b.jpg one
544157.7 5320899.2 6 120.5 220 a.jpg two
544157.7 5320899.2 6 130 230 c.jpg two
544033.4 5320876.0 5 140 240 b.jpg three
544033.4 5320876.0 5 150 250 c.jpg three
544100 5320880 7 160 260 a.jpg CHK-1
544100 5320880 7 170 270 c.jpg CHK-1
"""


def refused(text: str, *words: str, checkpoints: tuple[str, ...] = ()) -> None:
    with pytest.raises(BadSurvey) as error:
        parse_gcps(text, "gcp_list.txt", PHOTOS, checkpoints)
    sentence = str(error.value)
    assert all(word in sentence for word in words), sentence
    assert "\n" not in sentence


def test_points() -> None:
    """Marks of one name are one point; photos are found without regard to case and folder; CHK- is a checkpoint."""
    found = parse_gcps(LIST, "gcp_list.txt", PHOTOS)
    assert found.crs == "EPSG:32616"
    assert [point.name for point in found.points] == ["one", "two", "three", "CHK-1"]
    assert [point.name for point in found.control] == ["one", "two", "three"]
    one = found.points[0]
    assert one.position == (544256.7, 5320919.9, 5.5)
    assert [(mark.photo, mark.x, mark.y, mark.line) for mark in one.marks] == [("images/A.JPG", 100, 200, 3), ("images/b.jpg", 110, 210, 4)]


def test_without_names() -> None:
    """Marks at the same coordinates are one point where nothing is named; tabs, a byte order mark and Windows' line ends are fine."""
    text = "\ufeff" + "\r\n".join(["WGS84 UTM 16S"] + [f"{x}\t2\t3\t10\t10\tphoto {photo}.jpg" for x in (1, 2, 3) for photo in ("a", "b")])
    found = parse_gcps(text)
    assert found.crs == "EPSG:32716"
    assert [(point.name, len(point.marks)) for point in found.points] == [("1 2 3", 2), ("2 2 3", 2), ("3 2 3", 2)]
    assert found.points[0].marks[0].photo == "photo a.jpg"


def test_proj_string() -> None:
    """A string of PROJ is a CRS as well."""
    assert parse_gcps(LIST.replace("EPSG:32616", "+proj=utm +zone=16 +datum=WGS84"), photos=PHOTOS).crs.startswith("+proj=utm")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("EPSG:32616", "Mars", ("gcp_list.txt, line 1", "Mars", "EPSG:")),
        ("EPSG:32616", "WGS84 UTM 61N", ("line 1", "61")),
        ("100 200 a.jpg one", "100 200 z.jpg one", ("line 3", "z.jpg")),
        ("5.5 100", "5.5 1oo", ("line 3", "1oo", "not a number")),
        ("5.5 100", "nan 100", ("line 3", "nan")),
        ("544256.7 5320919.9 5.5 110", "544256.8 5320919.9 5.5 110", ("line 4", "one", "line 3")),
        ("110 210 b.jpg one", "110 210 a.jpg one", ("line 4", "one", "twice")),
        ("6 130 230 c.jpg two", "6 130", ("line 6", "here are 4")),
    ],
)
def test_mistakes(old: str, new: str, words: tuple[str, ...]) -> None:
    """Each mistake is one sentence with file and line."""
    assert old in LIST
    refused(LIST.replace(old, new, 1), *words)


def test_too_little() -> None:
    """Nothing in it, too few points, points marked in one photo, checkpoints that are not there: sentences."""
    refused("", "empty")
    refused("EPSG:32616\n", "0 control points")
    refused(LIST.replace("three", "CHK-3"), "2 control points", "3 are needed")
    once = "EPSG:32616\n" + "".join(f"{x} 2 3 10 10 a.jpg p{x}\n" for x in range(4))
    refused(once, "0 of 4", "2 photos")
    refused(LIST, "four", "no point", checkpoints=("four",))


def test_checkpoints_by_option() -> None:
    """A point that the option names is not used; then there may be too few."""
    text = LIST.replace("CHK-1", "four")
    assert [point.check for point in parse_gcps(text, photos=PHOTOS, checkpoints=["four"]).points] == [False, False, False, True]


def test_ambiguous_photo() -> None:
    """Two photos of one name in two folders: the path is asked for, and understood."""
    photos = (*PHOTOS, "more/b.jpg")
    with pytest.raises(BadSurvey, match=r"images/b.jpg or more/b.jpg"):
        parse_gcps(LIST, "gcp_list.txt", photos)
    assert parse_gcps(LIST.replace(" b.jpg", " more/b.jpg"), "gcp_list.txt", photos).points[0].marks[1].photo == "more/b.jpg"


def test_lenient() -> None:
    """The job passes over marks in photos that were left out on the way, and keeps the rest."""
    found = parse_gcps(LIST, "gcp_list.txt", PHOTOS[1:], lenient=True)
    assert [len(point.marks) for point in found.points] == [1, 1, 2, 1]


def test_pixels_outside() -> None:
    """A mark outside of its photo is named by its line, with the photo's size."""
    found = parse_gcps(LIST, "gcp_list.txt", PHOTOS)
    sizes = dict.fromkeys(PHOTOS, (1000, 300))
    check_marks(found, sizes)
    with pytest.raises(BadSurvey, match=r"line 3: pixel 100 200 .* A.JPG, which has 90 x 300"):
        check_marks(found, {**sizes, "images/A.JPG": (90, 300)})


def test_which_file() -> None:
    """gcp_list.txt is found in any folder, the outermost first; the option names another, which must be there."""
    assert gcp_file(["a/gcp_list.txt", "GCP_LIST.txt", "x.jpg"]) == "GCP_LIST.txt"
    assert gcp_file(["x.jpg"]) == ""
    assert gcp_file(["points.csv"], "points.csv") == "points.csv"
    with pytest.raises(BadSurvey, match=r"points\.csv"):
        gcp_file(["x.jpg"], "points.csv")


def test_warnings() -> None:
    """Points in two photos are told of; points in three are not."""
    found: Gcps = parse_gcps(LIST, "gcp_list.txt", PHOTOS)
    assert "one, two, three, CHK-1" in gcp_warnings(found)[0]
    text = "EPSG:32616\n" + "".join(f"{x} 2 3 10 10 {photo} p{x}\n" for x in range(3) for photo in ("a.jpg", "b.jpg", "c.jpg"))
    assert gcp_warnings(parse_gcps(text, photos=PHOTOS)) == ()
