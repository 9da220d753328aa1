"""The page that a customer reads: all numbers and warnings are on it, and nothing of the task can break or abuse it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from clusterray.common.survey.report_page import Pictures, page

EVIL = '<script>alert("x")</script>&'
DATA: dict[str, Any] = {
    "title": EVIL,
    "summary": {
        "photos_given": 20, "photos_used": 17, "left_out": [{"name": f"a{EVIL}.jpg", "why": "It is cut short."}], "not_placed": ["b.jpg"],
        "georeferenced": True, "crs": "EPSG:32615+5773", "placed_by": "gcp", "sparse_points": 5000, "reprojection": 0.4812, "track": 4.1,
        "gsd": 0.0323, "flying_height": 36.2, "area": 12345.0, "dem_resolution": 0.05,
    },
    "notes": [f"Mind {EVIL}"],
    "stages": {
        "adjustment": {
            "gps": {"photos": 17, "rmse": [0.161, 0.702, 0.273], "accuracy": [3.0, 6.0], "wrong": [{"photo": "c.jpg", "distance": 812.4}]},
            "control": {
                "file": "gcp_list.txt",
                "used": {"points": [{"name": EVIL, "position": [1, 2, 3], "error": [0.011, -0.021, 0.031], "marks": 5, "pixels": 0.6}],
                         "rmse": [0.012, 0.022, 0.032]},
                "checkpoints": {"points": [{"name": "CHK-1", "position": [1, 2, 3], "error": [0.1, 0.2, -0.3], "marks": 4, "pixels": 1.0}],
                                "rmse": [0.13, 0.23, 0.33]},
                "left_out": [{"name": "G9", "why": "It lies outside."}],
            },
            "cameras": {f"dji {EVIL}": {"focal": 1061.2, "prior": 1111.0, "change": -4.48, "held": False}},
            "blocks": {
                "submodels": [{"name": name, "photos": 12, "registered": 11, "points": 3000} for name in ("b0", "b1")],
                "neighbours": [{
                    "blocks": ["b0", "b1"], "photos": 6, "points": 400,
                    "before": {"ground": {"median": 0.282, "nmad": 0.17}}, "after": {"ground": {"median": 0.003, "nmad": 0.047}},
                }],
                "left_out": [],
            },
        },
        "surface": {"points": 2259047, "coverage": 0.6},
        "ortho": {
            "made": True, "resolution": 0.05,
            "seams": {"places": 176, "shift_median": 0.234, "shift_p90": 0.57, "step_median": 4.2, "step_p90": 12.3}, "borders": None,
        },
    },
    "options": {"crs": EVIL, "crop": 3.0, "dsm": True},
    "libraries": {"rasterio": "1.4.4"},
}  # fmt: skip


class Reader(HTMLParser):
    """The words of a page, its tags and images; and whether each tag that was opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img"):
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_words_of_the_task_stay_words() -> None:
    read = Reader(page(DATA, Pictures()))
    assert "script" not in read.tags and not read.open
    assert sum(EVIL in word for word in read.words) >= 6


def test_all_that_was_measured_is_on_it() -> None:
    text = " ".join(Reader(page(DATA, Pictures())).words)
    for wanted in (
        "17 of 20", "1.23 ha", "3.23 cm", "36 m", "0.48 px", "EPSG:32615+5773", "placed by ground control points", "0.16 / 0.70 / 0.27 m",
        "0.13 / 0.23 / 0.33 m", "812.4 m", "+0.011", "0.032", "CHK-1", "It lies outside.", "1061.2 px", "-4.48 %", "+0.282 / 0.170 m",
        "+0.003 / 0.047 m", "0.23 / 0.57 px", "2,259,047", "It is cut short.", "b.jpg", "Mind", "1.4.4",
    ):  # fmt: skip
        assert wanted in text, wanted


def test_it_stands_alone() -> None:
    """No file, style or script from elsewhere: it can be mailed."""
    text = page(DATA, Pictures(jpegs={"orthophoto": b"\xff\xd8one", "dsm": b"two", "map": b"three"}, heights=(158.6, 174.5)))
    read = Reader(text)
    assert len(read.sources) == 3 and all(source.startswith("data:image/jpeg;base64,") for source in read.sources)
    assert "http" not in text
    assert "158.6 m" in text and "5 and more" in text


def test_a_model_without_gps_says_so_and_shows_its_points() -> None:
    summary = DATA["summary"] | {"georeferenced": False, "crs": "", "placed_by": "none", "area": None, "flying_height": None}
    read = Reader(page(DATA | {"summary": summary, "stages": {}, "notes": []}, Pictures(jpegs={"object0": b"x", "object1": b"y"})))
    text = " ".join(read.words)
    assert "Without GPS" in text and "ha" not in text.split() and "3.23 cm" not in text
    assert len(read.sources) == 2
    assert "without anything to report" in text


def test_the_same_data_are_the_same_page() -> None:
    assert page(DATA, Pictures()) == page(DATA, Pictures())
