"""The made survey is judged itself: POV-Ray sees the place as the example computes it; known mistakes are measured as they are."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def package(checkout, monkeypatch):
    """survey_truth of the example."""
    monkeypatch.syspath_prepend(checkout / "misc/examples/survey-truth")
    import survey_truth.exact
    import survey_truth.measure
    import survey_truth.studio

    yield survey_truth
    for name in [name for name in sys.modules if name.partition(".")[0] == "survey_truth"]:
        del sys.modules[name]


def povray(folder, scene, width, height, *more):
    argv = ["povray", scene, f"+W{width}", f"+H{height}", "-D", "+WT1", "+Oout.png", *more]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_camera_is_that_of_povray(package, tmp_path):
    """Bright balls at known places are seen where the camera model has them: within 0.05 pixels, so that no half pixel is lost."""
    from scipy import ndimage

    _, cameras = package.place.layout(package.place.SIZES["small"], 4)
    camera, numbers = cameras[7], np.random.default_rng(0)
    aimed = np.stack(np.meshgrid(np.linspace(60, 580, 6), np.linspace(60, 420, 5)), axis=-1).reshape(-1, 2)
    aimed += numbers.uniform(-0.5, 0.5, aimed.shape)
    balls = camera.centre + camera.rays(aimed) * numbers.uniform(50, 70, (len(aimed), 1))
    package.scene.write_photos(tmp_path, cameras)
    word = "sphere {{ {}, 0.25 pigment {{ rgb 1 }} finish {{ ambient 1 diffuse 0 }} }}"
    (tmp_path / "world.inc").write_text("\n".join(word.format(package.scene.vector(ball)) for ball in balls))
    film = ("+KFI1", "+KFF15", "+SF8", "+EF8", "+KI0", "+KF1")
    povray(tmp_path, "photo.pov", 640, 480, *film, "+A0.0", "+AM1", "+R6", "-J", "File_Gamma=1.0")
    light = np.asarray(Image.open(tmp_path / "out08.png").convert("L"), float)
    spots, count = ndimage.label(light > 0)
    seen = np.array(ndimage.center_of_mass(light, spots, range(1, count + 1)))[:, ::-1] + 0.5
    expected, _ = camera.project(balls)
    off = [np.abs(seen - one).max(axis=1).min() for one in expected]
    assert count == len(balls) and max(off) < 0.05


def test_the_heights_are_those_of_povray(package, tmp_path):
    """What POV-Ray's own trace() hits from above is as high as the example says, to a third of a millimetre, roofs among it."""
    ground = package.ground.Ground.make(60, 50, 8, 4)
    ground.save(tmp_path)
    package.scene.write_world(tmp_path, ground, 0.5, 4)
    x, y = np.random.default_rng(1).uniform((-59, -49), (59, 49), (4000, 2)).T
    edge = package.measure.beside_walls(type("Truth", (), {"ground": ground}), x, y, 0.01)
    x, y = x[~edge], y[~edge]
    world = (tmp_path / "world.inc").read_text()
    assert world.count("\nheight_field {") == 1 and world.count("\nBuilding(") == 8
    world = world.replace("\nheight_field {", "\n#declare Field = height_field {").replace("\nBuilding(", "\nunion { Building(", 1) + "}"
    head, tail = world.split("\nunion {")
    rows = "\n".join(f'#write(Out, Top({a!r}, {b!r}), "\\n")' for a, b in zip(x.tolist(), y.tolist(), strict=True))
    (tmp_path / "probe.pov").write_text(
        f"{head}\n#declare Whole = union {{ object {{ Field }} {tail}\n"
        "#macro Top(X, Y) #local Hit = trace(Whole, <X, 200, Y>, -y); str(Hit.y, 0, 9) #end\n"
        f'#fopen Out "heights.txt" write\n{rows}\n#fclose Out\ncamera {{ location 0 }}\n'
    )
    povray(tmp_path, "probe.pov", 8, 8)
    traced = np.loadtxt(tmp_path / "heights.txt")
    roofs = ground.heights(x, y) > ground.terrain(x, y)
    assert roofs.sum() > 30 and np.abs(traced - ground.heights(x, y)).max() < 0.0003


def test_the_exact_model_is_exact(package, tmp_path):
    """Its points lie on the surface, and only photos that really see them count them in."""
    size = package.place.SIZES["small"]
    ground, cameras = package.place.layout(size, 4)
    points, seen = package.exact.sample(ground, cameras[:6], 60, 3)
    on_top = np.abs(ground.heights(points[:, 0], points[:, 1]) - points[:, 2]) < 1e-6
    assert len(points) > 250 and on_top.mean() > 0.95, "the rest is on walls"
    for number, camera in enumerate(cameras[:6]):
        hits = ground.first_hit(camera.centre, (points - camera.centre)[seen[:, number]])
        assert np.linalg.norm(hits - points[seen[:, number]], axis=1).max() < 0.02


def test_known_mistakes_are_measured(package, tmp_path):
    """A result that is the truth but for noise, shifts and a hole: each is found, as large as it is."""
    size = package.place.SIZES["small"]
    ground, cameras = package.place.layout(size, 4)
    inner = package.place.inner(cameras, 0.1)
    numbers = np.random.default_rng(2)
    said = np.array([camera.centre for camera in cameras]) + numbers.normal(0, 0.3, (15, 3))
    whole = package.place.grow(inner, 5.0)
    truth = package.place.Truth(ground=ground, cameras=cameras, said=said, gsd=0.1, inner=inner, whole=whole)
    package.place.save(tmp_path, truth, package.photos.Faults())
    truth = package.place.load(tmp_path)
    origin = np.array(package.photos.ORIGIN)

    centres = {camera.name: camera.centre * 1.001 + [0.1, -0.2, 0.3] + numbers.normal(0, 0.01, 3) + origin for camera in cameras[:14]}
    places = package.measure.measure_places(truth, centres)
    assert (places.placed, places.of) == (14, 15)
    assert places.rmse == pytest.approx(0.016, abs=0.004) and places.scale == pytest.approx(-0.001, abs=0.0002)
    assert places.absolute == pytest.approx(0.4, abs=0.05)

    true = package.place.dsm(truth)
    measured = true + numbers.normal(-0.2, 0.08, true.shape)
    measured[100:120] = -9999
    package.place.write_raster(tmp_path / "dsm.tif", measured[None].astype(np.float32), whole, 0.1, nodata=-9999.0)
    heights = package.measure.measure_heights(truth, tmp_path / "dsm.tif")
    assert heights.median == pytest.approx(-0.2, abs=0.005) and heights.nmad == pytest.approx(0.08, abs=0.003)
    assert heights.covered == pytest.approx(1 - 20 / ((inner[3] - inner[1]) / 0.1), abs=0.001)
    assert heights.p90 == pytest.approx(0.13, abs=0.005) and heights.near > 0.999

    picture = np.repeat(numbers.normal(128, 40, (1, *true.shape)).clip(0, 255), 3, axis=0).astype(np.uint8)
    package.place.write_raster(tmp_path / "true.tif", picture, whole, 0.1)
    moved = (whole[0] + 0.2, whole[1], whole[2] + 0.2, whole[3] + 0.1)  # to the east and north, by two pixels and one
    seen = np.concatenate([picture, np.full((1, *true.shape), 255, np.uint8)])
    package.place.write_raster(tmp_path / "ortho.tif", seen, moved, 0.1, photometric="RGB", alpha="YES")
    move = (1.0, np.eye(3), np.array([-0.2, -0.1, 0.0]))
    shift = package.measure.measure_ortho(truth, tmp_path / "ortho.tif", tmp_path / "true.tif", move)
    assert shift.absolute == pytest.approx((2, -1), abs=0.05) and shift.p90 < 0.1 and shift.covered > 0.99

    shots = {"features": [{"properties": {"filename": "a.jpg", "translation": [1, 2, 3], "focal": 0.97, "width": 600, "height": 800}}]}
    (tmp_path / "shots.geojson").write_text(json.dumps(shots))
    assert package.measure.read_focal(tmp_path / "shots.geojson") == pytest.approx(776)
    assert package.measure.read_places(tmp_path / "shots.geojson")["a.jpg"].tolist() == [1, 2, 3]
