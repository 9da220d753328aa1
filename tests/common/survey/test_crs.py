"""The CRS of the results."""

from __future__ import annotations

import numpy as np
import pytest
from clusterray.common.survey.crs import Grid, choose, utm
from clusterray.common.survey.errors import BadSurvey

HOME = (15.0, 48.75)


@pytest.mark.parametrize(
    ("longitude", "latitude", "crs"),
    [
        (-91.99, 46.84, "EPSG:32615"),
        (15.0, 48.7, "EPSG:32633"),
        (-58.4, -34.6, "EPSG:32721"),
        (180.0, 0.0, "EPSG:32660"),
        (-180, -1, "EPSG:32701"),
    ],
)
def test_zone(longitude: float, latitude: float, crs: str) -> None:
    """Without a word about it, results are in the UTM zone of the photos."""
    assert utm(longitude, latitude) == crs
    assert choose("", "", longitude, latitude).crs == crs


def test_precedence() -> None:
    """The option goes before the control points' CRS, that before the zone; control points in degrees name no CRS for results."""
    assert choose("EPSG:25833", "EPSG:32633", *HOME).crs == "EPSG:25833"
    assert choose("", "EPSG:25833", *HOME).crs == "EPSG:25833"
    assert choose("", "EPSG:4326", *HOME).crs == "EPSG:32633"


@pytest.mark.parametrize(
    ("crs", "words"),
    [
        ("EPSG:99999", ("EPSG:99999", "no CRS")),
        ("somewhere", ("somewhere", "no CRS")),
        ("EPSG:4326", ("WGS 84", "not projected")),
        ("EPSG:4979", ("not projected",)),
        ("EPSG:5773", ("not projected",)),
        ("EPSG:2277", ("US survey foot",)),
        ("EPSG:3857", ("52%", "EPSG:32633")),
        ("EPSG:32615", ("not made for this place", "EPSG:32633")),
    ],
)
def test_refused(crs: str, words: tuple[str, ...]) -> None:
    """A CRS that is unknown, in degrees or feet, or for another part of the world is refused by one sentence that names it."""
    with pytest.raises(BadSurvey) as error:
        choose(crs, "", *HOME)
    assert all(word in str(error.value) for word in (*words, "Option crs")), str(error.value)


def test_missing_grid() -> None:
    """A vertical datum whose grid is not here is left away and that is said, not faked: heights stay those of the ellipsoid."""
    found = choose("EPSG:32633+5773", "", *HOME)
    assert found.crs == "EPSG:32633"
    assert "EGM96 height" in found.notes[0]
    assert found.place(np.array([[*HOME, 321.0]]))[0, 2] == 321.0


def test_positions() -> None:
    """Degrees become metres east and north; heights stay."""
    x, y, z = Grid(crs="EPSG:32633").place(np.array([[15.0, 48.75, 250.0]]))[0]
    assert x == pytest.approx(500_000, abs=0.001)
    arc = 111_132.954 * 48.75 - 16_038.509 * np.sin(np.radians(97.5)) + 16.833 * np.sin(np.radians(195))  # of the meridian, WGS 84
    assert y == pytest.approx(0.9996 * arc, abs=1)
    assert z == 250


def test_control_points_in_another_crs() -> None:
    """Surveyed coordinates of another CRS are converted, axis order notwithstanding; their heights stay as they are."""
    target = Grid(crs="EPSG:32633")
    inside = target.place(np.array([[15.01, 48.76, 7.0]]))
    gauss = Grid(crs="EPSG:31469").place(np.array([[15.01, 48.76, 7.0]]))
    assert gauss[0, 0] > 5_000_000  # east first
    assert np.allclose(target.place(gauss, "EPSG:31469"), inside, atol=0.01)


def test_nowhere() -> None:
    """Coordinates that the CRS does not hold are refused, not infinite."""
    with pytest.raises(BadSurvey, match="cannot be converted"):
        Grid(crs="EPSG:32633").place(np.array([[15.0, 95.0, 0.0]]))


def test_rough_way() -> None:
    """Where the exact way into a CRS needs a grid that is not here, the results say how good the other way is."""
    assert "EPSG:27700 is good to 2 m" in choose("EPSG:27700", "", -1.0, 52.0).notes[0]
    assert choose("EPSG:25833", "", *HOME).notes == ()
