"""What is wrong with a survey's folder is said where it is submitted, before anything is sent and without opening a photo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from clusterray.common.errors import TaskFileError
from clusterray.common.kinds.survey.examine import is_survey, no_photos, photo_names
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.model import TaskSpec
from clusterray.common.taskfile import read_task
from clusterray.common.testing_kinds import PlainFiles

PHOTOS = [f"images/DJI_{number:04d}.JPG" for number in range(6)]
GCPS = "EPSG:32632\n" + "".join(
    f"{500000 + 10 * point} {5000000 + 7 * point * point} 100 50 60 DJI_{photo:04d}.JPG p{point}\n"
    for point in range(3)
    for photo in range(3)
)


def folder(tmp_path: Path, names: list[str] | None = None, **files: str) -> PlainFiles:
    """Photos are empty files: nobody looks into them."""
    for name in PHOTOS if names is None else names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    for name, text in files.items():
        (tmp_path / name.replace("_txt", ".txt").replace("_json", ".json")).write_text(text)
    return PlainFiles(tmp_path)


def warnings(files: PlainFiles, **options: Any) -> tuple[str, ...]:
    spec = TaskSpec(kind="survey", name="x", options={name.replace("_", "-"): value for name, value in options.items()})
    examined = SURVEY.examine(spec, files)
    assert SURVEY.examine(examined.spec, files) == examined, "examining twice changes nothing"
    return examined.warnings


def refused(files: PlainFiles, **options: Any) -> TaskFileError:
    with pytest.raises(TaskFileError) as error:
        warnings(files, **options)
    assert "\n" not in error.value.sentence
    return error.value


def test_a_folder_of_photos_is_a_survey(tmp_path):
    files = folder(tmp_path)
    assert is_survey(files) and photo_names(files) == tuple(PHOTOS) and warnings(files) == ()


@pytest.mark.parametrize("scene", ["house.pov", "house.blend"])
def test_pictures_beside_a_scene_are_textures(tmp_path, scene):
    """A POV-Ray or Blender folder with JPEGs stays what it is, without a question."""
    folder(tmp_path, [*PHOTOS, "more/a.png"])
    (tmp_path / scene).write_text("camera { location 0 }")
    assert not is_survey(PlainFiles(tmp_path))


def test_pictures_beside_a_mitsuba_scene_are_textures(tmp_path):
    assert not is_survey(folder(tmp_path, [*PHOTOS, "scene.xml"]).__class__(_with_scene(tmp_path)))


def _with_scene(tmp_path: Path) -> Path:
    (tmp_path / "scene.xml").write_text('<scene version="3.0.0"><sensor type="perspective"/></scene>')
    return tmp_path


def test_a_bare_folder_becomes_a_task(tmp_path):
    folder(tmp_path)
    spec, said = read_task(tmp_path)
    assert spec.kind == "survey" and said == () and spec.options["feature-quality"] == "high"


def test_results_thumbnails_and_hidden_files_are_no_photos(tmp_path):
    """A folder that ODM or we have worked in, was on a Mac, or lies on a NAS."""
    more = [
        "odm_orthophoto/odm_orthophoto.tif",
        "stages/x/a.png",
        "odm_texturing/t.jpg",
        "images/._DJI_0001.JPG",
        "__MACOSX/a.jpg",
        "@eaDir/a.jpg",
    ]
    files = folder(tmp_path, [*PHOTOS, *more])
    assert photo_names(files) == tuple(PHOTOS) and list(no_photos(files)) == []


def test_masks_are_no_photos_and_are_named(tmp_path):
    files = folder(tmp_path, [*PHOTOS, "images/DJI_0001_mask.png", "images/DJI_0002_MASK.PNG", "images/lonely_mask.png"])
    assert len(photo_names(files)) == 7
    assert [words for words in warnings(files) if "mask" in words] == [
        "2 files are left out, each of which is a mask, and masks are not used: DJI_0001_mask.png, DJI_0002_MASK.PNG."
    ]


def test_formats_that_must_be_converted_first(tmp_path):
    """A phone's HEIC: recognised, so that the way out is told."""
    files = folder(tmp_path, ["IMG_1.HEIC", "IMG_2.HEIC", "IMG_3.HEIC"])
    assert is_survey(files)
    assert "there are no photos" in refused(files).sentence and "magick mogrify -format jpg *.HEIC" in refused(files).sentence
    mixed = folder(tmp_path, [*PHOTOS, "a.dng"])
    assert warnings(mixed) == (
        "3 files are left out, each of which is in the format HEIC, which is not read; convert them to JPEG, such as by: "
        "magick mogrify -format jpg *.HEIC: IMG_1.HEIC, IMG_2.HEIC, IMG_3.HEIC.",
        "Left out: a.dng is in the format DNG, which is not read; convert them to JPEG, such as by: magick mogrify -format jpg *.dng.",
    )


@pytest.mark.parametrize(("count", "words"), [(0, "there are no photos"), (1, "there is 1 photo")])
def test_one_photo_is_no_survey(tmp_path, count, words):
    files = folder(tmp_path, PHOTOS[:count])
    assert not is_survey(files) and words in refused(files).sentence and "at least 2" in refused(files).sentence


def test_few_and_very_many_photos_are_warned_of(tmp_path):
    assert "2 photos are few" in warnings(folder(tmp_path, PHOTOS[:2]))[0]

    class Many(PlainFiles):
        def names(self) -> tuple[str, ...]:
            return tuple(f"{number:05d}.jpg" for number in range(6000))

    assert "6000 photos are very many" in warnings(Many(tmp_path))[0]


@pytest.mark.parametrize("option", ["gcp", "geo", "boundary"])
def test_a_file_that_an_option_names_must_be_there(tmp_path, option):
    files = folder(tmp_path, [*PHOTOS, "points/ground.txt"])
    assert refused(files, **{option: "ground.txt"}).key == f"options.{option}"
    assert 'did you mean "points/ground.txt"?' in refused(files, **{option: "ground.txt"}).sentence
    assert "a path counts from the folder" in refused(files, **{option: "xyz"}).sentence


def test_ground_control_points_are_read(tmp_path):
    assert warnings(folder(tmp_path, gcp_list_txt=GCPS)) == ()
    assert "gcp_list.txt, line 3" in refused(folder(tmp_path, gcp_list_txt=GCPS.replace("DJI_0001", "DJI_9999"))).sentence
    assert "EPSG:999999" in refused(folder(tmp_path, gcp_list_txt=GCPS.replace("32632", "999999"))).sentence


def test_checkpoints_need_control_points(tmp_path):
    assert refused(folder(tmp_path), gcp_checkpoints=["a"]).key == "options.gcp-checkpoints"


def test_positions_and_groups_are_read(tmp_path):
    good = folder(tmp_path, geo_txt="EPSG:4326\nDJI_0001.JPG 11 46\n", image_groups_txt="DJI_0001.JPG A\n")
    assert warnings(good) == ()
    assert "geo.txt, line 2: there is no photo DJI_1.JPG" in refused(folder(tmp_path, geo_txt="EPSG:4326\nDJI_1.JPG 11 46\n")).sentence
    (tmp_path / "geo.txt").unlink()
    assert "image_groups.txt, line 1" in refused(folder(tmp_path, image_groups_txt="DJI_0001.JPG\n")).sentence


@pytest.mark.parametrize("crs", ["EPSG:32615", "EPSG:32615+5773", "WGS84 UTM 15N", "+proj=utm +zone=15 +datum=WGS84"])
def test_crs_that_are_well_formed(tmp_path, crs):
    assert warnings(folder(tmp_path), crs=crs) == ()


def test_the_crs_reaches_the_jobs_as_pyproj_reads_it(tmp_path):
    """``WGS84 UTM 15N``, as ODM's lists have it, is nothing that pyproj knows: it would fail hours later."""
    spec = TaskSpec(kind="survey", name="x", options={"crs": "WGS84 UTM 15N"})
    assert SURVEY.examine(spec, folder(tmp_path)).spec.options["crs"] == "EPSG:32615"


@pytest.mark.parametrize(("crs", "words"), [("EPSG:4326", "is not projected"), ("EPSG:2263", "counts in US survey foot")])
def test_results_are_in_metres(tmp_path, crs, words):
    assert words in refused(folder(tmp_path), crs=crs).sentence


def test_what_is_not_used_is_said(tmp_path):
    """split beside image_groups.txt, and a second list of control points."""
    files = folder(tmp_path, image_groups_txt="DJI_0001.JPG A\n")
    assert warnings(files, split=4) == ("Option split is not used: the submodels are the groups of image_groups.txt.",)
    assert warnings(files) == ()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "gcp_list.txt").write_text(GCPS)
    two = folder(tmp_path, gcp_list_txt=GCPS)
    (told,) = warnings(two)
    assert "gcp_list.txt is read, old/gcp_list.txt not" in told and warnings(two, gcp="old/gcp_list.txt") == ()


@pytest.mark.parametrize("crs", ["32615", "EPSG", "UTM 15N", "EPSG:32615+", "EPSG:999999", "EPSG:32615; rm"])
def test_crs_that_are_none(tmp_path, crs):
    assert refused(folder(tmp_path), crs=crs).key == "options.crs"


def test_boundary_as_text_or_file(tmp_path):
    polygon = '{"type": "Polygon", "coordinates": [[[11, 46], [11.1, 46], [11.1, 46.1], [11, 46]]]}'
    files = folder(tmp_path, area_json=polygon, line_json='{"type": "LineString", "coordinates": []}')
    assert warnings(files, boundary=polygon) == warnings(files, boundary="area.json") == ()
    assert "line.json: a boundary is a Polygon, not LineString" in refused(files, boundary="line.json").sentence
    assert "boundary: this is no GeoJSON" in refused(files, boundary='{"type": ').sentence


def test_nothing_of_the_extra_is_needed_to_submit(tmp_path):
    """Who submits may have no pycolmap, OpenCV or pyproj."""
    folder(tmp_path, gcp_list_txt=GCPS, geo_txt="EPSG:4326\nDJI_0001.JPG 11 46\n")
    program = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pycolmap", "cv2", "pyproj", "rasterio", "scipy", "laspy", "trimesh", "numpy", "PIL"):
            raise ModuleNotFoundError(name, name=name.partition(".")[0])
sys.meta_path.insert(0, Missing())
from clusterray.common.kinds.survey.kind import SURVEY
from clusterray.common.model import TaskSpec
from clusterray.common.testing_kinds import PlainFiles
from pathlib import Path
print(SURVEY.examine(TaskSpec(kind="survey", name="x", options={{"crs": "EPSG:32632"}}), PlainFiles(Path({str(tmp_path)!r}))).warnings)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "()\n"), done.stderr
