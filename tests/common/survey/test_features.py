"""Features are those of COLMAP, in pixels of the whole photo, and a batch says of each photo what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest
from clusterray.common.survey.features import Batch, check_sum, extract, file_of, run, working_size
from clusterray.common.survey.records import Features, load, load_features
from clusterray.common.survey.work import Job
from scipy.spatial import cKDTree

from .shots import exif_of, jpeg, png, textured


def job(folder: Path, out: str, names: list[str], scale: float = 0.5, wanted: int = 2000, cores: int = 1) -> Job:
    (folder / out).mkdir()
    return Job(
        inputs=folder, out=folder / out, scratch=folder / f"{out}.scratch", cores=cores,
        options={"min-num-features": wanted}, data={"photos": names, "scale": scale},
    )  # fmt: skip


def colmap(folder: Path, name: str, **sift: Any) -> tuple[Any, Any]:
    """What COLMAP itself finds in a file."""
    options = pycolmap.FeatureExtractionOptions()
    options.use_gpu, options.num_threads, options.max_image_size = False, 1, 1600
    for word, value in sift.items():
        setattr(options.sift, word, value)
    database = folder / "colmap.db"
    pycolmap.extract_features(str(database), str(folder), [name], extraction_options=options, device=pycolmap.Device.cpu)
    opened = pycolmap.Database.open(str(database))
    (image,) = opened.read_all_images()
    found = np.asarray(opened.read_keypoints(image.image_id)), np.asarray(opened.read_descriptors(image.image_id).data)
    opened.close()
    return found


def rows(points: Any, descriptors: Any) -> set[tuple[int, ...]]:
    """Keypoints to a hundredth of a pixel with their descriptors, in no order."""
    return {(*np.round(point * 100).astype(int).tolist(), *row.tolist()) for point, row in zip(points, descriptors, strict=True)}


def test_features_are_those_of_colmap(tmp_path):
    """The same count, places and descriptors as pycolmap.extract_features, also where the photo is scaled down for it.

    Scaling a picture in memory and one from a file may differ in the last bit, by machine: then a few of them are some thousandths of a
    pixel apart.
    """
    picture = textured(3, 2000, 1200)
    (tmp_path / "a.png").write_bytes(png(picture))
    found = extract({"a": picture}, 0.5, 50_000, 1, tmp_path / "scratch")["a"]
    keypoints, descriptors = colmap(tmp_path, "a.png", max_num_features=50_000)
    assert len(found.points) == len(keypoints) > 500
    assert cKDTree(keypoints[:, :2]).query(found.points)[0].max() < 0.05
    same = rows(found.points, found.descriptors) & rows(keypoints[:, :2], descriptors)
    assert len(same) > 0.95 * len(keypoints)


def test_features_are_ordered_and_have_the_colours_of_their_places(tmp_path):
    picture = textured(4)
    found = extract({"a": picture}, 1.0, 100, 1, tmp_path)["a"]
    assert len(found.points) == 100, "no more than asked for: the smallest are left out"
    assert (np.diff(found.scales) <= 0).all() and found.descriptors.shape == (100, 128) and found.descriptors.dtype == np.uint8
    at = found.points.astype(int)
    assert np.array_equal(found.colors, picture[at[:, 1], at[:, 0]])
    everything = extract({"a": picture}, 1.0, 100_000, 1, tmp_path / "all")["a"]
    assert found.scales[-1] >= np.sort(everything.scales)[::-1][len(found.scales) * 2], "they are among the largest"


def test_pixels_count_from_the_corner_of_the_first_one(tmp_path):
    """COLMAP's 0.5 centre: a round blot around the middle of pixel 100, 60 is found at 100.5, 60.5, at any working size."""
    for width, height, sigma in ((200, 120, 6), (3200, 1920, 12)):
        y, x = np.mgrid[:height, :width] + 0.5
        blot = np.exp(-((x - 100.5) ** 2 + (y - 60.5) ** 2) / (2 * sigma**2))
        picture = np.repeat((60 + 150 * blot).astype(np.uint8)[:, :, None], 3, axis=2)
        found = extract({"a": picture}, 0.5, 100, 1, tmp_path / f"{width}")["a"]
        assert np.abs(found.points[0] - np.array([100.5, 60.5])).max() < 0.1
        assert found.scales[0] == pytest.approx(sigma, rel=0.2)


def test_quality_scales_but_not_below_what_matching_needs():
    assert working_size(8000, 6000, 0.5) == (4000, 3000)
    assert working_size(6000, 8000, 1.0) == (6000, 8000)
    assert working_size(4000, 3000, 0.0625) == (1600, 1200)
    assert working_size(1000, 750, 0.0625) == (1000, 750)


def test_the_same_photos_give_the_same_bytes_on_any_number_of_cores(tmp_path):
    names = []
    for number in range(3):
        names.append(f"{number}.jpg")
        (tmp_path / names[-1]).write_bytes(jpeg(textured(number)))
    for out, cores in (("one", 1), ("two", 2)):
        run(job(tmp_path, out, names, cores=cores))
    made = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert made == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert sorted(made) == sorted(["photos.json", *map(file_of, names)])


def test_a_batch_says_what_became_of_each_photo(tmp_path):
    """A text file or a torn JPEG among them stops nothing, and is named."""
    (tmp_path / "good.jpg").write_bytes(jpeg(textured(1), exif_of(maker="DJI", model="FC6310", millimetres=8.8, at=(46.0, 11.0, 300.0))))
    (tmp_path / "notes.jpg").write_text("Flight notes\n" * 50)
    (tmp_path / "torn.jpg").write_bytes(jpeg(textured(2))[:5000])
    names = ["torn.jpg", "good.jpg", "notes.jpg"]
    run(job(tmp_path, "out", names))
    batch = load(tmp_path / "out" / "photos.json", Batch)
    torn, good, notes = batch.photos
    assert [torn.name, good.name, notes.name] == names and batch.sum == check_sum(batch.photos)
    assert "damaged" in torn.fault and "text file" in notes.fault and torn.facts is notes.facts is None
    assert good.facts is not None and (good.facts.latitude, good.facts.focal_known) == (46.0, True)
    features = load_features(tmp_path / "out" / file_of("good.jpg"))
    assert len(features.points) == good.features > 100
    assert len(list((tmp_path / "out").iterdir())) == 2


def test_faint_photos_are_looked_at_again(tmp_path):
    """Snow, sand and fields have little contrast; a second look finds more there, and a black photo is a photo without features."""
    faint = (120 + (textured(5).astype(int) - 120) // 12).astype(np.uint8)
    (tmp_path / "faint.png").write_bytes(png(faint))
    (tmp_path / "black.png").write_bytes(png(np.zeros_like(faint)))
    run(job(tmp_path, "out", ["faint.png", "black.png"]))
    found, black = load(tmp_path / "out" / "photos.json", Batch).photos
    plain = extract({"a": faint}, 1.0, 2000, 1, tmp_path / "scratch")["a"]
    assert found.features > 1.5 * len(plain.points)
    assert black.features == 0 and not black.fault
    empty: Features = load_features(tmp_path / "out" / file_of("black.png"))
    assert empty.points.shape == (0, 2) and empty.descriptors.shape == (0, 128)


def test_a_copy_under_another_name_is_known_by_its_pixels(tmp_path):
    """Other EXIF, same picture: their sums are equal, so that the intake can leave one out."""
    (tmp_path / "a.jpg").write_bytes(jpeg(textured(1), exif_of(model="X")))
    (tmp_path / "b.jpg").write_bytes(jpeg(textured(1)))
    run(job(tmp_path, "out", ["a.jpg", "b.jpg"]))
    first, second = load(tmp_path / "out" / "photos.json", Batch).photos
    assert first.file != second.file and first.picture == second.picture
