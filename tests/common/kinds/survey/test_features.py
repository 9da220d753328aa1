"""The stage features: batches that do not depend on the farm, outputs that are looked at, and photos that are numbered."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from clusterray.common.errors import OutputRejected, SplitFailed, StitchFailed
from clusterray.common.kinds.kind import Piece
from clusterray.common.kinds.survey.features import batches
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.model import FarmShape, Region, TaskSpec
from clusterray.common.survey.features import Batch, check_sum, file_of
from clusterray.common.survey.records import Photos, encoded, load, load_features, save_features
from clusterray.common.testing_kinds import PlainFiles, Rehearsal, check_kind, rehearse
from hypothesis import given
from hypothesis import strategies as st

from ...survey.shots import exif_of, jpeg, survey, textured

SPEC = TaskSpec(kind="survey", name="field", options={"min-num-features": 300})


def covers(spec: TaskSpec, regions: Any) -> str:
    """Whether each of the 8 photos is in one batch."""
    names = sorted(name for region in regions for name in region.data["photos"])
    return "" if names == [f"images/DJI_{number:04d}.jpg" for number in range(8)] else f"the batches hold {names}"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rehearsal, list[Piece]]:
    """A survey of 4 photos with all its batches done."""
    folder = tmp_path_factory.mktemp("survey")
    survey(folder / "task", 4)
    task = rehearse(SURVEY, SPEC, folder / "task", folder / "work")
    return task, list(task.pieces(task.split()))


def test_the_stage_passes_the_exam_of_all_kinds(tmp_path):
    """Damaged outputs are refused, the order in which jobs end does not matter, a lost batch is named."""
    survey(tmp_path / "task", 8)
    assets = check_kind(SURVEY, SPEC, tmp_path / "task", tmp_path / "work", covers)
    photos = load(assets["photos.json"], Photos)
    assert [photo.number for photo in photos.photos] == list(range(8)) and not photos.notes
    assert sorted(assets) == [*(f"{number:05d}.npz" for number in range(8)), "photos.json", "report.json"]
    assert photos.photos[3].latitude == pytest.approx(46.00054) and photos.photos[3].camera == "dji fc6310 320x240 8.80 mm"


def test_jobs_do_not_depend_on_the_farm(tmp_path):
    """A restart on other nodes finds what was done: the batches are the same, and so is what their keys are made of."""
    survey(tmp_path, 8)
    task = rehearse(SURVEY, SPEC, tmp_path, tmp_path / "work")
    small, large = task.split(FarmShape(slots=1)), task.split(FarmShape(slots=64, nodes=16))
    assert small == large
    assert all(region.needs == tuple(region.data["photos"]) for region in small), "a node fetches the photos of its batch, nothing else"
    other = msgspec.structs.replace(task.spec, options=task.spec.options | {"pc-quality": "ultra", "gps-accuracy": 1.0, "split": 3})
    assert [task.stage.reads(other, region) for region in small] == [task.stage.reads(task.spec, region) for region in small]
    for name, value in (("feature-quality", "low"), ("min-num-features", 301)):
        changed = rehearse(SURVEY, msgspec.structs.replace(SPEC, options=SPEC.options | {name: value}), tmp_path, tmp_path / "work")
        assert changed.stage.reads(changed.spec, changed.split()[0]) != task.stage.reads(task.spec, small[0])


NAMES = st.lists(st.integers(0, 9999), min_size=1, max_size=300, unique=True).map(
    lambda found: sorted(f"images/DJI_{n:04d}.JPG" for n in found)
)


@given(NAMES)
def test_batches_hold_each_photo_once_and_are_of_a_good_size(names):
    found = batches(names)
    assert [name for some in found for name in some] == names
    assert all(len(some) <= 16 for some in found)
    assert len(names) < 65 or len(found) >= len(names) / 16
    assert len(names) > 24 or len(names) < 8 or len(found) >= 2, "small surveys keep several slots busy too"


@given(st.integers(170, 2000), st.integers(0, 9999), st.integers(0, 1999))
def test_a_photo_more_changes_the_batches_around_it_alone(count, first, number):
    """Put a photo into a survey of a thousand, or take one out, and submit it again: the features of nearly all are there."""
    names = [f"images/DJI_{first + n:05d}.JPG" for n in range(count)]
    less = names[: number % count] + names[number % count + 1 :]
    assert len(set(batches(names)) ^ set(batches(less))) <= 24, "most often 2 or 3"


def test_what_a_user_should_know_is_in_the_report(tmp_path):
    """A text file, a torn JPEG, a double, HEIC and a mask: each is left out and named; the others are numbered without gaps."""
    names = survey(tmp_path / "task", 5)
    images = tmp_path / "task" / "images"
    (images / "a.jpg").write_text("not a photo " * 50)
    (images / "b.jpg").write_bytes((images / "DJI_0001.jpg").read_bytes()[:4000])
    shutil.copy(images / "DJI_0002.jpg", images / "z copy.jpg")
    (images / "c.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
    (images / "DJI_0001_mask.png").write_bytes(b"")
    task = rehearse(SURVEY, SPEC, tmp_path / "task", tmp_path / "work")
    photos = load(task.whole()["photos.json"], Photos)
    assert [photo.name for photo in photos.photos] == names and [photo.number for photo in photos.photos] == list(range(5))
    assert {one.name: one.why for one in photos.left_out} == {
        "images/DJI_0001_mask.png": "images/DJI_0001_mask.png is a mask, and masks are not used.",
        "images/a.jpg": "images/a.jpg is a text file and not a picture.",
        "images/b.jpg": next(one.why for one in photos.left_out if one.name == "images/b.jpg"),
        "images/c.HEIC": next(one.why for one in photos.left_out if one.name == "images/c.HEIC"),
        "images/z copy.jpg": "images/z copy.jpg is the same file as images/DJI_0002.jpg.",
    }
    assert len(photos.notes) == 5 and all(sentence.startswith("Left out: ") for sentence in photos.notes)
    report = msgspec.json.decode((tmp_path / "work" / "result" / "report.json").read_bytes())
    assert report["notes"] == list(photos.notes) and report["photos"] == 5 and report["features"]["most"] == 300


def test_too_few_photos_fail_with_the_reasons(tmp_path):
    survey(tmp_path / "task", 1)
    (tmp_path / "task" / "images" / "notes.jpg").write_text("not a photo")
    task = rehearse(SURVEY, SPEC, tmp_path / "task", tmp_path / "work")
    with pytest.raises(SplitFailed, match=r"Only one photo can be used.*images/notes.jpg is a text file and not a picture\.$"):
        task.whole()


def test_lists_beside_the_photos_count(done, tmp_path):
    """geo.txt and image_groups.txt are read by the stitch alone: mending them costs no features."""
    task, pieces = done
    shutil.copytree(task.inputs, tmp_path / "task")
    (tmp_path / "task" / "geo.txt").write_text("EPSG:4326\nDJI_0001.jpg 11.5 46.5 99\nDJI_0002.jpg 11.5 46.5002 99\n")
    (tmp_path / "task" / "image_groups.txt").write_text("DJI_0003.jpg south\n")
    again = rehearse(SURVEY, SPEC, tmp_path / "task", tmp_path / "work")
    assert again.split() == [piece.region for piece in pieces]
    photos = load(again.stitch(pieces)["photos.json"], Photos).photos
    assert [(photo.latitude, photo.longitude, photo.altitude) for photo in photos[1:3]] == [(46.5, 11.5, 99.0), (46.5002, 11.5, 99.0)]
    assert photos[0].altitude == 300.0 and [photo.group for photo in photos] == ["", "", "", "south"]


def test_mistakes_in_lists_fail_here_and_not_hours_later(done, tmp_path):
    """A mark beyond its photo and a boundary elsewhere, which stages far behind need; put right, they cost no features."""
    task, pieces = done
    shutil.copytree(task.inputs, tmp_path / "task")
    marks = "".join(f"{point}00 {point * point}00 5 {90 + point} 9999 DJI_000{n}.jpg p{point}\n" for point in range(3) for n in range(3))
    (tmp_path / "task" / "gcp_list.txt").write_text("EPSG:32632\n" + marks)
    again = rehearse(SURVEY, SPEC, tmp_path / "task", tmp_path / "work")
    with pytest.raises(SplitFailed, match=r"gcp_list.txt, line 2: pixel 90 9999 lies outside of DJI_0000.jpg, which has 320 x 240 pixels"):
        again.stitch(pieces)
    (tmp_path / "task" / "gcp_list.txt").unlink()
    (tmp_path / "task" / "area.json").write_text('{"type": "Polygon", "coordinates": [[[46, 11], [46.1, 11], [46.1, 11.1]]]}')
    spec = msgspec.structs.replace(SPEC, options=SPEC.options | {"boundary": "area.json"})
    elsewhere = rehearse(SURVEY, spec, tmp_path / "task", tmp_path / "work2")
    assert elsewhere.split() == [piece.region for piece in pieces]
    with pytest.raises(SplitFailed, match=r"The boundary \(area.json\) lies [\d,]+ km from where the photos were taken"):
        elsewhere.stitch(pieces)


def test_the_stitch_of_another_folder_does_not_take_these(done, tmp_path):
    """A photo that came without a batch is not forgotten: the missing batch is named."""
    task, pieces = done
    with pytest.raises(StitchFailed, match=pieces[-1].region.name):
        task.stitch(pieces[:-1], "short")


def forged(done: tuple[Rehearsal, list[Piece]], folder: Path, change: Any) -> tuple[Rehearsal, Region, PlainFiles]:
    """A batch whose ``photos.json`` was changed and summed up again, as a faulty node would."""
    task, pieces = done
    for name in pieces[0].files.names():
        (folder / name).write_bytes(pieces[0].files.read(name))
    batch = load(folder / "photos.json", Batch)
    photos = change(batch.photos)
    (folder / "photos.json").write_bytes(encoded(Batch(photos=photos, sum=check_sum(photos))))
    return task, pieces[0].region, PlainFiles(folder)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda photos: photos[::-1], "names other photos"),
        (lambda photos: (), "names other photos"),
        (lambda photos: (msgspec.structs.replace(photos[0], fault="x"), *photos[1:]), "neither facts nor a fault"),
        (lambda photos: (msgspec.structs.replace(photos[0], features=5), *photos[1:]), r"instead of float32 \(5, 2\)"),
        (lambda photos: (changed(photos[0], width=50), *photos[1:]), "no size"),
        (lambda photos: (changed(photos[0], width=70), *photos[1:]), "outside of the photo"),
        (lambda photos: (changed(photos[0], latitude=None), *photos[1:]), "no place"),
        (lambda photos: (changed(photos[0], focal=-1.0), *photos[1:]), "no size or no camera"),
    ],
)
def test_facts_that_cannot_be_are_refused(done, tmp_path, change, sentence):
    assert len(done[1][0].region.data["photos"]) > 1, "a batch of one photo reads the same backwards"
    task, region, outputs = forged(done, tmp_path, change)
    with pytest.raises(OutputRejected, match=sentence):
        task.stage.verify(task.spec, region, outputs)


def changed(seen: Any, **facts: Any) -> Any:
    return msgspec.structs.replace(seen, facts=msgspec.structs.replace(seen.facts, **facts))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [("points", float("nan"), "no number"), ("points", 1e6, "outside"), ("scales", 0.0, "order of their scales"), ("scales", 1e9, "order")],
)
def test_features_that_cannot_be_are_refused(done, tmp_path, name, value, sentence):
    task, region, outputs = forged(done, tmp_path, lambda photos: photos)
    path = outputs.path(file_of(region.data["photos"][0]))
    features = load_features(path)
    getattr(features, name)[-1] = value
    save_features(features, path)
    with pytest.raises(OutputRejected, match=sentence):
        task.stage.verify(task.spec, region, outputs)


def test_a_file_too_many_is_refused(done, tmp_path):
    task, region, outputs = forged(done, tmp_path, lambda photos: photos)
    (tmp_path / "more.npz").write_bytes(b"x")
    with pytest.raises(OutputRejected, match="was expected"):
        task.stage.verify(task.spec, region, outputs)


def test_two_cameras_and_lost_gps_reach_the_submitter(tmp_path):
    survey(tmp_path / "task", 3)
    (tmp_path / "task" / "images" / "x.jpg").write_bytes(jpeg(textured(9, 300, 200), exif_of(at=(0.0, 0.0, 0.0))))
    photos = load(rehearse(SURVEY, SPEC, tmp_path / "task", tmp_path / "work").whole()["photos.json"], Photos)
    text = " ".join(photos.notes)
    assert "from 2 cameras" in text and "unknown camera 300x200 (1 photo)" in text
    assert "1 of 4 photos (x.jpg) are without a focal length" in text and "The GPS of 1 photo is not used, as it says 0, 0" in text
