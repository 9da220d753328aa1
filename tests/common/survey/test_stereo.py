"""Depth of one pair, against a box on a plain whose heights are known."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from clusterray.common.survey.scene import Scene, load_scene
from clusterray.common.survey.stereo import Stereo, match, rectify, work_scale
from clusterray.common.survey.stereo_file import Points, load_stereo, points_of, save_stereo

from . import built, grained, painted

PAIRS = ((0, 1), (1, 4), (0, 4))
"""Along a strip, across, and aslant."""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grained.build(tmp_path_factory.mktemp("grained") / "task")


@pytest.fixture(scope="module")
def scene(task: Path) -> Scene:
    return load_scene(task)


@pytest.fixture(scope="module")
def found(task: Path, scene: Scene) -> dict[tuple[int, int], Stereo]:
    views = {view.number: view for view in scene.views}
    result = {}
    for one, two in PAIRS:
        stereo = match(views[one], views[two], scene, task, 1.0)
        assert stereo is not None
        result[one, two] = stereo
    return result


def errors(points: Points, edge: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Heights above the truth in pixels on the ground, of the exact points; which of them are on the roof. Without a strip along walls."""
    x, y, z = points.places[:, ~points.coarse]
    wall = np.abs(np.maximum(np.abs(x), np.abs(y)) - painted.HALF) < edge
    off = (z - grained.heights(x, y)) / grained.GSD
    return off[~wall], (z > painted.HEIGHT / 2)[~wall]


def test_photos_of_a_flight_there_and_back(tmp_path: Path) -> None:
    """The second is turned by half a turn, so that half a pixel left out somewhere would lift or sink all points by two."""
    views = [painted.view(n, (0.5, y, 6.0), (0.5, y, 0.0), up=(0, up, 0)) for n, (y, up) in enumerate(((-1.0, 1), (1.0, -1)))]
    task = grained.build(tmp_path / "task", views)
    scene = load_scene(task)
    stereo = match(scene.views[0], scene.views[1], scene, task, 1.0)
    assert stereo is not None
    off, _ = errors(points_of(stereo))
    assert len(off) > 10_000 and abs(np.median(off)) < 0.4


@pytest.mark.parametrize("pair", PAIRS)
def test_points_lie_on_the_ground(found: dict[tuple[int, int], Stereo], pair: tuple[int, int]) -> None:
    """Whichever way the pair lies and although the lens bends."""
    off, _ = errors(points_of(found[pair]))
    assert abs(np.median(off)) < 0.25
    assert 1.4826 * np.median(np.abs(off - np.median(off))) < 0.6
    assert np.mean(np.abs(off) < 3) > 0.95


@pytest.mark.parametrize("pair", PAIRS)
def test_points_have_the_colours_of_their_places(found: dict[tuple[int, int], Stereo], pair: tuple[int, int]) -> None:
    """Half a pixel to any side they fit worse."""
    points = points_of(found[pair])
    x, y, _ = points.places
    ground = np.maximum(np.abs(x), np.abs(y)) > painted.HALF + 0.2

    def fit(right: float, up: float) -> float:
        truth = grained.paint(x[ground] + right * grained.GSD, y[ground] + up * grained.GSD)
        return float(np.corrcoef(truth[:, 1], points.colors[ground, 1])[0, 1])

    here = fit(0, 0)
    assert here > 0.9
    for right, up in ((0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)):
        assert fit(right, up) < here
    assert max(fit(right, up) for right in (-0.25, 0, 0.25) for up in (-0.25, 0, 0.25)) - here < 0.01


def test_a_roof_without_features_is_found(scene: Scene, found: dict[tuple[int, int], Stereo]) -> None:
    """It lies a quarter of the flying height above all sparse points."""
    assert scene.points[:, 2].max() < 0.01
    off, roof = errors(points_of(found[0, 1]), 0.1)
    assert roof.sum() > 5000 and np.mean(np.abs(off[roof]) < 3) > 0.97


def test_most_of_what_both_see_has_depth(found: dict[tuple[int, int], Stereo]) -> None:
    places = points_of(found[0, 1]).places
    inside = (np.abs(places[0] + 1) < 1.5) & (np.abs(places[1] + 1.5) < 1.5)
    assert inside.sum() > 0.9 * (3 / grained.GSD) ** 2


def test_photos_that_have_nothing_in_common(scene: Scene) -> None:
    """Two photos of one place, or without shared points, make no pair."""
    view = scene.views[0]
    assert rectify(view, view, scene, 1.0) is None
    lonely = Scene(frame=scene.frame, views=scene.views, points=scene.points[:3], colors=scene.colors[:3], errors=scene.errors[:3],
                   tracks=scene.tracks[:3])  # fmt: skip
    assert rectify(scene.views[0], scene.views[1], lonely, 1.0) is None


def test_small_photos_are_not_scaled_down() -> None:
    """Quality is a part of the side, but not below 1000 pixels, nor more than there is."""
    assert work_scale(4000, 3000, 0.5) == 0.5
    assert work_scale(2000, 1500, 0.25) == 0.5
    assert work_scale(800, 600, 0.0625) == 1.0


def test_the_file_holds_the_points(tmp_path: Path, found: dict[tuple[int, int], Stereo]) -> None:
    """The same points come out, and the same pair makes the same bytes."""
    for name in ("a", "b"):
        save_stereo(found[0, 1], tmp_path / f"{name}.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    one, two = points_of(found[0, 1]), points_of(load_stereo(tmp_path / "a.npz"))
    assert (one.places == two.places).all() and (one.coarse == two.coarse).all()
    assert np.abs(one.colors.astype(int) - two.colors).mean() < 15


def test_a_damaged_file_is_refused(tmp_path: Path, found: dict[tuple[int, int], Stereo]) -> None:
    save_stereo(found[0, 1], tmp_path / "a.npz")
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[len(data) // 2] ^= 0x55
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        load_stereo(bytes(data))


def test_rows_run_along_the_base() -> None:
    """Also where the second photo lies behind the first one's upper edge."""
    views = [painted.view(n, (0.0, y, 6.0), (0.0, y, 0.0), up=(0, 1, 0)) for n, y in enumerate((-1.0, 1.0))]
    points, tracks = built.sparse(views)
    scene = Scene(frame=built.HERE, views=tuple(views), points=points, colors=np.zeros((len(points), 3), np.uint8),
                  errors=np.zeros(len(points)), tracks=tuple(np.array(track, np.int32) for track in tracks))  # fmt: skip
    rig = rectify(views[0], views[1], scene, 1.0)
    assert rig is not None and np.allclose(rig.rotation[0], (0, 1, 0)) and rig.base == pytest.approx(2.0)
