"""The whole job, on surveys made of numbers: what comes out lies where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from clusterray.common.survey import colmap
from clusterray.common.survey.errors import BadSurvey
from clusterray.common.survey.records import Photos, load, save

from .worlds import CRS, EAST, NORTH, Survey, adjust, flight, offsets, put, turned, with_gps

TWO = {"a": (range(10), range(13)), "b": (range(10, 20), range(7, 20))}
FRAMES = {"a": turned(0.1, 40, (1, 2, 3)), "b": turned(7, 170, (-20, 3, 3))}
PLACES = {"p1": (0, 0), "p2": (50, 0), "p3": (50, 45), "p4": (0, 45), "p5": (25, 20), "CHK-1": (12, 30)}


def listed(survey: Survey, wrong: dict[str, tuple[float, float, float]] | None = None) -> str:
    """A list of control points on the ground, seen to a third of a pixel; ``wrong``: by how many metres a survey erred."""
    rng = np.random.default_rng(5)
    lines = [CRS]
    for name, (x, y) in PLACES.items():
        place = np.array([x, y, 3 * np.sin(x / 11) + 3 * np.cos(y / 7)])
        east, north, up = place + (wrong or {}).get(name, 0)
        for number in range(len(survey.centres)):
            (pixel,), _ = survey.project(number, place[None])
            if 0 < pixel[0] < 800 and 0 < pixel[1] < 600:
                px, py = pixel + rng.normal(0, 0.3, 2)
                lines.append(f"{EAST + east:.4f} {NORTH + north:.4f} {up:.4f} {px:.2f} {py:.2f} p{number:02d}.jpg {name}")
    return "\n".join(lines) + "\n"


def controlled(folder: Path, survey: Survey, **wrong: tuple[float, float, float]) -> Path:
    put(survey, folder)
    (folder / "gcp_list.txt").write_text(listed(survey, wrong))
    return folder


def test_split_is_as_good_as_single(tmp_path: Path) -> None:
    """Two blocks, each in a frame of its own, come together to the millimetre where one block would have put every photo, without a step
    of the ground between them; and the same input gives the same bytes."""
    survey = with_gps(flight())
    single, _, _ = adjust(put(survey, tmp_path / "one"), tmp_path / "single")
    model, frame, report = adjust(put(survey, tmp_path / "two", TWO, FRAMES), tmp_path / "split")
    ours, theirs = colmap.centres(model), colmap.centres(single)
    assert max(float(np.linalg.norm(ours[number] - theirs[number])) for number in range(20)) < 0.002
    assert frame.by == "gps"
    assert frame.nadir
    assert np.abs(offsets(survey, model, frame).mean(axis=0)).max() < 0.3
    assert report["registered"] == report["photos"] == 20
    assert report["reprojection"] < 0.3  # 0.2 px of noise in each of two directions
    assert report["notes"] == []
    (near,) = report["blocks"]["neighbours"]
    assert near["photos"] == 6
    assert near["before"]["ground"]["count"] == near["points"] > 100
    assert abs(near["after"]["ground"]["median_gsd"]) < 0.1
    assert abs(near["seam"]["ground"]["median_gsd"]) < 0.2
    adjust(tmp_path / "two", tmp_path / "again")
    for path in (tmp_path / "split" / "out").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / "out" / path.relative_to(tmp_path / "split" / "out")).read_bytes(), path


def test_focal_length_of_its_own(tmp_path: Path) -> None:
    """A block whose ground lies 8 % too deep, as its own focal length had it: a step of metres before, none after."""
    survey = with_gps(flight())
    put(survey, tmp_path / "in", TWO, FRAMES, deep={"b": 1.08})
    model, frame, report = adjust(tmp_path / "in", tmp_path / "out")
    (near,) = report["blocks"]["neighbours"]
    assert abs(near["before"]["ground"]["median"]) > 3
    assert abs(near["after"]["ground"]["median_gsd"]) < 0.1
    assert abs(near["seam"]["ground"]["median_gsd"]) < 0.2
    assert np.abs(offsets(survey, model, frame)).max() < 0.6


def test_block_that_does_not_fit(tmp_path: Path) -> None:
    """A block whose ground is bent is named, and fails the task; with split-failed = leave-out the rest goes on and the report says so."""
    survey = with_gps(flight())
    put(survey, tmp_path / "in", TWO, FRAMES, bend={"b": 6.0})
    with pytest.raises(BadSurvey, match=r"Submodel b does not fit its neighbour a: .* leave-out"):
        adjust(tmp_path / "in", tmp_path / "fail")
    model, frame, report = adjust(tmp_path / "in", tmp_path / "out", split_failed="leave-out")
    assert report["blocks"]["left_out"][0]["name"] == "b"
    assert "Submodel b does not fit" in report["notes"][0]
    assert "7 of 20 photos could not be placed" in report["notes"][1]
    assert "p13.jpg" in report["unregistered"]
    assert len(offsets(survey, model, frame)) == 13


def test_block_that_could_not_be_made(tmp_path: Path) -> None:
    """A submodel without a model is named too."""
    survey = with_gps(flight())
    put(survey, tmp_path / "in", TWO, FRAMES)
    (tmp_path / "in" / "stages" / "mapping" / "b" / "images.bin").unlink()
    with pytest.raises(BadSurvey, match="Submodel b could not be made"):
        adjust(tmp_path / "in", tmp_path / "fail")
    (tmp_path / "in" / "stages" / "mapping" / "a" / "images.bin").unlink()
    with pytest.raises(BadSurvey, match="overlap too little"):
        adjust(tmp_path / "in", tmp_path / "none", split_failed="leave-out")


def test_what_was_told_is_not_told_again(tmp_path: Path) -> None:
    """Which submodel has no model, and which photos have no place in one, mapping has said with the reason: the report names them once."""
    survey = with_gps(flight())
    put(survey, tmp_path / "in", TWO, FRAMES)
    (tmp_path / "in" / "stages" / "mapping" / "b" / "images.bin").unlink()
    _, _, report = adjust(tmp_path / "in", tmp_path / "out", split_failed="leave-out")
    assert report["blocks"]["left_out"][0]["name"] == "b" and len(report["unregistered"]) == 7
    assert not [note for note in report["notes"] if "b could not be made" in note or "could not be placed" in note]


def test_one_photo_astray(tmp_path: Path) -> None:
    """GPS of one photo in the wrong place: named with its distance, without weight."""
    survey = with_gps(flight())
    survey.gps[4] += [300, 40, 0]
    model, frame, report = adjust(put(survey, tmp_path / "in"), tmp_path / "out")
    assert report["gps"]["photos"] == 19
    assert report["gps"]["wrong"][0]["photo"] == "p04.jpg"
    assert report["gps"]["wrong"][0]["distance"] == pytest.approx(302.7, abs=2)
    assert "p04.jpg (30" in report["notes"][0]
    assert np.abs(offsets(survey, model, frame)).max() < 1


def test_bad_gps(tmp_path: Path) -> None:
    """GPS that disagrees with the photos does not bend or tip the model: levelled by itself, and said."""
    survey = with_gps(flight(), 12.0)
    survey.gps[:, 2] += np.linspace(0, 114, 20)
    model, frame, report = adjust(put(survey, tmp_path / "in"), tmp_path / "out")
    assert frame.by == "level"
    assert "too bad to level" in report["notes"][0]
    assert np.ptp(offsets(survey, model, frame)[:, 2]) < 5
    assert report["reprojection"] < 0.3


def test_one_strip(tmp_path: Path) -> None:
    """A single line of photos does not fall over sideways."""
    survey = with_gps(flight(lines=1, each=8, tilt=1.0))
    model, frame, report = adjust(put(survey, tmp_path / "in"), tmp_path / "out")
    assert frame.by == "gps"
    assert "one line" in report["notes"][0]
    assert np.abs(offsets(survey, model, frame)).max() < 1
    heights = [-model.images[id].viewing_direction()[2] for id in model.reg_image_ids()]
    assert min(heights) > np.cos(np.radians(4))


def test_two_photos(tmp_path: Path) -> None:
    """The smallest survey of all has a model and a place."""
    survey = with_gps(flight(lines=1, each=2, tilt=1.0))
    _, frame, report = adjust(put(survey, tmp_path / "in"), tmp_path / "out")
    assert frame.georeferenced
    assert report["registered"] == 2
    assert report["points"] > 50


def test_without_gps(tmp_path: Path) -> None:
    """Without GPS there is a model of its own size (the stage features says so); option crs has no meaning then, and that is said."""
    model, frame, report = adjust(put(flight(), tmp_path / "in"), tmp_path / "out", crs="EPSG:32633")
    assert not frame.georeferenced
    assert frame.by == "none"
    assert frame.nadir
    assert ["Option crs" in note for note in report["notes"]] == [True]
    distances = [np.linalg.norm(centre) for centre in colmap.centres(model).values()]
    assert np.median(distances) == pytest.approx(1, abs=0.1)


def test_gps_of_one_photo(tmp_path: Path) -> None:
    """GPS of a single photo places nothing, and that is said."""
    survey = with_gps(flight())
    put(survey, tmp_path / "in")
    path = tmp_path / "in" / "stages" / "features" / "photos.json"
    photos = load(path, Photos)
    nowhere = [msgspec.structs.replace(photo, latitude=None, longitude=None, altitude=None) for photo in photos.photos[1:]]
    save(Photos(photos=(photos.photos[0], *nowhere)), path)
    _, frame, report = adjust(tmp_path / "in", tmp_path / "out")
    assert not frame.georeferenced
    assert "no scale and no place" in report["notes"][0]


def test_photos_without_altitude(tmp_path: Path) -> None:
    """Some photos that tell no altitude: their east and north count, the heights are the others'."""
    survey = with_gps(flight(), 0.05)
    put(survey, tmp_path / "in")
    path = tmp_path / "in" / "stages" / "features" / "photos.json"
    photos = load(path, Photos).photos
    save(Photos(photos=tuple(msgspec.structs.replace(one, altitude=None) if one.number % 4 == 0 else one for one in photos)), path)
    model, frame, report = adjust(tmp_path / "in", tmp_path / "out", gps_accuracy=0.05)
    assert frame.by == "gps"
    assert report["gps"]["photos"] == 15
    assert np.abs(offsets(survey, model, frame)).max() < 0.15


def test_control_points(tmp_path: Path) -> None:
    """GPS off by metres: control points bring the model to centimetres, which a checkpoint that was not used confirms."""
    survey = with_gps(flight(), 2.0)
    model, frame, report = adjust(controlled(tmp_path / "in", survey), tmp_path / "out", "gcp_list.txt")
    assert frame.by == "gcp"
    assert np.abs(offsets(survey, model, frame)).max() < 0.2
    told: dict[str, Any] = report["control"]
    assert [point["name"] for point in told["used"]["points"]] == ["p1", "p2", "p3", "p4", "p5"]
    assert [point["name"] for point in told["checkpoints"]["points"]] == ["CHK-1"]
    assert max(told["used"]["rmse"]) < 0.05
    assert max(told["checkpoints"]["rmse"]) < 0.05
    assert all(image.num_points2D() == len(survey.seen[id - 1]) for id, image in model.images.items())


def test_control_point_outside(tmp_path: Path) -> None:
    """A control point that lies elsewhere is left out by name, with its distance, and the others hold the model."""
    survey = with_gps(flight(), 2.0)
    model, frame, report = adjust(controlled(tmp_path / "in", survey, p3=(400, 0, 0)), tmp_path / "out", "gcp_list.txt")
    assert frame.by == "gcp"
    assert [one["name"] for one in report["control"]["left_out"]] == ["p3"]
    assert any("p3 was left out: it lies 399.9" in note or "p3 was left out: it lies 400." in note for note in report["notes"])
    assert np.abs(offsets(survey, model, frame)).max() < 0.2


def test_control_points_of_another_place(tmp_path: Path) -> None:
    """All of them far from the photos: refused, with what may be wrong; use-exif measures them and goes by GPS."""
    survey = with_gps(flight(), 0.3)
    folder = controlled(tmp_path / "in", survey)
    text = (folder / "gcp_list.txt").read_text()
    (folder / "gcp_list.txt").write_text(text.replace(CRS, "EPSG:32634"))
    with pytest.raises(BadSurvey, match=r"44\d\.\d km .* another CRS"):
        adjust(folder, tmp_path / "fail", "gcp_list.txt")
    (folder / "gcp_list.txt").write_text(text)
    _, frame, report = adjust(folder, tmp_path / "exif", "gcp_list.txt", use_exif=True)
    assert frame.by == "gps"
    assert report["control"]["used"]["points"] == []
    assert len(report["control"]["checkpoints"]["points"]) == 6


def test_control_points_alone(tmp_path: Path) -> None:
    """Photos without GPS are placed by control points, in their CRS or the one asked for."""
    survey = flight()
    folder = controlled(tmp_path / "in", survey)
    model, frame, _ = adjust(folder, tmp_path / "out", "gcp_list.txt")
    assert frame.crs == CRS
    assert np.abs(offsets(survey, model, frame)).max() < 0.2
    _, other, _ = adjust(folder, tmp_path / "other", "gcp_list.txt", crs="EPSG:25833")
    assert other.crs == "EPSG:25833"
    assert other.origin == pytest.approx(frame.origin, abs=2)


def test_lenses(tmp_path: Path) -> None:
    """A lens that calibration held keeps its focal length; a free one finds it, as the photos are not all of one height."""
    survey = with_gps(flight(), 0.05)
    survey.lens = msgspec.structs.replace(survey.lens, fx=714.0, fy=714.0, held=True)
    folder = put(survey, tmp_path / "in")
    model, _, report = adjust(folder, tmp_path / "held", gps_accuracy=0.05)
    assert model.cameras[1].mean_focal_length() == 714
    assert report["cameras"]["cam"] == {"focal": 714, "prior": 700, "change": 2.0, "held": True}
    fixed, _, _ = adjust(folder, tmp_path / "fixed", use_fixed_camera_params=True)
    assert list(fixed.cameras[1].params) == [714, 400, 300, 0.01, 0]
    survey.lens = msgspec.structs.replace(survey.lens, held=False)
    model, _, _ = adjust(put(survey, tmp_path / "more"), tmp_path / "free", gps_accuracy=0.05)
    assert abs(model.cameras[1].mean_focal_length() - 700) < 4
