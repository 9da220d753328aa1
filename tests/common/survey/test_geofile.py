"""Lists beside the photos are read as ODM's users write them, and a mistake is named with its line."""

from __future__ import annotations

import pytest
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.geofile import Place, crs_of, degrees, list_file, parse_geo, parse_groups, text_of

PHOTOS = ("images/A 1.jpg", "images/DJI_0001.JPG", "images/DJI_0002.JPG", "left/x.jpg", "right/x.jpg")


def test_positions_with_all_that_a_line_may_have():
    text = (
        "\ufeffEPSG:32615\n# the second flight\n\nDJI_0001.JPG 576500.5 5188200.25 300.1 10 -2 3.5 0.02 0.05\n"
        "dji_0002.jpg\t576520\t5188200\nA 1.jpg\t576540\t5188200\t301\nleft/x.jpg 1 2 3 4 5 6\n"
    )
    crs, places = parse_geo(text, "geo.txt", PHOTOS)
    assert crs == "EPSG:32615"
    assert places == (
        Place(photo=PHOTOS[1], x=576500.5, y=5188200.25, z=300.1, angles=(10, -2, 3.5), accuracy=(0.02, 0.05), line=4),
        Place(photo=PHOTOS[2], x=576520, y=5188200, line=5),
        Place(photo=PHOTOS[0], x=576540, y=5188200, z=301, line=6),
        Place(photo="left/x.jpg", x=1, y=2, z=3, angles=(4, 5, 6), line=7),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "geo.txt is empty"),
        ("EPSG:4326\n# nothing\n", "no photos after its first line"),
        ("DJI_0001.JPG 1 2\n", 'line 1: the first line names the CRS.*it reads "DJI_0001.JPG 1 2"'),
        ("WGS84 UTM 61N\nDJI_0001.JPG 1 2\n", "line 1: the first line names the CRS"),
        (
            "EPSG:4326\nDJI_0001.JPG 1 2\nDJI_0011.JPG 1 2\n",
            "line 3: there is no photo DJI_0011.JPG in the folder; did you mean DJI_0001.JPG",
        ),
        ("EPSG:4326\nother.png 1 2\n", "line 2: there is no photo other.png in the folder; put a # before"),
        ("EPSG:4326\nDJI_0001.JPG 1\n", "line 2: a line is name x y .*here are 2 words"),
        ("EPSG:4326\n\nDJI_0001.JPG 1,5 2\n", 'line 3: "1,5" is not a number.*points as decimal marks'),
        ("EPSG:4326\nDJI_0001.JPG nan 2\n", 'line 2: "nan" is not a number'),
        ("EPSG:4326\nDJI_0001.JPG 576500 5188200\n", "line 2: 576500 5188200 is no longitude and latitude"),
        ("EPSG:4326\nDJI_0001.JPG 1 2\nDJI_0001.JPG 1 2\n", "line 3: DJI_0001.JPG stands in line 2 already"),
        ("EPSG:4326\nx.jpg 1 2\n", "line 2: x.jpg may be left/x.jpg or right/x.jpg; write the path"),
        ("EPSG:4326\nDJI_0001.JPG 1 2 3 4\n", "line 2: .*not clear what they mean"),
        ("EPSG:4326\nDJI_0001.JPG 1 2 3 4 5 6 0 0.1\n", "line 2: accuracies are metres above 0"),
    ],
)
def test_a_mistake_in_geo_txt_is_named_with_its_line(text, sentence):
    with pytest.raises(BadSurvey, match=sentence):
        parse_geo(text, "geo.txt", PHOTOS)


def test_names_of_crs():
    assert crs_of("WGS84 UTM 16N") == crs_of("wgs 84 / UTM zone 16N") == crs_of("epsg:32616") == "EPSG:32616"
    assert crs_of("WGS84 UTM 16S") == "EPSG:32716"
    assert crs_of("EPSG:32615+5773") == "EPSG:32615+5773"
    assert crs_of("+proj=utm  +zone=16") == "+proj=utm +zone=16"
    assert crs_of("EPSG:") == crs_of("UTM 16N") == crs_of("32616") == crs_of("") == ""


def test_positions_in_another_crs_become_degrees():
    crs, places = parse_geo("WGS84 UTM 15N\nDJI_0001.JPG 576714.5 5188238.5 300\n", "geo.txt", PHOTOS)
    (place,) = degrees(crs, places, "geo.txt").values()
    assert place == pytest.approx((46.8427, -91.9938), abs=1e-3)
    plain = parse_geo("EPSG:4326\nDJI_0001.JPG -91.99 46.84\n", "geo.txt", PHOTOS)
    assert degrees(*plain, "geo.txt") == {PHOTOS[1]: (46.84, -91.99)}


def test_positions_outside_of_their_crs_are_named():
    with pytest.raises(BadSurvey, match=r"geo.txt: EPSG:999999 is no CRS"):
        degrees("EPSG:999999", parse_geo("EPSG:999999\nDJI_0001.JPG 1 2\n", "geo.txt", PHOTOS)[1], "geo.txt")
    crs, places = parse_geo("EPSG:32615\nDJI_0001.JPG 500000 5000000\nDJI_0002.JPG 5e30 5e30\n", "geo.txt", PHOTOS)
    with pytest.raises(BadSurvey, match=r"geo.txt, line 3: .* lies outside of EPSG:32615"):
        degrees(crs, places, "geo.txt")


def test_groups():
    text = "# first flight\nDJI_0001.JPG A\nA 1.jpg\tB\n"
    assert parse_groups(text, "image_groups.txt", PHOTOS) == {PHOTOS[1]: "A", PHOTOS[0]: "B"}
    for wrong, sentence in (
        ("DJI_0001.JPG", "line 1: a line is name group; here is 1 word"),
        ("DJI_0001.JPG A B", "here are 3 words"),
        ("DJI_0001.JPG A\nDJI_0001.JPG B", "line 2: DJI_0001.JPG is in the group A already"),
        ("nowhere.jpg A", "there is no photo nowhere.jpg"),
    ):
        with pytest.raises(BadSurvey, match=sentence):
            parse_groups(wrong, "image_groups.txt", PHOTOS)


def test_a_list_is_text():
    with pytest.raises(BadSurvey, match=r"geo.txt is not a text file"):
        text_of(b"PK\x03\x04\0\0", "geo.txt")
    assert text_of("\ufeffÄ".encode(), "geo.txt") == "Ä" and text_of(b"\xc4", "geo.txt") == "Ä"


def test_the_list_nearest_to_the_top_counts():
    assert list_file(("images/GEO.txt", "a/b/geo.txt", "stages/geo.txt"), "geo.txt") == "images/GEO.txt"
    assert list_file(("geo.txt.bak",), "geo.txt") == ""
